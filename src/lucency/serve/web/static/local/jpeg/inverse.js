// The inverse DCTs of libjpeg's "islow" method, bit for bit: 8 x 8 coefficients to 8 x 8, 4 x 4,
// 2 x 2 or 1 x 1 pixels (Loeffler, Ligtenberg & Moschytz 1989; jidctint.c and jidctred.c).

const BITS = 13; // of the constants
const EXTRA = 2; // bits kept between the passes

const multiply = Math.imul;
const space = new Int32Array(64);
const values = new Int32Array(64); // coefficients times their quantisation steps

/**
 * Make the pixels of one component.
 *
 * @param {{coefficients: Int16Array, steps: Uint16Array, across: number, down: number}} component
 *   Blocks of 64 coefficients in rows of `across` blocks, in natural order.
 * @param {1|2|4|8} side Pixels of a block on each side.
 * @returns {{data: Uint8ClampedArray, width: number, height: number}} The plane, of whole blocks.
 */
export function plane({ coefficients, steps, across, down }, side) {
  const width = across * side;
  const data = new Uint8ClampedArray(width * down * side);
  const inverse = { 1: one, 2: two, 4: four, 8: eight }[side];
  for (let row = 0; row < down; row++) {
    for (let column = 0; column < across; column++) {
      const block = (row * across + column) * 64;
      for (let i = 0; i < 64; i++) values[i] = multiply(coefficients[block + i], steps[i]);
      inverse(data, row * side * width + column * side, width);
    }
  }
  return { data, width, height: down * side };
}

function one(data, to) {
  data[to] = ((values[0] + 4) >> 3) + 128;
}

function two(data, to, width) {
  for (const x of [0, 1, 3, 5, 7]) {
    const even = values[x] << (BITS + 2);
    const odd = twoOdd(values[56 + x], values[40 + x], values[24 + x], values[8 + x]);
    space[x] = (even + odd + (1 << 12)) >> 13;
    space[8 + x] = (even - odd + (1 << 12)) >> 13;
  }
  for (let y = 0; y < 2; y++) {
    const at = 8 * y;
    const even = space[at] << (BITS + 2);
    const odd = twoOdd(space[at + 7], space[at + 5], space[at + 3], space[at + 1]);
    data[to + y * width] = ((even + odd + (1 << 19)) >> 20) + 128;
    data[to + y * width + 1] = ((even - odd + (1 << 19)) >> 20) + 128;
  }
}

function twoOdd(v7, v5, v3, v1) {
  return (
    multiply(v7, -5906) + multiply(v5, 6967) + multiply(v3, -10426) + multiply(v1, 29692)
  );
}

function four(data, to, width) {
  for (let x = 0; x < 8; x++) {
    if (x === 4) continue; // which the second pass does not use
    fourPoints(values, x, 8, space, x, 8, 12);
  }
  for (let y = 0; y < 4; y++) {
    fourPoints(space, 8 * y, 1, row, 0, 1, 19);
    for (let x = 0; x < 4; x++) data[to + y * width + x] = row[x] + 128;
  }
}

const row = new Int32Array(8);

/** Transform 8 values, `step` apart, to 4 points; the 5th is above their resolution. */
function fourPoints(from, at, step, into, place, stride, shift) {
  const even = from[at] << (BITS + 1);
  const rotation = multiply(from[at + 2 * step], 15137) - multiply(from[at + 6 * step], 6270);
  const [v1, v3] = [from[at + step], from[at + 3 * step]];
  const [v5, v7] = [from[at + 5 * step], from[at + 7 * step]];
  const inner =
    multiply(v7, -1730) + multiply(v5, 11893) + multiply(v3, -17799) + multiply(v1, 8697);
  const outer =
    multiply(v7, -4176) + multiply(v5, -4926) + multiply(v3, 7373) + multiply(v1, 20995);
  const half = 1 << (shift - 1);
  into[place] = (even + rotation + outer + half) >> shift;
  into[place + 3 * stride] = (even + rotation - outer + half) >> shift;
  into[place + stride] = (even - rotation + inner + half) >> shift;
  into[place + 2 * stride] = (even - rotation - inner + half) >> shift;
}

function eight(data, to, width) {
  for (let x = 0; x < 8; x++) eightPoints(values, x, 8, space, x, 8, BITS - EXTRA);
  for (let y = 0; y < 8; y++) {
    eightPoints(space, 8 * y, 1, row, 0, 1, BITS + EXTRA + 3);
    for (let x = 0; x < 8; x++) data[to + y * width + x] = row[x] + 128;
  }
}

function eightPoints(from, at, step, into, place, stride, shift) {
  const v2 = from[at + 2 * step];
  const v6 = from[at + 6 * step];
  const rotation = multiply(v2 + v6, 4433);
  const low = rotation - multiply(v6, 15137);
  const high = rotation + multiply(v2, 6270);
  const sum = (from[at] + from[at + 4 * step]) << BITS;
  const difference = (from[at] - from[at + 4 * step]) << BITS;
  const [v1, v3] = [from[at + step], from[at + 3 * step]];
  const odd = oddPart(from[at + 7 * step], from[at + 5 * step], v3, v1);
  const even = [sum + high, difference + low, difference - low, sum - high];
  const half = 1 << (shift - 1);
  for (let k = 0; k < 4; k++) {
    into[place + k * stride] = (even[k] + odd[k] + half) >> shift;
    into[place + (7 - k) * stride] = (even[k] - odd[k] + half) >> shift;
  }
}

const odds = new Int32Array(4);

function oddPart(v7, v5, v3, v1) {
  const z1 = multiply(v7 + v1, -7373);
  const z2 = multiply(v5 + v3, -20995);
  const z5 = multiply(v7 + v3 + v5 + v1, 9633);
  const z3 = multiply(v7 + v3, -16069) + z5;
  const z4 = multiply(v5 + v1, -3196) + z5;
  odds[3] = multiply(v7, 2446) + z1 + z3;
  odds[2] = multiply(v5, 16819) + z2 + z4;
  odds[1] = multiply(v3, 25172) + z2 + z3;
  odds[0] = multiply(v1, 12299) + z1 + z4;
  return odds;
}
