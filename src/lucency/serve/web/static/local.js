// The engine that computes in the browser: images never leave the computer.

import { Remote } from "./local/remote.js";

const HOME = new URL("..", import.meta.url).href;
const DECODING = 60; // seconds; 50 megapixels of progressive CMYK JPEG take 8
const ANSWERING = 120; // seconds; the first answer waits for the classifier to be loaded

/**
 * Loads the classifier and has it answer the images whose answers are known.
 *
 * @returns {Promise<{about: object, kinds: string, privacy: string, check: object,
 *   predict: function(File, {signal?: AbortSignal}=): Promise<object>}>} `predict` returns the
 *   document of `lucency predict --json` with map, image and size, and rejects with a message for
 *   people. `check` is {"images", "difference"}: of how many images the probabilities were
 *   compared, and the largest difference.
 * @throws {Error} A file is missing, or this browser computes other answers.
 */
export async function connect() {
  const decoder = new Remote(new URL("./local/decoder.js", import.meta.url), DECODING);
  const answerer = new Remote(new URL("./local/answerer.js", import.meta.url), ANSWERING);
  const loaded = Promise.all([answerer.ask({ home: HOME }), decoder.ask({})]);
  const [{ about, check }] = await loaded.catch((error) => {
    answerer.end();
    decoder.end();
    throw error;
  });
  const colour = about.channels === 3;
  const predict = async (file, { signal } = {}) => {
    const request = { file, size: about.size, colour };
    const { pixels, size, image } = await decoder.ask(request, signal);
    signal?.throwIfAborted();
    const prediction = await answerer.ask({ home: HOME, pixels });
    return { ...prediction, image, size };
  };
  const privacy =
    "Images stay on this computer: this page computes by itself and sends nothing. " +
    sentence(check);
  return { about, check, kinds: ".png,.jpg,.jpeg", privacy, predict };
}

function sentence({ images, difference }) {
  const most = difference < 1e-6 ? "less than 0.000001" : `at most ${difference.toFixed(6)}`;
  return (
    `Just checked: on ${images} drawn images this browser's probabilities differ from the ` +
    `classifier's by ${most}.`
  );
}
