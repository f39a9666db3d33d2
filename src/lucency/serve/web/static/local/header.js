// The header of a PNG or JPEG file, with the limits of lucency/imaging/headers.
//
// The parts that hold pixels are returned; comments, colour profiles and thumbnails are ignored.

import { ENDS_EARLY, ImageError } from "./errors.js";

export const MOST_BYTES = 256 * 2 ** 20;
export const MOST_PIXELS = 8192 * 6144;
const LEAST_SIDE = 8;
const MOST_CHUNKS = 2 ** 17;
const MOST_SEGMENTS = 2 ** 14;
const MOST_SCANS = 100;
const PNG_START = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const PNG_PIXELS = new Set(["IHDR", "PLTE", "tRNS", "IDAT", "IEND"]);
const FOREIGN = [
  ["GIF8", "GIF"],
  ["BM", "BMP"],
  ["II*\0", "TIFF"],
  ["MM\0*", "TIFF"],
  ["RIFF", "WebP"],
  ["\0\0\0\x0cjP  ", "JPEG 2000"],
  ["\xff\x4f\xff\x51", "JPEG 2000"],
  ["%PDF", "PDF"],
  ["PK\x03\x04", "ZIP"],
  ["\xff\x0a", "JPEG XL"],
  ["\0\0\0\x0cJXL ", "JPEG XL"],
];
const AVIF = ["avif", "avis"];
const HEIF = ["heic", "heix", "heim", "heis", "hevc", "mif1", "msf1"];
const WEB_PAGE = /^\s*<(!doctype html|html|head|body)\b/i;
const FRAMES = new Set([0xc0, 0xc1, 0xc2]);

/**
 * Read the header and check the limits; nothing is decoded.
 *
 * @param {Uint8Array} data The file.
 * @returns {{kind: "PNG"|"JPEG", width: number, height: number, orientation: number,
 *   parts: {name: string|number, content: Uint8Array, after: number}[]}} Width and height as
 *   stored; orientation as EXIF numbers it, 1 to 8; chunks or segments in their order; the
 *   entropy-coded data of a JPEG's scan starts at `after` and ends at `end`.
 * @throws {ImageError} It is another file, or damaged, animated, too large or too small.
 */
export function readHeader(data) {
  if (data.length > MOST_BYTES) {
    const size = Math.ceil(data.length / 2 ** 20);
    throw new ImageError(`${size} MiB are too many; at most 256 MiB are read: shrink it`);
  }
  let header;
  try {
    if (PNG_START.every((byte, i) => data[i] === byte)) header = readPng(data);
    else if (data[0] === 0xff && data[1] === 0xd8 && data[2] === 0xff) header = readJpeg(data);
  } catch (error) {
    if (error instanceof RangeError) throw new ImageError(ENDS_EARLY);
    throw error;
  }
  if (!header) throw new ImageError(describeOther(data));
  checkLimits(header);
  return header;
}

function text(data, start, end) {
  return String.fromCharCode(...data.subarray(start, Math.min(end, data.length)));
}

function describeOther(data) {
  if (!data.length) return "the file is empty (0 bytes); get it again";
  if (text(data, 128, 132) === "DICM") {
    return (
      "a DICOM file, which this page does not read: `lucency predict` and `lucency serve` do; " +
      "or export its image as PNG"
    );
  }
  const start = text(data, 0, 12);
  for (const [begins, kind] of FOREIGN) {
    if (start.startsWith(begins)) {
      return `a ${kind} file; expected PNG or JPEG: convert it to PNG`;
    }
  }
  if (start.slice(4, 8) === "ftyp" && AVIF.includes(start.slice(8, 12))) {
    return "an AVIF file; expected PNG or JPEG: convert it to PNG";
  }
  if (start.slice(4, 8) === "ftyp" && HEIF.includes(start.slice(8, 12))) {
    return (
      "a HEIC file, for which there is no decoder under a permissive licence; export it as JPEG, " +
      "or choose the most compatible format in the camera's settings"
    );
  }
  if (WEB_PAGE.test(text(data, 0, 1000))) {
    return "not an image but a web page, saved under its name; get the image itself";
  }
  return "not an image, whatever its name says: its content is not PNG or JPEG";
}

function checkLimits({ height, width, frames }) {
  const shape = `${thousands(width)} x ${thousands(height)} pixels`;
  if (frames > 1) {
    throw new ImageError(
      `animated (${thousands(frames)} frames); expected one image: save one frame as PNG`,
    );
  }
  if (height * width > MOST_PIXELS) {
    throw new ImageError(
      `${shape} are too many; at most ${thousands(MOST_PIXELS)} are decoded: shrink it`,
    );
  }
  if (Math.min(height, width) < LEAST_SIDE) {
    throw new ImageError(
      `${shape} are too few; expected at least ${LEAST_SIDE} on each side`,
    );
  }
}

