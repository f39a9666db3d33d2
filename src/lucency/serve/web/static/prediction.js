// Numbers to a prediction that abstains rather than guesses, with the sentences of
// lucency/classifier/prediction.py and the maps of activation_map.py.

const DECIMALS = 4;

/**
 * Make the document of one image, with the keys of `lucency predict --json`.
 *
 * @param {object} about The classifier: `classes`, `task`, `positive`, `threshold`, `cut`.
 * @param {number[]|null} scores The largest 1 - probability with which each class is in the
 *   prediction set; null without prediction sets.
 * @param {number[]} probabilities Of each class, sum 1.
 * @param {number|null} oodScore Above 1 is out of distribution; null without a detector.
 */
export function predictionOf(about, scores, probabilities, oodScore) {
  const { classes } = about;
  const ordinal = about.task === "ordinal";
  const decided = decide(about, probabilities);
  const names = scores ? setOf(classes, scores, probabilities, ordinal) : [];
  const most = ordinal ? 2 : 1;
  let reason = null;
  if (oodScore !== null && !(oodScore <= 1)) {
    reason = `out of distribution: OOD score ${general(oodScore)}, limit 1`;
  } else if (scores && !(names.length <= most && names.includes(decided))) {
    const shown = ordinal && names.length > 1 ? `${names[0]} to ${names.at(-1)}` : names.join(" or ");
    reason = `ambiguous: ${names.length ? shown : "no class fits well"}`;
    if (names.length === 1) {
      reason = `ambiguous: ${decided} by the ${ordinal ? "median" : "threshold"}, ${names[0]} by validation`;
    }
  }
  return {
    decision: reason ? null : decided,
    probabilities: Object.fromEntries(classes.map((name, k) => [name, probabilities[k]])),
    reason,
    prediction_set: names,
    ood_score: oodScore,
    ...(about.cut && { cut: atCut(about.cut, classes, probabilities, reason) }),
  };
}

/** Return the classes of the prediction set; of grades, also those between two of them. */
function setOf(classes, scores, probabilities, ordinal) {
  const inside = probabilities.map((p, k) => 1 - p <= scores[k]);
  const [first, last] = [inside.indexOf(true), inside.lastIndexOf(true)];
  return classes.filter((_, k) => (ordinal ? first >= 0 && first <= k && k <= last : inside[k]));
}

/** Return whether an image is positive at the chosen cut of the grades; null where it abstains. */
function atCut({ from, threshold }, classes, probabilities, reason) {
  const higher = probabilities.slice(classes.indexOf(from));
  const probability = higher.reduce((sum, p) => sum + p, 0);
  return { from, probability, positive: reason ? null : probability >= threshold };
}

/** Return the class that probabilities are decided as, abstention aside. */
export function decide({ classes, task, positive, threshold }, probabilities) {
  if (task === "ordinal") return classes[median(probabilities)];
  if (positive === null) return classes[mostProbable(probabilities)];
  const place = classes.indexOf(positive);
  return classes[probabilities[place] >= threshold ? place : 1 - place];
}

function mostProbable(probabilities) {
  return probabilities.indexOf(Math.max(...probabilities));
}

function median(probabilities) {
  let sum = 0;
  const found = probabilities.findIndex((p) => (sum += p) >= 0.5);
  return found < 0 ? probabilities.length - 1 : found;
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
 * @param {{classes: string[], task: string, positive: string|null}} about
 * @param {{method: string, scale: number}} settings
 */
export function mapOf({ dims: [, height, width, units], data }, probabilities, about, settings) {
  const two = about.classes.length === 2;
  const of = two
    ? about.classes.indexOf(about.positive ?? about.classes[1])
    : about.task === "ordinal"
      ? about.classes.length - 1
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
