"""Use with the right to abstain: risk over coverage, prediction sets, images set apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lucency import plots
from lucency.report.drawings import Figure, figure
from lucency.report.files import Json, Run, number
from lucency.report.wording import UNDEFINED, figure_text, name_of, plural, rounded


def selective(run: Run) -> dict[str, Any] | None:
    """Return what the section on selective use shows; None where the run has nothing of it."""
    name, part = next(iter(run.parts.items()))
    found = part.get("selective")
    if not found:
        return None
    sets = found.get("conformal") or []
    # By index; such a class is in every set, because validation has too few of its patients.
    unlimited = sorted({run.classes[i] for entry in sets for i in entry.get("unlimited") or []})
    return {
        "risk": _risk(found.get("risk_coverage"), name),
        "sets": [row for entry in sets for row in _set_rows(entry, int(part["n"]), run.classes)],
        "unlimited": unlimited,
        "abstention": _abstention(found.get("abstention"), part),
    }


def _risk(curve: Json | None, name: str) -> Figure | None:
    if not curve:
        return None
    drawing = plots.risk_coverage(curve, title=f"Risk over coverage, {name}", name=name)
    says = (
        "If only the most certain images are answered, how many of the answers are wrong. A "
        "useful certainty makes the line rise to the right."
    )
    return figure(drawing, "Risk over coverage", says, "risk-coverage")


def _set_rows(entry: Json, n: int, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row, or one for each class where the promise is made to each class."""
    common = {
        "promised": f"{100 * (1 - float(entry['alpha'])):.3g}{plots.THIN}%",
        "size": figure_text({"value": entry.get("mean_size")}, n, share=False),
        "singletons": figure_text({"value": entry.get("singletons")}, n, share=True),
        "empty": figure_text({"value": entry.get("empty")}, n, share=True),
    }
    found = [("all images" if entry["kind"] == "marginal" else "each class", entry)]
    if entry["kind"] == "class-conditional" and entry.get("per_class"):
        found = list(zip(classes, entry["per_class"], strict=True))
    return [{**common, "kind": name, **_promise(one, n)} for name, one in found]


def _promise(entry: Json, n: int) -> dict[str, str]:
    """Return what was measured, what chance leaves to it, and whether that was to be expected."""
    expected, coverage = entry.get("expected") or {}, entry.get("coverage")
    low, high = number(expected.get("low")), number(expected.get("high"))
    value = number((coverage or {}).get("value"))
    told = {"coverage": figure_text(coverage, n, share=True), "expected": UNDEFINED}
    if low is None or high is None or value is None:
        return told | {"kept": UNDEFINED}
    ends = (rounded(end, n, share=True, end=True) for end in (low, high))
    kept = "less" if value < low else "more" if value > high else "yes"
    return told | {"expected": "–".join(ends), "kept": kept}


def _abstention(found: Json | None, part: Json) -> dict[str, Any] | None:
    if not found:
        return None
    n = int(found["n"])
    counts = [
        (title, f"{int(found[key]):,}", plots.percent(int(found[key]) / max(n, 1), n))
        for key, title in (
            ("answered", "Answered"),
            ("out_of_distribution", "Unlike the training images"),
            ("ambiguous", "Ambiguous"),
        )
    ]
    metrics = found.get("metrics") or {}
    rows = [
        (
            key,
            name_of(key).title,
            figure_text(metrics[key], int(found["answered"]), share=True),
            figure_text(part["metrics"].get(key), int(part["n"]), share=True),
        )
        for key in metrics
    ]
    return {"n": plural(n, "image"), "counts": counts, "rows": rows}
