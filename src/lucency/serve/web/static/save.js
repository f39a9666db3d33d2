// What was answered, as files: the columns and keys of `lucency predict --csv` and `--json`.

import { kindOf } from "./words.js";

// What a spreadsheet takes for the beginning of a formula.
const FORMULA = /^[=+\-@\t\r]/;

/** Return the answers as the rows of a table, with the first line for its columns. */
export function csv(items, classes) {
  const rows = [["file", "decision", ...classes.map((label) => `p_${label}`), "reason", "notes"]];
  for (const item of answered(items)) {
    const { decision, probabilities, reason, notes } = record(item);
    const shares = classes.map((label) => (probabilities ? String(probabilities[label]) : ""));
    rows.push([text(item.name), text(decision ?? ""), ...shares, text(reason ?? ""), text(notes.join("; "))]);
  }
  return rows.map((row) => `${row.map(quoted).join(",")}\n`).join("");
}

/** Return the answers as one JSON document. */
export function json(items) {
  return `${JSON.stringify(answered(items).map(record), null, 1)}\n`;
}

/** Hand a text over as a file. */
export function download(content, type, filename) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function answered(items) {
  return items.filter((item) => ["answered", "abstained", "failed"].includes(kindOf(item)));
}

function record(item) {
  if (item.state === "failed") {
    return { file: item.name, decision: null, probabilities: null, reason: item.error, prediction_set: [], ood_score: null, notes: [] };
  }
  const { decision, probabilities, reason, prediction_set: set, ood_score: oodScore, notes } = item.prediction;
  return { file: item.name, decision, probabilities, reason, prediction_set: set ?? [], ood_score: oodScore ?? null, notes: notes ?? [] };
}

/** Return text that no spreadsheet computes. */
function text(value) {
  return FORMULA.test(value) ? `'${value}` : value;
}

function quoted(value) {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
