// One file to grey or colour pixels, with the same bytes as lucency/imaging/image.py at each step.
//
// JPEG and PNG are decoded here, and not by the browser, for two reasons. Scaled decoding, colour
// management and resizing differ: pixels of 60 radiographs by up to 11 grey levels (41 if the
// browser resizes), probabilities by up to 0.0016 (0.0054). And 16-bit PNG files arrive as 8 bits.

import { readFrame, render } from "./jpeg/decode.js";
import { scaled, toGrey } from "./jpeg/colour.js";
import { readPng } from "./png.js";
import { resize } from "./resize.js";

const DRAFT = 1.25; // a JPEG is decoded at least so many times larger than requested

/**
 * Decode a file, once for all sizes.
 *
 * @param {object} header Of `readHeader`.
 * @param {Uint8Array} data The file.
 * @returns {Promise<{size: [number, number], pixels: function}>} Height and width of the upright
 *   image; `pixels([height, width], colour)` resizes it to that size without keeping the aspect
 *   ratio: rows of 1 or 3 channels, Uint8ClampedArray.
 */
export async function readImage(header, data) {
  const rotated = header.orientation >= 5;
  const scan = header.kind === "JPEG" ? jpegScan(header, data) : await pngScan(header);
  const size = rotated ? [header.width, header.height] : [header.height, header.width];
  const pixels = ([height, width], colour) => {
    const stored = rotated ? [height, width] : [width, height];
    const [image, box] = scan(stored, colour);
    return upright(resize(withChannels(image, colour), ...stored, box), header.orientation).data;
  };
  return { size, pixels };
}

function jpegScan(header, data) {
  const frame = readFrame(header, data);
  return ([width, height], colour) => {
    const wanted = [roundHalfEven(DRAFT * width), roundHalfEven(DRAFT * height)];
    const fits = Math.floor(Math.min(header.width / wanted[0], header.height / wanted[1]));
    const reduction = [8, 4, 2].find((each) => fits >= each) ?? 1;
    // A scaled JPEG is padded to whole pixels; the padding must not shift the rest.
    const box = [header.width / reduction, header.height / reduction];
    return [render(frame, reduction, colour), box];
  };
}

function roundHalfEven(value) {
  const whole = Math.floor(value);
  if (value - whole === 0.5) return whole + (whole % 2);
  return Math.round(value);
}

async function pngScan(header) {
  const image = await readPng(header);
  return () => [image, [image.width, image.height]];
}

/** Convert to grey or colour of 8 bits; transparent parts get a black background. */
function withChannels(image, colour) {
  let { data, channels } = image;
  if (channels === 4) [data, channels] = [onBlack(data), 3];
  if (colour && channels === 1) [data, channels] = [tripled(data), 3];
  else if (!colour && channels === 3) [data, channels] = [toGrey(data), 1];
  return { ...image, data, channels };
}

function onBlack(data) {
  const result = new Uint8ClampedArray((data.length / 4) * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    const opacity = data[from + 3];
    for (let c = 0; c < 3; c++) result[to++] = scaled(data[from + c], opacity);
  }
  return result;
}

function tripled(data) {
  const result = new Uint8ClampedArray(3 * data.length);
  for (let i = 0, to = 0; i < data.length; i++) {
    result[to++] = data[i];
    result[to++] = data[i];
    result[to++] = data[i];
  }
  return result;
}

/** Apply the EXIF orientation: 2 to 4 flip or rotate the image, 5 to 8 also swap its sides. */
function upright(image, orientation) {
  if (orientation === 1) return image;
  const { data, width, height, channels } = image;
  const rotated = orientation >= 5;
  const [columns, rows] = rotated ? [height, width] : [width, height];
  const result = new Uint8ClampedArray(data.length);
  const mirrored = [2, 3, 7, 8].includes(orientation);
  const flipped = [3, 4, 6, 7].includes(orientation);
  for (let y = 0, to = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const [across, down] = rotated ? [y, x] : [x, y];
      const from = mirrored ? width - 1 - across : across;
      const line = flipped ? height - 1 - down : down;
      const at = (line * width + from) * channels;
      for (let c = 0; c < channels; c++) result[to++] = data[at + c];
    }
  }
  return { data: result, width: columns, height: rows, channels };
}
