// Images are predicted a few at a time; one that fails does not stop the others.

const CONCURRENT = 3;

/**
 * Items wait here for their prediction.
 *
 * engine: what predicts. onChange(item): called for every item whose state has changed.
 * An item is {file, name} and gets: state ("waiting", "running", "done", "failed" or "cancelled"),
 * then prediction and image (an address), or error; note says why it still waits.
 */
export class Queue {
  #engine;
  #onChange;
  #waiting = [];
  #running = 0;
  #abort = new AbortController();

  constructor(engine, onChange) {
    this.#engine = engine;
    this.#onChange = onChange;
  }

  add(items) {
    for (const item of items) {
      this.#set(item, { state: "waiting", error: undefined, note: "" });
      this.#waiting.push(item);
    }
    this.#fill();
  }

  /** Cancel all items without a prediction; they can be added again. */
  cancel() {
    const left = this.#waiting.splice(0);
    this.#abort.abort();
    this.#abort = new AbortController();
    for (const item of left) this.#set(item, { state: "cancelled" });
  }

  #fill() {
    while (this.#running < CONCURRENT && this.#waiting.length) this.#predict(this.#waiting.shift());
  }

  async #predict(item) {
    this.#running += 1;
    const { signal } = this.#abort;
    this.#set(item, { state: "running" });
    try {
      const limit = this.#engine.about.limits.bytes;
      if (item.file.size > limit) throw new TooLargeError(item.file.size, limit);
      const onBusy = (seconds) => this.#set(item, { note: `busy, trying again in ${seconds} s` });
      const prediction = await this.#engine.predict(item.file, { signal, onBusy });
      const image = addressOf(item, prediction);
      this.#running -= 1;
      this.#set(item, { state: "done", prediction, image, note: "" });
    } catch (error) {
      this.#running -= 1;
      if (signal.aborted) this.#set(item, { state: "cancelled", note: "" });
      else this.#set(item, { state: "failed", error: error.message || String(error), note: "" });
    }
    this.#fill();
  }

  #set(item, values) {
    if (item.released) {
      if (values.image) URL.revokeObjectURL(values.image);
      return;
    }
    Object.assign(item, values);
    this.#onChange(item);
  }
}

class TooLargeError extends Error {
  constructor(size, limit) {
    const megabytes = (count) => `${(count / 2 ** 20).toFixed(0)} MB`;
    super(`The file has ${megabytes(size)}; the limit is ${megabytes(limit)}.`);
  }
}

/** Return a short address of the image: data in an address would be kept as text. */
function addressOf(item, prediction) {
  const [head, data] = String(prediction.image ?? "").split(",");
  delete prediction.image;
  if (!data) return /^image\/(png|jpeg)$/.test(item.file.type) ? URL.createObjectURL(item.file) : null;
  const type = /^data:(image\/(?:png|jpeg));base64$/.exec(head)?.[1];
  if (!type) return null;
  return URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type }));
}

/** Free the memory of the items' images. */
export function release(items) {
  for (const item of items) {
    item.released = true;
    if (item.image) URL.revokeObjectURL(item.image);
  }
}
