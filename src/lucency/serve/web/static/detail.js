// One image: the decision or why there is none, what the probability means, and what it rests on.

import { button, make, name } from "./dom.js";
import { informative, legend, overlay, spoken, trust } from "./map.js";
import { prevalencePart } from "./prevalence.js";
import { abstention, highest, kindOf, ofHundred, percent, share } from "./words.js";

const TALLEST = 32; // rem that an image takes

/** Return everything that is known of an item; again(item) asks about it once more. */
export function detail(item, about, again) {
  const parts = { answered, abstained, failed };
  const said = (parts[kindOf(item)] ?? pending)(item, about, again);
  return make("div", { class: "detail" }, make("div", { class: "said" }, said), imaged(item, about), neighbours(item));
}

/** Return the decision as one line for a screen reader. */
export function spokenAnswer(item, about) {
  const { prediction } = item;
  if (kindOf(item) === "failed") return `${item.name}: not read. ${item.error}`;
  if (kindOf(item) === "abstained") return `${item.name}: no answer. ${prediction.reason}`;
  const shown = about.positive ?? prediction.decision;
  return `${item.name}: ${prediction.decision}. Probability of ${shown} ${percent(prediction.probabilities[shown])}.`;
}

function answered(item, about) {
  const { prediction } = item;
  const binary = about.positive !== null;
  return [
    make("p", { class: "kicker" }, "Decision"),
    make("h3", { class: "decision" }, name(prediction.decision)),
    binary ? scale(prediction, about) : bars(prediction),
    make("p", {}, meaningOf(prediction, about)),
    setOf(prediction, about),
    oodScore(prediction, about),
    noted(prediction),
    binary && about.prevalence !== null && prevalencePart(prediction.probabilities[about.positive], about),
  ];
}

function abstained(item, about) {
  const { prediction } = item;
  const { told, meaning } = abstention(prediction.reason);
  return [
    make("p", { class: "kicker" }, "Decision"),
    make(
      "div",
      { class: "verdict warn" },
      make("h3", { class: "decision" }, "No answer"),
      make("p", {}, told),
      make("p", {}, `${meaning} This image is for a person to look at.`),
    ),
    oodScore(prediction, about),
    noted(prediction),
    prediction.probabilities &&
      make(
        "details",
        {},
        make("summary", {}, "What it computed all the same"),
        make("p", { class: "says" }, "These numbers are not an answer, and are left out of the table."),
        bars(prediction),
      ),
  ];
}

/** Return what a DICOM file says of itself that its reader should know. */
function noted(prediction) {
  return prediction.notes?.length > 0 && make("p", { class: "noted" }, make("b", {}, "The file says: "), `${prediction.notes.join("; ")}.`);
}

function failed(item, about, again) {
  return [
    make("p", { class: "kicker" }, "Decision"),
    make(
      "div",
      { class: "verdict bad", role: "group" },
      make("h3", { class: "decision" }, "Not read"),
      make("p", {}, item.error),
    ),
    make("p", { class: "buttons" }, button("Try again", () => again(item))),
  ];
}

function pending(item) {
  return make("p", { class: "missing" }, item.state === "stopped" ? "Cancelled before it was answered." : "Not answered yet.");
}

/** Return the probability of the class looked for, on a line with the threshold. */
function scale(prediction, about) {
  const p = prediction.probabilities[about.positive];
  const bar = make("div", { class: "part" });
  bar.style.width = `${100 * p}%`;
  const tick = make("div", { class: "tick" });
  tick.style.left = `${100 * about.threshold}%`;
  return [
    make("p", { class: "figure" }, make("strong", {}, percent(p)), " probability of ", name(about.positive)),
    make("div", { class: "whole", "aria-hidden": "true" }, bar, tick),
    make("p", { class: "says" }, "Decided for from ", share(about.threshold), ` on (the mark): ${about.rule}.`),
  ];
}

/** Return the probability of every class, the highest first. */
function bars(prediction) {
  const rows = Object.entries(prediction.probabilities).sort((one, other) => other[1] - one[1]);
  return make(
    "table",
    { class: "bars" },
    make("caption", { class: "unseen" }, "Probability of each class"),
    make("tbody", {}, rows.map(([label, p]) => {
      const bar = make("div", { class: "part" });
      bar.style.width = `${100 * p}%`;
      return make(
        "tr",
        { class: label === prediction.decision ? "decided" : null },
        make("th", { scope: "row" }, name(label)),
        make("td", { class: "n" }, percent(p)),
        make("td", { "aria-hidden": "true" }, make("div", { class: "whole" }, bar)),
      );
    })),
  );
}

