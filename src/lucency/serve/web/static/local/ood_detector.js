// Whether an image is unlike the training images: the twin of lucency/detector.py, where it is told.

const SIDE = 16;
const SOFTEST = 1;

/** The fitted detector: means, axes and variances of two clouds, and a limit for each view. */
export class OODDetector {
  /** @param arrays What `readArrays` found in ood_detector.safetensors. */
  constructor(arrays) {
    this.features = cloudOf(arrays, "features");
    this.image = cloudOf(arrays, "image");
    this.limits = arrays.limits.values;
  }

  /**
   * Says how far out an image is in the worst of three views; above 1 is out of distribution.
   *
   * @param {Float32Array} embedding What the network's last layer sees.
   * @param {Uint8ClampedArray} pixels Rows of `channels` values, as the network gets them.
   * @param {[number, number]} size Height and width.
   * @param {1|3} channels
   */
  score(embedding, pixels, size, channels) {
    const shown = toneless(thumbnail(pixels, size, channels));
    const plain = distanceIn(this.image, shown);
    const altered = Math.min(
      ...alterations(shown, channels).map((each) => distanceIn(this.image, each)),
    );
    const views = [distanceIn(this.features, embedding), plain, plain / Math.max(altered, 1e-6)];
    return Math.max(...views.map((view, k) => view / this.limits[k]));
  }
}

function cloudOf(arrays, name) {
  const [means, axes] = [arrays[`${name}.means`], arrays[`${name}.axes`]];
  const variances = arrays[`${name}.variances`].values;
  const [rest] = arrays[`${name}.rest`].values;
  return { means, axes: axes.values, variances, rest, width: means.shape[1] };
}

/** Returns the distance of a point from the nearest mean, in standard deviations. */
function distanceIn({ means, axes, variances, rest, width }, point) {
  if (point.length !== width) throw new Error("The out-of-distribution detector fits no such network.");
  let nearest = Infinity;
  for (let start = 0; start < means.values.length; start += width) {
    const apart = Float64Array.from(point, (value, i) => value - means.values[start + i]);
    let off = apart.reduce((sum, value) => sum + value * value, 0);
    let squared = 0;
    variances.forEach((variance, k) => {
      let along = 0;
      for (let i = 0; i < width; i++) along += apart[i] * axes[k * width + i];
      squared += (along * along) / variance;
      off -= along * along;
    });
    nearest = Math.min(nearest, squared + Math.max(off, 0) / rest);
  }
  return Math.sqrt(nearest);
}

/** Makes an image 16 x 16 by averaging areas. */
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

/** Returns [area, pixel, share]: how much of each pixel goes into each of 16 areas. */
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

/** Returns an image with mean 0 and, given contrast, variance 1. */
function toneless(small) {
  const mean = small.reduce((sum, value) => sum + value, 0) / small.length;
  const centred = small.map((value) => value - mean);
  const variance = centred.reduce((sum, value) => sum + value * value, 0) / small.length;
  const deviation = Math.max(Math.sqrt(variance), SOFTEST);
  return centred.map((value) => value / deviation);
}

/** Returns the image upside down, turned by 90, 180 and 270 degrees, and inverted. */
function alterations(shown, channels) {
  const last = SIDE - 1;
  const places = [
    (y, x) => [last - y, x],
    (y, x) => [x, last - y],
    (y, x) => [last - y, last - x],
    (y, x) => [last - x, y],
  ];
  const moved = places.map((place) =>
    shown.map((_, i) => {
      const [y, x] = place(Math.floor(i / channels / SIDE), Math.floor(i / channels) % SIDE);
      return shown[(y * SIDE + x) * channels + (i % channels)];
    }),
  );
  return [...moved, shown.map((value) => -value)];
}
