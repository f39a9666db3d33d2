// Numbers as a person reads them, and what they mean.

const THIN = "\u202f";

/** Return a share as a percentage with one decimal, and no false certainty. */
export function percent(share) {
  const hundred = 100 * share;
  if (hundred > 0 && hundred < 0.1) return `<0.1${THIN}%`;
  if (hundred < 100 && hundred > 99.9) return `>99.9${THIN}%`;
  return `${hundred.toFixed(1)}${THIN}%`;
}

/** Return a share as a percentage with as few decimals as it needs. */
export function share(value) {
  const hundred = 100 * value;
  return `${Number(hundred.toFixed(hundred < 10 || hundred > 90 ? 1 : 0))}${THIN}%`;
}

/** Return a share as images of a hundred, with the verb for one or for many of them. */
export function ofHundred(value, one, many) {
  const whole = Math.round(100 * value);
  if (whole === 0) return `fewer than 1 ${one}`;
  return whole === 100 ? `more than 99 ${many}` : `about ${whole} ${whole === 1 ? one : many}`;
}

/** Return "1 image" or "1,200 images". */
export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** Return a number with a sign, as logits are written. */
export function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}

/** Return whether a prediction is an answer, an abstention or neither. */
export function kindOf(item) {
  if (item.state !== "done") return item.state;
  return item.prediction.decision === null ? "abstained" : "answered";
}

/** Return the reason for an abstention as a sentence, and what it means. */
export function abstention(reason) {
  const text = String(reason ?? "no reason was given");
  const [kind] = text.split(":");
  const told = text.slice(0, 1).toUpperCase() + text.slice(1);
  const meaning = {
    "out of distribution":
      "What the classifier computes of such an image means nothing.",
    ambiguous: "Validation does not rule out another class at such a probability, so it does not choose.",
  };
  return { told: `${told}.`, meaning: meaning[kind] ?? "It does not guess." };
}

/** Return which class a row of probabilities is highest for. */
export function highest(probabilities) {
  return Object.entries(probabilities).reduce((best, each) => (each[1] > best[1] ? each : best));
}
