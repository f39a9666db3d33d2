// Pillow's bilinear resampling, to the bit: a triangle as wide as the reduction, across and down
// in turn, each rounded to 8 bits, with coefficients of 22 bits (libImaging/Resample.c).

const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

/**
 * Resizes a part of an image.
 *
 * @param {{data: Uint8Array, width: number, height: number, channels: number}} image
 * @param {number} width Columns to return.
 * @param {number} height Rows to return.
 * @param {[number, number]} box How many columns and rows of the image, from the upper left, are
 *   stretched to that; they need not be whole.
 * @returns The same kind of image.
 */
export function resize(image, width, height, box = [image.width, image.height]) {
  const across = width !== image.width || box[0] !== width;
  const down = height !== image.height || box[1] !== height;
  const passes = [];
  if (across) passes.push((from) => horizontally(from, weights(image.width, box[0], width)));
  if (down) passes.push((from) => vertically(from, weights(image.height, box[1], height)));
  if (downFirst(image, width, height)) passes.reverse();
  return passes.reduce((from, pass) => pass(from), image);
}

/** Tells whether the rows come first, as Pillow 13 has it where they become much fewer. */
function downFirst(image, width, height) {
  return height < image.height && image.height - height > 2 * (image.width - width);
}

/** Returns for each place in the result where its sources start, how many, and their weights. */
function weights(size, length, count) {
  const scale = length / count;
  const support = Math.max(scale, 1);
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const factors = new Int32Array(count * most);
  const shares = new Float64Array(most);
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
      factors[place * most + k] = Math.trunc(0.5 + share * (1 << PRECISION));
    }
    starts[place] = start;
    counts[place] = number;
  }
  return { starts, counts, factors, most, count };
}

function triangle(x) {
  const distance = Math.abs(x);
  return distance < 1 ? 1 - distance : 0;
}

function horizontally({ data, width, height, channels }, { starts, counts, factors, most, count }) {
  const result = new Uint8ClampedArray(count * height * channels);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < count; x++) {
      const from = (y * width + starts[x]) * channels;
      for (let c = 0; c < channels; c++) {
        let sum = HALF;
        for (let k = 0, at = from + c; k < counts[x]; k++, at += channels) {
          sum += data[at] * factors[x * most + k];
        }
        result[to++] = sum >> PRECISION;
      }
    }
  }
  return { data: result, width: count, height, channels };
}

function vertically({ data, width, channels }, { starts, counts, factors, most, count }) {
  const stride = width * channels;
  const result = new Uint8ClampedArray(count * stride);
  const sums = new Int32Array(stride);
  for (let y = 0; y < count; y++) {
    sums.fill(HALF);
    for (let k = 0; k < counts[y]; k++) {
      const factor = factors[y * most + k];
      const from = (starts[y] + k) * stride;
      for (let i = 0; i < stride; i++) sums[i] += data[from + i] * factor;
    }
    for (let i = 0; i < stride; i++) result[y * stride + i] = sums[i] >> PRECISION;
  }
  return { data: result, width, height: count, channels };
}
