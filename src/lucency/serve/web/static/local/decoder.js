// The worker that decodes. Files come from anywhere: whatever one does to the decoder, be it an
// endless loop or a lack of memory, costs one image, as the page can end this worker at any time.

import { ImageError } from "./errors.js";
import { readHeader } from "./header.js";
import { readImage } from "./image.js";
import { handleCalls } from "./worker_client.js";

const MAX_SHOWN = 512; // pixels on the longer side of the image that the page shows

handleCalls(decode, reasonOf);

/** Return the pixels at a size, the image's own size, and the image to show. */
async function decode({ file, size, colour }) {
  if (!file) return null; // called only to start the worker
  const data = new Uint8Array(await file.arrayBuffer());
  const image = await readImage(readHeader(data), data);
  const pixels = image.pixels(size, colour);
  const shown = shownSize(image.size);
  const displayed = image.pixels(shown, colour);
  return { pixels, size: image.size, image: await dataUrl(displayed, shown, colour) };
}

function shownSize([height, width]) {
  const scale = Math.min(1, MAX_SHOWN / Math.max(height, width));
  return [height, width].map((side) => Math.max(1, Math.round(side * scale)));
}

/** Encode grey or colour pixels as a PNG file in a data URL. */
async function dataUrl(pixels, [height, width], colour) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0, from = 0; i < image.data.length; i += 4) {
    image.data[i] = pixels[from];
    image.data[i + 1] = pixels[colour ? from + 1 : from];
    image.data[i + 2] = pixels[colour ? from + 2 : from];
    image.data[i + 3] = 255;
    from += colour ? 3 : 1;
  }
  context.putImageData(image, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return new FileReaderSync().readAsDataURL(blob);
}

function reasonOf(error) {
  if (error instanceof ImageError) return error.message;
  if (error instanceof RangeError) return "not enough memory to decode it";
  if (error?.name === "NotReadableError" || error?.name === "NotFoundError") {
    return "the file cannot be read: it was moved or changed, or access is not permitted";
  }
  return null;
}
