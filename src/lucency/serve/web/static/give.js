// How images come to the page: dropped, chosen or pasted; folders are walked through.

import { at } from "./dom.js";

const DEBRIS = /(^|\/)(\.[^/]*|__MACOSX|DICOMDIR|Thumbs\.db|desktop\.ini)(\/|$)/i;

/**
 * Listen for images.
 *
 * kinds: what a folder's files must end in, as ".png,.jpg"; with ".dcm" also files without ending.
 * give(files, leftOut): gets [{file, name}], and how many files of folders are no images.
 */
export function listen(kinds, give) {
  const endings = kinds.split(",");
  const pick = (found) => give(...sorted(found, endings));
  at("files").accept = kinds;
  at("choose").addEventListener("click", () => at("files").click());
  at("choose-folder").addEventListener("click", () => at("folder").click());
  for (const id of ["files", "folder"]) {
    at(id).addEventListener("change", () => {
      pick([...at(id).files].map((file) => named(file, file.webkitRelativePath)));
      at(id).value = ""; // the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    pick(files.map((file) => ({ file, name: file.name || "pasted image", inside: false })));
  });
  listenForDrops(pick);
}

function listenForDrops(pick) {
  const over = (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    document.body.classList.add("over");
  };
  const out = (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  };
  document.addEventListener("dragenter", over);
  document.addEventListener("dragover", over);
  document.addEventListener("dragleave", out);
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    pick(await dropped(event.dataTransfer));
  });
}

/** Return the files of a drop; entries must be taken before the first wait. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => named(file, ""));
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    const path = entry.fullPath.replace(/^\//, "");
    found.push(named(file, path.includes("/") ? path : ""));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return; // a hundred at a time until there are none
    for (const each of part) await walk(each, found);
  }
}

function named(file, path) {
  return { file, name: path || file.name, inside: path !== "" };
}

/** Return the images in natural order, and how many files of folders are left out. */
function sorted(found, endings) {
  const wanted = found.filter((each) => !each.inside || isImage(each.name, endings));
  const order = new Intl.Collator("en", { numeric: true });
  wanted.sort((one, other) => order.compare(one.name, other.name));
  return [wanted, found.length - wanted.length];
}

function isImage(path, endings) {
  if (DEBRIS.test(path)) return false;
  const last = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  if (!last.includes(".")) return endings.includes(".dcm");
  return endings.some((ending) => last.endsWith(ending));
}
