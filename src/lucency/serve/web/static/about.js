// What the classifier is, and how well it performed when it was evaluated.

import { isolated, make } from "./dom.js";
import { plural, share } from "./text.js";
import { valueRules } from "./value.js";

const METRICS = {
  auroc: ["AUROC", "The chance that, of one image with and one without, the right one gets the higher score. 0.5 is guessing, 1 is perfect."],
  sensitivity: ["Sensitivity", "The share of the positive images that is found."],
  specificity: ["Specificity", "The share of the negative images that is recognised as negative."],
  accuracy: ["Accuracy", "The share of all images with the right decision. It is misleading if one class is frequent."],
  quadratic_kappa: ["Quadratic weighted kappa", "The agreement with the true grades beyond chance; errors count by the square of their size. 0 is chance, 1 is perfect."],
  within_one: ["Within one grade", "The share of all images that get the right grade or a neighbouring one."],
  mean_absolute_error: ["Mean absolute error", "By how many grades a decision is wrong on average."],
  r2: ["R²", "The share of the variance of the true values that the predictions explain. 0 is always predicting the mean, 1 is perfect."],
  interval_coverage: ["Interval coverage", "The share of the images whose true value lies in the prediction interval."],
  balanced_accuracy: ["Balanced accuracy", "The share of right decisions in each class, averaged over the classes."],
};
const IN_PERCENT = new Set(["sensitivity", "specificity", "accuracy", "balanced_accuracy", "within_one", "interval_coverage"]);
const OF_VALUES = ["mean_absolute_error", "r2", "interval_coverage"];
const OF_ERRORS = { mean_absolute_error: ["Mean absolute error", "By how much a prediction is wrong on average, in the unit of the number."] };
const OF_GRADES = ["quadratic_kappa", "within_one", "mean_absolute_error", "accuracy"];
const OF_CLASSES = ["auroc", "balanced_accuracy", "accuracy"];
const OF_TWO = ["auroc", "sensitivity", "specificity", "accuracy"];

/** Return the title of the page: the classes, if they are few. */
export function title(about) {
  if (about.value) return isolated(about.value.name);
  const shown = about.classes.slice(0, 4).flatMap((label, i, all) => {
    const between = i === 0 ? "" : i === all.length - 1 && about.classes.length <= 4 ? " or " : ", ";
    return [between, isolated(label)];
  });
  const more = about.classes.length - 4;
  return more > 0 ? [shown, ` or ${more} more`] : shown;
}

const MEASURED = { test: "tested on", validation: "validated on", cross_validation: "cross-validated on" };

/** Return the line of facts below the title. */
export function facts(about) {
  const shown = [["classifier", about.name]];
  const { evaluation } = about;
  if (evaluation) shown.push([MEASURED[evaluation.split], plural(evaluation.n, "image")]);
  const [key] = headlineKeys(about);
  const best = evaluation?.metrics[key];
  if (best?.value != null) shown.push([METRICS[key][0], withInterval(key, best, about)]);
  return shown.map(([what, value]) => make("span", {}, `${what} `, make("b", {}, isolated(value))));
}

/** Return the section about the classifier. */
export function aboutPart(about) {
  const { evaluation } = about;
  return [
    make("h2", { id: "about-title" }, "Performance"),
    evaluation ? headlines(about) : make("p", { class: "notice" }, "No evaluation of this classifier is available."),
    evaluation && make("p", {}, scope(evaluation), about.task === "multilabel" && " The figures are means over the labels; the report has those of each."),
    evaluation?.per_unit && about.unit && make("p", {}, ofUnits(about)),
    make("p", {}, about.meaning),
    about.value ? make("p", {}, valueRules(about)) : [make("p", {}, decisionRule(about)), make("p", {}, abstentionRule(about))],
    make("p", { class: "hint" }, "The 95\u202f% interval reflects only the random choice of these images. On images of other people, hospitals or devices, performance may be worse than the interval suggests."),
    make("p", { class: "hint identity" }, `Lucency ${about.version}; weights `, make("code", {}, about.sha256)),
  ];
}

function headlineKeys(about) {
  if (about.task === "ordinal") return OF_GRADES;
  if (about.value) return OF_VALUES;
  if (about.task === "multilabel") return OF_TWO;
  return about.positive === null ? OF_CLASSES : OF_TWO;
}