export function thousands(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

function faulty(what) {
  return new ImageError(`the file is damaged (${what}); get it again`);
}

/** Read the chunks: length, name, content, checksum (PNG 3rd edition, section 5). */
function readPng(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const header = { kind: "PNG", width: 0, height: 0, orientation: 0, frames: 1, parts: [] };
  let place = PNG_START.length;
  for (let number = 0; number < MOST_CHUNKS; number++) {
    const length = view.getUint32(place);
    const name = text(data, place + 4, place + 8);
    const end = place + 12 + length;
    if (end > data.length) throw new ImageError(ENDS_EARLY);
    // A second IHDR would let an image of any size past the check of the first.
    if ((number === 0) !== (name === "IHDR")) throw faulty("its header is misplaced");
    const content = data.subarray(place + 8, end - 4);
    if (PNG_PIXELS.has(name)) {
      if (crc32(data.subarray(place + 4, end - 4)) !== view.getUint32(end - 4)) {
        throw faulty("a checksum is wrong");
      }
      header.parts.push({ name, content });
    }
    if (name === "IHDR") {
      header.width = view.getUint32(place + 8);
      header.height = view.getUint32(place + 12);
    } else if (name === "acTL") {
      header.frames = view.getUint32(place + 8);
    } else if (name === "eXIf" && !header.orientation) {
      header.orientation = orientationIn(content);
    } else if (name === "IEND") {
      header.orientation ||= 1;
      return header;
    }
    place = end;
  }
  throw faulty("too many chunks");
}

const CRC = new Int32Array(256).map((_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(data) {
  let crc = -1;
  for (let i = 0; i < data.length; i++) crc = CRC[(crc ^ data[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Read the segments: FF, marker, length, content (ITU T.81, B.1). */
function readJpeg(data) {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const header = { kind: "JPEG", width: 0, height: 0, orientation: 0, frames: 1, parts: [] };
  let place = 2;
  let scans = 0;
  for (let count = 0; count < MOST_SEGMENTS; count++) {
    place = data.indexOf(0xff, place);
    if (place < 0) throw new RangeError();
    const marker = view.getUint8(place + 1);
    if (marker === 0xd9 && scans) {
      header.orientation ||= 1;
      return header;
    }
    if (!scans && (marker === 0xff || hasNoContent(marker))) {
      place += marker === 0xff ? 1 : 2;
      continue;
    }
    const end = place + 2 + view.getUint16(place + 2);
    const content = data.subarray(place + 4, end);
    const part = { name: marker, content, after: end, end };
    if (isFrame(marker)) {
      if (header.height) throw faulty("it has two headers");
      readFrame(header, marker, view, place + 4);
    } else if (scans ? !isBetweenScans(marker) : marker === 0xda && !header.height) {
      throw faulty("its segments are out of order");
    } else if (marker === 0xda) {
      part.end = endOfScan(data, end, ++scans);
    } else if (marker === 0xe1 && !header.orientation && text(content, 0, 6) === "Exif\0\0") {
      header.orientation = orientationIn(content.subarray(6));
    }
    header.parts.push(part);
    place = part.end;
  }
  throw faulty("too many segments");
}

function hasNoContent(marker) {
  return marker <= 1 || (marker >= 0xd0 && marker <= 0xd8);
}

function isFrame(marker) {
  return (marker & 0xf0) === 0xc0 && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

function isBetweenScans(marker) {
  return (
    marker === 0xc4 || marker === 0xfe || (marker & 0xf0) === 0xe0 ||
    (marker >= 0xda && marker <= 0xdd)
  );
}

function readFrame(header, marker, view, start) {
  const bits = view.getUint8(start);
  header.height = view.getUint16(start + 1);
  header.width = view.getUint16(start + 3);
  if (!FRAMES.has(marker) || bits !== 8) {
    const kind = bits !== 8 ? `${bits}-bit` : "lossless, hierarchical or arithmetic-coded";
    throw new ImageError(
      `a JPEG of a rare kind (${kind}); expected a baseline or progressive one: save it as PNG`,
    );
  }
  if (!header.height) {
    throw new ImageError(
      "a JPEG of a rare kind (its header does not state the height); save it as PNG",
    );
  }
}

/** Return the position of the next marker that cannot occur inside a scan. */
function endOfScan(data, start, scans) {
  if (scans > MOST_SCANS) {
    throw new ImageError(
      `a JPEG of more than ${MOST_SCANS} scans, as in denial-of-service attacks; ` +
        "save it as PNG if it is genuine",
    );
  }
  for (let i = data.indexOf(0xff, start); i >= 0; i = data.indexOf(0xff, i + 1)) {
    const next = data[i + 1];
    if (next === undefined) break;
    if (next !== 0 && next !== 0xff && (next < 0xd0 || next > 0xd7)) return i;
  }
  throw new ImageError(ENDS_EARLY);
}

/** Return tag 0x0112 of the first directory (TIFF 6.0, section 2); 1 if damaged or absent. */
function orientationIn(exif) {
  const order = text(exif, 0, 4);
  if (order !== "II*\0" && order !== "MM\0*") return 1;
  const little = order === "II*\0";
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  try {
    const place = view.getUint32(4, little);
    const count = view.getUint16(place, little);
    for (let k = 0; k < count; k++) {
      const entry = place + 2 + 12 * k;
      const [tag, kind] = [view.getUint16(entry, little), view.getUint16(entry + 2, little)];
      const value = view.getUint16(entry + 8, little);
      if (tag === 0x0112 && kind === 3) return value >= 1 && value <= 8 ? value : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}
