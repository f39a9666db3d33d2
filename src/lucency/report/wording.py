"""Figures and names as text: rounded to what the data support, isolated, in the plural."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lucency.config import plural_of_unit
from lucency.plots import THIN, visible
from lucency.report.files import Json, number

UNDEFINED = "–"


@dataclass(frozen=True)
class Verdict:
    """A judgement: ``good``, ``warn`` or ``bad``, in one word and in a sentence."""

    level: str
    word: str
    text: str


@dataclass(frozen=True)
class Name:
    """The title of a metric, and whether it is a share of images."""

    title: str
    share: bool = False


NAMES = {
    "auroc": Name("AUROC"),
    "sensitivity": Name("Sensitivity", share=True),
    "specificity": Name("Specificity", share=True),
    "accuracy": Name("Accuracy", share=True),
    "balanced_accuracy": Name("Balanced accuracy", share=True),
    "ppv": Name("Positive predictive value", share=True),
    "npv": Name("Negative predictive value", share=True),
    "f1": Name("F1"),
    "mcc": Name("Matthews correlation"),
    "quadratic_kappa": Name("Quadratic weighted kappa"),
    "mean_absolute_error": Name("Mean absolute error, in grades"),
    "within_one": Name("Within one grade", share=True),
    "average_precision": Name("Average precision"),
    "brier": Name("Brier score"),
    "log_loss": Name("Log loss"),
    "lr_plus": Name("Positive likelihood ratio"),
    "lr_minus": Name("Negative likelihood ratio"),
    "ece": Name("Calibration error (ECE)"),
    "calibration_slope": Name("Calibration slope"),
    "calibration_intercept": Name("Calibration intercept"),
}
# The page of the glossary on a metric.
GLOSSARY = {
    "auroc": "roc-auroc",
    **dict.fromkeys(("sensitivity", "specificity", "balanced_accuracy"), "sensitivity-specificity"),
    "accuracy": "baseline",
    **dict.fromkeys(("ppv", "npv"), "predictive-values"),
    **dict.fromkeys(("lr_plus", "lr_minus"), "likelihood-ratios"),
    **dict.fromkeys(("f1", "mcc"), "f1-mcc"),
    **dict.fromkeys(("quadratic_kappa", "mean_absolute_error", "within_one"), "grades"),
    "average_precision": "average-precision",
    **dict.fromkeys(("brier", "log_loss"), "brier-log-loss"),
    **dict.fromkeys(("ece", "calibration_slope", "calibration_intercept"), "calibration"),
}


_OF_ALL = ("accuracy", "quadratic_kappa", "mean_absolute_error", "within_one")  # rest on all images


def name_of(metric: str) -> Name:
    """Return the title of a metric; an unknown one keeps its own name."""
    return NAMES.get(metric, Name(metric.replace("_", " ")))


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


def support(metric: str, split: Json, positive: str | None) -> int:
    """Return how many images a metric rests on: its row or column, or the smallest class."""
    table, classes = split["confusion"], split["classes"]
    rows = [sum(row) for row in table]
    if positive is None or positive not in classes:
        return int(split["n"]) if metric in _OF_ALL else min(rows)
    i = classes.index(positive)
    called = sum(row[i] for row in table)
    known = {
        "accuracy": split["n"],
        "sensitivity": rows[i],
        "specificity": split["n"] - rows[i],
        "ppv": called,
        "npv": split["n"] - called,
    }
    return int(known.get(metric, min(rows)))


def trivial(split: Json, positive: str | None) -> dict[str, float]:
    """Return what always predicting the most frequent class scores, where that is defined."""
    constant, share = split["baseline"]["class"], float(split["baseline"]["accuracy"])
    count = len(split["classes"])
    f1 = 2 * share / (1 + share)
    common = {"accuracy": share, "balanced_accuracy": 1 / count, "auroc": 0.5, "mcc": 0.0}
    if positive is None:
        macro = {"sensitivity": 1 / count, "specificity": 1 - 1 / count, "f1": f1 / count}
        found = {**common, **macro, "average_precision": 1 / count}
        return {**found, **_trivial_grade(split)} if split.get("grades") else found
    if constant == positive:
        found = {"sensitivity": 1.0, "specificity": 0.0, "ppv": share, "f1": f1}
        return {**common, **found, "average_precision": share}
    missed = {"sensitivity": 0.0, "specificity": 1.0, "npv": share, "f1": 0.0}
    return {**common, **missed, "average_precision": 1 - share}


def _trivial_grade(split: Json) -> dict[str, float]:
    """Return what always predicting the most frequent grade scores."""
    constant, n = split["classes"].index(split["baseline"]["class"]), float(split["n"])
    images = [(abs(k - constant), sum(row)) for k, row in enumerate(split["confusion"])]
    return {
        "quadratic_kappa": 0.0,
        "mean_absolute_error": sum(apart * count for apart, count in images) / n,
        "within_one": sum(count for apart, count in images if apart <= 1) / n,
    }


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


def meaning(split: Json, positive: str | None, unit: str = "image") -> Markup:
    """Return the headline figures as a plain sentence, in images or units of a hundred."""
    units = plural_of_unit(unit)
    per_class = {
        name: entry["metrics"]["sensitivity"] for name, entry in split["per_class"].items()
    }
    if positive is not None:
        other = next(name for name in split["classes"] if name != positive)
        found, negative = split["metrics"]["sensitivity"], split["metrics"]["specificity"]
        return Markup(
            "Of 100 {} {unit}, {} are detected; of 100 {} {unit}, {} are correctly negative."
        ).format(
            class_name(positive), of_hundred(found), class_name(other), of_hundred(negative),
            unit=units,
        )  # fmt: skip
    if split.get("grades"):
        metrics = split["metrics"]
        return Markup(
            "Of 100 {unit}, {} get the right grade, and {} the right one or a neighbouring one."
        ).format(of_hundred(metrics["accuracy"]), of_hundred(metrics["within_one"]), unit=units)
    if len(per_class) > 5:
        known = {name: number(entry["value"]) or 0.0 for name, entry in per_class.items()}
        ends = (max(known, key=known.__getitem__), min(known, key=known.__getitem__))
        best, worst = (
            Markup("{}, {} of 100").format(class_name(name), of_hundred(per_class[name]))
            for name in ends
        )
        sentence = Markup("Best recognised: {}. Worst recognised: {}.")
        return sentence.format(best, worst)
    recognised = [
        Markup("of 100 {} {}, {}").format(class_name(name), units, of_hundred(entry))
        for name, entry in per_class.items()
    ]
    return Markup("Correctly recognised: {}.").format(Markup("; ").join(recognised))


def isolated(name: str) -> Markup:
    """Return a name from the data whose writing direction does not affect the text around it."""
    return Markup("<bdi>{}</bdi>").format(visible(name))


def class_name(name: str) -> Markup:
    """Return the name of a class in a sentence: ``class 3`` where it begins with a digit."""
    shown = isolated(name)
    return Markup("class {}").format(shown) if name[:1].isdigit() else shown


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
