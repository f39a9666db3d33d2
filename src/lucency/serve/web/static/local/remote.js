// A worker that is asked one thing after the other, and is ended where that takes it too long.

/** What a worker could not do, in words for people; `lost` where the worker itself failed. */
export class RemoteError extends Error {
  constructor(message, lost = false) {
    super(message);
    this.name = "RemoteError";
    this.lost = lost;
  }
}

/** A worker, started when it is needed and again after it failed. */
export class Remote {
  #url;
  #seconds;
  #worker = null;
  #last = Promise.resolve();
  #number = 0;

  /**
   * @param {URL} url Of its module.
   * @param {number} seconds That one answer may take.
   */
  constructor(url, seconds) {
    this.#url = url;
    this.#seconds = seconds;
  }

  /**
   * Asks it, once it has answered all that was asked before.
   *
   * @param {object} request What can be sent to a worker.
   * @param {AbortSignal} [signal] Ends the worker where it has begun, and the question elsewhere.
   * @returns {Promise<any>} Its answer.
   */
  ask(request, signal) {
    const answer = this.#last.then(() => this.#ask(request, signal));
    this.#last = answer.catch(() => undefined);
    return answer;
  }

  async #ask(request, signal) {
    signal?.throwIfAborted();
    this.#worker ??= new Worker(this.#url, { type: "module" });
    const heard = listen(this.#worker, ++this.#number, this.#seconds, signal);
    this.#worker.postMessage({ number: this.#number, request });
    try {
      const { answer, error } = await heard;
      if (error !== undefined) throw new RemoteError(error);
      return answer;
    } catch (error) {
      if (!(error instanceof RemoteError) || error.lost) this.end();
      throw error;
    }
  }

  /** Ends the worker; what it has begun fails or is never heard of again. */
  end() {
    this.#worker?.terminate();
    this.#worker = null;
  }
}

/** Waits for the answer of a number, for a failure, for the person to stop, or for the deadline. */
function listen(worker, number, seconds, signal) {
  const done = new AbortController();
  const found = new Promise((resolve, reject) => {
    const hear = (from, event, then) => from.addEventListener(event, then, { signal: done.signal });
    const lose = (why) => reject(new RemoteError(why, true));
    hear(worker, "message", ({ data }) => data.number === number && resolve(data));
    hear(worker, "error", (event) => {
      event.preventDefault();
      lose(`this browser failed over it (${event.message || "perhaps for want of memory"})`);
    });
    if (signal) hear(signal, "abort", () => reject(signal.reason));
    const timer = setTimeout(() => lose(`it took longer than ${seconds} s`), 1000 * seconds);
    done.signal.addEventListener("abort", () => clearTimeout(timer));
  });
  return found.finally(() => done.abort());
}

/**
 * Makes the worker that this is answer what it is asked.
 *
 * @param {function(object): Promise<any>} answer What fails in it with an error that `reason`
 *   knows is told; anything else ends the worker.
 * @param {function(Error): string|null} reason Words for people, or null.
 */
export function answering(answer, reason) {
  self.addEventListener("message", async ({ data: { number, request } }) => {
    try {
      self.postMessage({ number, answer: await answer(request) });
    } catch (error) {
      const words = reason(error);
      if (words === null) throw error;
      self.postMessage({ number, error: words });
    }
  });
  // A promise that nobody waits for fails in silence in a worker; thrown again, it is heard.
  self.addEventListener("unhandledrejection", ({ reason: error }) => {
    setTimeout(() => {
      throw error;
    });
  });
}
