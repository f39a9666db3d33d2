"""What the probabilities are worth: calibration, abstention, risk-coverage, prediction sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lucency import plots
from lucency.report.drawings import Figure, figure
from lucency.report.files import Json, Run, number
from lucency.report.wording import UNDEFINED, figure_text, name_of, plural, rounded


def chance_range(split: Json) -> tuple[float, float] | None:
    """Return the calibration error that chance alone gives perfect probabilities."""
    chance = (split.get("calibration") or {}).get("chance") or {}
    low, high = number(chance.get("low")), number(chance.get("high"))
    return None if low is None or high is None else (low, high)


def calibration_summary(split: Json) -> tuple[str, bool | None]:
    """Return the calibration error beside chance as text, and whether it is more than chance."""
    ends, error = chance_range(split), number((split.get("calibration") or {}).get("ece"))
    if error is None:
        return "", None
    text = f"error {rounded(error, split['n'])}"
    if ends is None:
        return f"{text}; what chance gives is unknown", None
    more = error > ends[1]
    chance = f"than chance gives (up to {rounded(ends[1], split['n'], end=True)})"
    return f"{text}, {'more' if more else 'no more'} {chance}", more


def calibration_shift(run: Run) -> str:
    """Return a sentence with both intercepts if test contradicts the images fitted on, or "".

    It does where their 95 % intervals do not overlap.
    """
    splits = [run.splits.get(name) or {} for name in ("test", run.chosen_on)]
    entries = [(split.get("metrics") or {}).get("calibration_intercept") or {} for split in splits]
    (low, high), (fit_low, fit_high) = [
        (number(entry.get("low")), number(entry.get("high"))) for entry in entries
    ]
    if low is None or high is None or fit_low is None or fit_high is None:
        return ""
    if low <= fit_high and fit_low <= high:
        return ""
    test, fitted = (
        figure_text(entry, split["n"], share=False)
        for entry, split in zip(entries, splits, strict=True)
    )
    what = "images are positive" if run.positive else "decisions are right"
    return (
        f"The calibration intercept is {test} on test and {fitted} {run.where_chosen}, where the "
        f"probabilities were fitted: on test, {what} {'more' if low > fit_high else 'less'} often "
        "than the probabilities say."
    )


def reliability(run: Run) -> list[list[str]]:
    """Return rows of calibration error, chance, slope and intercept, one cell per split."""
    splits = [split for split in run.splits.values() if split.get("calibration")]
    if not any(chance_range(split) for split in splits):
        return []
    rows = [["Error, corrected for chance", *(_error(split, "ece") for split in splits)]]
    if any("plain" in split["calibration"] for split in splits):
        rows.append(["Error, not corrected", *(_error(split, "plain") for split in splits)])
    rows.append(["Chance alone gives, 95\u00a0%", *map(_chance, splits)])
    for key in ("calibration_slope", "calibration_intercept"):
        entries = [(split["metrics"].get(key), split["n"]) for split in splits]
        if any(entry for entry, _ in entries):
            texts = [figure_text(entry, n, share=False) for entry, n in entries]
            rows.append([name_of(key).title, *texts])
    return rows


def _error(split: Json, key: str) -> str:
    return figure_text({"value": split["calibration"].get(key)}, split["n"], share=False)


def _chance(split: Json) -> str:
    ends = chance_range(split)
    if ends is None:
        return UNDEFINED
    return " to ".join(rounded(end, split["n"], end=True) for end in ends)


def selective(run: Run) -> dict[str, Any] | None:
    """Return what the section on abstention shows; None where nothing of it was measured."""
    found = run.split.get("selective")
    if not found:
        return None
    sets = found.get("conformal") or []
    # By index; such a class is in every set, because validation has too few of its patients.
    unlimited = sorted({run.classes[i] for entry in sets for i in entry.get("unlimited") or []})
    n = int(run.split["n"])
    return {
        "risk": _risk(found.get("risk_coverage"), run.split_name),
        "sets": [row for entry in sets for row in _set_rows(entry, n, run.classes)],
        "unlimited": unlimited,
        "abstention": _abstention(found.get("abstention"), run.split),
    }


def _risk(curve: Json | None, name: str) -> Figure | None:
    if not curve:
        return None
    drawing = plots.risk_coverage(curve, title=f"Risk over coverage, {name}", name=name)
    caption = (
        "The share of mistakes among the most certain predictions. Useful certainty makes the "
        "line rise to the right."
    )
    return figure(drawing, "Risk over coverage", caption, "risk-coverage")


def _set_rows(entry: Json, n: int, classes: Sequence[str]) -> list[list[str]]:
    """Return one row, or one for each class where coverage is promised for each class."""
    promised = f"{100 * (1 - float(entry['alpha'])):.3g}{plots.THIN}%"
    common = [
        figure_text({"value": entry.get(key)}, n, share=key != "mean_size")
        for key in ("mean_size", "singletons", "empty")
    ]
    found = [("all images" if entry["kind"] == "marginal" else "each class", entry)]
    if entry["kind"] == "class-conditional" and entry.get("per_class"):
        found = list(zip(classes, entry["per_class"], strict=True))
    return [[name, promised, *_coverage(one, n), *common] for name, one in found]


def _coverage(entry: Json, n: int) -> list[str]:
    """Return the measured coverage, what chance leaves to it, and whether that is as promised."""
    expected, coverage = entry.get("expected") or {}, entry.get("coverage")
    low, high = number(expected.get("low")), number(expected.get("high"))
    value, text = number((coverage or {}).get("value")), figure_text(coverage, n, share=True)
    if low is None or high is None or value is None:
        return [text, UNDEFINED, UNDEFINED]
    ends = "–".join(rounded(end, n, share=True, end=True) for end in (low, high))
    return [text, ends, "less" if value < low else "more" if value > high else "yes"]


def _abstention(found: Json | None, split: Json) -> dict[str, Any] | None:
    if not found:
        return None
    n, predicted = int(found["n"]), int(found["predicted"])
    shares = {
        key: f"{int(found[key]):,} ({plots.percent(int(found[key]) / max(n, 1), n)})"
        for key in ("predicted", "out_of_distribution", "ambiguous")
    }
    rows = [
        [
            name_of(key).title,
            figure_text(entry, predicted, share=True),
            figure_text(split["metrics"].get(key), int(split["n"]), share=True),
        ]
        for key, entry in (found.get("metrics") or {}).items()
    ]
    return {"n": plural(n, "image"), **shares, "rows": rows}
