// A JPEG file to coefficients, and coefficients to pixels as libjpeg-turbo makes them, to the bit.
//
// Images are decoded once; from the coefficients they are made at any of the four sizes. Files
// that libjpeg reads with a warning - damaged, or with scans left out - are refused.

import { damaged } from "../errors.js";
import { Bits, huffmanTable } from "./bits.js";
import { toColour, toInk } from "./colour.js";
import { plane } from "./inverse.js";
import { ORDER, readScan } from "./scan.js";
import { upsampled } from "./upsample.js";

/**
 * Reads all scans.
 *
 * @param {{parts: object[], width: number, height: number}} header Of `readHeader`.
 * @param {Uint8Array} data The whole file.
 * @returns A frame, for `render`.
 */
export function readFrame(header, data) {
  const state = { steps: [], dc: [], ac: [], interval: 0, jfif: false, adobe: null, frame: null };
  for (const part of header.parts) {
    const { name, content } = part;
    if (name === 0xdb) readSteps(state, content);
    else if (name === 0xc4) readTables(state, content);
    else if (name === 0xdd) state.interval = (content[0] << 8) | content[1];
    else if (name === 0xe0) state.jfif ||= startsWith(content, "JFIF\0") && content.length >= 14;
    else if (name === 0xee && startsWith(content, "Adobe") && content.length >= 12) {
      state.adobe = content[11];
    } else if (name === 0xda) readOneScan(state, part, data);
    else if (name >= 0xc0 && name <= 0xc2) startFrame(state, header, part);
  }
  const { frame } = state;
  for (const component of frame.components) {
    if (!component.steps || !complete(component)) throw damaged("a part of its scans is missing");
  }
  frame.space = colourSpace(state, frame);
  return frame;
}

function startsWith(content, text) {
  return [...text].every((sign, i) => content[i] === sign.charCodeAt(0));
}

function readSteps(state, content) {
  for (let at = 0; at < content.length; ) {
    const wide = content[at] >> 4;
    const steps = new Uint16Array(64);
    const number = content[at++] & 15;
    if (at + 64 * (wide ? 2 : 1) > content.length) throw damaged("its quantisation is cut short");
    for (let k = 0; k < 64; k++) {
      steps[ORDER[k]] = wide ? (content[at++] << 8) | content[at++] : content[at++];
    }
    state.steps[number] = steps;
  }
}

function readTables(state, content) {
  for (let at = 0; at < content.length; ) {
    const [kind, number] = [content[at] >> 4, content[at] & 15];
    const counts = content.subarray(at + 1, at + 17);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const values = content.slice(at + 17, at + 17 + total);
    if (counts.length < 16 || values.length < total || total > 256 || kind > 1) {
      throw damaged("its table of codes is cut short");
    }
    (kind ? state.ac : state.dc)[number] = huffmanTable(counts, values);
    at += 17 + total;
  }
}

function startFrame(state, { width, height }, { name, content }) {
  const count = content[5];
  if (![1, 3, 4].includes(count) || content.length < 6 + 3 * count) {
    throw damaged(`it has ${count} channels`);
  }
  const components = [];
  for (let k = 0; k < count; k++) {
    const [id, sampling, table] = content.subarray(6 + 3 * k, 9 + 3 * k);
    components.push({ id, h: sampling >> 4, v: sampling & 15, table, steps: null });
  }
  if (components.some(({ h, v }) => h < 1 || h > 4 || v < 1 || v > 4)) {
    throw damaged("its channels are of impossible sizes");
  }
  const [mostH, mostV] = [most(components, "h"), most(components, "v")];
  const unitsAcross = Math.ceil(width / (8 * mostH));
  const unitsDown = Math.ceil(height / (8 * mostV));
  for (const each of components) {
    each.blocksWide = Math.ceil((width * each.h) / (8 * mostH));
    each.blocksHigh = Math.ceil((height * each.v) / (8 * mostV));
    each.across = unitsAcross * each.h;
    each.down = unitsDown * each.v;
    each.coefficients = new Int16Array(each.across * each.down * 64);
    each.reached = new Int8Array(64).fill(-1); // the lowest bit that is known; -1 for none
  }
  const progressive = name === 0xc2;
  state.frame = { width, height, mostH, mostV, unitsAcross, unitsDown, components, progressive };
}

function most(components, side) {
  return Math.max(...components.map((component) => component[side]));
}

function complete({ reached }) {
  return reached.every((bit) => bit === 0);
}

