// The classifier that lies beside the page: about.json, settings.json, model.onnx,
// check.safetensors and, where it has one, ood_detector.safetensors.

import { readArrays } from "./arrays.js";
import { OODDetector } from "./ood_detector.js";
import { judged, mapOf } from "./judge.js";
import { Network } from "./network.js";

/** Everything after decoding. */
export class Classifier {
  /**
   * Loads it, and has it answer the images whose answers are known.
   *
   * @param {URL} home The folder.
   * @throws {Error} A file is missing, or this browser computes other answers.
   */
  static async load(home) {
    const json = async (name) => (await load(home, name)).json();
    const buffer = async (name) => (await load(home, name)).arrayBuffer();
    const [about, terms, onnx, check] = await Promise.all([
      json("about.json"),
      json("settings.json"),
      buffer("model.onnx"),
      buffer("check.safetensors"),
    ]);
    const network = await Network.load(new Uint8Array(onnx), about.size, about.channels);
    const detector = about.ood_detector ? new OODDetector(readArrays(await buffer("ood_detector.safetensors"))) : null;
    const classifier = new Classifier(about, terms, network, detector);
    classifier.check = await checked(classifier, readArrays(check), terms.tolerance);
    return classifier;
  }

  constructor(about, terms, network, detector) {
    this.about = about;
    this.terms = terms;
    this.network = network;
    this.detector = detector;
  }

  /** Returns probabilities, the OOD score where there is a detector, and the map's units or null. */
  async say(pixels) {
    const said = await this.network.run(pixels);
    const wide = Array.from(said.probabilities.data);
    const sum = wide.reduce((total, value) => total + value, 0);
    const { size, channels } = this.about;
    const oodScore = this.detector && this.detector.score(said.embedding.data, pixels, size, channels);
    const units = said.activation_map ?? null;
    return { probabilities: wide.map((value) => value / sum), oodScore, units };
  }

  /** Returns the document of one image: that of `lucency predict --json`, with its map. */
  async answer(pixels) {
    const { probabilities, oodScore, units } = await this.say(pixels);
    const prediction = judged(this.about, this.terms.scores, probabilities, oodScore);
    const map = units && mapOf(units, probabilities, this.about, this.terms.map);
    return { ...prediction, activation_map: map };
  }
}

async function load(home, name) {
  const response = await fetch(new URL(name, home));
  if (response.ok) return response;
  throw new Error(
    `The file ${name} is missing beside this page (${response.status}). Copy the whole folder.`,
  );
}

/** Compares with the answers that came along. */
async function checked(classifier, { pixels, probabilities }, tolerance) {
  const [images, classes] = probabilities.shape;
  const length = pixels.values.length / images;
  let difference = 0;
  for (let i = 0; i < images; i++) {
    const image = pixels.values.slice(i * length, (i + 1) * length);
    const said = (await classifier.say(image)).probabilities;
    said.forEach((value, k) => {
      difference = Math.max(difference, Math.abs(value - probabilities.values[i * classes + k]));
    });
  }
  if (difference <= tolerance) return { images, difference };
  throw new Error(
    `This browser computes other answers than the classifier: probabilities of ${images} ` +
      `drawn images differ by up to ${difference.toPrecision(2)}. Use another browser.`,
  );
}
