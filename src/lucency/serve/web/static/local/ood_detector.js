// Whether an image is out of distribution, as lucency/calibration/ood.py computes and explains it.

const SIDE = 16;
const MIN_DEVIATION = 1; // grey levels

/** The fitted detector: means, axes and variances of two distributions, and a limit per distance. */
export class OODDetector {
  /** @param arrays The arrays in ood_detector.safetensors. */
  constructor(arrays) {
    this.features = distributionOf(arrays, "features");
    this.image = distributionOf(arrays, "image");
    this.limits = arrays.limits.values;
  }

  /**
   * Return the OOD score, the largest of three distances; above 1 is out of distribution.
   *
   * @param {Float32Array} embedding The input of the network's last layer.
   * @param {Uint8ClampedArray} pixels The input of the network, row by row.
   * @param {[number, number]} size Height and width.
   * @param {1|3} channels
   */
  score(embedding, pixels, size, channels) {
    const small = standardised(thumbnail(pixels, size, channels));
    const upright = distanceTo(this.image, small);
    const transformed = Math.min(
      ...transformations(small, channels).map((each) => distanceTo(this.image, each)),
    );
    const distances = [distanceTo(this.features, embedding), upright, upright / Math.max(transformed, 1e-6)];
    return Math.max(...distances.map((distance, k) => distance / this.limits[k]));
  }
}

function distributionOf(arrays, name) {
  const [means, axes] = [arrays[`${name}.means`], arrays[`${name}.axes`]];
  const variances = arrays[`${name}.variances`].values;
  const [rest] = arrays[`${name}.rest`].values;
  return { means, axes: axes.values, variances, rest, width: means.shape[1] };
}

/** Return the Mahalanobis distance of a point from the nearest mean. */
function distanceTo({ means, axes, variances, rest, width }, point) {
  if (point.length !== width) throw new Error("The out-of-distribution detector does not belong to this network.");
  let nearest = Infinity;
  for (let start = 0; start < means.values.length; start += width) {
    const difference = Float64Array.from(point, (value, i) => value - means.values[start + i]);
    let outside = difference.reduce((sum, value) => sum + value * value, 0);
    let squared = 0;
    variances.forEach((variance, k) => {
      let along = 0;
      for (let i = 0; i < width; i++) along += difference[i] * axes[k * width + i];
      squared += (along * along) / variance;
      outside -= along * along;
    });
    nearest = Math.min(nearest, squared + Math.max(outside, 0) / rest);
  }
  return Math.sqrt(nearest);
}

/** Reduce an image to 16 x 16 by averaging areas. */
export function thumbnail(pixels, [height, width], channels) {
  const [down, across] = [shares(height), shares(width)];
  const rows = new Float64Array(SIDE * width * channels);
  for (const [row, y, share] of down) {
    for (let i = 0; i < width * channels; i++) {
      rows[row * width * channels + i] += share * pixels[y * width * channels + i];
    }
  }
  const small = new Float64Array(SIDE * SIDE * channels);
  for (let row = 0; row < SIDE; row++) {
    for (const [column, x, share] of across) {
      for (let c = 0; c < channels; c++) {
        const value = rows[(row * width + x) * channels + c];
        small[(row * SIDE + column) * channels + c] += share * value;
      }
    }
  }
  return small;
}

/** Return [area, pixel, share]: how much of each pixel goes into each of 16 areas. */
function shares(size) {
  const found = [];
  for (let area = 0; area < SIDE; area++) {
    const [start, end] = [(size * area) / SIDE, (size * (area + 1)) / SIDE];
    for (let pixel = Math.floor(start); pixel < end; pixel++) {
      const overlap = Math.min(end, pixel + 1) - Math.max(start, pixel);
      found.push([area, pixel, Math.fround(overlap / (end - start))]);
    }
  }
  return found;
}

/** Return an image with mean 0 and variance 1, or less if it has hardly any contrast. */
function standardised(small) {
  const mean = small.reduce((sum, value) => sum + value, 0) / small.length;
  const centred = small.map((value) => value - mean);
  const variance = centred.reduce((sum, value) => sum + value * value, 0) / small.length;
  const deviation = Math.max(Math.sqrt(variance), MIN_DEVIATION);
  return centred.map((value) => value / deviation);
}

/** Return the image flipped upside down, rotated by 90, 180 and 270 degrees, and inverted. */
function transformations(small, channels) {
  const last = SIDE - 1;
  const places = [
    (y, x) => [last - y, x],
    (y, x) => [x, last - y],
    (y, x) => [last - y, last - x],
    (y, x) => [last - x, y],
  ];
  const rotated = places.map((place) =>
    small.map((_, i) => {
      const [y, x] = place(Math.floor(i / channels / SIDE), Math.floor(i / channels) % SIDE);
      return small[(y * SIDE + x) * channels + (i % channels)];
    }),
  );
  return [...rotated, small.map((value) => -value)];
}
