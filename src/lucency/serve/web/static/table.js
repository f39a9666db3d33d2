// Many images: a table to sort, each row leads to its image.

import { fill, make, name, say } from "./dom.js";
import { highest, kindOf, percent } from "./words.js";

const COLUMNS = 4; // classes that get a column each; of more, only the highest probability
const SIDE = 48; // pixels of a thumbnail
const MARKS = { abstained: "?", failed: "✗" };
const WORDS = { abstained: "No answer", failed: "Not read", waiting: "waiting", asking: "asking…", stopped: "cancelled" };

export class Table {
  #rows = new Map();
  #open;
  #classes;
  #sorted = { key: "given", down: false };

  /** open(item): hears of the row that a person wants to see. */
  constructor(about, open) {
    this.#open = open;
    this.#classes = about.classes.length <= COLUMNS ? about.classes : [];
    this.body = make("tbody");
    this.head = make("tr");
    this.element = make(
      "table",
      { class: "many" },
      make("caption", { class: "unseen" }, "All images; the buttons in its head sort it"),
      make("thead", {}, this.head),
      this.body,
    );
    this.#drawHead();
    this.body.addEventListener("keydown", (event) => this.#step(event));
  }

  #columns() {
    const shares = this.#classes.length ? this.#classes.map((label) => [`p:${label}`, label]) : [["p", "Probability"]];
    return [["name", "File"], ["decision", "Decision"], ...shares, ["reason", "Reason"]];
  }

  #drawHead() {
    const cells = this.#columns().map(([key, title]) => {
      const active = this.#sorted.key === key;
      const direction = this.#sorted.down ? "descending" : "ascending";
      const pressed = make("button", { type: "button", class: "sort" }, key.startsWith("p:") ? name(title) : title, make("span", { "aria-hidden": "true" }, active ? (this.#sorted.down ? " ↓" : " ↑") : ""));
      pressed.addEventListener("click", () => this.#sortBy(key, title));
      return make("th", { scope: "col", class: key.startsWith("p") ? "n" : null, "aria-sort": active ? direction : null }, pressed);
    });
    fill(this.head, make("th", { scope: "col" }, make("span", { class: "unseen" }, "Image")), cells);
  }

  /** Add a row, or draw it again. */
  update(item) {
    const old = this.#rows.get(item);
    if (!old) {
      const row = this.#drawn(item);
      this.#rows.set(item, row);
      this.body.append(row);
      return;
    }
    if (old.shown === stateOf(item)) return;
    const focused = old.contains(document.activeElement);
    const row = this.#drawn(item);
    old.replaceWith(row);
    this.#rows.set(item, row);
    if (focused) row.querySelector("button").focus();
  }

  clear() {
    this.#rows.clear();
    this.body.replaceChildren();
  }

  /** Put the focus back to where the person was. */
  focus(item) {
    this.#rows.get(item)?.querySelector("button").focus();
  }

  /** Return the items in the order shown. */
  order() {
    return [...this.body.children].map((row) => row.item);
  }

  #drawn(item) {
    const kind = kindOf(item);
    const p = kind === "answered" ? item.prediction.probabilities : null;
    const shares = this.#classes.length ? this.#classes.map((label) => p && p[label]) : [p && highest(p)[1]];
    const opener = make("button", { type: "button", class: "open" }, name(item.name));
    const reason = kind === "abstained" ? item.prediction.reason : kind === "failed" ? item.error : item.note;
    const row = make(
      "tr",
      { class: kind },
      make("td", { class: "thumb" }, thumbnail(item)),
      make("th", { scope: "row" }, opener),
      make("td", { class: "decided" }, decisionCell(item, kind)),
      shares.map((value, i) => {
        const decided = !this.#classes.length || this.#classes[i] === item.prediction?.decision;
        return make("td", { class: decided ? "n top" : "n" }, value === null ? "–" : percent(value));
      }),
      make("td", { class: "reason" }, reason ?? ""),
    );
    Object.assign(row, { item, shown: stateOf(item) });
    row.addEventListener("click", (event) => {
      if (!getSelection().toString() || event.target === opener) this.#open(item);
    });
    return row;
  }

  #sortBy(key, title) {
    const down = this.#sorted.key === key ? !this.#sorted.down : key.startsWith("p");
    this.#sorted = { key, down };
    const order = new Intl.Collator("en", { numeric: true });
    const keyed = [...this.#rows].map(([item, row]) => ({ row, value: sortValue(item, key) }));
    keyed.sort((one, other) => {
      const sign = down ? -1 : 1;
      if (one.value === null || other.value === null) return (one.value === null) - (other.value === null);
      return sign * (typeof one.value === "number" ? one.value - other.value : order.compare(one.value, other.value));
    });
    this.body.append(...keyed.map(({ row }) => row));
    this.#drawHead();
    const place = this.#columns().findIndex(([each]) => each === key);
    this.head.querySelectorAll("button")[place].focus();
    say(`Sorted by ${title}, ${down ? "descending" : "ascending"}.`);
  }

  /** Go up and down the rows with the arrow keys. */
  #step(event) {
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

/** Return what a row is sorted by; null, which comes last, where there is nothing. */
function sortValue(item, key) {
  const kind = kindOf(item);
  if (key === "name") return item.name;
  if (key === "decision") return kind === "answered" ? item.prediction.decision : `\uffff${WORDS[kind]}`;
  if (key === "reason") return (kind === "abstained" ? item.prediction.reason : item.error) || null;
  if (kind !== "answered") return null;
  return key === "p" ? highest(item.prediction.probabilities)[1] : item.prediction.probabilities[key.slice(2)];
}

function decisionCell(item, kind) {
  if (kind === "answered") return name(item.prediction.decision);
  const mark = MARKS[kind] && make("span", { class: "mark", "aria-hidden": "true" }, MARKS[kind]);
  return [mark, WORDS[kind]];
}

/** Return a small copy of the image, drawn when it is decoded. */
function thumbnail(item) {
  if (!item.image) return null;
  const canvas = make("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
  const image = new Image();
  image.onload = () => {
    const scale = SIDE / Math.max(image.naturalWidth, image.naturalHeight);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    canvas.getContext("2d").drawImage(image, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  };
  image.src = item.image;
  return canvas;
}
