// The same evidence where the class is more or less frequent: Bayes' rule on the odds.

import { fill, make, name, visible } from "./dom.js";
import { ofHundred, percent, share } from "./words.js";

const LEAST = 0.001;

/** Return the odds for a probability. */
export function odds(probability) {
  return probability / (1 - probability);
}

/**
 * Return a probability at another prevalence (Saerens, Latinne & Decaestecker 2002).
 *
 * Both prevalences lie in (0, 1). What is certain stays certain.
 */
export function atPrevalence(probability, old, wanted) {
  if (probability <= 0 || probability >= 1) return probability;
  const after = odds(probability) * (odds(wanted) / odds(old));
  return after / (1 + after);
}

let wanted = null; // what the person has set, for every image

/** Return the part of the page that computes a probability for another prevalence. */
export function prevalencePart(probability, about) {
  const old = about.prevalence;
  wanted ??= old;
  const said = make("output", { class: "bayes", "aria-live": "off" });
  const slider = make("input", { type: "range", min: -logit(1 - LEAST), max: logit(1 - LEAST), step: 0.02, id: "prevalence-slider" });
  const field = make("input", { type: "number", min: 0.1, max: 99.9, step: "any", inputMode: "decimal", id: "prevalence-field", "aria-describedby": "prevalence-unit" });
  const show = (from) => {
    if (from !== slider) slider.value = logit(wanted);
    if (from !== field) field.value = Number((100 * wanted).toPrecision(3));
    slider.setAttribute("aria-valuetext", `${(100 * wanted).toPrecision(3)} percent`);
    fill(said, result(probability, about));
  };
  slider.addEventListener("input", () => {
    wanted = 1 / (1 + Math.exp(-slider.valueAsNumber));
    show(slider);
  });
  field.addEventListener("input", () => {
    if (!field.value || !field.validity.valid) return; // half-typed
    wanted = field.valueAsNumber / 100;
    show(field);
  });
  const reset = make("button", { type: "button", class: "plain" }, `Back to ${share(old)}`);
  reset.addEventListener("click", () => {
    wanted = old;
    show(null);
  });
  show(null);
  return make(
    "fieldset",
    { class: "prevalence" },
    make("legend", {}, "How frequent is ", name(about.positive), " where you are?"),
    make("p", { class: "says" }, `The probability above takes it to be ${share(old)} of all images. Elsewhere the same image means something else. The decision does not follow: it is made from the probability above.`),
    make("p", { class: "dial" }, make("label", { for: "prevalence-slider", class: "unseen" }, "Prevalence"), slider, make("label", { for: "prevalence-field", class: "unseen" }, "Prevalence in percent"), field, make("span", { id: "prevalence-unit" }, "\u202f%"), reset),
    said,
  );
}

function logit(probability) {
  return Math.log(odds(probability));
}

/** Return what the probability becomes, and how. */
function result(probability, about) {
  const after = atPrevalence(probability, about.prevalence, wanted);
  const digits = (value) => (value >= 1000 ? value.toExponential(1) : String(Number(value.toPrecision(2))));
  const steps = [odds(probability), odds(wanted) / odds(about.prevalence), odds(after)].map(digits);
  const certain = probability <= 0 || probability >= 1;
  return [
    make("strong", {}, percent(after)),
    ` where ${share(wanted)} of all images show `,
    name(about.positive),
    `: of 100 such images, ${ofHundred(after, "does", "do")}.`,
    make("small", {}, certain ? "What is certain stays so." : visible(`Odds ${steps[0]} × ${steps[1]} (how much the prevalence changes them) = ${steps[2]}.`)),
  ];
}
