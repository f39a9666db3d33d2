// One answer for all images of a unit, such as a patient, by the rule of lucency/calibration/units.py.

import { decide, predictionOf } from "./prediction.js";

const TINY = 1e-30; // probabilities can be 0

/**
 * Make the prediction for a unit from those for the images, as `lucency predict` does.
 *
 * @param {object} about The classifier, with `unit`: `name`, `pooling`, `temperature`, `bias`, `threshold`,
 *   `scores` (as of `predictionOf`) and `cut`.
 * @param {object[]} predictions Of images; those without probabilities are not used.
 */
export function unitOf(about, predictions) {
  const used = predictions.filter((each) => each.probabilities);
  const { name: what, threshold, scores, cut } = about.unit;
  if (!used.length) {
    const reason = `no image of the ${what} can be read`;
    return { decision: null, probabilities: null, reason, prediction_set: [], ood_score: null, notes: [] };
  }
  const logits = used.map((each) => logitsOf(about.classes.map((name) => each.probabilities[name])));
  const oodScores = used.map((each) => each.ood_score ?? null).filter((score) => score !== null);
  const oodScore = oodScores.length ? median(oodScores) : null;
  const prediction = predictionOf({ ...about, threshold, cut }, scores, probabilitiesOfUnit(about.unit, logits), oodScore);
  const rows = used.map((each) => about.classes.map((name) => each.probabilities[name]));
  const answered = decide({ ...about, threshold }, about.classes.map((name) => prediction.probabilities[name]));
  const evidence = evidenceOf(about, rows, logits, answered);
  return { ...prediction, evidence: { ...evidence, image: predictions.indexOf(used[evidence.image]) }, notes: [...new Set(used.flatMap((each) => each.notes ?? []))] };
}

/** Return what the answer rests on, as `evidence` of lucency/calibration/units.py. */
function evidenceOf(about, rows, logits, answered) {
  const k = about.classes.indexOf(answered);
  const without = (place) => logits.filter((_, i) => i !== place);
  const oddsOf = (some) => oddsOfClass(probabilitiesOfUnit(about.unit, some), k);
  const all = oddsOf(logits);
  const changes = rows.length > 1 ? rows.map((_, i) => all - oddsOf(without(i))) : [];
  const image = decisive(changes);
  const shares = rows.map((row) => row[k]);
  return {
    class: answered,
    image,
    change: changes.length ? changes[image] : null,
    images: rows.length,
    agree: rows.filter((row) => decide(about, row) === answered).length,
    lowest: Math.min(...shares),
    highest: Math.max(...shares),
  };
}

/** Return the place of the largest change, but for rounding: of equal ones that for the answer. */
function decisive(changes) {
  const rounded = changes.map((each) => Math.round(each * 1e9));
  const largest = Math.max(0, ...rounded.map(Math.abs));
  return Math.max(0, rounded.indexOf(rounded.includes(largest) ? largest : -largest));
}

function oddsOfClass(probabilities, k) {
  const others = probabilities.reduce((sum, p, c) => (c === k ? sum : sum + p), 0);
  return Math.log(Math.max(probabilities[k], TINY)) - Math.log(Math.max(others, TINY));
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

function probabilitiesOfUnit({ pooling, temperature, bias }, logits) {
  return probabilitiesOf(bias.map((each, k) => (pooled(logits, k, pooling) + each) / temperature));
}

/** Return the pooled logits of a class, as `pooled_logits` of lucency/calibration/units.py. */
function pooled(logits, k, sharpness) {
  if (!sharpness) return mean(logits.map((row) => row[k]));
  const centre = (row) => (row.length > 1 ? mean([...row]) : 0);
  const scaled = logits.map((row) => sharpness * (row[k] - centre(row)));
  const highest = Math.max(...scaled);
  return (highest + Math.log(mean(scaled.map((each) => Math.exp(each - highest))))) / sharpness;
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
