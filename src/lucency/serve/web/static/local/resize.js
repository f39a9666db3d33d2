// Pillow's bilinear resampling, bit for bit: a triangle filter as wide as the reduction, first
// horizontally and then vertically, each pass rounded to 8 bits, with coefficients of 22 bits
// (libImaging/Resample.c).

const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

/**
 * Resize a part of an image.
 *
 * @param {{data: Uint8Array, width: number, height: number, channels: number}} image
 * @param {number} width Columns to return.
 * @param {number} height Rows to return.
 * @param {[number, number]} box How many columns and rows of the image, from the upper left, are
 *   resized; they need not be integers.
 * @returns An image with the same channels.
 */
export function resize(image, width, height, box = [image.width, image.height]) {
  const horizontal = width !== image.width || box[0] !== width;
  const vertical = height !== image.height || box[1] !== height;
  const passes = [];
  if (horizontal) passes.push((from) => resizeRows(from, weights(image.width, box[0], width)));
  if (vertical) passes.push((from) => resizeColumns(from, weights(image.height, box[1], height)));
  if (verticalFirst(image, width, height)) passes.reverse();
  return passes.reduce((from, pass) => pass(from), image);
}

/** Return whether the vertical pass comes first, as in Pillow 13 if it removes many more rows. */
function verticalFirst(image, width, height) {
  return height < image.height && image.height - height > 2 * (image.width - width);
}

/** Return for each place in the result where its sources start, how many there are, and weights. */
function weights(size, length, count) {
  const scale = length / count;
  const support = Math.max(scale, 1);
  const maxCount = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const factors = new Int32Array(count * maxCount);
  const shares = new Float64Array(maxCount);
  for (let place = 0; place < count; place++) {
    const centre = (place + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const number = Math.min(Math.trunc(centre + support + 0.5), size) - start;
    let sum = 0;
    for (let k = 0; k < number; k++) {
      shares[k] = triangle((k + start - centre + 0.5) * (1 / support));
      sum += shares[k];
    }
    for (let k = 0; k < number; k++) {
      const share = sum === 0 ? shares[k] : shares[k] / sum;
      factors[place * maxCount + k] = Math.trunc(0.5 + share * (1 << PRECISION));
    }
    starts[place] = start;
    counts[place] = number;
  }
  return { starts, counts, factors, maxCount, count };
}

function triangle(x) {
  const distance = Math.abs(x);
  return distance < 1 ? 1 - distance : 0;
}

function resizeRows({ data, width, height, channels }, { starts, counts, factors, maxCount, count }) {
  const result = new Uint8ClampedArray(count * height * channels);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < count; x++) {
      const from = (y * width + starts[x]) * channels;
      for (let c = 0; c < channels; c++) {
        let sum = HALF;
        for (let k = 0, at = from + c; k < counts[x]; k++, at += channels) {
          sum += data[at] * factors[x * maxCount + k];
        }
        result[to++] = sum >> PRECISION;
      }
    }
  }
  return { data: result, width: count, height, channels };
}

function resizeColumns({ data, width, channels }, { starts, counts, factors, maxCount, count }) {
  const stride = width * channels;
  const result = new Uint8ClampedArray(count * stride);
  const sums = new Int32Array(stride);
  for (let y = 0; y < count; y++) {
    sums.fill(HALF);
    for (let k = 0; k < counts[y]; k++) {
      const factor = factors[y * maxCount + k];
      const from = (starts[y] + k) * stride;
      for (let i = 0; i < stride; i++) sums[i] += data[from + i] * factor;
    }
    for (let i = 0; i < stride; i++) result[y * stride + i] = sums[i] >> PRECISION;
  }
  return { data: result, width, height: count, channels };
}
