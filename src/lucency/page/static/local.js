// The engine that computes in the browser: pictures never leave the computer.
//
// Beside the page lie what `lucency export --format web` put there: about.json, answers.json,
// model.onnx, check.safetensors and, where the classifier has one, gate.safetensors.

import { readArrays } from "./local/arrays.js";
import { Decoder } from "./local/decoding.js";
import { Gate } from "./local/gate.js";
import { judged, mapOf } from "./local/judge.js";
import { Network } from "./local/network.js";

const HOME = new URL("..", import.meta.url);

/**
 * Loads the classifier and has it answer the pictures whose answers are known.
 *
 * @returns {Promise<{about: object, kinds: string, privacy: string, check: object,
 *   predict: function(File, {signal?: AbortSignal}=): Promise<object>}>} `predict` returns the
 *   document of `lucency predict --json` with map and picture, and rejects with a message for
 *   people. `check` is {"pictures", "difference"}: of how many probabilities were compared, and the
 *   largest difference.
 * @throws {Error} A file is missing, or this browser computes other answers.
 */
export async function connect() {
  const [about, terms, onnx] = await Promise.all([
    load("about.json").then((response) => response.json()),
    load("answers.json").then((response) => response.json()),
    load("model.onnx").then((response) => response.arrayBuffer()),
  ]);
  const classifier = await Classifier.load(about, terms, new Uint8Array(onnx));
  const check = await checked(classifier, terms.tolerance);
  const decoder = new Decoder();
  return {
    about,
    check,
    kinds: ".png,.jpg,.jpeg",
    privacy: `Pictures stay on this computer: this page computes by itself and sends nothing. ${sentence(check)}`,
    predict: async (file, { signal } = {}) => {
      const found = await decoder.decode(file, about.size, about.channels === 3, signal);
      signal?.throwIfAborted();
      const prediction = await classifier.answer(found.pixels);
      return { ...prediction, picture: found.picture, size: found.size };
    },
  };
}

async function load(name) {
  const response = await fetch(new URL(name, HOME));
  if (!response.ok) {
    throw new Error(`The file ${name} is missing beside this page (${response.status}). Copy the whole folder.`);
  }
  return response;
}

async function loadArrays(name) {
  return readArrays(await (await load(name)).arrayBuffer());
}

class Classifier {
  static async load(about, terms, onnx) {
    const network = await Network.load(onnx, about.size, about.channels);
    const gate = about.gate ? new Gate(await loadArrays("gate.safetensors")) : null;
    return Object.assign(new Classifier(), { about, terms, network, gate });
  }

  /** Returns probabilities, the distance where there is a gate, and the map's units or null. */
  async say(pixels) {
    const said = await this.network.run(pixels);
    const wide = Array.from(said.probabilities.data);
    const sum = wide.reduce((total, value) => total + value, 0);
    const { size, channels } = this.about;
    const distance = this.gate && this.gate.distance(said.embedding.data, pixels, size, channels);
    return { probabilities: wide.map((value) => value / sum), distance, units: said.activation_map ?? null };
  }

  /** Returns the document of one picture. */
  async answer(pixels) {
    const { probabilities, distance, units } = await this.say(pixels);
    const prediction = judged(this.about, this.terms.scores, probabilities, distance);
    const map = units && mapOf(units, probabilities, this.about, this.terms.map);
    return { ...prediction, activation_map: map };
  }
}

/** Compares with the answers that came along. */
async function checked(classifier, tolerance) {
  const { pixels, probabilities } = await loadArrays("check.safetensors");
  const [pictures, classes] = probabilities.shape;
  const length = pixels.values.length / pictures;
  let difference = 0;
  for (let i = 0; i < pictures; i++) {
    const picture = pixels.values.slice(i * length, (i + 1) * length);
    const said = (await classifier.say(picture)).probabilities;
    said.forEach((value, k) => {
      difference = Math.max(difference, Math.abs(value - probabilities.values[i * classes + k]));
    });
  }
  if (!(difference <= tolerance)) {
    throw new Error(
      `This browser computes other answers than the classifier: probabilities of ${pictures} drawn ` +
        `pictures differ by up to ${difference.toPrecision(2)}. Use another browser.`,
    );
  }
  return { pictures, difference };
}

function sentence({ pictures, difference }) {
  const most = difference < 1e-6 ? "less than 0.000001" : `at most ${difference.toFixed(6)}`;
  return `Just checked: on ${pictures} drawn pictures this browser's probabilities differ from the classifier's by ${most}.`;
}