function readOneScan(state, { content, after, end }, data) {
  const { frame } = state;
  const count = content[0];
  if (content.length < 4 + 2 * count || count < 1 || count > 4) {
    throw damaged("a scan is cut short");
  }
  const [from, to, bit] = content.subarray(1 + 2 * count, 4 + 2 * count);
  const scan = frame.progressive
    ? { from, to, high: bit >> 4, low: bit & 15 }
    : { from: 0, to: 63, high: 0, low: 0 };
  scan.progressive = frame.progressive;
  scan.interval = state.interval;
  scan.parts = [];
  for (let k = 0; k < count; k++) {
    const component = frame.components.find(({ id }) => id === content[1 + 2 * k]);
    const tables = content[2 + 2 * k];
    if (!component) throw damaged("a scan is of no channel");
    scan.parts.push({ component, dc: state.dc[tables >> 4], ac: state.ac[tables & 15] });
    component.steps ||= state.steps[component.table]; // those of the channel's first scan count
  }
  checkScan(scan, frame);
  readScan(scan, frame, new Bits(data, after, end));
}

/** Refuses scans that are not in order, and notes what they bring (T.81, G.1.1.1). */
function checkScan({ parts, from, to, high, low }, { progressive }) {
  const blocks = parts.reduce((sum, { component: { h, v } }) => sum + h * v, 0);
  const twice = new Set(parts.map(({ component }) => component)).size < parts.length;
  const wrong = to > 63 || from > to || low > 13 || (high && low !== high - 1);
  const mixed = progressive && (from ? parts.length > 1 : to > 0);
  if (wrong || mixed || twice || (parts.length > 1 && blocks > 10)) {
    throw damaged("a scan is impossible");
  }
  for (const { component, dc, ac } of parts) {
    if ((from === 0 && !high && !dc) || (to > 0 && !ac)) {
      throw damaged("a table of codes is missing");
    }
    if (progressive && from > 0 && component.reached[0] < 0) throw damaged("a scan is too early");
    for (let k = from; k <= to; k++) {
      if (component.reached[k] !== (high || -1)) throw damaged("its scans are not in order");
      component.reached[k] = low;
    }
  }
}

/** Tells what the channels are, as libjpeg does (jdapimin.c, default_decompress_parms). */
function colourSpace({ jfif, adobe }, { components }) {
  const ids = components.map(({ id }) => id).join();
  if (components.length === 1) return "grey";
  if (components.length === 4) return adobe === null || adobe === 0 ? "cmyk" : "ycck";
  if (jfif) return "ycc";
  if (adobe !== null) return adobe === 0 ? "rgb" : "ycc";
  return ids === "82,71,66" ? "rgb" : "ycc";
}

/**
 * Makes pixels.
 *
 * @param frame Of `readFrame`.
 * @param {1|2|4|8} reduction By how much each side is smaller than the image.
 * @param {boolean} colour Whether channels of colour are wanted where there are any.
 * @returns {{data: Uint8ClampedArray, width: number, height: number, channels: 1|3}} Red, green and
 *   blue; or luma (ITU-R BT.601), or the only channel.
 */
export function render(frame, reduction, colour) {
  const least = 8 / reduction;
  const width = Math.ceil(frame.width / reduction);
  const height = Math.ceil(frame.height / reduction);
  const luma = frame.space === "grey" || (frame.space === "ycc" && !colour);
  const wanted = luma ? frame.components.slice(0, 1) : frame.components;
  const planes = wanted.map((component) => fullPlane(component, frame, least, { width, height }));
  if (luma) return { data: planes[0], width, height, channels: 1 };
  const data = planes.length === 4 ? toInk(planes, frame.space) : toColour(planes, frame.space);
  return { data, width, height, channels: 3 };
}

/** Makes one channel's pixels, as many as the image has. */
function fullPlane(component, frame, least, size) {
  const { h, v } = component;
  const { mostH, mostV } = frame;
  const side = sideOf(component, frame, least);
  const real = {
    width: Math.ceil((frame.width * h * side) / (mostH * 8)),
    height: Math.ceil((frame.height * v * side) / (mostV * 8)),
  };
  const times = { across: (mostH * least) / (h * side), down: (mostV * least) / (v * side) };
  return upsampled(plane(component, side), real, times, size, least > 1);
}

/** Returns how many pixels a block becomes: the more, the less there is to enlarge afterwards. */
function sideOf({ h, v }, { mostH, mostV }, least) {
  const [across, down] = [mostH * least, mostV * least];
  const divides = (each) => across % (h * each) === 0 && down % (v * each) === 0;
  let side = least;
  while (side < 8 && divides(2 * side)) side *= 2;
  return side;
}
