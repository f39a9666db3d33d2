// What the classifier is and how good it was when it was tested.

import { make, name } from "./dom.js";
import { plural, share } from "./words.js";

const TITLES = {
  auroc: ["AUROC", "The chance that, of one image with and one without, the right one gets the higher score. 0.5 is guessing, 1 is perfect."],
  sensitivity: ["Sensitivity", "Of the images of the class looked for, the share that is found."],
  specificity: ["Specificity", "Of all other images, the share that is rightly left alone."],
  accuracy: ["Accuracy", "The share of all images that is decided rightly; it flatters where one class is frequent."],
  balanced_accuracy: ["Balanced accuracy", "The mean over the classes of the share decided rightly; every class counts the same."],
};

/** Return the title of the page: the classes, as long as they are few. */
export function title(about) {
  const shown = about.classes.slice(0, 4).flatMap((label, i, all) => {
    const between = i === 0 ? "" : i === all.length - 1 && about.classes.length <= 4 ? " or " : ", ";
    return [between, name(label)];
  });
  const more = about.classes.length - 4;
  return more > 0 ? [shown, ` or ${more} more`] : shown;
}

/** Return the line of facts below the title. */
export function facts(about) {
  const shown = [["classifier", about.name]];
  const { figures } = about;
  if (figures) shown.push([figures.split === "test" ? "tested on" : "validated on", plural(figures.n, "image")]);
  const auroc = figures?.metrics.auroc;
  if (auroc?.value != null) shown.push(["AUROC", figureText("auroc", auroc, figures.n)]);
  return shown.map(([what, value]) => make("span", {}, `${what} `, make("b", {}, name(value))));
}

/** Return what is known of the classifier. */
export function aboutPart(about) {
  const { figures } = about;
  return [
    make("h2", { id: "about-title" }, "How good it is"),
    figures ? headlines(about) : make("p", { class: "missing" }, "This classifier comes without figures of how good it is."),
    figures && make("p", {}, scope(figures)),
    make("p", {}, about.meaning),
    make("p", {}, decided(about)),
    make("p", {}, abstains(about)),
    make("p", { class: "says" }, "The 95\u202f% interval is the range that chance in the choice of these images leaves open. On images of other people, places and machines it may do worse than any of it."),
    make("p", { class: "says names" }, `Lucency ${about.version}; weights `, make("code", {}, about.sha256)),
  ];
}

function headlines(about) {
  const { figures } = about;
  const keys = about.positive === null ? ["auroc", "balanced_accuracy", "accuracy"] : ["auroc", "sensitivity", "specificity", "accuracy"];
  const known = keys.filter((key) => figures.metrics[key]?.value != null);
  return make("dl", { class: "headlines" }, known.map((key) => {
    const [heading, says] = TITLES[key];
    const entry = figures.metrics[key];
    return make(
      "div",
      {},
      make("dt", {}, heading),
      make("dd", { class: "value" }, valueText(key, entry.value, figures.n)),
      make("dd", {}, intervalText(key, entry, figures.n) ? `95\u202f% interval ${intervalText(key, entry, figures.n)}` : "no interval"),
      make("dd", { class: "explain" }, says),
    );
  }));
}

function scope(figures) {
  const patients = figures.groups && figures.groups !== figures.n ? ` of ${plural(figures.groups, "patient")}` : "";
  const images = `${plural(figures.n, "image")}${patients}`;
  if (figures.split === "test") return `Measured on ${images} of the test part, which took no part in training or choosing.`;
  return `Measured on ${images} of the validation part, because there is no test part. These images also helped to choose, so new images will probably do worse.`;
}

function decided(about) {
  if (about.positive === null) return "It decides for the most probable class.";
  return ["It decides for ", name(about.positive), ` from a probability of ${share(about.threshold)} on: ${about.rule}.`];
}

function abstains(about) {
  const reasons = [];
  if (about.ood_detector) reasons.push("is unlike the images that it was trained on");
  if (about.conformal) reasons.push("leaves more than one class open");
  const known = `It knows no class but ${about.classes.length === 2 ? "these two" : "these"}.`;
  return reasons.length ? `It gives no answer where an image ${reasons.join(" or ")}. ${known}` : `It always answers, also where an image is of another kind. ${known}`;
}

const SHARES = new Set(["sensitivity", "specificity", "accuracy", "balanced_accuracy"]);

/** Return a figure with no more digits than its images support, and no false perfection. */
function valueText(key, value, n, end = false) {
  const shared = SHARES.has(key);
  const decimals = (n >= 100 ? 3 : 2) - (shared ? 2 : 0);
  const scale = shared ? 100 : 1;
  const unit = shared && !end ? "\u202f%" : "";
  const written = (value * scale).toFixed(decimals);
  const step = 10 ** -decimals;
  if (!end && value > 0 && value < 1 && Number(written) === 0) return `<${step.toFixed(decimals)}${unit}`;
  if (!end && value > 0 && value < 1 && Number(written) === scale) return `>${(scale - step).toFixed(decimals)}${unit}`;
  return `${written}${unit}`;
}

function intervalText(key, entry, n) {
  if (entry.low == null || entry.high == null) return "";
  return `${valueText(key, entry.low, n, true)}–${valueText(key, entry.high, n, true)}`;
}

function figureText(key, entry, n) {
  const interval = intervalText(key, entry, n);
  return valueText(key, entry.value, n) + (interval ? ` (${interval})` : "");
}
