// Several images of one unit, such as a patient: a box to say so, and the answer for the unit.

import { answer, spokenAnswer } from "./detail.js";
import { announce, byId, fill, make } from "./dom.js";
import { aboutUnits, unitOf } from "./pooling.js";
import { percent, plural } from "./text.js";
import { numberText } from "./value.js";

const UNFINISHED = ["waiting", "running"];

/** The part above the table; nothing where the classifier has answers for images only. */
export class Unit {
  #about;
  #items = [];
  #state = "";

  constructor(about) {
    this.#about = about;
    this.element = make("div", { class: "unit", hidden: true });
    if (!about.unit) return;
    this.box = make("input", { type: "checkbox", id: "one-unit" });
    this.box.addEventListener("change", () => this.#render());
    const label = make("label", { for: "one-unit" }, `These images are of one ${about.unit.name}`);
    this.section = make("section", { id: "unit", class: "unit-answer", "aria-label": `The answer for the ${about.unit.name}` });
    fill(this.element, make("p", { class: "control" }, this.box, label), this.section);
  }

  /** Show the answer for the unit whose images these are, if the box is ticked. */
  update(items) {
    if (!this.#about.unit) return;
    if (!items.length) this.box.checked = false; // the next images may be of someone else
    this.#items = items;
    this.element.hidden = items.length < 2;
    this.#render();
  }

  #render() {
    const left = this.#items.filter((item) => UNFINISHED.includes(item.state)).length;
    const done = this.#items.filter((item) => item.state === "done");
    const state = `${this.box.checked} ${left} ${done.length} ${this.#items.length}`;
    if (state === this.#state) return;
    this.#state = state;
    this.section.hidden = !this.box.checked;
    if (!this.box.checked) return fill(this.section);
    if (left) return fill(this.section, make("p", { class: "notice" }, "Waiting for the predictions of all images…"));
    const prediction = unitOf(this.#about, done.map((item) => item.prediction));
    const about = aboutUnits(this.#about);
    const unread = this.#items.length - done.length;
    const used = `From ${plural(done.length, "image")}${unread ? `; ${plural(unread, "image")} without a prediction ${unread === 1 ? "is" : "are"} not used` : ""}.`;
    fill(this.section, make("div", { class: "prediction" }, answer(prediction, about), make("p", { class: "hint" }, used, basis(prediction, done))));
    announce(`The ${about.what}: ${spokenAnswer(prediction, about)}`);
  }
}

/** Say what the answer rests on: which image decides, and how far the others differ. */
function basis({ evidence, value }, items) {
  if (!evidence || evidence.images < 2) return "";
  if (evidence.labels) return Object.entries(evidence.labels).map(([label, each]) => ofClass({ ...each, class: label }, items, "have", ` for ${label}`)).join("");
  return value ? ofNumber(evidence, items) : ofClass(evidence, items);
}

function ofClass({ image, agree, images, lowest, highest, class: name }, items, verb = "are", of = "") {
  return ` The image that decides most${of} is ${items[image].name}. By themselves, ${agree} of ${images} images ${verb} ${name}; their probabilities of it lie between ${percent(lowest)} and ${percent(highest)}.`;
}

function ofNumber({ image, agree, images, lowest, highest }, items) {
  const inside = agree === null ? "" : `; ${agree} of ${images} lie in its interval`;
  return ` The image that decides most is ${items[image].name}. The predictions of the images lie between ${numberText(lowest)} and ${numberText(highest)}${inside}.`;
}
