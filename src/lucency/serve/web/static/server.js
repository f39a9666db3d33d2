// The engine that asks the service which this page came from.

const TRIES = 60; // of an image while the service is busy
const SECONDS = 1; // to wait where it does not say how long

/**
 * Connect to the service.
 *
 * ask(refused): returns a promise of a token, asked from the person; refused is true where one was
 * given and not taken.
 */
export async function connect({ ask } = {}) {
  const service = new Service(ask);
  const response = await service.fetch("v1/classifier");
  if (!response.ok) throw await problem(response);
  const about = await response.json();
  return {
    about,
    kinds: ".png,.jpg,.jpeg,.dcm,.dicom",
    privacy: privacy(location.hostname),
    predict: (file, options) => predict(service, file, options),
    report: () => service.report(),
    get hasToken() {
      return service.hasToken;
    },
  };
}

/** Where images go. */
function privacy(host) {
  const here = /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host);
  const where = here ? "to the server on this computer and nowhere else" : `to the server ${host} and nowhere else`;
  return `Images go ${where}. Neither it nor this page keeps them.`;
}

class Service {
  #token = null; // in memory only: gone with the page
  #asking = null;

  constructor(ask) {
    this.ask = ask;
  }

  /** Fetch from the service, with the token where it wants one. */
  async fetch(path, options = {}) {
    for (let refused = false; ; refused = true) {
      const used = this.#token;
      const headers = { ...options.headers };
      if (used) headers.Authorization = `Bearer ${used}`;
      const response = await fetch(new URL(path, document.baseURI), { ...options, headers, cache: "no-store" }).catch(unreachable);
      if (response.status !== 401 || !this.ask) return response;
      if (this.#token === used) await this.#renew(refused || used !== null);
      options.signal?.throwIfAborted();
    }
  }

  get hasToken() {
    return this.#token !== null;
  }

  /** Ask for a token once, however many requests want one. */
  async #renew(refused) {
    this.#asking ??= this.ask(refused).finally(() => {
      this.#asking = null;
    });
    this.#token = await this.#asking;
  }

  /** Return the report where its link cannot lead to it, as a link carries no token; else null. */
  async report() {
    if (this.#token === null) return null;
    const response = await this.fetch("report");
    if (!response.ok) throw await problem(response);
    return response.blob();
  }
}

/** Ask about one image; waits while the service is busy. */
async function predict(service, file, { signal, waiting } = {}) {
  const path = "v1/predict?map=1&image=1&neighbours=3";
  const headers = { "Content-Type": "application/octet-stream" };
  for (let left = TRIES; ; left -= 1) {
    const response = await service.fetch(path, { method: "POST", body: file, headers, signal });
    if (response.ok) {
      const [prediction] = (await response.json()).predictions;
      if (prediction.error) throw new Error(prediction.error);
      return prediction;
    }
    if (![429, 503].includes(response.status) || left <= 1) throw await problem(response);
    const seconds = Number(response.headers.get("Retry-After")) || SECONDS;
    waiting?.(seconds);
    await pause(1000 * seconds * (1 + Math.random() / 4), signal); // not all at the same moment
  }
}

/** Say in words what a browser calls "failed to fetch"; a person who cancels is no fault. */
function unreachable(error) {
  if (!(error instanceof TypeError)) throw error;
  throw new Error("The server cannot be reached, or broke off.");
}

/** Turn an answer that is none into an error for people. */
async function problem(response) {
  const document = await response.json().catch(() => ({}));
  const text = typeof document.error === "string" ? document.error : "";
  return new Error(text || `The server answered ${response.status} ${response.statusText}.`);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
