// One scan: coefficients from entropy-coded data, sequential or progressive (ITU T.81, F and G).

import { damaged } from "../errors.js";
import { Bits } from "./bits.js";

/** Position in a block of the k-th coefficient of the file (zigzag order). */
export const ORDER = Uint8Array.of(
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
  13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52,
  45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
);

/**
 * Read a scan into the coefficients of its components.
 *
 * @param {object} scan `parts`: for each component in it `component` and its tables `dc` and `ac`;
 *   `from` and `to`: its coefficients, in the order of the file; `high` and `low`: the lowest bit
 *   before and after it; `progressive`; `interval`: units between restarts, 0 for none.
 * @param {{unitsAcross: number, unitsDown: number}} frame Units of several components.
 * @param {Bits} bits
 */
export function readScan(scan, frame, bits) {
  const state = { bits, scan, zeros: 0 };
  const block = blockReader(scan);
  for (const part of scan.parts) part.last = 0;
  const single = scan.parts.length === 1 ? scan.parts[0].component : null;
  const across = single ? single.blocksWide : frame.unitsAcross;
  const units = across * (single ? single.blocksHigh : frame.unitsDown);
  for (let unit = 0, restarts = 0; unit < units; unit++) {
    if (scan.interval && unit && unit % scan.interval === 0) {
      bits.restart(restarts++);
      state.zeros = 0;
      for (const part of scan.parts) part.last = 0;
    }
    const row = Math.floor(unit / across);
    const column = unit % across;
    if (single) block(state, scan.parts[0], placeOf(single, row, column));
    else readUnit(state, block, row, column);
  }
}

function readUnit(state, block, row, column) {
  for (const part of state.scan.parts) {
    const { h, v } = part.component;
    for (let y = 0; y < v; y++) {
      for (let x = 0; x < h; x++) {
        block(state, part, placeOf(part.component, row * v + y, column * h + x));
      }
    }
  }
}

function placeOf(component, row, column) {
  return (row * component.across + column) * 64;
}

function blockReader({ progressive, from, high }) {
  if (!progressive) return sequential;
  if (from === 0) return high ? refineFirst : first;
  return high ? refineOthers : others;
}

/** Read a block's DC coefficient, which is stored as the difference from the previous block's. */
function dcOf({ bits }, part) {
  const length = bits.decode(part.dc);
  if (length > 15) throw damaged("a DC coefficient is invalid");
  part.last += bits.signed(length);
  return part.last;
}

function sequential(state, part, place) {
  const { bits } = state;
  const { coefficients } = part.component;
  coefficients[place] = dcOf(state, part);
  for (let k = 1; k < 64; k++) {
    const code = bits.decode(part.ac);
    const length = code & 15;
    if (length === 0) {
      if (code !== 0xf0) return;
      k += 15;
      continue;
    }
    k += code >> 4;
    if (k > 63) throw damaged("a block is too long");
    coefficients[place + ORDER[k]] = bits.signed(length);
  }
}

function first(state, part, place) {
  part.component.coefficients[place] = dcOf(state, part) << state.scan.low;
}

function refineFirst({ bits, scan }, part, place) {
  if (bits.take(1)) part.component.coefficients[place] |= 1 << scan.low;
}

function others(state, part, place) {
  const { bits, scan } = state;
  if (state.zeros) {
    state.zeros--;
    return;
  }
  for (let k = scan.from; k <= scan.to; k++) {
    const code = bits.decode(part.ac);
    const [run, length] = [code >> 4, code & 15];
    if (length === 0 && run < 15) {
      state.zeros = (1 << run) - 1 + (run ? bits.take(run) : 0);
      return;
    }
    k += run;
    if (length === 0) continue;
    if (k > 63) throw damaged("a block is too long");
    part.component.coefficients[place + ORDER[k]] = bits.signed(length) << scan.low;
  }
}

/** Add a bit to coefficients that are not 0, and set those that become so (T.81, G.1.2.3). */
function refineOthers(state, part, place) {
  const { bits, scan } = state;
  const { coefficients } = part.component;
  let k = scan.from;
  for (; state.zeros === 0 && k <= scan.to; k++) {
    const code = bits.decode(part.ac);
    const run = code >> 4;
    let value = 0;
    if (code & 15) {
      if ((code & 15) !== 1) throw damaged("a refinement has more than one bit");
      value = bits.take(1) ? 1 << scan.low : -1 << scan.low;
    } else if (run < 15) {
      state.zeros = (1 << run) + (run ? bits.take(run) : 0);
      break;
    }
    k = refineUpTo(state, coefficients, place, k, run);
    if (value && k <= 63) coefficients[place + ORDER[k]] = value;
  }
  if (state.zeros) {
    refineUpTo(state, coefficients, place, k, 64);
    state.zeros--;
  }
}

/** Skip so many zeros, refining what lies between; returns the position behind them. */
function refineUpTo({ bits, scan }, coefficients, place, k, zeros) {
  for (; k <= scan.to; k++) {
    const at = place + ORDER[k];
    const value = coefficients[at];
    if (value === 0) {
      if (zeros-- === 0) break;
    } else if (bits.take(1) && (value & (1 << scan.low)) === 0) {
      coefficients[at] += value > 0 ? 1 << scan.low : -1 << scan.low;
    }
  }
  return k;
}
