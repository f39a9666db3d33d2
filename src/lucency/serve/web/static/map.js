// The activation map over its image: signed, on the classifier's fixed scale, never rescaled.

import { isolated, make } from "./dom.js";
import { signed } from "./text.js";

// Okabe and Ito (2008): distinguishable with any colour blindness. As in lucency.explain.drawing.
const AGAINST = [0, 114, 178];
const FOR = [230, 120, 0];
const MAX_OPACITY = 0.65; // at the end of the scale, so that the image stays visible
const DEFAULT_SCALE = 5; // logits, if the classifier states no scale
const SIDE = 256; // pixels of the drawn map, which the page stretches over the image
const POSITIONS = [
  ["top left", "top middle", "top right"],
  ["middle left", "centre", "middle right"],
  ["bottom left", "bottom middle", "bottom right"],
];

/** Return the magnitude at which the colour of a map has its full opacity. */
export function scaleOf(map) {
  return map.scale > 0 ? map.scale : DEFAULT_SCALE;
}

/** Return colour and opacity (0 to 255 each) of evidence on a scale. */
export function colourOf(value, scale) {
  const strength = Math.min(1, Math.abs(value) / scale);
  const [red, green, blue] = value < 0 ? AGAINST : FOR;
  return [red, green, blue, Math.round(255 * MAX_OPACITY * strength)];
}

/** Return a canvas with one pixel for each value of a map. */
function canvasOf(values, scale) {
  const canvas = make("canvas", { width: values[0].length, height: values.length });
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  values.flat().forEach((value, i) => image.data.set(colourOf(value, scale), 4 * i));
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Return values on a grid of another size, interpolated bilinearly. */
export function resampled(values, side) {
  const across = samples(values[0].length, side);
  return samples(values.length, side).map(([top, bottom, down]) =>
    across.map(([left, right, over]) => {
      const above = values[top][left] * (1 - over) + values[top][right] * over;
      const below = values[bottom][left] * (1 - over) + values[bottom][right] * over;
      return above * (1 - down) + below * down;
    }),
  );
}

/** Return for each of `side` pixels the two nearest of `count` values, and the second's weight. */
function samples(count, side) {
  return Array.from({ length: side }, (_, i) => {
    const at = Math.min(count - 1, Math.max(0, ((i + 0.5) * count) / side - 0.5));
    const first = Math.floor(at);
    return [first, Math.min(count - 1, first + 1), at - first];
  });
}

/**
 * Return the canvas that lies over an image, interpolated between the values of the map.
 *
 * Values are interpolated, not colours: between for and against lies transparency.
 * map: {class, scale, values} as a prediction holds it.
 */
export function overlay(map) {
  const canvas = canvasOf(resampled(map.values, SIDE), scaleOf(map));
  canvas.className = "map";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", describe(map));
  return canvas;
}

/** Return the legend: colours with the ends of the scale. */
export function legend(map) {
  const steps = 101;
  const values = Array.from({ length: steps }, (_, i) => (2 * i) / (steps - 1) - 1);
  const strip = canvasOf([values], 1);
  strip.className = "strip";
  strip.setAttribute("aria-hidden", "true");
  const end = (text, sign) =>
    make("span", {}, `${text} `, isolated(map.class), make("br"), signed(sign * scaleOf(map)));
  return make(
    "div",
    { class: "legend" },
    make("div", { class: "legend-scale" }, strip),
    make("div", { class: "legend-labels" }, end("against", -1), make("span", {}, "neutral", make("br"), "0"), end("for", 1)),
  );
}

/** Return in words where the evidence is strongest. */
export function describe(map) {
  const cells = map.values.flatMap((row, y) =>
    row.map((value, x) => ({ value, at: position(x, y, row.length, map.values.length) })),
  );
  const most = cells.reduce((best, each) => (each.value > best.value ? each : best));
  const least = cells.reduce((best, each) => (each.value < best.value ? each : best));
  const strong = (value) => Math.abs(value) >= 0.05 * scaleOf(map);
  const parts = [];
  if (most.value > 0 && strong(most.value)) parts.push(`for ${map.class} at the ${most.at} (${signed(most.value)})`);
  if (least.value < 0 && strong(least.value)) parts.push(`against ${map.class} at the ${least.at} (${signed(least.value)})`);
  return parts.length ? `Evidence is strongest ${parts.join(", and ")}.` : "There is hardly any evidence anywhere in the image.";
}

function position(x, y, width, height) {
  return POSITIONS[Math.floor((3 * (y + 0.5)) / height)][Math.floor((3 * (x + 0.5)) / width)];
}

/** Return whether the maps of a classifier were found informative: true, false, or null if untested. */
export function informative(about) {
  return about.explanation?.informative ?? null;
}

/** Return the sentence on how far to trust a map. */
export function trust(about) {
  return (
    about.explanation?.sentence ??
    "Whether the maps show what the classifier reacts to was not tested: take them as a hint, not as evidence."
  );
}
