// ONNX Runtime on the classifier's network, one image at a time, with a single thread: several
// would need headers that a plain web server does not send.

import * as ort from "../vendor/ort.wasm.min.mjs";

/** The network, ready to run. */
export class Network {
  /**
   * @param {Uint8Array} onnx The file.
   * @param {[number, number]} size Height and width of its input.
   * @param {1|3} channels
   */
  static async load(onnx, size, channels) {
    const place = (name) => new URL(`../vendor/${name}`, import.meta.url).href;
    ort.env.logLevel = "error";
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = {
      mjs: place("ort-wasm-simd-threaded.mjs"),
      wasm: place("ort-wasm-simd-threaded.wasm"),
    };
    const session = await ort.InferenceSession.create(onnx, { executionProviders: ["wasm"] });
    return new Network(session, [1, ...size, channels]);
  }

  constructor(session, shape) {
    this.session = session;
    this.shape = shape;
  }

  /**
   * Returns what the network says of an image, by the names of its outputs.
   *
   * @param {Uint8ClampedArray} pixels At the input's size.
   */
  run(pixels) {
    return this.session.run({ pixels: new ort.Tensor("uint8", bytes(pixels), this.shape) });
  }
}

function bytes(pixels) {
  return new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.length);
}
