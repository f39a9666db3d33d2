// Calls to a worker, one after the other; a call that takes too long ends the worker.

/** What a worker could not do, in words for people; `lost` if the worker itself failed. */
export class WorkerError extends Error {
  constructor(message, lost = false) {
    super(message);
    this.name = "WorkerError";
    this.lost = lost;
  }
}

/** A worker, started when it is needed and restarted after a failure. */
export class WorkerClient {
  #url;
  #timeout;
  #worker = null;
  #last = Promise.resolve();
  #number = 0;

  /**
   * @param {URL} url Of the worker's module.
   * @param {number} timeout Seconds that one call may take.
   */
  constructor(url, timeout) {
    this.#url = url;
    this.#timeout = timeout;
  }

  /**
   * Call the worker, once all earlier calls are done.
   *
   * @param {object} request What can be posted to a worker.
   * @param {AbortSignal} [signal] Terminates the worker if the call has begun, else skips the call.
   * @returns {Promise<any>} The result.
   */
  call(request, signal) {
    const result = this.#last.then(() => this.#call(request, signal));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #call(request, signal) {
    signal?.throwIfAborted();
    this.#worker ??= new Worker(this.#url, { type: "module" });
    const response = waitFor(this.#worker, ++this.#number, this.#timeout, signal);
    this.#worker.postMessage({ number: this.#number, request });
    try {
      const { result, error } = await response;
      if (error !== undefined) throw new WorkerError(error);
      return result;
    } catch (error) {
      if (!(error instanceof WorkerError) || error.lost) this.terminate();
      throw error;
    }
  }

  /** End the worker; a call that has begun fails or stays without a result. */
  terminate() {
    this.#worker?.terminate();
    this.#worker = null;
  }
}

/** Wait for the response with a number, for a failure, for an abort, or for the timeout. */
function waitFor(worker, number, timeout, signal) {
  const done = new AbortController();
  const response = new Promise((resolve, reject) => {
    const on = (target, event, listener) => target.addEventListener(event, listener, { signal: done.signal });
    const fail = (why) => reject(new WorkerError(why, true));
    on(worker, "message", ({ data }) => data.number === number && resolve(data));
    on(worker, "error", (event) => {
      event.preventDefault();
      fail(`this browser failed (${event.message || "perhaps for lack of memory"})`);
    });
    if (signal) on(signal, "abort", () => reject(signal.reason));
    const timer = setTimeout(() => fail(`it took longer than ${timeout} s`), 1000 * timeout);
    done.signal.addEventListener("abort", () => clearTimeout(timer));
  });
  return response.finally(() => done.abort());
}

/**
 * Handle calls, in the worker.
 *
 * @param {function(object): Promise<any>} handler An error for which `reasonOf` has words is
 *   returned to the caller; any other ends the worker.
 * @param {function(Error): string|null} reasonOf Words for people, or null.
 */
export function handleCalls(handler, reasonOf) {
  self.addEventListener("message", async ({ data: { number, request } }) => {
    try {
      self.postMessage({ number, result: await handler(request) });
    } catch (error) {
      const reason = reasonOf(error);
      if (reason === null) throw error;
      self.postMessage({ number, error: reason });
    }
  });
  // In a worker, an unhandled rejection does not fire the page's "error" event; throwing it again
  // does.
  self.addEventListener("unhandledrejection", ({ reason }) => {
    setTimeout(() => {
      throw reason;
    });
  });
}