function headlines(about) {
  const { evaluation } = about;
  const known = headlineKeys(about).filter((key) => evaluation.metrics[key]?.value != null);
  return make("dl", { class: "headlines" }, known.map((key) => {
    const [heading, explanation] = (about.value && OF_ERRORS[key]) || METRICS[key];
    const entry = evaluation.metrics[key];
    const interval = intervalText(key, entry, about);
    return make(
      "div",
      {},
      make("dt", {}, heading),
      make("dd", { class: "value" }, valueText(key, entry.value, about)),
      make("dd", {}, interval ? `95\u202f% interval ${interval}` : "no interval"),
      make("dd", { class: "explanation" }, explanation),
    );
  }));
}

/** Return the figures of one answer for each unit as a sentence. */
function ofUnits(about) {
  const { n, metrics } = about.evaluation.per_unit;
  const { name, plural: units } = about.unit;
  const known = headlineKeys(about).filter((key) => metrics[key]?.value != null);
  const figures = known.map((key) => `${METRICS[key][0].toLowerCase().replace("auroc", "AUROC").replace("r²", "R²")} ${withInterval(key, metrics[key], { ...about, evaluation: { n } })}`);
  return `With one answer for each of ${plural(n, name, units)}, from all images of the ${name}: ${figures.join(", ")}.`;
}

function scope(evaluation) {
  const patients = evaluation.groups && evaluation.groups !== evaluation.n ? ` of ${plural(evaluation.groups, "patient")}` : "";
  const images = `${plural(evaluation.n, "image")}${patients}`;
  if (evaluation.split === "test") return `Measured on ${images} of the test split, which was not used for training or model selection.`;
  if (evaluation.split === "cross_validation") return `Measured on ${images}, each by the one of several networks that it was held out of, because there is no test split. Calibration and threshold were chosen on them, so expect slightly worse results on new ones.`;
  return `Measured on ${images} of the validation split, because there is no test split. These images were also used for model selection, so expect worse results on new ones.`;
}

function decisionRule(about) {
  if (about.task === "ordinal") return ["The classifier decides for the median grade: it and the grades below have a probability of 50\u202f% or more.", about.cut && [" An image is positive where ", isolated(about.cut.from), ` or a higher grade has a probability of ${share(about.cut.threshold)} or more: ${about.cut.rule}.`]];
  if (about.task === "multilabel") return ["Each label is decided by itself, at its own threshold", about.labels && [": ", thresholds(about)], "."];
  if (about.positive === null) return "The classifier decides for the most probable class.";
  return ["The classifier decides for ", isolated(about.positive), ` at a probability of ${share(about.threshold)} or more: ${about.rule}.`];
}

/** Return the probability from which on each label is present. */
function thresholds({ classes, labels }) {
  return classes.flatMap((label, i) => [i ? ", " : "", isolated(label), ` from ${share(labels[label].threshold)}`]);
}

function abstentionRule(about) {
  if (about.task === "multilabel") return "It abstains if an image is out of distribution, or if no label is clearly present and one may be.";
  const reasons = [];
  if (about.ood_detector) reasons.push("if an image is out of distribution");
  if (about.conformal) reasons.push(about.task === "ordinal" ? "if more than two neighbouring grades remain possible" : "if more than one class remains possible");
  const classes = `It knows only ${about.classes.length === 2 ? "these two classes" : "these classes"}.`;
  return reasons.length ? `It abstains ${reasons.join(", or ")}. ${classes}` : `It never abstains, not even on images of another kind. ${classes}`;
}

/** Return a metric with no more digits than its images support, and without false perfection. */
function valueText(key, value, { evaluation: { n }, value: number }, inInterval = false) {
  if (number && key === "mean_absolute_error") return threeDigits(value);
  const inPercent = IN_PERCENT.has(key);
  const decimals = (n >= 100 ? 3 : 2) - (inPercent ? 2 : 0);
  const scale = inPercent ? 100 : 1;
  const unit = inPercent && !inInterval ? "\u202f%" : "";
  const rounded = (value * scale).toFixed(decimals);
  const step = 10 ** -decimals;
  if (!inInterval && value > 0 && value < 1 && Number(rounded) === 0) return `<${step.toFixed(decimals)}${unit}`;
  if (!inInterval && value > 0 && value < 1 && Number(rounded) === scale) return `>${(scale - step).toFixed(decimals)}${unit}`;
  return `${rounded}${unit}`;
}

function intervalText(key, entry, about) {
  if (entry.low == null || entry.high == null) return "";
  return `${valueText(key, entry.low, about, true)}–${valueText(key, entry.high, about, true)}`;
}

function withInterval(key, entry, about) {
  const interval = intervalText(key, entry, about);
  return valueText(key, entry.value, about) + (interval ? ` (${interval})` : "");
}

/** Return an error in the unit of a number. */
function threeDigits(value) {
  return String(Number(value.toPrecision(3)));
}
