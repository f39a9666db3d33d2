// Pictures decoded in a worker, which is ended where a picture takes it too long.

import { PictureError } from "./errors.js";

const SECONDS = 60; // for one picture; 50 megapixels of progressive JPEG take a few

/** Decodes one picture after the other. */
export class Decoder {
  #worker = null;
  #last = Promise.resolve();
  #number = 0;

  /**
   * Decodes a file.
   *
   * @param {Blob} file
   * @param {[number, number]} size Height and width to squash it to.
   * @param {boolean} colour Whether to return three channels.
   * @param {AbortSignal} [signal]
   * @returns {Promise<{pixels: Uint8ClampedArray, size: [number, number], picture: string}>} Also
   *   the size of the picture itself, and a small picture of it as a data: address.
   */
  decode(file, size, colour, signal) {
    const answer = this.#last.then(() => this.#ask({ file, size, colour }, signal));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #ask(request, signal) {
    signal?.throwIfAborted();
    const number = ++this.#number;
    this.#worker ??= new Worker(new URL("./decoder.js", import.meta.url), { type: "module" });
    const heard = listen(this.#worker, number, signal);
    this.#worker.postMessage({ number, ...request });
    try {
      const { answer, error } = await heard;
      if (error) throw new PictureError(error);
      return answer;
    } catch (error) {
      if (!(error instanceof PictureError) || error.lost) this.#end();
      throw error;
    }
  }

  #end() {
    this.#worker?.terminate();
    this.#worker = null;
  }
}

/** Waits for the answer of a number, for a failure, for the person to stop, or for the deadline. */
function listen(worker, number, signal) {
  const done = new AbortController();
  const found = new Promise((resolve, reject) => {
    const hear = (target, event, then) => target.addEventListener(event, then, { signal: done.signal });
    const lose = (why) => reject(Object.assign(new PictureError(why), { lost: true }));
    hear(worker, "message", ({ data }) => data.number === number && resolve(data));
    hear(worker, "error", (event) => {
      event.preventDefault();
      lose(`its decoder failed (${event.message || "not enough memory"}); save it as PNG`);
    });
    if (signal) hear(signal, "abort", () => reject(signal.reason));
    const late = () => lose(`decoding it took longer than ${SECONDS} s; shrink it`);
    const timer = setTimeout(late, 1000 * SECONDS);
    done.signal.addEventListener("abort", () => clearTimeout(timer));
  });
  return found.finally(() => done.abort());
}
