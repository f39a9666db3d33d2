// One image: the decision or the reason for none, what the probability means, and the evidence.

import { button, isolated, make } from "./dom.js";
import { describe, informative, legend, overlay, trust } from "./map.js";
import { prevalencePart } from "./prevalence.js";
import { numberText, valuePart } from "./value.js";
import { abstention, isDecided, ofHundred, outcomeOf, percent, share } from "./text.js";

const MAX_HEIGHT = 32; // rem of an image

/** Return everything about an item; retry(item) queues it again. */
export function detail(item, about, retry) {
  const parts = { decided, abstained, failed };
  const prediction = (parts[outcomeOf(item)] ?? pending)(item, about, retry);
  return make("div", { class: "detail" }, make("div", { class: "prediction" }, prediction), imagePanel(item, about), neighbours(item));
}

/** Return the result as one line for a screen reader. */
export function spokenResult(item, about) {
  if (outcomeOf(item) === "failed") return `${item.name}: not read. ${item.error}`;
  return `${item.name}: ${spokenAnswer(item.prediction, about)}`;
}

/** Return a prediction as a sentence for a screen reader. */
export function spokenAnswer(prediction, about) {
  if (prediction.decision === null) return `no decision. ${prediction.reason}`;
  if (prediction.labels) {
    const names = about.classes.filter((label) => prediction.labels[label].present);
    const spoken = (names.length ? names : about.classes).map((label) => `Probability of ${label} ${percent(prediction.probabilities[label])}.`);
    return `${prediction.decision}. ${spoken.join(" ")}`;
  }
  if (prediction.value) return spokenValue(prediction.value);
  const shown = about.positive ?? prediction.decision;
  return `${prediction.decision}. Probability of ${shown} ${percent(prediction.probabilities[shown])}.`;
}

function spokenValue({ name, predicted, interval }) {
  const between = interval ? ` Prediction interval ${interval.map(numberText).join(" to ")}.` : "";
  return `${name} ${numberText(predicted)}.${between}`;
}

/** Return a prediction; `about.what` is what it is of, an image if it is not said. */
export function answer(prediction, about) {
  return prediction.decision === null ? abstained({ prediction }, about) : decided({ prediction }, about);
}

function heading(about) {
  const kind = about.value ? "Prediction" : "Decision";
  return make("p", { class: "kicker" }, about.what ? `${kind} for the ${about.what}` : kind);
}

function decided(item, about) {
  const { prediction } = item;
  if (prediction.value) return [heading(about), valuePart(prediction, about), distribution(prediction, about), oodScore(prediction, about), fileNotes(prediction)];
  const binary = about.positive !== null;
  return [
    heading(about),
    make("h3", { class: "decision" }, isolated(prediction.decision)),
    binary ? positiveBar(prediction, about) : classBars(prediction, about),
    make("p", {}, meaning(prediction, about)),
    cutPart(prediction, about),
    predictionSet(prediction, about),
    unclear(prediction),
    oodScore(prediction, about),
    fileNotes(prediction),
    binary && about.prevalence !== null && !about.what && prevalencePart(prediction.probabilities[about.positive], about),
  ];
}

/** Return the predicted distribution. */
function distribution(prediction, about) {
  return make("details", {}, make("summary", {}, "Predicted distribution"), classBars(prediction, about));
}

function abstained(item, about) {
  const { prediction } = item;
  const { sentence, meaning } = abstention(prediction.reason, about.task);
  return [
    heading(about),
    make(
      "div",
      { class: "message warn" },
      make("h3", { class: "decision" }, "No decision"),
      make("p", {}, sentence),
      make("p", {}, `${meaning} A person should look at ${about.what ? "these images" : "this image"}.`),
    ),
    oodScore(prediction, about),
    fileNotes(prediction),
    prediction.probabilities &&
      make(
        "details",
        {},
        make("summary", {}, "Computed probabilities"),
        make("p", { class: "hint" }, "These numbers are not a decision. The table does not show them."),
        classBars(prediction, about),
      ),
  ];
}

/** Return whether an image is positive at the chosen cut of the grades. */
function cutPart({ cut }, about) {
  if (!cut) return null;
  const side = cut.positive ? "Positive" : "Negative";
  return make("p", {}, make("b", {}, side), ": the probability of ", isolated(cut.from), ` or a higher grade is ${percent(cut.probability)}; the threshold is ${share(about.cut.threshold)}.`);
}

/** Return what a DICOM file states about itself that its reader should know. */
function fileNotes(prediction) {
  return prediction.notes?.length > 0 && make("p", { class: "file-notes" }, make("b", {}, "DICOM note: "), `${prediction.notes.join("; ")}.`);
}

