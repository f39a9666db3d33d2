// Numbers and outcomes as text.

const THIN_SPACE = "\u202f";

/** Return a probability as a percentage with one decimal, without false certainty. */
export function percent(probability) {
  const hundred = 100 * probability;
  if (hundred > 0 && hundred < 0.1) return `<0.1${THIN_SPACE}%`;
  if (hundred < 100 && hundred > 99.9) return `>99.9${THIN_SPACE}%`;
  return `${hundred.toFixed(1)}${THIN_SPACE}%`;
}

/** Return a share as a percentage with as few decimals as it needs. */
export function share(value) {
  const hundred = 100 * value;
  return `${Number(hundred.toFixed(hundred < 10 || hundred > 90 ? 1 : 0))}${THIN_SPACE}%`;
}

/** Return a share as "about 84 show": images of a hundred, with the verb for one or for several. */
export function ofHundred(value, one, several) {
  const whole = Math.round(100 * value);
  if (whole === 0) return `fewer than 1 ${one}`;
  return whole === 100 ? `more than 99 ${several}` : `about ${whole} ${whole === 1 ? one : several}`;
}

/** Return "1 image" or "1,200 images". */
export function plural(count, one, several = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : several}`;
}

/** Return a logit with its sign. */
export function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}

/** Return whether the classifier "decided" or "abstained"; the item's state while it has not. */
export function outcomeOf(item) {
  if (item.state !== "done") return item.state;
  return item.prediction.decision === null ? "abstained" : "decided";
}

/** Return whether a class was decided for, or a label is present. */
export function isDecided(label, { decision, labels }) {
  return labels ? labels[label].present === true : label === decision;
}

const AMBIGUOUS = {
  multilabel: "At these probabilities, validation does not settle whether they are present.",
  regression: "The number is not determined closely enough.",
};

/** Return the reason for an abstention as a sentence, and what it means for a task. */
export function abstention(reason, task) {
  const text = String(reason ?? "no reason was given");
  const [kind] = text.split(":");
  const meaning = {
    "out of distribution": "The probabilities for such an image are meaningless.",
    ambiguous: AMBIGUOUS[task] ?? "At this probability, validation does not rule out another class.",
  };
  return {
    sentence: `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`,
    meaning: meaning[kind] ?? "The classifier does not guess.",
  };
}
