// The engine that sends images to the service from which this page was loaded.

const MAX_TRIES = 60; // of an image while the service is busy
const RETRY_AFTER = 1; // seconds, if the service does not state any
const ENDINGS =
  ".png,.jpg,.jpeg,.jpe,.jfif,.tif,.tiff,.webp,.gif,.bmp,.dib,.jp2,.j2k,.j2c,.avif,.pbm,.pgm,.ppm," +
  ".pnm,.dcm,.dicom";

/**
 * Connect to the service.
 *
 * askForToken(rejected): returns a promise of a token that the person enters; rejected is true if
 * the previous one was wrong.
 */
export async function connect({ askForToken } = {}) {
  const service = new Service(askForToken);
  const response = await service.fetch("v1/classifier");
  if (!response.ok) throw await errorOf(response);
  const about = await response.json();
  return {
    about,
    endings: ENDINGS,
    formats: "PNG, JPEG, TIFF, WebP, DICOM and others.",
    privacy: privacy(location.hostname),
    predict: (file, options) => predict(service, file, options),
    report: () => service.report(),
    get hasToken() {
      return service.hasToken;
    },
  };
}

/** Return where images are sent, as a sentence. */
function privacy(host) {
  const here = /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host);
  const where = here ? "to the server on this computer and nowhere else" : `to the server ${host} and nowhere else`;
  return `Images are sent ${where}. Neither the server nor this page stores them.`;
}

class Service {
  #token = null; // in memory only: gone with the page
  #pending = null; // promise of a token

  constructor(askForToken) {
    this.askForToken = askForToken;
  }

  /** Fetch from the service, with the token if it requires one. */
  async fetch(path, options = {}) {
    for (let rejected = false; ; rejected = true) {
      const used = this.#token;
      const headers = { ...options.headers };
      if (used) headers.Authorization = `Bearer ${used}`;
      const response = await fetch(new URL(path, document.baseURI), { ...options, headers, cache: "no-store" }).catch(unreachable);
      if (response.status !== 401 || !this.askForToken) return response;
      if (this.#token === used) await this.#renew(rejected || used !== null);
      options.signal?.throwIfAborted();
    }
  }

  get hasToken() {
    return this.#token !== null;
  }

  /** Ask for a token once, however many requests need one. */
  async #renew(rejected) {
    this.#pending ??= this.askForToken(rejected).finally(() => {
      this.#pending = null;
    });
    this.#token = await this.#pending;
  }

  /** Return the report if it needs a token, which a link cannot carry; else null. */
  async report() {
    if (this.#token === null) return null;
    const response = await this.fetch("report");
    if (!response.ok) throw await errorOf(response);
    return response.blob();
  }
}

/** Predict one image; waits while the service is busy. */
async function predict(service, file, { signal, onBusy } = {}) {
  const path = "v1/predict?map=1&image=1&neighbours=3";
  const headers = { "Content-Type": "application/octet-stream" };
  for (let left = MAX_TRIES; ; left -= 1) {
    const response = await service.fetch(path, { method: "POST", body: file, headers, signal });
    if (response.ok) {
      const [prediction] = (await response.json()).predictions;
      if (prediction.error) throw new Error(prediction.error);
      return prediction;
    }
    if (![429, 503].includes(response.status) || left <= 1) throw await errorOf(response);
    const seconds = Number(response.headers.get("Retry-After")) || RETRY_AFTER;
    onBusy?.(seconds);
    await pause(1000 * seconds * (1 + Math.random() / 4), signal); // not all at the same moment
  }
}

/** Put into words what a browser calls "failed to fetch"; cancelling is not an error. */
function unreachable(error) {
  if (!(error instanceof TypeError)) throw error;
  throw new Error("The server cannot be reached, or closed the connection.");
}

/** Return the error of a response, in words. */
async function errorOf(response) {
  const document = await response.json().catch(() => ({}));
  const text = typeof document.error === "string" ? document.error : "";
  return new Error(text || `The server responded with ${response.status} ${response.statusText}.`);
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
