// A JPEG file to coefficients, and coefficients to the pixels of libjpeg-turbo, bit for bit.
//
// A file is decoded once; its coefficients give the image in any of four sizes. Files that libjpeg
// reads with a warning, because they are damaged or lack scans, are rejected.

import { damaged } from "../errors.js";
import { Bits, huffmanTable } from "./bits.js";
import { toColour, fromInks } from "./colour.js";
import { plane } from "./inverse.js";
import { ORDER, readScan } from "./scan.js";
import { upsampled } from "./upsample.js";

/**
 * Read all scans.
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
    if (!component.steps || !complete(component)) throw damaged("some of its scans are missing");
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
    if (at + 64 * (wide ? 2 : 1) > content.length) throw damaged("its quantisation table is truncated");
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
      throw damaged("its Huffman table is truncated");
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
    throw damaged("the sizes of its channels are invalid");
  }
  const [maxH, maxV] = [maximum(components, "h"), maximum(components, "v")];
  const unitsAcross = Math.ceil(width / (8 * maxH));
  const unitsDown = Math.ceil(height / (8 * maxV));
  for (const each of components) {
    each.blocksWide = Math.ceil((width * each.h) / (8 * maxH));
    each.blocksHigh = Math.ceil((height * each.v) / (8 * maxV));
    each.across = unitsAcross * each.h;
    each.down = unitsDown * each.v;
    each.coefficients = new Int16Array(each.across * each.down * 64);
    each.reached = new Int8Array(64).fill(-1); // the lowest known bit; -1 for none
  }
  const progressive = name === 0xc2;
  state.frame = { width, height, maxH, maxV, unitsAcross, unitsDown, components, progressive };
}

function maximum(components, side) {
  return Math.max(...components.map((component) => component[side]));
}

function complete({ reached }) {
  return reached.every((bit) => bit === 0);
}

function readOneScan(state, { content, after, end }, data) {
  const { frame } = state;
  const count = content[0];
  if (content.length < 4 + 2 * count || count < 1 || count > 4) {
    throw damaged("a scan is truncated");
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
    if (!component) throw damaged("a scan refers to a missing channel");
    scan.parts.push({ component, dc: state.dc[tables >> 4], ac: state.ac[tables & 15] });
    component.steps ||= state.steps[component.table]; // those at the channel's first scan
  }
  checkScan(scan, frame);
  readScan(scan, frame, new Bits(data, after, end));
}

/** Check that a scan is valid and in order, and record its bits (T.81, G.1.1.1). */
function checkScan({ parts, from, to, high, low }, { progressive }) {
  const blocks = parts.reduce((sum, { component: { h, v } }) => sum + h * v, 0);
  const twice = new Set(parts.map(({ component }) => component)).size < parts.length;
  const wrong = to > 63 || from > to || low > 13 || (high && low !== high - 1);
  const mixed = progressive && (from ? parts.length > 1 : to > 0);
  if (wrong || mixed || twice || (parts.length > 1 && blocks > 10)) {
    throw damaged("a scan is invalid");
  }
  for (const { component, dc, ac } of parts) {
    if ((from === 0 && !high && !dc) || (to > 0 && !ac)) {
      throw damaged("a Huffman table is missing");
    }
    if (progressive && from > 0 && component.reached[0] < 0) throw damaged("its scans are out of order");
    for (let k = from; k <= to; k++) {
      if (component.reached[k] !== (high || -1)) throw damaged("its scans are out of order");
      component.reached[k] = low;
    }
  }
}

/** Return what the channels are, as libjpeg decides (jdapimin.c, default_decompress_parms). */
function colourSpace({ jfif, adobe }, { components }) {
  const ids = components.map(({ id }) => id).join();
  if (components.length === 1) return "grey";
  if (components.length === 4) return adobe === null || adobe === 0 ? "cmyk" : "ycck";
  if (jfif) return "ycc";
  if (adobe !== null) return adobe === 0 ? "rgb" : "ycc";
  return ids === "82,71,66" ? "rgb" : "ycc";
}

/**
 * Make pixels.
 *
 * @param frame Of `readFrame`.
 * @param {1|2|4|8} reduction By how much each side is smaller than the image.
 * @param {boolean} colour Whether to return colour, if the image has any.
 * @returns {{data: Uint8ClampedArray, width: number, height: number, channels: 1|3}} Red, green and
 *   blue; or luma (ITU-R BT.601), or the only channel.
 */
export function render(frame, reduction, colour) {
  const minSide = 8 / reduction;
  const width = Math.ceil(frame.width / reduction);
  const height = Math.ceil(frame.height / reduction);
  const luma = frame.space === "grey" || (frame.space === "ycc" && !colour);
  const used = luma ? frame.components.slice(0, 1) : frame.components;
  const planes = used.map((component) => fullPlane(component, frame, minSide, { width, height }));
  if (luma) return { data: planes[0], width, height, channels: 1 };
  const data = planes.length === 4 ? fromInks(planes, frame.space) : toColour(planes, frame.space);
  return { data, width, height, channels: 3 };
}

/** Make the pixels of one channel, at the size of the image. */
function fullPlane(component, frame, minSide, size) {
  const { h, v } = component;
  const { maxH, maxV } = frame;
  const side = sideOf(component, frame, minSide);
  const real = {
    width: Math.ceil((frame.width * h * side) / (maxH * 8)),
    height: Math.ceil((frame.height * v * side) / (maxV * 8)),
  };
  const times = { across: (maxH * minSide) / (h * side), down: (maxV * minSide) / (v * side) };
  return upsampled(plane(component, side), real, times, size, minSide > 1);
}

/** Return how many pixels a block becomes on each side; the more, the less upsampling follows. */
function sideOf({ h, v }, { maxH, maxV }, minSide) {
  const [across, down] = [maxH * minSide, maxV * minSide];
  const divides = (each) => across % (h * each) === 0 && down % (v * each) === 0;
  let side = minSide;
  while (side < 8 && divides(2 * side)) side *= 2;
  return side;
}
