// The activation map over its image: signed, at the classifier's own fixed scale, never rescaled.

import { make, name } from "./dom.js";
import { signed } from "./words.js";

// Okabe and Ito (2008): told apart with any kind of colour blindness. As lucency.explain.drawing.
const AGAINST = [0, 114, 178];
const FOR = [230, 120, 0];
const STRONGEST = 0.65; // of the colour at the end of the scale; the image stays to be seen
const UNSTATED = 5; // logits at which the colour is full, where the classifier states no scale
const SIDE = 256; // pixels of a drawn map, which the page stretches over the image
const PLACES = [
  ["top left", "top middle", "top right"],
  ["middle left", "centre", "middle right"],
  ["bottom left", "bottom middle", "bottom right"],
];

/** Return the magnitude at which the colour of a map is full. */
export function scaleOf(map) {
  return map.scale > 0 ? map.scale : UNSTATED;
}

/** Return colour and opacity (0 to 255 each) of evidence on a scale. */
export function colourOf(value, scale) {
  const strength = Math.min(1, Math.abs(value) / scale);
  const [red, green, blue] = value < 0 ? AGAINST : FOR;
  return [red, green, blue, Math.round(255 * STRONGEST * strength)];
}

/** Return a canvas with one pixel for each value of a map. */
function drawn(values, scale) {
  const canvas = make("canvas", { width: values[0].length, height: values.length });
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.flat().forEach((value, i) => image.data.set(colourOf(value, scale), 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Return values on a grid of another size, bilinear between the centres of their places. */
export function enlarged(values, side) {
  const across = places(values[0].length, side);
  return places(values.length, side).map(([top, bottom, down]) =>
    across.map(([left, right, over]) => {
      const above = values[top][left] * (1 - over) + values[top][right] * over;
      const below = values[bottom][left] * (1 - over) + values[bottom][right] * over;
      return above * (1 - down) + below * down;
    }),
  );
}

/** Return, for each of `side` pixels, the two of `count` places around it and how near the second is. */
function places(count, side) {
  return Array.from({ length: side }, (_, i) => {
    const at = Math.min(count - 1, Math.max(0, ((i + 0.5) * count) / side - 0.5));
    const first = Math.floor(at);
    return [first, Math.min(count - 1, first + 1), at - first];
  });
}

/**
 * Return the canvas that lies over an image, smoothed between the places of the map.
 *
 * Values are smoothed, not colours: from for to against the way leads through nothing.
 * map: {class, scale, values} as a prediction holds it.
 */
export function overlay(map) {
  const canvas = drawn(enlarged(map.values, SIDE), scaleOf(map));
  canvas.className = "map";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", spoken(map));
  return canvas;
}

/** Return the legend: colours with the ends of the scale. */
export function legend(map) {
  const steps = 101;
  const values = Array.from({ length: steps }, (_, i) => (2 * i) / (steps - 1) - 1);
  const strip = drawn([values], 1);
  strip.className = "strip";
  strip.setAttribute("aria-hidden", "true");
  const end = (text, sign) =>
    make("span", {}, `${text} `, name(map.class), make("br"), signed(sign * scaleOf(map)));
  return make(
    "div",
    { class: "legend" },
    make("div", { class: "ground" }, strip),
    make("div", { class: "ends" }, end("against", -1), make("span", {}, "nothing", make("br"), "0"), end("for", 1)),
  );
}

/** Return where the strongest evidence lies, in words. */
export function spoken(map) {
  const places = map.values.flatMap((row, y) =>
    row.map((value, x) => ({ value, at: where(x, y, row.length, map.values.length) })),
  );
  const most = places.reduce((best, each) => (each.value > best.value ? each : best));
  const least = places.reduce((best, each) => (each.value < best.value ? each : best));
  const strong = (value) => Math.abs(value) >= 0.05 * scaleOf(map);
  const parts = [];
  if (most.value > 0 && strong(most.value)) parts.push(`for ${map.class} at the ${most.at} (${signed(most.value)})`);
  if (least.value < 0 && strong(least.value)) parts.push(`against ${map.class} at the ${least.at} (${signed(least.value)})`);
  return parts.length ? `Evidence is strongest ${parts.join(", and ")}.` : "There is next to no evidence anywhere in the image.";
}

function where(x, y, width, height) {
  return PLACES[Math.floor((3 * (y + 0.5)) / height)][Math.floor((3 * (x + 0.5)) / width)];
}

/** Return whether the maps of a classifier have been found to mean something: true, false or null. */
export function informative(about) {
  return about.explanation?.informative ?? null;
}

/** Return the sentence on how far to believe a map. */
export function trust(about) {
  return (
    about.explanation?.sentence ??
    "Whether its maps show what the classifier reacts to was not tested: take them as a hint, not as proof."
  );
}
