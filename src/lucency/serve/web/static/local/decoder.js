// The worker that decodes. Files of others are programs for a decoder: what happens here, be it an
// endless loop or no memory left, costs one image, as the page can end this worker at any time.

import { ImageError } from "./errors.js";
import { readHeader } from "./header.js";
import { readImage } from "./image.js";
import { answering } from "./remote.js";

const SHOWN = 512; // pixels on the longest side of the image that is shown

answering(decoded, reason);

/** Returns the pixels at a size, the image's own size, and a small image of it. */
async function decoded({ file, size, colour }) {
  if (!file) return null; // asked only to be here
  const data = new Uint8Array(await file.arrayBuffer());
  const image = await readImage(readHeader(data), data);
  const pixels = image.pixels(size, colour);
  const shown = shownSize(image.size);
  const displayed = image.pixels(shown, colour);
  return { pixels, size: image.size, image: await dataUrl(displayed, shown, colour) };
}

function shownSize([height, width]) {
  const shrink = Math.min(1, SHOWN / Math.max(height, width));
  return [height, width].map((side) => Math.max(1, Math.round(side * shrink)));
}

/** Encodes rows of grey or colour as a PNG file in a data: address. */
async function dataUrl(pixels, [height, width], colour) {
  const canvas = new OffscreenCanvas(width, height);
  const drawing = canvas.getContext("2d");
  const image = drawing.createImageData(width, height);
  for (let i = 0, from = 0; i < image.data.length; i += 4) {
    image.data[i] = pixels[from];
    image.data[i + 1] = pixels[colour ? from + 1 : from];
    image.data[i + 2] = pixels[colour ? from + 2 : from];
    image.data[i + 3] = 255;
    from += colour ? 3 : 1;
  }
  drawing.putImageData(image, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return new FileReaderSync().readAsDataURL(blob);
}

function reason(error) {
  if (error instanceof ImageError) return error.message;
  if (error instanceof RangeError) return "not enough memory to decode it";
  if (error?.name === "NotReadableError" || error?.name === "NotFoundError") {
    return "the file cannot be read: it was moved, changed or is not permitted";
  }
  return null;
}
