// Subsampled channels to the image's size, as libjpeg's "fancy" upsampling does: a triangle filter
// if one side or both are doubled, else repetition (jdsample.c).

import { damaged } from "../errors.js";

/**
 * Enlarge a plane.
 *
 * @param {{data: Uint8ClampedArray, width: number}} plane Of whole blocks.
 * @param {{width: number, height: number}} real The part of it that belongs to the image.
 * @param {{across: number, down: number}} times The factors.
 * @param {{width: number, height: number}} size Of the image.
 * @param {boolean} smooth Whether the filter may be used.
 * @returns {Uint8ClampedArray} size.height rows of size.width pixels.
 */
export function upsampled(plane, real, times, size, smooth) {
  if (!Number.isInteger(times.across) || !Number.isInteger(times.down)) {
    throw damaged("the sizes of its channels are not multiples");
  }
  const filtered = smooth && times.down <= 2 && (times.across === 1 || real.width > 2);
  if (filtered && times.across === 2) return doubledColumns(plane, real, times.down, size);
  if (filtered && times.across === 1 && times.down === 2) return doubledRows(plane, real, size);
  return repeated(plane, times, size);
}

function repeated({ data, width }, { across, down }, size) {
  const result = new Uint8ClampedArray(size.width * size.height);
  for (let y = 0, to = 0; y < size.height; y++) {
    const from = Math.floor(y / down) * width;
    if (across === 1) {
      result.set(data.subarray(from, from + size.width), to);
      to += size.width;
    } else {
      for (let x = 0; x < size.width; x++) result[to++] = data[from + Math.floor(x / across)];
    }
  }
  return result;
}

/** Double the rows: 3/4 of the nearest row and 1/4 of the next nearest. */
function doubledRows({ data, width }, real, size) {
  const result = new Uint8ClampedArray(size.width * size.height);
  for (let y = 0, to = 0; y < size.height; y++) {
    const [near, far] = neighbours(y, real.height, width);
    const bias = y % 2 ? 2 : 1;
    for (let x = 0; x < size.width; x++) {
      result[to++] = (3 * data[near + x] + data[far + x] + bias) >> 2;
    }
  }
  return result;
}

/** Return where the nearest and the next nearest row begin; the edge is repeated. */
function neighbours(y, height, width) {
  const near = y >> 1;
  const far = Math.min(Math.max(y % 2 ? near + 1 : near - 1, 0), height - 1);
  return [near * width, far * width];
}

/** Double the columns, and the rows if `down` is 2, by the same rule. */
function doubledColumns({ data, width }, real, down, size) {
  const result = new Uint8ClampedArray(size.width * size.height);
  const sums = new Int32Array(real.width);
  const line = new Uint8ClampedArray(2 * real.width);
  for (let y = 0; y < size.height; y++) {
    if (down === 2) {
      const [near, far] = neighbours(y, real.height, width);
      for (let x = 0; x < real.width; x++) sums[x] = 3 * data[near + x] + data[far + x];
      widen(sums, line, 4, 8, 7);
    } else {
      for (let x = 0; x < real.width; x++) sums[x] = data[y * width + x];
      widen(sums, line, 2, 1, 2);
    }
    result.set(line.subarray(0, size.width), y * size.width);
  }
  return result;
}

function widen(sums, line, shift, left, right) {
  const last = sums.length - 1;
  for (let x = 0; x <= last; x++) {
    const three = 3 * sums[x];
    line[2 * x] = (three + sums[x === 0 ? 0 : x - 1] + left) >> shift;
    line[2 * x + 1] = (three + sums[x === last ? last : x + 1] + right) >> shift;
  }
}
