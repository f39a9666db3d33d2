// The classifier in the files beside the page: about.json, settings.json, model.onnx,
// check.safetensors and, if it has one, ood_detector.safetensors.

import { readArrays } from "./arrays.js";
import { Network } from "./network.js";
import { OODDetector } from "./ood_detector.js";
import { mapOf, predictionOf } from "../prediction.js";

/** Pixels to predictions. */
export class Classifier {
  /**
   * Load it, and check it on images whose probabilities are known.
   *
   * @param {URL} home The folder.
   * @throws {Error} A file is missing, or this browser computes other probabilities.
   */
  static async load(home) {
    const json = async (name) => (await load(home, name)).json();
    const buffer = async (name) => (await load(home, name)).arrayBuffer();
    const [about, settings, onnx, check] = await Promise.all([
      json("about.json"),
      json("settings.json"),
      buffer("model.onnx"),
      buffer("check.safetensors"),
    ]);
    const network = await Network.load(new Uint8Array(onnx), about.size, about.channels);
    const detector = about.ood_detector ? new OODDetector(readArrays(await buffer("ood_detector.safetensors"))) : null;
    const classifier = new Classifier(about, settings, network, detector);
    classifier.check = await checkOn(classifier, readArrays(check), settings.tolerance);
    return classifier;
  }

  constructor(about, settings, network, detector) {
    this.about = about;
    this.settings = settings;
    this.network = network;
    this.detector = detector;
  }

  /** Return probabilities, the OOD score if there is a detector, and the map's units or null. */
  async infer(pixels) {
    const outputs = await this.network.run(pixels);
    const wide = Array.from(outputs.probabilities.data);
    const { size, channels, task } = this.about;
    const sum = task === "multilabel" ? 1 : wide.reduce((total, value) => total + value, 0);
    const oodScore = this.detector && this.detector.score(outputs.embedding.data, pixels, size, channels);
    const units = outputs.activation_map ?? null;
    return { probabilities: wide.map((value) => value / sum), oodScore, units };
  }

  /** Return the document of one image: that of `lucency predict --json`, with its map. */
  async predict(pixels) {
    const { probabilities, oodScore, units } = await this.infer(pixels);
    const prediction = predictionOf(this.about, this.settings.scores, probabilities, oodScore);
    const map = units && mapOf(units, probabilities, this.about, this.settings.map);
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

/** Compare with the probabilities in check.safetensors. */
async function checkOn(classifier, { pixels, probabilities }, tolerance) {
  const [images, classes] = probabilities.shape;
  const length = pixels.values.length / images;
  let difference = 0;
  for (let i = 0; i < images; i++) {
    const image = pixels.values.slice(i * length, (i + 1) * length);
    const found = (await classifier.infer(image)).probabilities;
    found.forEach((value, k) => {
      difference = Math.max(difference, Math.abs(value - probabilities.values[i * classes + k]));
    });
  }
  if (difference <= tolerance) return { images, difference };
  throw new Error(
    `This browser computes other probabilities than the classifier: on ${images} synthetic images ` +
      `they differ by up to ${difference.toPrecision(2)}. Use another browser.`,
  );
}
