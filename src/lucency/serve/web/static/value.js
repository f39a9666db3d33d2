// A predicted number: how probabilities of bins become one, with its interval, and how it is shown,
// by the rule of lucency/calibration/values.py.

import { isolated, make } from "./dom.js";
import { share } from "./text.js";

/**
 * Make the document of one image, with the keys of `lucency predict --json`.
 *
 * @param {{classes: string[], value: object}} about The classifier; `value` as in classifier.json.
 * @param {number[]} probabilities Of each bin, sum 1.
 * @param {string|null} outside Why the image is out of distribution; null if it is not.
 */
export function valueOf({ classes, value: rule }, probabilities, outside) {
  const predicted = predictedOf(rule, probabilities);
  const interval = intervalOf(rule, probabilities);
  const wide = rule.tolerance !== null && !(interval && interval[1] - interval[0] <= rule.tolerance);
  const between = interval ? interval.map(numberText).join(" to ") : "no interval";
  const ambiguous = wide ? `ambiguous: ${between}, wider than ${numberText(rule.tolerance)}` : null;
  const reason = outside ?? ambiguous;
  return {
    decision: reason ? null : numberText(predicted),
    probabilities: Object.fromEntries(classes.map((name, k) => [name, probabilities[k]])),
    reason,
    prediction_set: [],
    value: { name: rule.name, predicted, interval, coverage: rule.coverage },
  };
}

/** Return the mean of a distribution. */
export function predictedOf({ centres }, probabilities) {
  return probabilities.reduce((sum, p, k) => sum + p * centres[k], 0);
}

/** Return the ends of the prediction interval; null where there is none. */
export function intervalOf(rule, probabilities) {
  if (rule.offset === null) return null;
  const [low, high] = [(1 - rule.coverage) / 2, (1 + rule.coverage) / 2].map((level) => quantile(rule.edges, probabilities, level));
  const ends = [low - rule.offset, high + rule.offset];
  const middle = (ends[0] + ends[1]) / 2;
  return [Math.min(ends[0], middle), Math.max(ends[1], middle)];
}

function quantile(edges, probabilities, level) {
  const wanted = level * probabilities.reduce((sum, p) => sum + p, 0);
  let below = 0;
  for (const [k, p] of probabilities.entries()) {
    if (p > 0 && below + p >= wanted) return edges[k] + ((wanted - below) / p) * (edges[k + 1] - edges[k]);
    below += p;
  }
  return edges.at(-1);
}

/** Return a number with four significant digits and without an exponent. */
export function numberText(value) {
  const [digits, power] = value.toExponential(3).split("e");
  return Number(power) < -6 || Number(power) > 20 ? plain(digits, Number(power)) : String(Number(value.toPrecision(4)));
}

/** Write out what a number with an exponent means. */
function plain(digits, power) {
  const sign = digits.startsWith("-") ? "-" : "";
  const all = digits.replace(/[-.]/g, "");
  if (power < 0) return `${sign}0.${"0".repeat(-power - 1)}${all}`.replace(/0+$/, "");
  return `${sign}${all}${"0".repeat(power - all.length + 1)}`;
}

/** Return the interval of a predicted number as text; empty without one. */
export function intervalText({ interval }) {
  return interval ? interval.map(numberText).join(" to ") : "";
}

/** Return the predicted number, its interval, and both on the axis of the training numbers. */
export function valuePart({ value }, about) {
  const { edges, coverage } = about.value;
  const [from, to] = [edges[0], edges.at(-1)];
  const what = about.what ? about.unit.plural : "images";
  const place = (x) => `${100 * Math.min(1, Math.max(0, (x - from) / (to - from)))}%`;
  const tick = make("div", { class: "bar-mark" });
  tick.style.left = place(value.predicted);
  const range = make("div", { class: "bar-range" });
  if (value.interval) {
    range.style.left = place(value.interval[0]);
    range.style.right = `calc(100% - ${place(value.interval[1])})`;
  }
  return [
    make("p", { class: "figure" }, make("strong", {}, numberText(value.predicted)), " ", isolated(value.name)),
    make("div", { class: "bar", "aria-hidden": "true" }, value.interval && range, tick),
    make("p", { class: "hint" }, `The axis goes from ${numberText(from)} to ${numberText(to)}, the range of the training images.`),
    make("p", {}, value.interval ? `Prediction interval: ${intervalText(value)}. Such intervals contain the true value of ${share(coverage)} of ${what} or more, if these are like the held-out ${what}.` : `There is no prediction interval: too few patients were held out to promise ${share(coverage)}.`),
  ];
}

/** Return how the number is decided, and when there is none. */
export function valueRules({ value, ood_detector: detector }) {
  const reasons = [];
  if (detector) reasons.push("if an image is out of distribution");
  if (value.tolerance !== null) reasons.push(`if the prediction interval is wider than ${numberText(value.tolerance)}`);
  const abstains = reasons.length ? `It abstains ${reasons.join(", or ")}.` : "It never abstains.";
  return ["The classifier predicts ", isolated(value.name), `: the mean of a distribution over ${value.centres.length} bins of the axis. ${abstains}`];
}
