// The page: connects to an engine, takes images, shows what is said of them.

import { aboutPart, facts, title } from "./about.js";
import { detail, spokenAnswer } from "./detail.js";
import { at, button, fill, make, name, say } from "./dom.js";
import { connect } from "./engine.js";
import { listen } from "./give.js";
import { Queue, forget } from "./queue.js";
import { csv, download, json } from "./save.js";
import { Table } from "./table.js";
import { kindOf, plural } from "./words.js";

const MOST = 2000; // images: each has a row to lay out, and its image in memory
const SAID_EVERY = 5000; // milliseconds between two words on progress
const DRAWN_EVERY = 60; // milliseconds between two drawings of it

let engine, queue, table;
let items = [];
let shown = null; // the item whose image is open
let lastSaid = 0;
let drawing = null; // progress that is about to be drawn

start();
theme();

async function start() {
  fill(at("start"), make("p", { class: "says" }, "Connecting…"));
  try {
    engine = await connect({ ask: askToken });
  } catch (error) {
    fill(
      at("start"),
      make("p", { class: "verdict bad" }, make("strong", {}, "No connection."), " ", error.message),
      button("Try again", start),
    );
    return;
  }
  open();
}

/** Show the page of a classifier that is there. */
function open() {
  const { about } = engine;
  fill(at("start"));
  fill(at("title"), title(about));
  document.title = `${about.classes.slice(0, 4).join(" or ").slice(0, 80)} – Lucency`;
  fill(at("facts"), facts(about));
  fill(at("about"), aboutPart(about));
  fill(at("kinds"), kindsText(engine.kinds));
  fill(at("privacy"), engine.privacy ?? "This page keeps nothing.");
  at("report").hidden = !about.report;
  for (const id of ["give", "about", "to-about"]) at(id).hidden = false;
  at("report").addEventListener("click", (event) => {
    if (!engine.hasToken) return;
    event.preventDefault();
    saveReport();
  });
  queue = new Queue(engine, changed);
  table = new Table(about, show);
  drawMany();
  listen(engine.kinds, take);
  at("stop").addEventListener("click", () => queue.stop());
  document.addEventListener("keydown", keys);
}

/** Save the report as a file, where it takes a token to get it. */
async function saveReport() {
  try {
    download(await engine.report(), "text/html", "report.html");
    say("The report was saved as a file.");
  } catch (error) {
    fill(at("start"), make("p", { class: "verdict bad" }, make("strong", {}, "No report."), " ", error.message));
  }
}

function kindsText(kinds) {
  return kinds.includes(".dcm") ? "PNG, JPEG or DICOM." : "PNG or JPEG.";
}

/** Ask for the token in the page; resolves when one is given. */
function askToken(refused) {
  const field = make("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: false });
  const form = make(
    "form",
    { class: "token" },
    refused && make("p", { class: "verdict bad" }, make("strong", {}, "Not taken."), " The server does not know this token."),
    make("label", { for: "token" }, "This server asks for a token. It was set or shown where the server was started."),
    make("p", { class: "buttons" }, field, make("button", { class: "primary" }, "Go on")),
    make("p", { class: "says" }, "It is kept in this page only until the page is closed."),
  );
  fill(at("start"), form);
  field.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      fill(at("start"));
      resolve(field.value.trim());
    });
  });
}

/** Take images in; leftOut counts files of folders that are no images. */
function take(files, leftOut) {
  const room = MOST - items.length;
  const taken = files.slice(0, room).map((each) => ({ ...each, note: "" }));
  const words = [];
  if (leftOut) words.push(`${plural(leftOut, "file")} of the folder left out: no images by their names.`);
  if (files.length > room) words.push(`Only the first ${plural(room, "image")} taken: the page holds ${MOST.toLocaleString("en")}. For more there is the command lucency predict, which takes folders.`);
  at("left-out").hidden = !words.length;
  fill(at("left-out"), words.join(" "));
  if (!taken.length) {
    say(words.join(" ") || "No image given.");
    return;
  }
  document.body.classList.add("working");
  items.push(...taken);
  shown = items.length === 1 ? items[0] : null;
  queue.add(taken);
  draw();
  if (!shown) at("many-title").focus();
}

/** Hear that an item has changed. */
function changed(item) {
  table.update(item);
  drawing ??= setTimeout(drawProgress, DRAWN_EVERY);
  if (item === shown && !["waiting", "asking"].includes(item.state)) {
    drawOne();
    say(spokenAnswer(item, engine.about));
    at("one-title").focus();
  } else if (item === shown) drawOne();
}

function draw() {
  at("many").hidden = shown !== null || items.length < 2;
  at("one").hidden = shown === null;
  if (shown) drawOne();
  drawProgress();
}

