"""Figures as a person reads them: rounded to what the data support, named and explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lucency.plots import THIN, visible
from lucency.report.files import Json, number

UNDEFINED = "–"


@dataclass(frozen=True)
class Name:
    """How a metric is called, whether it is a share of images, and one sentence on it."""

    title: str
    share: bool
    says: str


NAMES = {
    "auroc": Name("AUROC", False, "The chance that, of one image with and one without, the right "
        "one gets the higher score. 0.5 is guessing, 1 is perfect."),
    "sensitivity": Name("Sensitivity", True, "Of the images of the class looked for, the "
        "share that is found."),
    "specificity": Name("Specificity", True, "Of all other images, the share that is "
        "rightly left alone."),
    "accuracy": Name("Accuracy", True, "The share of all images that is decided rightly; it "
        "flatters where one class is frequent."),
    "balanced_accuracy": Name("Balanced accuracy", True, "The mean over the classes of the share "
        "decided rightly; every class counts the same."),
    "ppv": Name("Positive predictive value", True, "Of the images called positive, the share "
        "that is; holds only where positives are as frequent as here."),
    "npv": Name("Negative predictive value", True, "Of the images called negative, the share "
        "that is; holds only where positives are as frequent as here."),
    "f1": Name("F1", False, "One figure for sensitivity and predictive value (harmonic mean)."),
    "mcc": Name("Matthews correlation", False, "Agreement of decision and truth from −1 to 1; "
        "0 is guessing, whatever the class sizes."),
    "average_precision": Name("Average precision", False, "The area under the precision-recall "
        "curve; guessing scores the share of positives."),
    "brier": Name("Brier score", False, "Mean squared error of the probabilities; 0 is perfect."),
    "log_loss": Name("Log loss", False, "Penalty for confident mistakes; 0 is perfect."),
    "lr_plus": Name("Positive likelihood ratio", False, "How many times as often an image of the "
        "class is called positive as another one; 1 says nothing, above 10 says much."),
    "lr_minus": Name("Negative likelihood ratio", False, "How many times as often an image of "
        "the class is called negative as another one; 1 says nothing, below 0.1 says much."),
    "ece": Name("Calibration error (ECE)", False, "Distance between stated probability and "
        "observed share; 0 is perfect, and chance alone gives a little."),
    "calibration_slope": Name("Calibration slope", False, "1 is perfect; below 1 the "
        "probabilities are too extreme, above 1 too careful."),
    "calibration_intercept": Name("Calibration intercept", False, "0 is perfect; above 0 what is "
        "stated happens more often than stated, below 0 less often."),
}  # fmt: skip


# The page that explains a metric.
EXPLAINED = {
    "auroc": "roc-auroc",
    "sensitivity": "sensitivity-specificity",
    "specificity": "sensitivity-specificity",
    "accuracy": "baseline",
    "balanced_accuracy": "sensitivity-specificity",
    "ppv": "predictive-values",
    "npv": "predictive-values",
    "lr_plus": "likelihood-ratios",
    "lr_minus": "likelihood-ratios",
    "f1": "f1-mcc",
    "mcc": "f1-mcc",
    "average_precision": "average-precision",
    "brier": "brier-log-loss",
    "log_loss": "brier-log-loss",
    "ece": "calibration",
    "calibration_slope": "calibration",
    "calibration_intercept": "calibration",
}


def name_of(metric: str) -> Name:
    """Return how a metric is called; one that is not known here keeps its own name."""
    return NAMES.get(metric, Name(metric.replace("_", " "), share=False, says=""))


def rounded(
    value: float, n: int, *, share: bool = False, end: bool = False, largest: float = 0.0
) -> str:
    """Return ``value`` with no more digits than ``n`` images support, and no false perfection.

    Args:
        value: a figure; a share in [0, 1] is written as a percentage.
        n: images behind it; below 100 one digit fewer is shown.
        share: whether it is a percentage.
        end: whether it is the end of an interval, which carries no unit and may round to 1.
        largest: the largest of the numbers that it stands beside, which then get as many decimals.
    """
    decimals = (3 if n >= 100 else 2) - (2 if share else 0)
    if not share and max(abs(value), largest) > 1:  # a ratio: 15.6, not 15.603
        decimals = max(0, decimals - len(str(int(max(abs(value), largest)))))
    scale, unit = (100, "" if end else f"{THIN}%") if share else (1, "")
    text = f"{value * scale:.{decimals}f}"
    if not end and 0 < value < 1 and float(text) in (0, scale):
        step = 10.0**-decimals
        edge = f"<{step:.{decimals}f}" if float(text) == 0 else f">{scale - step:.{decimals}f}"
        return edge + unit
    return text.replace("-", "−") + unit


def value_text(entry: Mapping[str, Any] | None, n: int, *, share: bool) -> str:
    """Return the value alone, or a dash where it is undefined."""
    value = number((entry or {}).get("value"))
    return UNDEFINED if value is None else rounded(value, n, share=share, largest=_largest(entry))


def _largest(entry: Mapping[str, Any] | None) -> float:
    known = (number((entry or {}).get(key)) for key in ("value", "low", "high"))
    return max((abs(value) for value in known if value is not None), default=0.0)


def interval_text(entry: Mapping[str, Any] | None, n: int, *, share: bool) -> str:
    """Return ``0.969–0.990``, or an empty string without an interval."""
    low, high = number((entry or {}).get("low")), number((entry or {}).get("high"))
    if low is None or high is None:
        return ""
    dash = " to " if low < 0 else "–"
    largest = _largest(entry)
    return dash.join(rounded(end, n, share=share, end=True, largest=largest) for end in (low, high))


def figure_text(entry: Mapping[str, Any] | None, n: int, *, share: bool) -> str:
    """Return ``0.981 (0.969–0.990)``, or a dash and the word undefined."""
    if number((entry or {}).get("value")) is None:
        return f"{UNDEFINED} undefined"
    interval = interval_text(entry, n, share=share)
    return value_text(entry, n, share=share) + (f" ({interval})" if interval else "")


def support(metric: str, part: Json, positive: str | None) -> int:
    """Return how many images a metric rests on: its row or column, or the smallest class."""
    table, classes = part["confusion"], part["classes"]
    rows = [sum(row) for row in table]
    if positive is None or positive not in classes:
        return int(part["n"]) if metric == "accuracy" else min(rows)
    i = classes.index(positive)
    called = sum(row[i] for row in table)
    known = {
        "accuracy": part["n"],
        "sensitivity": rows[i],
        "specificity": part["n"] - rows[i],
        "ppv": called,
        "npv": part["n"] - called,
    }
    return int(known.get(metric, min(rows)))


def trivial(part: Json, positive: str | None) -> dict[str, float]:
    """Return what always answering the most frequent class scores, where that is defined."""
    answer, share = part["baseline"]["class"], float(part["baseline"]["accuracy"])
    count = len(part["classes"])
    f1 = 2 * share / (1 + share)
    common = {"accuracy": share, "balanced_accuracy": 1 / count, "auroc": 0.5, "mcc": 0.0}
    if positive is None:
        macro = {"sensitivity": 1 / count, "specificity": 1 - 1 / count, "f1": f1 / count}
        return {**common, **macro, "average_precision": 1 / count}
    if answer == positive:
        found = {"sensitivity": 1.0, "specificity": 0.0, "ppv": share, "f1": f1}
        return {**common, **found, "average_precision": share}
    missed = {"sensitivity": 0.0, "specificity": 1.0, "npv": share, "f1": 0.0}
    return {**common, **missed, "average_precision": 1 - share}


def of_hundred(entry: Mapping[str, Any]) -> str:
    """Return ``about 93 (91–95)``: a share as images of a hundred."""
    value = number(entry.get("value"))
    if value is None:
        return "an unknown number"
    whole = round(100 * value)
    text = f"about {whole}"
    if value in (0, 1):
        text = "all" if value else "none"
    elif whole in (0, 100):
        text = "more than 99" if whole else "fewer than 1"
    low, high = number(entry.get("low")), number(entry.get("high"))
    if low is None or high is None:
        return text
    # An end is 0 or 100 only when it is exactly that.
    ends = [end if end in (0, 1) else min(max(end, 0.01), 0.99) for end in (low, high)]
    return f"{text} ({100 * ends[0]:.0f}–{100 * ends[1]:.0f})"


def meaning(part: Json, positive: str | None) -> Markup:
    """Return the headline as a plain sentence, counted in images of a hundred."""
    per_class = {name: entry["metrics"]["sensitivity"] for name, entry in part["per_class"].items()}
    if positive is not None:
        other = next(name for name in part["classes"] if name != positive)
        found, spared = part["metrics"]["sensitivity"], part["metrics"]["specificity"]
        return Markup(
            "Of 100 {} images, {} are found; of 100 {} images, {} are rightly left alone."
        ).format(isolated(positive), of_hundred(found), isolated(other), of_hundred(spared))
    if len(per_class) > 5:
        known = {name: number(entry["value"]) or 0.0 for name, entry in per_class.items()}
        ends = (max(known, key=known.__getitem__), min(known, key=known.__getitem__))
        best, worst = (
            Markup("{}: {} of 100").format(isolated(name), of_hundred(per_class[name]))
            for name in ends
        )
        sentence = Markup("The class recognised best is {}; the one recognised worst is {}.")
        return sentence.format(best, worst)
    told = [
        Markup("of 100 {} images, {}").format(isolated(name), of_hundred(entry))
        for name, entry in per_class.items()
    ]
    return Markup("Recognised are: {}.").format(Markup("; ").join(told))


def isolated(name: str) -> Markup:
    """Return a name from the data so that its direction of writing stays its own matter."""
    return Markup("<bdi>{}</bdi>").format(visible(name))


def seconds_text(seconds: float) -> str:
    """Return ``3 min 12 s``, ``1 h 04 min`` or ``8.4 s``."""
    if seconds < 60:
        return f"{seconds:.1f}{THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{THIN}h {minutes:02d}{THIN}min"
    return f"{minutes}{THIN}min {rest:02d}{THIN}s"


def plural(count: int, one: str, many: str = "") -> str:
    """Return ``1 image`` or ``1,200 images``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(names: Sequence[str], last: str = "and") -> Markup:
    """Return ``a, b and c``, each name isolated unless it is markup already."""
    safe = [name if isinstance(name, Markup) else isolated(name) for name in names]
    head = Markup(", ").join(safe[:-1])
    return Markup(" {} ").format(last).join([head, safe[-1]] if head else safe)
