// Numbers to a prediction that abstains rather than guesses, with the sentences of
// lucency/classifier/prediction.py and the maps of activation_map.py.

import { valueOf } from "./value.js";

const DECIMALS = 4;
const NO_FINDING = "No finding"; // the decision where no label is present

/**
 * Make the document of one image, with the keys of `lucency predict --json`.
 *
 * @param {object} about The classifier: `classes`, `task`, `positive`, `threshold`, `cut`, `labels`,
 *   `value`.
 * @param {number[]|null} scores The largest 1 - probability with which each class is in the
 *   prediction set; null without prediction sets. Of several labels, one such list for each, of the
 *   states absent and present.
 * @param {number[]} probabilities Of each class, sum 1; or that each of several labels is present.
 * @param {number|null} oodScore Above 1 is out of distribution; null without a detector.
 */
export function predictionOf(about, scores, probabilities, oodScore) {
  if (about.task === "multilabel") return ofLabels(about, scores, probabilities, oodScore);
  const { classes } = about;
  if (about.value) return { ...valueOf(about, probabilities, outside(oodScore)), ood_score: oodScore };
  const ordinal = about.task === "ordinal";
  const decided = decide(about, probabilities);
  const names = scores ? setOf(classes, scores, probabilities, ordinal) : [];
  const most = ordinal ? 2 : 1;
  let reason = outside(oodScore);
  if (!reason && scores && !(names.length <= most && names.includes(decided))) {
    const shown = ordinal && names.length > 1 ? `${names[0]} to ${names.at(-1)}` : names.join(" or ");
    reason = `ambiguous: ${names.length ? shown : "no class fits well"}`;
    if (names.length === 1) {
      reason = `ambiguous: ${decided} by the ${ordinal ? "median" : "threshold"}, ${names[0]} by validation`;
    }
  }
  return {
    decision: reason ? null : decided,
    probabilities: Object.fromEntries(classes.map((name, k) => [name, probabilities[k]])),
    reason,
    prediction_set: names,
    ood_score: oodScore,
    ...(about.cut && { cut: atCut(about.cut, classes, probabilities, reason) }),
  };
}

/** Return why an image is out of distribution, or null. */
function outside(oodScore) {
  if (oodScore === null || oodScore <= 1) return null;
  return `out of distribution: OOD score ${general(oodScore)}, limit 1`;
}

/** Make the document of one image that may have several labels. */
function ofLabels({ classes, labels }, scores, probabilities, oodScore) {
  const found = classes.map((name, k) => [name, ofLabel(probabilities[k], labels[name].threshold, scores[k])]);
  const having = (state) => found.filter(([, each]) => each.present === state).map(([name]) => name);
  const [sure, unclear] = [having(true), having(null)];
  const ambiguous = unclear.length && !sure.length ? `ambiguous: ${unclear.join(", ")}` : null;
  const reason = outside(oodScore) ?? ambiguous;
  return {
    decision: reason ? null : sure.join(", ") || NO_FINDING,
    probabilities: Object.fromEntries(classes.map((name, k) => [name, probabilities[k]])),
    reason,
    prediction_set: [],
    ood_score: oodScore,
    labels: Object.fromEntries(found),
  };
}

/** Return what is said of one label: `present` is null where the prediction set does not settle it. */
function ofLabel(probability, threshold, scores) {
  const isPresent = probability >= threshold;
  const shares = [1 - probability, probability];
  const inside = shares.map((p, k) => !scores || 1 - p <= scores[k]);
  const clear = !scores || (inside[0] === !isPresent && inside[1] === isPresent);
  return {
    probability,
    present: clear ? isPresent : null,
    prediction_set: ["absent", "present"].filter((_, k) => inside[k]),
  };
}

/** Return the classes of the prediction set; of grades, also those between two of them. */
function setOf(classes, scores, probabilities, ordinal) {
  const inside = probabilities.map((p, k) => 1 - p <= scores[k]);
  const [first, last] = [inside.indexOf(true), inside.lastIndexOf(true)];
  return classes.filter((_, k) => (ordinal ? first >= 0 && first <= k && k <= last : inside[k]));
}

/** Return whether an image is positive at the chosen cut of the grades; null where it abstains. */
function atCut({ from, threshold }, classes, probabilities, reason) {
  const higher = probabilities.slice(classes.indexOf(from));
  const probability = higher.reduce((sum, p) => sum + p, 0);
  return { from, probability, positive: reason ? null : probability >= threshold };
}

/** Return the class that probabilities are decided as, abstention aside. */
export function decide({ classes, task, positive, threshold }, probabilities) {
  if (task === "ordinal") return classes[median(probabilities)];
  if (positive === null) return classes[mostProbable(probabilities)];
  const place = classes.indexOf(positive);
  return classes[probabilities[place] >= threshold ? place : 1 - place];
}

function mostProbable(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}

function median(probabilities) {
  let sum = 0;
  const found = probabilities.findIndex((p) => (sum += p) >= 0.5);
  return found < 0 ? probabilities.length - 1 : found;
}

/** Format a number with three digits as Python's %.3g does. */
export function general(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const [digits, power] = value.toExponential(2).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 3) return String(Number(value.toPrecision(3)));
  const two = String(Math.abs(exponent)).padStart(2, "0");
  return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${two}`;
}

/**
 * Make the map of one image: the evidence at each position for and against a class, in logits.
 *
 * @param {{dims: number[], data: Float32Array}} units Output of the network, (1, h, w, units).
 * @param {number[]} probabilities
 * @param {{classes: string[], task: string, positive: string|null}} about
 * @param {{method: string, scale: number}} settings
 */
export function mapOf({ dims: [, height, width, units], data }, probabilities, about, settings) {
  const several = about.task === "multilabel";
  const two = about.classes.length === 2 && !several;
  const of = two
    ? about.classes.indexOf(about.positive ?? about.classes[1])
    : about.task === "ordinal" || about.task === "regression"
      ? about.classes.length - 1
      : mostProbable(probabilities);
  const value = (position) => {
    if (two) return (2 * of - 1) * data[position];
    const here = data.subarray(position * units, (position + 1) * units);
    if (several) return here[of];
    const others = here.reduce((sum, each) => sum + each, 0) - here[of];
    return here[of] - others / (units - 1);
  };
  const row = (y) => Array.from({ length: width }, (_, x) => rounded(value(y * width + x)));
  const values = Array.from({ length: height }, (_, y) => row(y));
  return { class: about.classes[of], method: settings.method, scale: settings.scale, values };
}

function rounded(value) {
  return Number(value.toFixed(DECIMALS));
}