function failed(item, about, retry) {
  return [
    make("p", { class: "kicker" }, "Decision"),
    make(
      "div",
      { class: "message bad", role: "group" },
      make("h3", { class: "decision" }, "Not read"),
      make("p", {}, item.error),
    ),
    make("p", { class: "buttons" }, button("Try again", () => retry(item))),
  ];
}

function pending(item) {
  return make("p", { class: "notice" }, item.state === "cancelled" ? "Cancelled." : "Waiting for the prediction…");
}

/** Return the probability of the positive class, on a bar with the threshold. */
function positiveBar(prediction, about) {
  const p = prediction.probabilities[about.positive];
  const bar = make("div", { class: "bar-fill" });
  bar.style.width = `${100 * p}%`;
  return [
    make("p", { class: "figure" }, make("strong", {}, percent(p)), " probability of ", isolated(about.positive)),
    make("div", { class: "bar", "aria-hidden": "true" }, bar, markAt(about.threshold)),
    make("p", { class: "hint" }, `Decision threshold (the mark): ${share(about.threshold)}; ${about.rule}.`),
  ];
}

/** Return the probability of every class, the highest first; of grades in their order. */
function classBars(prediction, about) {
  const rows = about.classes.map((label) => [label, prediction.probabilities[label]]);
  if (about.task !== "ordinal" && about.task !== "regression") rows.sort((one, other) => other[1] - one[1]);
  return make(
    "table",
    { class: "bars" },
    make("caption", { class: "visually-hidden" }, `Probability of each ${prediction.labels ? "label" : prediction.value ? "bin" : "class"}`),
    make("tbody", {}, rows.map(([label, p]) => {
      const bar = make("div", { class: "bar-fill" });
      bar.style.width = `${100 * p}%`;
      const threshold = about.labels?.[label].threshold;
      return make(
        "tr",
        { class: isDecided(label, prediction) ? "predicted" : null },
        make("th", { scope: "row" }, isolated(label)),
        make("td", { class: "n" }, percent(p)),
        prediction.labels && make("td", {}, stateOf(prediction.labels[label], threshold)),
        make("td", { "aria-hidden": "true" }, make("div", { class: "bar" }, bar, markAt(threshold))),
      );
    })),
  );
}

/** Return the mark of a threshold on a bar, if there is one. */
function markAt(threshold) {
  if (threshold === undefined) return null;
  const mark = make("div", { class: "bar-mark" });
  mark.style.left = `${100 * threshold}%`;
  return mark;
}

/** Return whether a label is present, and from which probability on it would be. */
function stateOf({ present }, threshold) {
  const state = present === null ? "unclear" : present ? "present" : "absent";
  return threshold === undefined ? state : [state, make("small", { class: "hint" }, ` (from ${share(threshold)})`)];
}

/** Return the labels that may be present or absent. */
function unclear({ labels }) {
  const names = Object.keys(labels ?? {}).filter((label) => labels[label].present === null);
  return names.length > 0 && make("p", { class: "hint" }, "Unclear, as validation does not settle whether they are present: ", names.flatMap((label, i) => [i ? ", " : "", isolated(label)]), ".");
}

function meaning(prediction, about) {
  const what = about.what ? about.unit.plural : "images";
  if (prediction.labels) {
    const [label, p] = Object.entries(prediction.probabilities).sort((one, other) => other[1] - one[1])[0];
    return [`This means: of 100 ${what} with `, percent(p), " for ", isolated(label), `, ${ofHundred(p, "has", "have")} it, if labels are as frequent as in training. Each label is decided by itself.`];
  }
  if (about.positive === null) {
    const label = prediction.decision;
    const p = prediction.probabilities[label];
    return [`This means: of 100 ${what} with `, percent(p), " for ", isolated(label), `, ${ofHundred(p, "belongs", "belong")} to it, if the classes are as frequent as the classifier assumes.`];
  }
  const p = prediction.probabilities[about.positive];
  const condition = about.prevalence === null ? "." : `, if ${share(about.prevalence)} of all ${what} do, as the classifier assumes.`;
  return [`This means: of 100 ${what} with `, percent(p), `, ${ofHundred(p, "shows", "show")} `, isolated(about.positive), condition];
}

function predictionSet(prediction, about) {
  if (!about.conformal) return null;
  const names = prediction.prediction_set ?? [];
  const shown = names.flatMap((label, i) => [i ? ", " : "", isolated(label)]);
  return make("p", { class: "hint" }, "Prediction set, the classes that validation does not rule out: ", shown.length ? shown : "none", ".");
}

