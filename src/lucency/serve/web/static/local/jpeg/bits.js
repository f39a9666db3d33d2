// Bits of entropy-coded data, and Huffman codes in them (ITU T.81, annexes C and F).

import { damaged } from "../errors.js";

const LOOKUP = 9; // bits that one table look-up decodes; longer codes are rare

/** Make a table from the counts of codes of 1 to 16 bits and from their values. */
export function huffmanTable(counts, values) {
  const quick = new Uint16Array(1 << LOOKUP); // length << 8 | value; 0 where the code is longer
  const last = new Int32Array(18).fill(-1); // the greatest code of each length
  const shift = new Int32Array(17); // from a code to the place of its value
  let code = 0;
  let place = 0;
  for (let length = 1; length <= 16; length++, code <<= 1) {
    shift[length] = place - code;
    for (let k = 0; k < counts[length - 1]; k++, code++, place++) {
      if (length > LOOKUP) continue;
      const first = code << (LOOKUP - length);
      quick.fill((length << 8) | values[place], first, first + (1 << (LOOKUP - length)));
    }
    if (counts[length - 1]) last[length] = code - 1;
    if (code > 1 << length) throw damaged("its Huffman table is invalid");
  }
  return { quick, last, shift, values };
}

/** Reads the data of one scan, which ends at the first marker that is not a restart. */
export class Bits {
  constructor(data, start, end) {
    this.data = data;
    this.place = start;
    this.end = end;
    this.buffer = 0; // bits, the next one highest of `count`
    this.count = 0;
    this.padding = 0; // zeros behind the data, of those in the buffer
  }

  /** Fill the buffer with at least 16 bits; behind the data they are zeros, which no code may use. */
  fill() {
    while (this.count <= 16) {
      let byte = 0;
      if (this.place < this.end && this.data[this.place] !== 0xff) {
        byte = this.data[this.place++];
      } else if (this.place + 1 < this.end && this.data[this.place + 1] === 0) {
        byte = 0xff;
        this.place += 2;
      } else {
        this.padding += 8;
      }
      this.buffer = (this.buffer << 8) | byte;
      this.count += 8;
    }
  }

  /** Return the next 1 to 16 bits. */
  take(length) {
    if (this.count < length) this.fill();
    this.count -= length;
    if (this.count < this.padding) throw damaged("its data ends too soon");
    return (this.buffer >>> this.count) & ((1 << length) - 1);
  }

  /** Return a signed number of so many bits (T.81, figure F.12). */
  signed(length) {
    if (length === 0) return 0;
    const value = this.take(length);
    return value < 1 << (length - 1) ? value - (1 << length) + 1 : value;
  }

  /** Return the value of the next code. */
  decode(table) {
    if (this.count < 16) this.fill();
    const next = (this.buffer >>> (this.count - 16)) & 0xffff;
    const found = table.quick[next >>> (16 - LOOKUP)];
    if (found) {
      this.count -= found >>> 8;
      if (this.count < this.padding) throw damaged("its data ends too soon");
      return found & 255;
    }
    return this.decodeLong(table, next);
  }

  decodeLong(table, next) {
    for (let length = LOOKUP + 1; length <= 16; length++) {
      const code = next >>> (16 - length);
      if (code <= table.last[length]) {
        this.take(length);
        return table.values[code + table.shift[length]];
      }
    }
    throw damaged("a code is not in its Huffman table");
  }

  /** Continue behind a restart marker, which must have this number. */
  restart(number) {
    while (this.data[this.place] === 0xff && this.data[this.place + 1] === 0xff) this.place++;
    const found = this.place + 1 < this.end && this.data[this.place] === 0xff;
    if (!found || this.data[this.place + 1] !== 0xd0 + (number & 7)) {
      throw damaged("a part of its data is missing");
    }
    this.place += 2;
    this.buffer = this.count = this.padding = 0;
  }
}
