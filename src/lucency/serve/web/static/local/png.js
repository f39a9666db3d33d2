// PNG files to pixels as Pillow reads them (PNG 3rd edition): the browser inflates, row by row.

import { damaged, ENDS_EARLY, ImageError } from "./errors.js";
import { thousands } from "./header.js";

const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
// Where the seven passes of an interlaced image begin, and the distances between their pixels.
const PASSES = [
  [0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2],
];
const WHOLE = [[0, 0, 1, 1]];

/**
 * Decode the pixels.
 *
 * @param {{width: number, height: number, parts: {name: string, content: Uint8Array}[]}} header
 * @returns {Promise<{data: Uint8Array, width: number, height: number, channels: 1|3|4}>} Grey,
 *   colour, or colour with opacity.
 * @throws {ImageError} It is damaged, or has values of more than 8 bits.
 */
export async function readPng(header) {
  const form = formOf(header);
  const total = header.width * header.height * form.channels;
  const data = form.depth === 16 ? new Uint16Array(total) : new Uint8Array(total);
  const rows = new Rows(inflated(header));
  try {
    for (const pass of form.interlaced ? PASSES : WHOLE) await readPass(rows, pass, form, data);
  } finally {
    await rows.close();
  }
  return finished(form.depth === 16 ? eightBits(data, form) : data, form);
}

/** Keep values of 16 bits that fit into 8; the opacity always has 16. */
function eightBits(data, { kind, channels }) {
  const opacity = kind === 4 || kind === 6 ? channels - 1 : -1;
  let highest = 0;
  for (let i = 0; i < data.length; i++) {
    if (data[i] > highest && i % channels !== opacity) highest = data[i];
  }
  if (highest > 255) {
    const bits = [10, 12, 14, 16].find((each) => highest < 1 << each);
    throw new ImageError(
      `${bits}-bit values up to ${thousands(highest)}, but a depth of 8 bits; expected values ` +
        `up to 255: convert it to 8 bits, or train at its depth (--depth ${bits})`,
    );
  }
  return Uint8Array.from(data, (value, i) => (i % channels === opacity ? value >> 8 : value));
}

function formOf({ width, height, parts }) {
  const [depth, kind, packing, filter, interlaced] = parts[0].content.subarray(8, 13);
  if (!DEPTHS[kind]?.includes(depth) || packing || filter || interlaced > 1) {
    throw damaged("its header does not describe a PNG");
  }
  const before = parts.slice(0, parts.findIndex(({ name }) => name === "IDAT"));
  const content = (wanted) => before.filter(({ name }) => name === wanted).at(-1)?.content;
  const palette = content("PLTE") ?? new Uint8Array();
  const opacity = content("tRNS");
  return { width, height, depth, kind, interlaced, palette, opacity, channels: CHANNELS[kind] };
}

function inflated({ parts }) {
  const packed = parts.filter(({ name }) => name === "IDAT").map(({ content }) => content);
  return new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
}

/** Splits a stream into rows; data behind the last one is not read. */
class Rows {
  constructor(reader) {
    this.reader = reader;
    this.chunk = new Uint8Array();
    this.place = 0;
  }

  /** Fill `row` with the next bytes. */
  async read(row) {
    for (let done = 0; done < row.length; ) {
      if (this.place === this.chunk.length) await this.next();
      const part = this.chunk.subarray(this.place, this.place + row.length - done);
      row.set(part, done);
      done += part.length;
      this.place += part.length;
    }
  }

  async next() {
    let found;
    try {
      found = await this.reader.read();
    } catch (error) {
      throw damaged("its data is not a deflate stream, or ends too soon");
    }
    if (found.done) throw new ImageError(ENDS_EARLY);
    this.chunk = found.value;
    this.place = 0;
  }

  /** Release the stream, even after an error. */
  async close() {
    await this.reader.cancel().catch(() => undefined);
  }
}

