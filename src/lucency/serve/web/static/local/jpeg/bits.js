// Bits of entropy-coded data, and Huffman codes in them (ITU T.81, annexes C and F).

import { damaged } from "../errors.js";

const QUICK = 9; // bits that one look decides; longer codes are rare

/** Makes a table from the counts of codes of 1 to 16 bits and from their values. */
export function huffmanTable(counts, values) {
  const quick = new Uint16Array(1 << QUICK); // length << 8 | value; 0 where the code is longer
  const last = new Int32Array(18).fill(-1); // the greatest code of each length
  const shift = new Int32Array(17); // from a code to the place of its value
  let code = 0;
  let place = 0;
  for (let length = 1; length <= 16; length++, code <<= 1) {
    shift[length] = place - code;
    for (let k = 0; k < counts[length - 1]; k++, code++, place++) {
      if (length > QUICK) continue;
      const first = code << (QUICK - length);
      quick.fill((length << 8) | values[place], first, first + (1 << (QUICK - length)));
    }
    if (counts[length - 1]) last[length] = code - 1;
    if (code > 1 << length) throw damaged("its table of codes is impossible");
  }
  return { quick, last, shift, values };
}

/** Reads one scan's data, which ends at the first marker that is no restart. */
export class Bits {
  constructor(data, start, end) {
    this.data = data;
    this.place = start;
    this.end = end;
    this.held = 0; // bits, the next one highest of `count`
    this.count = 0;
    this.invented = 0; // zeros put behind the data, of those held
  }

  /** Holds at least 16 bits; behind the data they are zeros, which nothing may use up. */
  fill() {
    while (this.count <= 16) {
      let byte = 0;
      if (this.place < this.end && this.data[this.place] !== 0xff) {
        byte = this.data[this.place++];
      } else if (this.place + 1 < this.end && this.data[this.place + 1] === 0) {
        byte = 0xff;
        this.place += 2;
      } else {
        this.invented += 8;
      }
      this.held = (this.held << 8) | byte;
      this.count += 8;
    }
  }

  /** Returns the next bits, 1 to 16 of them. */
  take(length) {
    if (this.count < length) this.fill();
    this.count -= length;
    if (this.count < this.invented) throw damaged("its data end too soon");
    return (this.held >>> this.count) & ((1 << length) - 1);
  }

  /** Returns a number of so many bits, of which the upper half is positive (T.81, figure F.12). */
  signed(length) {
    if (length === 0) return 0;
    const value = this.take(length);
    return value < 1 << (length - 1) ? value - (1 << length) + 1 : value;
  }

  /** Returns the value of the next code. */
  decode(table) {
    if (this.count < 16) this.fill();
    const next = (this.held >>> (this.count - 16)) & 0xffff;
    const found = table.quick[next >>> (16 - QUICK)];
    if (found) {
      this.count -= found >>> 8;
      if (this.count < this.invented) throw damaged("its data end too soon");
      return found & 255;
    }
    return this.decodeLong(table, next);
  }

  decodeLong(table, next) {
    for (let length = QUICK + 1; length <= 16; length++) {
      const code = next >>> (16 - length);
      if (code <= table.last[length]) {
        this.take(length);
        return table.values[code + table.shift[length]];
      }
    }
    throw damaged("a code is none of its table");
  }

  /** Goes on behind a restart marker, which must be the one of this number. */
  restart(number) {
    while (this.data[this.place] === 0xff && this.data[this.place + 1] === 0xff) this.place++;
    const found = this.place + 1 < this.end && this.data[this.place] === 0xff;
    if (!found || this.data[this.place + 1] !== 0xd0 + (number & 7)) {
      throw damaged("a part of its data is missing");
    }
    this.place += 2;
    this.held = this.count = this.invented = 0;
  }
}
