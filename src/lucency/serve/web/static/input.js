// How images come to the page: dropped, chosen or pasted; folders are searched.

import { byId } from "./dom.js";

const IGNORED = /(^|\/)(\.[^/]*|__MACOSX|DICOMDIR|Thumbs\.db|desktop\.ini)(\/|$)/i;

/**
 * Listen for images.
 *
 * accept: the endings of image files, as ".png,.jpg"; with ".dcm" also files without an ending.
 * onImages(files, excluded): called with [{file, name}], and with the number of files of folders
 * that are not images.
 */
export function listenForImages(accept, onImages) {
  const endings = accept.split(",");
  const add = (found) => onImages(...sorted(found, endings));
  byId("files").accept = accept;
  byId("choose-files").addEventListener("click", () => byId("files").click());
  byId("choose-folder").addEventListener("click", () => byId("folder").click());
  for (const id of ["files", "folder"]) {
    byId(id).addEventListener("change", () => {
      add([...byId(id).files].map((file) => named(file, file.webkitRelativePath)));
      byId(id).value = ""; // the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    add(files.map((file) => ({ file, name: file.name || "pasted image", inFolder: false })));
  });
  listenForDrops(add);
}

function listenForDrops(add) {
  const onDrag = (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    document.body.classList.add("dragging");
  };
  const onLeave = (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  };
  document.addEventListener("dragenter", onDrag);
  document.addEventListener("dragover", onDrag);
  document.addEventListener("dragleave", onLeave);
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    add(await droppedFiles(event.dataTransfer));
  });
}

/** Return the files of a drop; its entries must be read before the first await. */
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => named(file, ""));
  const found = [];
  for (const entry of entries) await collect(entry, found);
  return found;
}

async function collect(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    const path = entry.fullPath.replace(/^\//, "");
    found.push(named(file, path.includes("/") ? path : ""));
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return; // a hundred at a time until there are none
    for (const each of batch) await collect(each, found);
  }
}

function named(file, path) {
  return { file, name: path || file.name, inFolder: path !== "" };
}

/** Return the images in natural order, and how many files of folders are not images. */
function sorted(found, endings) {
  const images = found.filter((each) => !each.inFolder || isImage(each.name, endings));
  const order = new Intl.Collator("en", { numeric: true });
  images.sort((one, other) => order.compare(one.name, other.name));
  return [images, found.length - images.length];
}

function isImage(path, endings) {
  if (IGNORED.test(path)) return false;
  const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
  if (!name.includes(".")) return endings.includes(".dcm");
  return endings.some((ending) => name.endsWith(ending));
}