async function readPass(rows, [left, top, across, down], form, data) {
  const { width, height, depth, channels } = form;
  const columns = Math.ceil((width - left) / across);
  if (columns <= 0) return;
  const bits = depth * channels;
  const length = Math.ceil((columns * bits) / 8);
  const filter = new Uint8Array(1);
  let [row, above] = [new Uint8Array(length), new Uint8Array(length)];
  for (let y = top; y < height; y += down) {
    await rows.read(filter);
    await rows.read(row);
    unfilter(filter[0], row, above, Math.max(1, bits >> 3));
    placeSamples(row, data, (y * width + left) * channels, across, columns, form);
    [row, above] = [above, row];
  }
}

/** Undo the filter of a row (PNG 3rd edition, section 9.2). */
function unfilter(kind, row, above, step) {
  if (kind === 0) return;
  if (kind > 4) throw damaged("a row has an unknown filter");
  for (let i = 0; i < row.length; i++) {
    const left = i < step ? 0 : row[i - step];
    if (kind === 1) row[i] += left;
    else if (kind === 2) row[i] += above[i];
    else if (kind === 3) row[i] += (left + above[i]) >> 1;
    else row[i] += paeth(left, above[i], i < step ? 0 : above[i - step]);
  }
}

function paeth(a, b, c) {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  if (pa <= pb && pa <= pc) return a;
  return pb <= pc ? b : c;
}

/** Place a row's samples in the image. */
function placeSamples(row, data, start, apart, columns, { depth, channels, kind }) {
  const step = apart * channels;
  const scale = kind === 0 && depth < 8 ? 255 / ((1 << depth) - 1) : 1; // grey becomes 0..255
  for (let x = 0, to = start; x < columns; x++, to += step) {
    for (let c = 0; c < channels; c++) {
      const k = x * channels + c;
      if (depth === 8) data[to + c] = row[k];
      else if (depth === 16) data[to + c] = (row[2 * k] << 8) | row[2 * k + 1];
      else {
        const bit = k * depth;
        const value = (row[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
        data[to + c] = value * scale;
      }
    }
  }
}

function finished(data, form) {
  const { width, height, kind, opacity, depth } = form;
  const image = (pixels, channels) => ({ data: pixels, width, height, channels });
  if (kind === 6) return image(data, 4);
  if (kind === 4) return image(withOpacity(data, 2, (i) => data[i + 1]), 4);
  if (kind === 3) return paletted(data, form);
  if (!opacity || depth === 16) return image(data, kind === 2 ? 3 : 1);
  const key = keyOf(opacity, form);
  const clear = (i) => key.every((value, c) => data[i + c] === value);
  return image(withOpacity(data, key.length, (i) => (clear(i) ? 0 : 255)), 4);
}

/** Return the transparent colour, as the samples are stored here. */
function keyOf(opacity, { kind, depth }) {
  const count = kind === 2 ? 3 : 1;
  if (opacity.length < 2 * count) throw damaged("its transparency is truncated");
  const value = (c) => (opacity[2 * c] << 8) | opacity[2 * c + 1];
  const values = Array.from({ length: count }, (_, c) => value(c));
  if (depth === 1) return [values[0] ? 255 : 0];
  return values.map((each) => each & 255);
}

/** Make red, green, blue and opacity from 1 to 3 channels. */
function withOpacity(data, channels, opacity) {
  const count = data.length / channels;
  const result = new Uint8Array(4 * count);
  for (let k = 0, i = 0; k < count; k++, i += channels) {
    for (let c = 0; c < 3; c++) result[4 * k + c] = data[channels === 3 ? i + c : i];
    result[4 * k + 3] = opacity(i);
  }
  return result;
}

/** Look up the colours. Those that the palette lacks are black, as in Pillow. */
function paletted(data, { width, height, palette, opacity }) {
  const known = Math.floor(palette.length / 3);
  const channels = opacity ? 4 : 3;
  const result = new Uint8Array(data.length * channels);
  for (let k = 0; k < data.length; k++) {
    const index = data[k];
    for (let c = 0; c < 3; c++) {
      result[channels * k + c] = index < known ? palette[3 * index + c] : 0;
    }
    if (opacity) result[channels * k + 3] = index < opacity.length ? opacity[index] : 255;
  }
  return { data: result, width, height, channels };
}