function oodScore(prediction, about) {
  if (prediction.ood_score === null || prediction.ood_score === undefined) {
    return about.ood_detector ? null : make("p", { class: "hint" }, "This classifier has no out-of-distribution detector.");
  }
  const score = prediction.ood_score;
  const outside = !(score <= 1);
  const bar = make("div", { class: "bar-fill" });
  bar.style.width = `${Math.min(100, 50 * score)}%`;
  const tick = make("div", { class: "bar-mark" });
  tick.style.left = "50%";
  return make(
    "div",
    { class: outside ? "ood-score exceeded" : "ood-score" },
    make("p", { class: "hint" }, about.what ? "Median out-of-distribution score of the images: " : "Out-of-distribution score: ", make("b", {}, score.toFixed(2)), outside ? ", above the limit of 1." : ", within the limit of 1."),
    make("div", { class: "bar thin", "aria-hidden": "true" }, bar, tick),
  );
}

/** Return the image with its activation map. */
function imagePanel(item, about) {
  const map = item.prediction?.activation_map ?? null;
  const layers = make("div", { class: "layers" });
  const frame = make("div", { class: "frame" }, layers);
  if (item.image) layers.append(image(item, layers));
  else frame.replaceChildren(make("p", { class: "no-image" }, "no image"));
  const size = item.prediction?.size;
  const parts = [frame];
  if (map && item.image) parts.push(mapControls(map, layers, about, outcomeOf(item) === "decided"));
  return make(
    "figure",
    { class: "image-panel" },
    parts,
    make("figcaption", { class: "hint" }, size ? `${size[1].toLocaleString("en")} × ${size[0].toLocaleString("en")} pixels` : null),
  );
}

/** Return the image; its overlays get the same aspect ratio once it is known. */
function image(item, layers) {
  const made = make("img", { alt: `The image ${item.name}` });
  made.addEventListener("load", () => {
    const ratio = made.naturalWidth / made.naturalHeight;
    layers.style.aspectRatio = String(ratio);
    layers.style.width = `min(100%, ${MAX_HEIGHT * ratio}rem)`;
  });
  made.src = item.image;
  return made;
}

function mapControls(map, layers, about, decided) {
  const trusted = informative(about);
  const canvas = overlay(map);
  const box = make("input", { type: "checkbox", id: "map-on", checked: decided && trusted !== false });
  const slider = make("input", { type: "range", id: "map-opacity", min: 0, max: 100, value: 70 });
  const colours = legend(map);
  const description = make("p", { class: "hint" }, describe(map));
  const show = () => {
    canvas.hidden = colours.hidden = description.hidden = !box.checked;
    // The legend fades with the map, so that their colours stay the same.
    for (const each of [canvas, colours.querySelector("canvas")]) each.style.opacity = slider.valueAsNumber / 100;
    slider.disabled = !box.checked;
    slider.setAttribute("aria-valuetext", `${slider.value} percent`);
  };
  box.addEventListener("change", show);
  slider.addEventListener("input", show);
  show();
  layers.append(canvas);
  return make(
    "div",
    { class: "map-controls" },
    make(
      "p",
      { class: "control" },
      box,
      make("label", { for: "map-on" }, "Activation map"),
      slider,
      make("label", { for: "map-opacity", class: "visually-hidden" }, "Opacity of the activation map"),
    ),
    colours,
    trusted === false && make("p", { class: "message warn" }, make("strong", {}, "Uninformative:"), " ", trust(about).replace(/^uninformative[:.]?\s*/i, "")),
    description,
    trusted !== false && make("p", { class: "hint" }, trust(about)),
  );
}

function neighbours(item) {
  const nearest = item.prediction?.neighbours;
  if (!nearest?.length) return null;
  return make(
    "section",
    { class: "neighbours", "aria-label": "Nearest training images" },
    make("h3", {}, "Nearest training images"),
    make("div", { class: "thumbnails" }, nearest.map((each) =>
      make(
        "figure",
        {},
        isImage(each.image) && make("img", { src: each.image, alt: `Training image of ${each.label}` }),
        make("figcaption", {}, isolated(each.label), make("br"), `distance ${each.distance.toFixed(2)}`),
      ),
    )),
    make("p", { class: "hint" }, "Of the few training images that the run stores, those most similar to this image for the network. Distance 0 means identical, 1 unrelated. They need not look similar to you."),
  );
}

/** Return whether an address holds an image itself. */
function isImage(address) {
  return /^data:image\/(png|jpeg);base64,[A-Za-z0-9+/=]*$/.test(address);
}
