// Elements made by hand: text is only ever set as text, whatever names and labels hold.

// Control, direction and unpaired surrogate characters can hide or reverse what stands around them.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Return text with characters that cannot be seen spelled out. */
export function visible(text) {
  return String(text).replace(UNSEEN, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
}

/**
 * Make an element.
 *
 * Properties are set as properties; "class", "aria-...", "role", "for" and "scope" as attributes.
 * Children are elements, or anything else as text; null, undefined and false are left out.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (/^(class|for|role|scope|colspan|aria-.*|data-.*)$/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  put(element, ...children);
  return element;
}

/** Append children to an element, as `make` does. */
export function put(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
}

/** Replace all children of an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  put(element, ...children);
}

/** Return a name from files or data, isolated so that its direction stays its own matter. */
export function name(text) {
  return make("bdi", {}, text);
}

/** Return a button that does something. */
export function button(text, action, properties = {}) {
  const made = make("button", { type: "button", ...properties }, text);
  made.addEventListener("click", action);
  return made;
}

/** Return the element with this id. */
export function at(id) {
  return document.getElementById(id);
}

/** Let a screen reader say something when it is free. */
export function say(text) {
  at("said").textContent = "";
  at("said").textContent = visible(text);
}
