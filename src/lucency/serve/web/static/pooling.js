// One answer for all images of a unit, such as a patient, by the rule of lucency/calibration/units.py.

import { decide, predictionOf } from "./prediction.js";
import { intervalOf, predictedOf } from "./value.js";

const TINY = 1e-30; // probabilities can be 0
const NEAREST = 2 ** -24; // of the float32 probabilities of a label to 1, and so also to 0

/**
 * Make the prediction for a unit from those for the images, as `lucency predict` does.
 *
 * @param {object} about The classifier, with `unit`: `name`, `pooling`, `temperature`, `bias`, `threshold`,
 *   `scores` (as of `predictionOf`) and `cut`; of several labels `labels`, of a number `value`.
 * @param {object[]} predictions Of images; those without probabilities are not used.
 */
export function unitOf(about, predictions) {
  const used = predictions.filter((each) => each.probabilities);
  const { name: what, scores } = about.unit;
  if (!used.length) {
    const reason = `no image of the ${what} can be read`;
    return { decision: null, probabilities: null, reason, prediction_set: [], ood_score: null, notes: [] };
  }
  const rows = used.map((each) => about.classes.map((name) => each.probabilities[name]));
  const oodScores = used.map((each) => each.ood_score ?? null).filter((score) => score !== null);
  const oodScore = oodScores.length ? median(oodScores) : null;
  const prediction = predictionOf(aboutUnits(about), scores, probabilitiesOfUnit(about, rows), oodScore);
  const evidence = evidenceOf(about, rows, about.classes.map((name) => prediction.probabilities[name]));
  const place = (each) => ({ ...each, image: predictions.indexOf(used[each.image]) });
  const placed = evidence.labels ? { ...evidence, labels: mapped(evidence.labels, place) } : place(evidence);
  return { ...prediction, evidence: placed, notes: [...new Set(used.flatMap((each) => each.notes ?? []))] };
}

/** Return the description of the classifier with what it decides on units by. */
export function aboutUnits(about) {
  const { name, threshold, rule, cut, scores, labels, value } = about.unit;
  const decides = { threshold, rule, cut, conformal: scores !== null && !labels, what: name };
  return { ...about, ...decides, ...(labels && { labels }), ...(value && { value }) };
}

/** Return the probabilities of a unit from those of its images, one row each. */
function probabilitiesOfUnit({ classes, unit }, rows) {
  if (!unit.labels) return pooled(unit, rows);
  return classes.map((label, k) => pooled(ofLabel(unit, label), rows.map((row) => twoClasses(row[k])))[1]);
}

/** Return the rule of one of several labels, as of two classes: absent and present. */
function ofLabel({ labels }, label) {
  const { pooling, temperature, bias } = labels[label];
  return { pooling, temperature, bias: [bias] };
}

/** Return the probability of a label as those of absent and present, neither 0 nor 1. */
function twoClasses(present) {
  const p = Math.min(1 - NEAREST, Math.max(NEAREST, present));
  return [1 - p, p];
}

function pooled({ pooling, temperature, bias }, rows) {
  const logits = rows.map(logitsOf);
  return probabilitiesOf(bias.map((each, k) => (pooledLogit(logits, k, pooling) + each) / temperature));
}

/** Return the pooled logit of a class, as `pooled_logits` of lucency/calibration/units.py. */
function pooledLogit(logits, k, sharpness) {
  if (!sharpness) return mean(logits.map((row) => row[k]));
  const centre = (row) => (row.length > 1 ? mean([...row]) : 0);
  const scaled = logits.map((row) => sharpness * (row[k] - centre(row)));
  const highest = Math.max(...scaled);
  return (highest + Math.log(mean(scaled.map((each) => Math.exp(each - highest))))) / sharpness;
}

/** Return what the answer rests on, as `_evidence` of lucency/classifier/unit_prediction.py. */
function evidenceOf(about, rows, probabilities) {
  const { unit, classes } = about;
  if (unit.value) return basisOf(rows, (some) => predictedOf(unit.value, pooled(unit, some)), ...ofNumbers(unit.value, rows, probabilities));
  if (!unit.labels) {
    const answered = decide(aboutUnits(about), probabilities);
    const agree = rows.filter((row) => decide(about, row) === answered).length;
    return { class: answered, ...ofClass(unit, rows, classes.indexOf(answered), agree) };
  }
  const present = classes.filter((label, k) => probabilities[k] >= unit.labels[label].threshold);
  const found = present.map((label) => {
    const [own, { threshold }] = [rows.map((row) => row[classes.indexOf(label)]), about.labels[label]];
    return [label, ofClass(ofLabel(unit, label), own.map(twoClasses), 1, own.filter((p) => p >= threshold).length)];
  });
  return { images: rows.length, labels: Object.fromEntries(found) };
}

/** Return what an answer of class `k` rests on, by the log odds of the class. */
function ofClass(rule, rows, k, agree) {
  return basisOf(rows, (some) => oddsOfClass(pooled(rule, some), k), agree, rows.map((row) => row[k]), 1);
}

/** Return how many images agree with a number, the numbers of the images, and the range of the axis. */
function ofNumbers(rule, rows, probabilities) {
  const own = rows.map((row) => predictedOf(rule, row));
  const interval = intervalOf(rule, probabilities);
  const agree = interval && own.filter((x) => interval[0] <= x && x <= interval[1]).length;
  return [agree, own, rule.edges.at(-1) - rule.edges[0]];
}

/** Return how an answer changes without each of its images, in parts of `scale` to be compared. */
function basisOf(rows, answerOf, agree, own, scale) {
  const all = answerOf(rows);
  const changes = rows.length > 1 ? rows.map((_, i) => all - answerOf(rows.filter((_, k) => k !== i))) : [];
  const image = decisive(changes.map((each) => each / scale));
  return {
    image,
    change: changes.length ? changes[image] : null,
    images: rows.length,
    agree,
    lowest: Math.min(...own),
    highest: Math.max(...own),
  };
}

function mapped(object, change) {
  return Object.fromEntries(Object.entries(object).map(([name, each]) => [name, change(each)]));
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

/** Return the mean; sorted, so that the sum does not depend on the order of the images. */
function mean(values) {
  return values.sort((a, b) => a - b).reduce((sum, each) => sum + each, 0) / values.length;
}

function median(values) {
  const sorted = values.sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}
