// The page: connects to an engine, accepts images, and shows the predictions.

import { aboutPart, facts, title } from "./about.js";
import { detail, spokenResult } from "./detail.js";
import { announce, button, byId, fill, isolated, make } from "./dom.js";
import { connect } from "./engine.js";
import { listenForImages } from "./input.js";
import { Unit } from "./unit.js";
import { Queue, release } from "./queue.js";
import { csv, download, json } from "./save.js";
import { Table } from "./table.js";
import { outcomeOf, plural } from "./text.js";

const MAX_ITEMS = 2000; // images: each has a row to lay out, and its image in memory
const ANNOUNCE_EVERY = 5000; // milliseconds between two announcements of the progress
const RENDER_EVERY = 60; // milliseconds between two updates of it on the screen

let engine, queue, table, unit;
let items = [];
let shown = null; // the item whose image is open
let lastAnnounced = 0;
let pendingRender = null; // timer of the next update of the progress

start();
addThemeButton();

async function start() {
  fill(byId("status"), make("p", { class: "hint" }, "Connecting…"));
  try {
    engine = await connect({ askForToken });
  } catch (error) {
    fill(byId("status"), errorMessage("No connection.", error.message), button("Try again", start));
    return;
  }
  open();
}

function errorMessage(summary, text) {
  return make("p", { class: "message bad" }, make("strong", {}, summary), " ", text);
}

/** Show the page once the classifier is known. */
function open() {
  const { about } = engine;
  fill(byId("status"));
  fill(byId("title"), title(about));
  const named = about.value?.name ?? about.classes.slice(0, 4).join(" or ");
  document.title = `${named.slice(0, 80)} – Lucency`;
  fill(byId("facts"), facts(about));
  fill(byId("about"), aboutPart(about));
  fill(byId("formats"), engine.formats);
  fill(byId("privacy"), engine.privacy ?? "This page stores nothing.");
  byId("report").hidden = !about.report;
  for (const id of ["input", "about", "about-link"]) byId(id).hidden = false;
  byId("report").addEventListener("click", (event) => {
    if (!engine.hasToken) return;
    event.preventDefault();
    saveReport();
  });
  queue = new Queue(engine, onChange);
  table = new Table(about, show);
  unit = new Unit(about);
  buildResults();
  listenForImages(engine.endings, addImages);
  byId("cancel").addEventListener("click", () => queue.cancel());
  document.addEventListener("keydown", onKey);
}

/** Save the report as a file if it needs a token, which a link cannot carry. */
async function saveReport() {
  try {
    download(await engine.report(), "text/html", "report.html");
    announce("The report was saved as a file.");
  } catch (error) {
    fill(byId("status"), errorMessage("No report.", error.message));
  }
}

/** Ask for the token in the page; resolves once the person has entered one. */
function askForToken(rejected) {
  const field = make("input", { type: "password", id: "token", autocomplete: "off", required: true, spellcheck: false });
  const form = make(
    "form",
    { class: "token" },
    rejected && errorMessage("Wrong token.", "The server did not accept it."),
    make("label", { for: "token" }, "This server requires a token. It was set or shown where the server was started."),
    make("p", { class: "buttons" }, field, make("button", { class: "primary" }, "Continue")),
    make("p", { class: "hint" }, "The token is kept only until this page is closed."),
  );
  fill(byId("status"), form);
  field.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      fill(byId("status"));
      resolve(field.value.trim());
    });
  });
}

/** Queue images; `excluded` counts files of folders that are not images. */
function addImages(files, excluded) {
  const room = MAX_ITEMS - items.length;
  const added = files.slice(0, room).map((each) => ({ ...each, note: "" }));
  const notices = [];
  if (excluded) notices.push(`Excluded ${plural(excluded, "file")} of the folder: not images by their names.`);
  if (files.length > room) notices.push(`Only the first ${plural(room, "image")} were added: the page holds ${MAX_ITEMS.toLocaleString("en")}. For more, use the command lucency predict, which accepts folders.`);
  byId("excluded").hidden = !notices.length;
  fill(byId("excluded"), notices.join(" "));
  if (!added.length) {
    announce(notices.join(" ") || "No images were added.");
    return;
  }
  document.body.classList.add("has-images");
  items.push(...added);
  shown = items.length === 1 ? items[0] : null;
  queue.add(added);
  render();
  if (!shown) byId("results-title").focus();
}

/** Called when the state of an item has changed. */
function onChange(item) {
  table.update(item);
  pendingRender ??= setTimeout(renderProgress, RENDER_EVERY);
  if (item !== shown) return;
  renderResult();
  if (["waiting", "running"].includes(item.state)) return;
  announce(spokenResult(item, engine.about));
  byId("result-title").focus();
}

function render() {
  byId("results").hidden = shown !== null || items.length < 2;
  byId("result").hidden = shown === null;
  if (shown) renderResult();
  renderProgress();
}

