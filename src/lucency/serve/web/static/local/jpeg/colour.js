// Channels of a JPEG file to red, green and blue, in the integer arithmetic of libjpeg and Pillow.

const HALF = 1 << 15;

/** Make red, green and blue from three planes, "ycc" or "rgb". */
export function toColour(planes, space) {
  const [first, second, third] = planes;
  const data = new Uint8ClampedArray(3 * first.length);
  for (let i = 0, to = 0; i < first.length; i++, to += 3) {
    const y = first[i];
    const cb = second[i] - 128;
    const cr = third[i] - 128;
    const convert = space === "ycc";
    data[to] = convert ? y + ((91881 * cr + HALF) >> 16) : y;
    data[to + 1] = convert ? y + ((-22554 * cb - 46802 * cr + HALF) >> 16) : second[i];
    data[to + 2] = convert ? y + ((116130 * cb + HALF) >> 16) : third[i];
  }
  return data;
}

/** Make red, green and blue from four planes, "cmyk" or "ycck", stored inverted. */
export function fromInks(planes, space) {
  const inks = space === "ycck" ? toColour(planes.slice(0, 3), "ycc") : interleaved(planes);
  const black = planes[3];
  for (let i = 0, to = 0; i < black.length; i++, to += 3) {
    for (let c = 0; c < 3; c++) {
      const ink = space === "ycck" ? inks[to + c] : 255 - inks[to + c];
      inks[to + c] = black[i] - scaled(ink, black[i]);
    }
  }
  return inks;
}

function interleaved([first, second, third]) {
  const data = new Uint8ClampedArray(3 * first.length);
  for (let i = 0, to = 0; i < first.length; i++) {
    data[to++] = first[i];
    data[to++] = second[i];
    data[to++] = third[i];
  }
  return data;
}

/** Return a * b / 255, rounded. */
export function scaled(a, b) {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/** Make luma from red, green and blue (ITU-R BT.601). */
export function toGrey(colours) {
  const data = new Uint8ClampedArray(colours.length / 3);
  for (let i = 0, from = 0; i < data.length; i++, from += 3) {
    data[i] =
      (19595 * colours[from] + 38470 * colours[from + 1] + 7471 * colours[from + 2] + HALF) >> 16;
  }
  return data;
}
