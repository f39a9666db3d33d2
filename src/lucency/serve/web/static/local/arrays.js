// Arrays from safetensors files: the length of a header, the header in JSON, the numbers.

const KINDS = { F32: Float32Array, F64: Float64Array, U8: Uint8Array };

/**
 * Reads a file.
 *
 * @param {ArrayBuffer} buffer Its content.
 * @returns {Object<string, {shape: number[], values: TypedArray}>} Arrays by name.
 * @throws {Error} It is no such file.
 */
export function readArrays(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const found = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    const kind = KINDS[dtype];
    if (!kind) throw new Error(`${name} holds numbers of the kind ${dtype}`);
    const values = new kind(buffer.slice(8 + length + start, 8 + length + end));
    if (values.length !== shape.reduce((a, b) => a * b, 1)) throw new Error(`${name} is damaged`);
    found[name] = { shape, values };
  }
  return found;
}
