// Several images: a table that can be sorted; each row opens its image.

import { announce, fill, isolated, make } from "./dom.js";
import { intervalText } from "./value.js";
import { isDecided, outcomeOf, percent } from "./text.js";

const MAX_CLASS_COLUMNS = 4; // with more classes, only the highest probability has a column
const THUMBNAIL = 48; // pixels
const MARKS = { abstained: "?", failed: "✗" };
const LABELS = { abstained: "No decision", failed: "Not read", waiting: "waiting", running: "running…", cancelled: "cancelled" };

export class Table {
  #rows = new Map();
  #open;
  #classes;
  #several;
  #value; // name of the number that is predicted, if one is
  #sorted = { key: "given", descending: false };

  /** open(item): called with the item of the row that a person opens. */
  constructor(about, open) {
    this.#open = open;
    this.#several = about.task === "multilabel";
    this.#value = about.value?.name;
    this.#classes = about.classes.length <= MAX_CLASS_COLUMNS ? about.classes : [];
    this.body = make("tbody");
    this.head = make("tr");
    this.element = make(
      "table",
      { class: "results" },
      make("caption", { class: "visually-hidden" }, "All images; the buttons in the header sort the table"),
      make("thead", {}, this.head),
      this.body,
    );
    this.#renderHead();
    this.body.addEventListener("keydown", (event) => this.#moveFocus(event));
  }

  #columns() {
    if (this.#value) return [["name", "File"], ["predicted", "Predicted"], ["pwidth", "Interval"], ["reason", "Reason"]];
    const probabilities = this.#classes.length ? this.#classes.map((label) => [`p:${label}`, label]) : [["p", this.#several ? "Highest probability" : "Probability"]];
    return [["name", "File"], ["decision", "Decision"], ...probabilities, ["reason", "Reason"]];
  }

  #renderHead() {
    const cells = this.#columns().map(([key, title]) => {
      const active = this.#sorted.key === key;
      const { descending } = this.#sorted;
      const arrow = make("span", { "aria-hidden": "true" }, active ? (descending ? " ↓" : " ↑") : "");
      const sorter = make("button", { type: "button", class: "sort" }, key.startsWith("p:") ? isolated(title) : title, arrow);
      sorter.addEventListener("click", () => this.#sortBy(key, title));
      const direction = descending ? "descending" : "ascending";
      return make("th", { scope: "col", class: key.startsWith("p") ? "n" : null, "aria-sort": active ? direction : null }, sorter);
    });
    fill(this.head, make("th", { scope: "col" }, make("span", { class: "visually-hidden" }, "Image")), cells);
  }

  /** Add a row, or render it again if its item has changed. */
  update(item) {
    const old = this.#rows.get(item);
    if (!old) {
      const row = this.#row(item);
      this.#rows.set(item, row);
      this.body.append(row);
      return;
    }
    if (old.state === stateOf(item)) return;
    const focused = old.contains(document.activeElement);
    const row = this.#row(item);
    old.replaceWith(row);
    this.#rows.set(item, row);
    if (focused) row.querySelector("button").focus();
  }

  clear() {
    this.#rows.clear();
    this.body.replaceChildren();
  }

  /** Put the focus on an item's row. */
  focus(item) {
    this.#rows.get(item)?.querySelector("button").focus();
  }

  /** Return the items in the order of the rows. */
  order() {
    return [...this.body.children].map((row) => row.item);
  }

  #row(item) {
    const outcome = outcomeOf(item);
    const p = outcome === "decided" ? item.prediction.probabilities : null;
    const values = this.#classes.length ? this.#classes.map((label) => p && p[label]) : [p && probabilityOf(item.prediction)];
    const opener = make("button", { type: "button", class: "open" }, isolated(item.name));
    const reason = outcome === "abstained" ? item.prediction.reason : outcome === "failed" ? item.error : item.note;
    const interval = outcome === "decided" && this.#value ? intervalText(item.prediction.value) : "–";
    const shares = values.map((value, i) => {
      const decided = !this.#classes.length || (p && isDecided(this.#classes[i], item.prediction));
      return make("td", { class: decided ? "n top" : "n" }, value === null ? "–" : percent(value));
    });
    const row = make(
      "tr",
      { class: outcome },
      make("td", { class: "thumbnail" }, thumbnail(item)),
      make("th", { scope: "row" }, opener),
      make("td", { class: this.#value ? "outcome n" : "outcome" }, outcomeCell(item, outcome)),
      this.#value ? make("td", { class: "n" }, interval) : shares,
      make("td", { class: "reason" }, reason ?? ""),
    );
    Object.assign(row, { item, state: stateOf(item) });
    row.addEventListener("click", (event) => {
      if (!getSelection().toString() || event.target === opener) this.#open(item);
    });
    return row;
  }

  #sortBy(key, title) {
    const descending = this.#sorted.key === key ? !this.#sorted.descending : key.startsWith("p");
    this.#sorted = { key, descending };
    const order = new Intl.Collator("en", { numeric: true });
    const keyed = [...this.#rows].map(([item, row]) => ({ row, value: sortValue(item, key) }));
    keyed.sort((one, other) => {
      const sign = descending ? -1 : 1;
      if (one.value === null || other.value === null) return (one.value === null) - (other.value === null);
      return sign * (typeof one.value === "number" ? one.value - other.value : order.compare(one.value, other.value));
    });
    this.body.append(...keyed.map(({ row }) => row));
    this.#renderHead();
    const place = this.#columns().findIndex(([each]) => each === key);
    this.head.querySelectorAll("button")[place].focus();
    announce(`Sorted by ${title}, ${descending ? "descending" : "ascending"}.`);
  }

  /** Go up and down the rows with the arrow keys. */
  #moveFocus(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = step && event.target.closest("tr")?.[step];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
  }
}

function stateOf(item) {
  return `${item.state} ${item.note ?? ""}`;
}

/** Return what a row is sorted by; null, which comes last, if there is nothing. */
function sortValue(item, key) {
  const outcome = outcomeOf(item);
  if (key === "name") return item.name;
  if (key === "decision") return outcome === "decided" ? item.prediction.decision : `\uffff${LABELS[outcome]}`;
  if (key === "reason") return (outcome === "abstained" ? item.prediction.reason : item.error) || null;
  if (outcome !== "decided") return null;
  const { value } = item.prediction;
  if (key === "predicted") return value.predicted;
  if (key === "pwidth") return value.interval && value.interval[1] - value.interval[0];
  return key === "p" ? probabilityOf(item.prediction) : item.prediction.probabilities[key.slice(2)];
}

/** Return the probability of the decision; of several labels, that of the most probable one. */
function probabilityOf({ decision, labels, probabilities }) {
  return labels ? Math.max(...Object.values(probabilities)) : probabilities[decision];
}

function outcomeCell(item, outcome) {
  if (outcome === "decided") return isolated(item.prediction.decision);
  const mark = MARKS[outcome] && make("span", { class: "mark", "aria-hidden": "true" }, MARKS[outcome]);
  return [mark, LABELS[outcome]];
}

/** Return a small copy of the image, drawn once it is decoded. */
function thumbnail(item) {
  if (!item.image) return null;
  const canvas = make("canvas", { width: THUMBNAIL, height: THUMBNAIL, "aria-hidden": "true" });
  const image = new Image();
  image.onload = () => {
    const scale = THUMBNAIL / Math.max(image.naturalWidth, image.naturalHeight);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    const [left, top] = [(THUMBNAIL - width) / 2, (THUMBNAIL - height) / 2];
    canvas.getContext("2d").drawImage(image, left, top, width, height);
  };
  image.src = item.image;
  return canvas;
}
