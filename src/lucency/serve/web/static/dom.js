// Elements are built by hand: text is only ever set as text, whatever names and labels hold.

// Control, direction and unpaired surrogate characters can hide or reverse the text around them.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Return text with invisible characters spelled out. */
export function visible(text) {
  return String(text).replace(INVISIBLE, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * Make an element.
 *
 * Properties are set as properties; "class", "aria-...", "role", "for" and "scope" as attributes.
 * Children are elements, or anything else as text; null, undefined and false are skipped.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (/^(class|for|role|scope|colspan|aria-.*|data-.*)$/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
}

/** Replace all children of an element, with children as `make` takes them. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/** Return a name from files or data, isolated so that its text direction affects nothing else. */
export function isolated(text) {
  return make("bdi", {}, text);
}

/** Return a button with an action. */
export function button(text, action, properties = {}) {
  const made = make("button", { type: "button", ...properties }, text);
  made.addEventListener("click", action);
  return made;
}

/** Return the element with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Have a screen reader read a text out when it is idle. */
export function announce(text) {
  byId("announcer").textContent = "";
  byId("announcer").textContent = visible(text);
}
