// Images asked about, a few at a time; one that fails does not stop the others.

const AT_ONCE = 3;

/**
 * Items wait here until they are answered.
 *
 * engine: what answers. changed(item): hears of every item whose state has changed.
 * An item is {file, name} and gets: state ("waiting", "asking", "done", "failed" or "stopped"),
 * then prediction and image (an address), or error; note says why it is not answered yet.
 */
export class Queue {
  #engine;
  #changed;
  #waiting = [];
  #running = 0;
  #abort = new AbortController();

  constructor(engine, changed) {
    this.#engine = engine;
    this.#changed = changed;
  }

  get busy() {
    return this.#running + this.#waiting.length > 0;
  }

  add(items) {
    for (const item of items) {
      this.#set(item, { state: "waiting", error: undefined, note: "" });
      this.#waiting.push(item);
    }
    this.#fill();
  }

  /** Stop; what is not answered can be added again. */
  stop() {
    const left = this.#waiting.splice(0);
    this.#abort.abort();
    this.#abort = new AbortController();
    for (const item of left) this.#set(item, { state: "stopped" });
  }

  #fill() {
    while (this.#running < AT_ONCE && this.#waiting.length) this.#ask(this.#waiting.shift());
  }

  async #ask(item) {
    this.#running += 1;
    const { signal } = this.#abort;
    this.#set(item, { state: "asking" });
    try {
      const most = this.#engine.about.limits.bytes;
      if (item.file.size > most) throw new TooLarge(item.file.size, most);
      const waiting = (seconds) => this.#set(item, { note: `busy, again in ${seconds} s` });
      const prediction = await this.#engine.predict(item.file, { signal, waiting });
      const image = addressOf(item, prediction);
      this.#running -= 1;
      this.#set(item, { state: "done", prediction, image, note: "" });
    } catch (error) {
      this.#running -= 1;
      if (signal.aborted) this.#set(item, { state: "stopped", note: "" });
      else this.#set(item, { state: "failed", error: error.message || String(error), note: "" });
    }
    this.#fill();
  }

  #set(item, values) {
    if (item.gone) {
      if (values.image) URL.revokeObjectURL(values.image);
      return;
    }
    Object.assign(item, values);
    this.#changed(item);
  }
}

class TooLarge extends Error {
  constructor(size, most) {
    const million = (count) => `${(count / 2 ** 20).toFixed(0)} MB`;
    super(`It has ${million(size)}; at most ${million(most)} are taken.`);
  }
}

/** Return where the image is, as short as a name: data inside an address would be kept as text. */
function addressOf(item, prediction) {
  const [head, data] = String(prediction.image ?? "").split(",");
  delete prediction.image;
  if (!data) return /^image\/(png|jpeg)$/.test(item.file.type) ? URL.createObjectURL(item.file) : null;
  const type = /^data:(image\/(?:png|jpeg));base64$/.exec(head)?.[1];
  if (!type) return null;
  return URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type }));
}

/** Forget items: their images leave the memory. */
export function forget(items) {
  for (const item of items) {
    item.gone = true;
    if (item.image) URL.revokeObjectURL(item.image);
  }
}
