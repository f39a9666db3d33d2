// Several images of one patient: a box to say so, and the answer for the patient.

import { answer, spokenAnswer } from "./detail.js";
import { announce, byId, fill, make } from "./dom.js";
import { patientOf } from "./pooling.js";
import { plural } from "./text.js";

const UNFINISHED = ["waiting", "running"];

/** The part above the table; nothing where the classifier has answers for images only. */
export class Patient {
  #about;
  #items = [];
  #state = "";

  constructor(about) {
    this.#about = about;
    this.element = make("div", { class: "patient", hidden: true });
    if (!about.unit) return;
    this.box = make("input", { type: "checkbox", id: "one-patient" });
    this.box.addEventListener("change", () => this.#render());
    const label = make("label", { for: "one-patient" }, "These images are of one patient");
    this.section = make("section", { id: "patient", class: "patient-answer", "aria-label": "The answer for the patient" });
    fill(this.element, make("p", { class: "control" }, this.box, label), this.section);
  }

  /** Show the answer for the patient whose images these are, if the box is ticked. */
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
    const prediction = patientOf(this.#about, done.map((item) => item.prediction));
    const about = aboutPatients(this.#about);
    const unread = this.#items.length - done.length;
    const used = `From ${plural(done.length, "image")}${unread ? `; ${plural(unread, "image")} without a prediction ${unread === 1 ? "is" : "are"} not used` : ""}.`;
    fill(this.section, make("div", { class: "prediction" }, answer(prediction, about), make("p", { class: "hint" }, used)));
    announce(`The patient: ${spokenAnswer(prediction, about)}`);
  }
}

/** Return the description of the classifier with what it decides on patients by. */
function aboutPatients(about) {
  const { threshold, rule, cut, scores } = about.unit;
  return { ...about, threshold, rule, cut, conformal: scores !== null, what: "patient" };
}
