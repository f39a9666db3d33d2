// The probability at another prevalence: Bayes' rule on the odds.

import { fill, isolated, make, visible } from "./dom.js";
import { ofHundred, percent, share } from "./text.js";

const MIN_PREVALENCE = 0.001;

/** Return the odds for a probability. */
export function odds(probability) {
  return probability / (1 - probability);
}

/**
 * Return a probability at another prevalence (Saerens, Latinne & Decaestecker 2002).
 *
 * Both prevalences lie in (0, 1). Probabilities of 0 and 1 stay as they are.
 */
export function atPrevalence(probability, old, wanted) {
  if (probability <= 0 || probability >= 1) return probability;
  const after = odds(probability) * (odds(wanted) / odds(old));
  return after / (1 + after);
}

let chosen = null; // prevalence that the person has set, for every image

/** Return the part of the page that converts a probability to another prevalence. */
export function prevalencePart(probability, about) {
  const old = about.prevalence;
  chosen ??= old;
  const output = make("output", { class: "adjusted", "aria-live": "off" });
  const slider = make("input", { type: "range", min: -logit(1 - MIN_PREVALENCE), max: logit(1 - MIN_PREVALENCE), step: 0.02, id: "prevalence-slider" });
  const field = make("input", { type: "number", min: 0.1, max: 99.9, step: "any", inputMode: "decimal", id: "prevalence-field", "aria-describedby": "prevalence-unit" });
  const show = (from) => {
    if (from !== slider) slider.value = logit(chosen);
    if (from !== field) field.value = Number((100 * chosen).toPrecision(3));
    slider.setAttribute("aria-valuetext", `${(100 * chosen).toPrecision(3)} percent`);
    fill(output, result(probability, about));
  };
  slider.addEventListener("input", () => {
    chosen = 1 / (1 + Math.exp(-slider.valueAsNumber));
    show(slider);
  });
  field.addEventListener("input", () => {
    if (!field.value || !field.validity.valid) return; // not finished typing
    chosen = field.valueAsNumber / 100;
    show(field);
  });
  const reset = make("button", { type: "button", class: "plain" }, `Reset to ${share(old)}`);
  reset.addEventListener("click", () => {
    chosen = old;
    show(null);
  });
  show(null);
  return make(
    "fieldset",
    { class: "prevalence" },
    make("legend", {}, "Prevalence of ", isolated(about.positive), " at your site"),
    make("p", { class: "hint" }, `The probability above assumes a prevalence of ${share(old)}. At another prevalence the same image has another probability. The decision does not change: it is made from the probability above.`),
    make("p", { class: "control" }, make("label", { for: "prevalence-slider", class: "visually-hidden" }, "Prevalence"), slider, make("label", { for: "prevalence-field", class: "visually-hidden" }, "Prevalence in percent"), field, make("span", { id: "prevalence-unit" }, "\u202f%"), reset),
    output,
  );
}

function logit(probability) {
  return Math.log(odds(probability));
}

/** Return the adjusted probability, and how it is computed. */
function result(probability, about) {
  const after = atPrevalence(probability, about.prevalence, chosen);
  const digits = (value) => (value >= 1000 ? value.toExponential(1) : String(Number(value.toPrecision(2))));
  const steps = [odds(probability), odds(chosen) / odds(about.prevalence), odds(after)].map(digits);
  const certain = probability <= 0 || probability >= 1;
  return [
    make("strong", {}, percent(after)),
    ` if ${share(chosen)} of all images show `,
    isolated(about.positive),
    `: of 100 images like this, ${ofHundred(after, "does", "do")}.`,
    make("small", {}, certain ? "A probability of 0 or 1 does not change." : visible(`Odds ${steps[0]} × ${steps[1]} (ratio of the prevalence odds) = ${steps[2]}.`)),
  ];
}
