// The engine that computes in the browser: images never leave the computer.

import { WorkerClient } from "./local/worker_client.js";

const HOME = new URL("..", import.meta.url).href;
const DECODE_TIMEOUT = 60; // seconds; 50 megapixels of progressive CMYK JPEG take 8
const PREDICT_TIMEOUT = 120; // seconds; the first prediction waits until the classifier is loaded

/**
 * Load the classifier, and check it on images whose probabilities are known.
 *
 * @returns {Promise<{about: object, endings: string, formats: string, privacy: string, check: object,
 *   predict: function(File, {signal?: AbortSignal}=): Promise<object>}>} `predict` returns the
 *   document of `lucency predict --json` with map, image and size, and rejects with a message for
 *   people. `check` is {"images", "difference"}: on how many images the probabilities were
 *   compared, and the largest difference.
 * @throws {Error} A file is missing, or this browser computes other probabilities.
 */
export async function connect() {
  const decoder = new WorkerClient(new URL("./local/decoder.js", import.meta.url), DECODE_TIMEOUT);
  const predictor = new WorkerClient(new URL("./local/worker.js", import.meta.url), PREDICT_TIMEOUT);
  const loaded = Promise.all([predictor.call({ home: HOME }), decoder.call({})]);
  const [{ about, check }] = await loaded.catch((error) => {
    predictor.terminate();
    decoder.terminate();
    throw error;
  });
  const colour = about.channels === 3;
  const predict = async (file, { signal } = {}) => {
    const request = { file, size: about.size, colour };
    const { pixels, size, image } = await decoder.call(request, signal);
    signal?.throwIfAborted();
    const prediction = await predictor.call({ home: HOME, pixels });
    return { ...prediction, image, size };
  };
  const privacy =
    "Images stay on this computer: the page computes in the browser and sends nothing. " +
    checkSentence(check);
  return { about, check, endings: ".png,.jpg,.jpeg", formats: "PNG or JPEG.", privacy, predict };
}

function checkSentence({ images, difference }) {
  const bound = difference < 1e-6 ? "less than 0.000001" : `at most ${difference.toFixed(6)}`;
  return (
    `Checked just now on ${images} synthetic images: the probabilities in this browser differ from ` +
    `the classifier's by ${bound}.`
  );
}
