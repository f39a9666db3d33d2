// One answer for all images of a unit, such as a patient, by the rule of lucency/calibration/units.py.

import { predictionOf } from "./prediction.js";

const TINY = 1e-30; // probabilities can be 0

/**
 * Make the prediction for a unit from those for the images, as `lucency predict` does.
 *
 * @param {object} about The classifier, with `unit`: `name`, `temperature`, `bias`, `threshold`, `scores`
 *   (as of `predictionOf`) and `cut`.
 * @param {object[]} predictions Of images; those without probabilities are not used.
 */
export function unitOf(about, predictions) {
  const used = predictions.filter((each) => each.probabilities);
  const { name: what, temperature, bias, threshold, scores, cut } = about.unit;
  if (!used.length) {
    const reason = `no image of the ${what} can be read`;
    return { decision: null, probabilities: null, reason, prediction_set: [], ood_score: null, notes: [] };
  }
  const logits = used.map((each) => logitsOf(about.classes.map((name) => each.probabilities[name])));
  const pooled = bias.map((each, k) => (mean(logits.map((row) => row[k])) + each) / temperature);
  const oodScores = used.map((each) => each.ood_score ?? null).filter((score) => score !== null);
  const oodScore = oodScores.length ? median(oodScores) : null;
  const prediction = predictionOf({ ...about, threshold, cut }, scores, probabilitiesOf(pooled), oodScore);
  return { ...prediction, notes: [...new Set(used.flatMap((each) => each.notes ?? []))] };
}

/** Return log probabilities; of two classes the log odds of the second. */
function logitsOf(probabilities) {
  const logs = probabilities.map((p) => Math.log(Math.max(p, TINY)));
  return logs.length === 2 ? [logs[1] - logs[0]] : logs;
}

function probabilitiesOf(logits) {
  if (logits.length === 1) return [1 / (1 + Math.exp(logits[0])), 1 / (1 + Math.exp(-logits[0]))];
  const highest = Math.max(...logits);
  const powers = logits.map((z) => Math.exp(z - highest));
  const sum = powers.reduce((total, each) => total + each, 0);
  return powers.map((each) => each / sum);
}

/** Return the mean; sorted, so that the sum does not depend on the order of the images. */
function mean(values) {
  return values.sort((a, b) => a - b).reduce((sum, each) => sum + each, 0) / values.length;
}

function median(values) {
  const sorted = values.sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}