function counts() {
  const found = new Map();
  for (const item of items) {
    const kind = kindOf(item);
    const key = kind === "answered" ? `class:${item.prediction.decision}` : kind;
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  return found;
}

function drawProgress() {
  clearTimeout(drawing);
  drawing = null;
  const found = counts();
  const [waiting, asking, stopped] = ["waiting", "asking", "stopped"].map((key) => found.get(key) ?? 0);
  const done = items.length - waiting - asking - stopped;
  at("work").hidden = !(waiting || asking);
  at("progress").max = items.length || 1;
  at("progress").value = done;
  fill(at("progress-text"), `${done.toLocaleString("en")} of ${plural(items.length, "image")}`);
  const classes = engine.about.classes.filter((label) => found.get(`class:${label}`));
  const parts = classes.map((label) => [name(label), ` ${found.get(`class:${label}`)}`]);
  for (const [key, word] of [["abstained", "no answer"], ["failed", "not read"], ["stopped", "cancelled"]]) {
    if (found.get(key)) parts.push([`${word} ${found.get(key)}`]);
  }
  fill(at("summary"), parts.map((part) => make("span", {}, part)));
  at("go-on").hidden = !stopped;
  tell(done, waiting + asking);
}

/** Say how far it is, now and then; and what it came to. */
function tell(done, left) {
  if (items.length < 2 || !done || shown) return;
  const now = Date.now();
  if (left && now - lastSaid < SAID_EVERY) return;
  lastSaid = now;
  say(left ? `${done} of ${items.length} done.` : `Done. ${[...at("summary").children].map((each) => each.textContent).join(", ")}.`);
}

/** Lay out the part for many images, once. */
function drawMany() {
  const { about } = engine;
  const file = (ending) => `lucency-${about.name.replace(/[^\w-]+/g, "_")}.${ending}`;
  fill(
    at("many"),
    make("h2", { id: "many-title", tabIndex: -1 }, "Images"),
    make("p", { id: "summary", class: "facts" }),
    make(
      "p",
      { class: "buttons" },
      make("button", { type: "button", id: "go-on", class: "primary", hidden: true }, "Go on with the cancelled"),
      button("Download CSV", () => download(csv(items, about.classes), "text/csv;charset=utf-8", file("csv"))),
      button("Download JSON", () => download(json(items), "application/json", file("json"))),
      button("Clear", clear),
    ),
    make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-labelledby": "many-title" }, table.element),
  );
  at("go-on").addEventListener("click", () => queue.add(items.filter((item) => item.state === "stopped")));
}

/** Open the image of an item. */
function show(item) {
  shown = item;
  draw();
  at("one-title").focus();
  scrollTo({ top: at("one").getBoundingClientRect().top + scrollY - 16 });
}

function drawOne() {
  const order = items.length > 1 ? table.order() : items;
  const place = order.indexOf(shown);
  const step = (by, text) =>
    button(text, () => show(order[place + by]), { disabled: !order[place + by] });
  fill(
    at("one"),
    items.length > 1 &&
      make(
        "p",
        { class: "buttons moving" },
        button(`← All ${items.length.toLocaleString("en")} images`, back),
        step(-1, "Previous"),
        step(1, "Next"),
        make("span", { class: "says" }, `${place + 1} of ${items.length.toLocaleString("en")}`),
      ),
    make("h2", { id: "one-title", tabIndex: -1, class: "filename" }, name(shown.name)),
    detail(shown, engine.about, (item) => queue.add([item])),
    items.length === 1 && make("p", { class: "buttons" }, button("Clear", clear)),
  );
}

/** Return to the table, to the row that was open. */
function back() {
  const item = shown;
  shown = null;
  draw();
  table.focus(item);
}

function clear() {
  queue.stop();
  forget(items);
  items = [];
  shown = null;
  table.clear();
  document.body.classList.remove("working");
  at("left-out").hidden = true;
  draw();
  say("Cleared.");
  at("choose").focus();
}

/** Escape leaves an image; the arrow keys go to the next, outside of fields. */
function keys(event) {
  if (!shown || items.length < 2 || event.target.closest?.("input")) return;
  if (event.key === "Escape") back();
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const order = by && !event.altKey && !event.ctrlKey && !event.metaKey ? table.order() : [];
  const next = order[order.indexOf(shown) + by];
  if (next) show(next);
}

/** Let the person choose light or dark, for as long as the page is open. */
function theme() {
  const choices = ["", "light", "dark"];
  at("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const next = choices[(choices.indexOf(root.dataset.theme ?? "") + 1) % choices.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    fill(at("theme"), `Colours: ${next || "as the system"}`);
  });
}
