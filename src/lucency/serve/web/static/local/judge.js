// Numbers to a prediction that abstains rather than guesses: the twin of lucency/classifier's
// answers.py and maps.py, with the same sentences.

const DECIMALS = 4;

/**
 * Makes the document of one image, with the keys of `lucency predict --json`.
 *
 * @param {object} about The classifier: `classes`, `positive`, `threshold`.
 * @param {number[]|null} scores The largest 1 - probability with which each class is in the
 *   prediction set; none where validation could not settle them.
 * @param {number[]} probabilities Of each class, sum 1.
 * @param {number|null} oodScore Out of distribution above 1.
 */
export function judged({ classes, positive, threshold }, scores, probabilities, oodScore) {
  const decided = decision(classes, positive, threshold, probabilities);
  const names = scores ? classes.filter((_, k) => 1 - probabilities[k] <= scores[k]) : [];
  let reason = null;
  if (oodScore !== null && !(oodScore <= 1)) {
    reason =
      `out of distribution: OOD score ${general(oodScore)}, limit 1`;
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

function decision(classes, positive, threshold, probabilities) {
  if (positive === null) return classes[mostProbable(probabilities)];
  const place = classes.indexOf(positive);
  return classes[probabilities[place] >= threshold ? place : 1 - place];
}

function mostProbable(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}

/** Writes a number with three digits as Python's %.3g does. */
export function general(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const [digits, power] = value.toExponential(2).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 3) return String(Number(value.toPrecision(3)));
  const two = String(Math.abs(exponent)).padStart(2, "0");
  return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${two}`;
}

/**
 * Makes the map of one image: which places speak for and against a class, in logits.
 *
 * @param {{dims: number[], data: Float32Array}} units What the network gives, (1, h, w, units).
 * @param {number[]} probabilities
 * @param {{classes: string[], positive: string|null}} about
 * @param {{method: string, scale: number}} how
 */
export function mapOf({ dims: [, height, width, units], data }, probabilities, about, how) {
  const two = about.classes.length === 2;
  const of = two
    ? about.classes.indexOf(about.positive ?? about.classes[1])
    : mostProbable(probabilities);
  const value = (place) => {
    if (two) return (2 * of - 1) * data[place];
    const here = data.subarray(place * units, (place + 1) * units);
    const others = here.reduce((sum, each) => sum + each, 0) - here[of];
    return here[of] - others / (units - 1);
  };
  const row = (y) => Array.from({ length: width }, (_, x) => rounded(value(y * width + x)));
  const values = Array.from({ length: height }, (_, y) => row(y));
  return { class: about.classes[of], method: how.method, scale: how.scale, values };
}

function rounded(value) {
  return Number(value.toFixed(DECIMALS));
}
