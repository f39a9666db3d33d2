// Arrays from safetensors files: the length of a header, the header in JSON, the numbers.

const TYPES = { F32: Float32Array, F64: Float64Array, U8: Uint8Array };

/**
 * Read a file.
 *
 * @param {ArrayBuffer} buffer Its content.
 * @returns {Object<string, {shape: number[], values: TypedArray}>} Arrays by name.
 * @throws {Error} It is not a safetensors file.
 */
export function readArrays(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const found = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    const ArrayType = TYPES[dtype];
    if (!ArrayType) throw new Error(`${name} has the unsupported type ${dtype}`);
    const values = new ArrayType(buffer.slice(8 + length + start, 8 + length + end));
    if (values.length !== shape.reduce((a, b) => a * b, 1)) throw new Error(`${name} is damaged`);
    found[name] = { shape, values };
  }
  return found;
}