/** Count the items by outcome, and those with a decision by class. */
function counts() {
  const found = new Map();
  for (const item of items) {
    const outcome = outcomeOf(item);
    const kind = engine.about.value ? "predicted" : `class:${item.prediction?.decision}`;
    const key = outcome === "decided" ? kind : outcome;
    found.set(key, (found.get(key) ?? 0) + 1);
  }
  return found;
}

function renderProgress() {
  clearTimeout(pendingRender);
  pendingRender = null;
  const found = counts();
  const [waiting, running, cancelled] = ["waiting", "running", "cancelled"].map((key) => found.get(key) ?? 0);
  const done = items.length - waiting - running - cancelled;
  byId("progress-panel").hidden = !(waiting || running);
  byId("progress").max = items.length || 1;
  byId("progress").value = done;
  fill(byId("progress-text"), `${done.toLocaleString("en")} of ${plural(items.length, "image")}`);
  const place = (label) => engine.about.classes.indexOf(label);
  const decisions = [...found.keys()].filter((key) => key.startsWith("class:")).map((key) => key.slice(6));
  const classes = decisions.sort((one, other) => place(one) - place(other));
  const parts = classes.map((label) => [isolated(label), ` ${found.get(`class:${label}`)}`]);
  for (const [key, text] of [["predicted", "predicted"], ["abstained", "no decision"], ["failed", "not read"], ["cancelled", "cancelled"]]) {
    if (found.get(key)) parts.push([`${text} ${found.get(key)}`]);
  }
  unit.update(items);
  fill(byId("summary"), parts.map((part) => make("span", {}, part)));
  byId("resume").hidden = !cancelled;
  announceProgress(done, waiting + running);
}

/** Announce the progress now and then, and the summary at the end. */
function announceProgress(done, left) {
  if (items.length < 2 || !done || shown) return;
  const now = Date.now();
  if (left && now - lastAnnounced < ANNOUNCE_EVERY) return;
  lastAnnounced = now;
  const summary = [...byId("summary").children].map((each) => each.textContent).join(", ");
  announce(left ? `${done} of ${items.length} done.` : `Done. ${summary}.`);
}

/** Build the section for several images, once. */
function buildResults() {
  const { about } = engine;
  const file = (ending) => `lucency-${about.name.replace(/[^\w-]+/g, "_")}.${ending}`;
  fill(
    byId("results"),
    make("h2", { id: "results-title", tabIndex: -1 }, "Images"),
    make("p", { id: "summary", class: "facts" }),
    make(
      "p",
      { class: "buttons" },
      make("button", { type: "button", id: "resume", class: "primary", hidden: true }, "Resume"),
      button("Download CSV", () => download(csv(items, about), "text/csv;charset=utf-8", file("csv"))),
      button("Download JSON", () => download(json(items), "application/json", file("json"))),
      button("Clear", clear),
    ),
    unit.element,
    make("div", { class: "scroll", tabIndex: 0, role: "region", "aria-labelledby": "results-title" }, table.element),
  );
  byId("resume").addEventListener("click", () => queue.add(items.filter((item) => item.state === "cancelled")));
}

/** Open the image of an item. */
function show(item) {
  shown = item;
  render();
  byId("result-title").focus();
  scrollTo({ top: byId("result").getBoundingClientRect().top + scrollY - 16 });
}

function renderResult() {
  const order = items.length > 1 ? table.order() : items;
  const place = order.indexOf(shown);
  const step = (by, text) =>
    button(text, () => show(order[place + by]), { disabled: !order[place + by] });
  fill(
    byId("result"),
    items.length > 1 &&
      make(
        "p",
        { class: "buttons pager" },
        button(`← All ${items.length.toLocaleString("en")} images`, back),
        step(-1, "Previous"),
        step(1, "Next"),
        make("span", { class: "hint" }, `${place + 1} of ${items.length.toLocaleString("en")}`),
      ),
    make("h2", { id: "result-title", tabIndex: -1, class: "filename" }, isolated(shown.name)),
    detail(shown, engine.about, (item) => queue.add([item])),
    items.length === 1 && make("p", { class: "buttons" }, button("Clear", clear)),
  );
}

/** Return to the row of the table that was open. */
function back() {
  const item = shown;
  shown = null;
  render();
  table.focus(item);
}

function clear() {
  queue.cancel();
  release(items);
  items = [];
  shown = null;
  table.clear();
  document.body.classList.remove("has-images");
  byId("excluded").hidden = true;
  render();
  announce("Cleared.");
  byId("choose-files").focus();
}

/** Escape closes an image, and the arrow keys go to the next one, outside of fields. */
function onKey(event) {
  if (!shown || items.length < 2 || event.target.closest?.("input")) return;
  if (event.key === "Escape") back();
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const order = by && !event.altKey && !event.ctrlKey && !event.metaKey ? table.order() : [];
  const next = order[order.indexOf(shown) + by];
  if (next) show(next);
}

/** Let the person choose light or dark, for as long as the page is open. */
function addThemeButton() {
  const choices = ["", "light", "dark"];
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const next = choices[(choices.indexOf(root.dataset.theme ?? "") + 1) % choices.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    fill(byId("theme"), `Theme: ${next || "system"}`);
  });
}
