// The predictions as files, with the columns and keys of `lucency predict --csv` and `--json`.

import { outcomeOf } from "./text.js";

// What a spreadsheet takes for the start of a formula.
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/;

/** Return the predictions as CSV, with a header row. */
export function csv(items, { classes, cut: chosen, task, value: rule }) {
  const atCut = chosen ? ["positive", "positive_probability"] : [];
  const several = task === "multilabel" ? classes : [];
  const present = several.map((label) => `present_${label}`);
  const number = rule ? ["value", "low", "high"] : [];
  const rows = [["file", "decision", ...classes.map((label) => `p_${label}`), ...atCut, ...present, ...number, "reason", "notes"]];
  for (const item of finished(items)) {
    const { decision, probabilities, reason, notes, cut, labels, value } = record(item);
    const shares = classes.map((label) => (probabilities ? String(probabilities[label]) : ""));
    const side = chosen ? [String(cut?.positive ?? ""), String(cut?.probability ?? "")] : [];
    const states = several.map((label) => String(labels?.[label].present ?? ""));
    const ends = rule ? [value?.predicted, value?.interval?.[0], value?.interval?.[1]].map((x) => String(x ?? "")) : [];
    rows.push([text(item.name), text(decision ?? ""), ...shares, ...side, ...states, ...ends, text(reason ?? ""), text(notes.join("; "))]);
  }
  return rows.map((row) => `${row.map(quoted).join(",")}\n`).join("");
}

/** Return the predictions as one JSON document. */
export function json(items) {
  return `${JSON.stringify(finished(items).map(record), null, 1)}\n`;
}

/** Download content as a file. */
export function download(content, type, filename) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function finished(items) {
  return items.filter((item) => ["decided", "abstained", "failed"].includes(outcomeOf(item)));
}

function record(item) {
  if (item.state === "failed") {
    return { file: item.name, decision: null, probabilities: null, reason: item.error, prediction_set: [], ood_score: null, notes: [] };
  }
  const { decision, probabilities, reason, prediction_set: set, ood_score: oodScore, notes, cut, labels, value } = item.prediction;
  return { file: item.name, decision, probabilities, reason, prediction_set: set ?? [], ood_score: oodScore ?? null, notes: notes ?? [], ...(cut && { cut }), ...(labels && { labels }), ...(value && { value }) };
}

/** Return text that no spreadsheet takes for a formula. */
function text(value) {
  return FORMULA.test(value) ? `'${value}` : value;
}

function quoted(value) {
  return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
