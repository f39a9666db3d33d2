// The network in ONNX Runtime, one image at a time and with a single thread: several threads would
// need headers that a plain web server does not send.

import * as ort from "../vendor/ort.wasm.min.mjs";

/** The network, ready to run. */
export class Network {
  /**
   * @param {Uint8Array} onnx The file.
   * @param {[number, number]} size Height and width of its input.
   * @param {1|3} channels
   */
  static async load(onnx, size, channels) {
    const urlOf = (name) => new URL(`../vendor/${name}`, import.meta.url).href;
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = {
      mjs: urlOf("ort-wasm-simd-threaded.mjs"),
      wasm: urlOf("ort-wasm-simd-threaded.wasm"),
    };
    const session = await ort.InferenceSession.create(onnx, { executionProviders: ["wasm"] });
    return new Network(session, [1, ...size, channels]);
  }

  constructor(session, shape) {
    this.session = session;
    this.shape = shape;
  }

  /**
   * Return the network's outputs for an image, by name.
   *
   * @param {Uint8ClampedArray} pixels Of the input's size.
   */
  run(pixels) {
    return this.session.run({ pixels: new ort.Tensor("uint8", bytes(pixels), this.shape) });
  }
}

function bytes(pixels) {
  return new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length);
}
