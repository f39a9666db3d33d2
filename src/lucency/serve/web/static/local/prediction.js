// Numbers to a prediction that abstains rather than guesses, with the sentences of
// lucency/classifier/prediction.py and the maps of activation_map.py.

const DECIMALS = 4;

/**
 * Make the document of one image, with the keys of `lucency predict --json`.
 *
 * @param {object} about The classifier: `classes`, `positive`, `threshold`.
 * @param {number[]|null} scores The largest 1 - probability with which each class is in the
 *   prediction set; null without prediction sets.
 * @param {number[]} probabilities Of each class, sum 1.
 * @param {number|null} oodScore Above 1 is out of distribution; null without a detector.
 */
export function predictionOf({ classes, positive, threshold }, scores, probabilities, oodScore) {
  const decided = decide(classes, positive, threshold, probabilities);
  const names = scores ? classes.filter((_, k) => 1 - probabilities[k] <= scores[k]) : [];
  let reason = null;
  if (oodScore !== null && !(oodScore <= 1)) {
    reason = `out of distribution: OOD score ${general(oodScore)}, limit 1`;
  } else if (scores && !(names.length === 1 && names[0] === decided)) {
    reason = `ambiguous: ${names.length ? names.join(" or ") : "no class fits well"}`;
    if (names.length === 1) {
      reason = `ambiguous: ${decided} by the threshold, ${names[0]} by validation`;
    }
  }
  return {
    decision: reason ? null : decided,
    probabilities: Object.fromEntries(classes.map((name, k) => [name, probabilities[k]])),
    reason,
    prediction_set: names,
    ood_score: oodScore,
  };
}

function decide(classes, positive, threshold, probabilities) {
  if (positive === null) return classes[mostProbable(probabilities)];
  const place = classes.indexOf(positive);
  return classes[probabilities[place] >= threshold ? place : 1 - place];
}

function mostProbable(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}

/** Format a number with three digits as Python's %.3g does. */
export function general(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const [digits, power] = value.toExponential(2).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 3) return String(Number(value.toPrecision(3)));
  const two = String(Math.abs(exponent)).padStart(2, "0");
  return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${two}`;
}

/**
 * Make the map of one image: the evidence at each position for and against a class, in logits.
 *
 * @param {{dims: number[], data: Float32Array}} units Output of the network, (1, h, w, units).
 * @param {number[]} probabilities
 * @param {{classes: string[], positive: string|null}} about
 * @param {{method: string, scale: number}} settings
 */
export function mapOf({ dims: [, height, width, units], data }, probabilities, about, settings) {
  const two = about.classes.length === 2;
  const of = two
    ? about.classes.indexOf(about.positive ?? about.classes[1])
    : mostProbable(probabilities);
  const value = (position) => {
    if (two) return (2 * of - 1) * data[position];
    const here = data.subarray(position * units, (position + 1) * units);
    const others = here.reduce((sum, each) => sum + each, 0) - here[of];
    return here[of] - others / (units - 1);
  };
  const row = (y) => Array.from({ length: width }, (_, x) => rounded(value(y * width + x)));
  const values = Array.from({ length: height }, (_, y) => row(y));
  return { class: about.classes[of], method: settings.method, scale: settings.scale, values };
}

function rounded(value) {
  return Number(value.toFixed(DECIMALS));
}