function meaningOf(prediction, about) {
  if (about.positive === null) {
    const [label, p] = highest(prediction.probabilities);
    return ["It means: of 100 images given ", percent(p), " for ", name(label), `, ${ofHundred(p, "is", "are")} of it, where the classes are as frequent as the classifier assumes.`];
  }
  const p = prediction.probabilities[about.positive];
  const where = about.prevalence === null ? "." : `, where ${share(about.prevalence)} of all images do, as the classifier assumes.`;
  return ["It means: of 100 images given ", percent(p), `, ${ofHundred(p, "shows", "show")} `, name(about.positive), where];
}

function setOf(prediction, about) {
  if (!about.conformal) return null;
  const names = prediction.prediction_set ?? [];
  const shown = names.flatMap((label, i) => [i ? ", " : "", name(label)]);
  return make("p", { class: "says" }, "Classes that validation does not rule out: ", shown.length ? shown : "none", ".");
}

function oodScore(prediction, about) {
  if (prediction.ood_score === null || prediction.ood_score === undefined) {
    return about.ood_detector ? null : make("p", { class: "says" }, "This classifier cannot tell whether an image is unlike those it was trained on.");
  }
  const d = prediction.ood_score;
  const far = !(d <= 1);
  const bar = make("div", { class: "part" });
  bar.style.width = `${Math.min(100, 50 * d)}%`;
  const tick = make("div", { class: "tick" });
  tick.style.left = "50%";
  return make(
    "div",
    { class: far ? "ood-score far" : "ood-score" },
    make("p", { class: "says" }, "Distance from the training images: ", make("b", {}, d.toFixed(2)), far ? ", beyond the limit of 1." : ", within the limit of 1."),
    make("div", { class: "whole thin", "aria-hidden": "true" }, bar, tick),
  );
}

/** Return the image with its map, and the training images nearest to it. */
function imaged(item, about) {
  const map = item.prediction?.activation_map ?? null;
  const layers = make("div", { class: "layers" });
  const frame = make("div", { class: "frame" }, layers);
  if (item.image) layers.append(image(item, layers));
  else frame.replaceChildren(make("p", { class: "blank" }, "no image"));
  const size = item.prediction?.size;
  const parts = [frame];
  if (map && item.image) parts.push(mapControls(map, layers, about, kindOf(item) === "answered"));
  return make(
    "figure",
    { class: "imaged" },
    parts,
    make("figcaption", { class: "says" }, size ? `${size[1].toLocaleString("en")} × ${size[0].toLocaleString("en")} pixels` : null),
  );
}

/** Return the image; what lies over it gets the same shape when that is known. */
function image(item, layers) {
  const made = make("img", { alt: `The image ${item.name}` });
  made.addEventListener("load", () => {
    const shape = made.naturalWidth / made.naturalHeight;
    layers.style.aspectRatio = String(shape);
    layers.style.width = `min(100%, ${TALLEST * shape}rem)`;
  });
  made.src = item.image;
  return made;
}

function mapControls(map, layers, about, counts) {
  const means = informative(about);
  const canvas = overlay(map);
  const box = make("input", { type: "checkbox", id: "map-on", checked: counts && means !== false });
  const slider = make("input", { type: "range", id: "map-opacity", min: 0, max: 100, value: 70 });
  const colours = legend(map);
  const words = make("p", { class: "says" }, spoken(map));
  const show = () => {
    canvas.hidden = colours.hidden = words.hidden = !box.checked;
    // The legend fades as the map does, so that its colours stay those of the image.
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
      { class: "dial" },
      box,
      make("label", { for: "map-on" }, "Activation map"),
      slider,
      make("label", { for: "map-opacity", class: "unseen" }, "How strongly the map covers the image"),
    ),
    colours,
    means === false && make("p", { class: "verdict warn" }, make("strong", {}, "Uninformative:"), " ", trust(about).replace(/^uninformative[:.]?\s*/i, "")),
    words,
    means !== false && make("p", { class: "says" }, trust(about)),
  );
}

function neighbours(item) {
  const near = item.prediction?.neighbours;
  if (!near?.length) return null;
  return make(
    "section",
    { class: "near", "aria-label": "Nearest training images" },
    make("h3", {}, "Nearest training images"),
    make("div", { class: "thumbs" }, near.map((each) =>
      make(
        "figure",
        {},
        isImage(each.image) && make("img", { src: each.image, alt: `Training image of ${each.label}` }),
        make("figcaption", {}, name(each.label), make("br"), `distance ${each.distance.toFixed(2)}`),
      ),
    )),
    make("p", { class: "says" }, "Of the few that the run keeps, the most alike to the network: 0 the same, 1 nothing in common. They need not look alike to you."),
  );
}

/** Return whether an address holds an image itself. */
function isImage(address) {
  return /^data:image\/(png|jpeg);base64,[A-Za-z0-9+/=]*$/.test(address);
}
