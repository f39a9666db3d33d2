"""What the figures mean for use: operating point, predictive values, net benefit, subgroups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lucency import plots
from lucency.report.drawings import Figure, estimate, figure
from lucency.report.files import Json, Run, number
from lucency.report.wording import figure_text, isolated, name_of, of_hundred, rounded, support

_POINT = ("sensitivity", "specificity")
_GROUP = ("accuracy", "sensitivity", "specificity", "auroc")
_DRAWN = 16  # subgroups in the drawing; the table has all


def first(run: Run) -> tuple[str, Json]:
    """Return the name and the figures of the split that counts."""
    return next(iter(run.parts.items()))


def point(run: Run) -> dict[str, Any] | None:
    """Return how the threshold was chosen and what became of it: rows of title and texts."""
    name, part = first(run)
    chosen = part.get("operating_point") or {}
    if not run.positive or number(chosen.get("threshold")) is None:
        return None
    before = chosen.get("validation") or _known(run.parts.get("validation"))
    rows = []
    for key in _POINT:
        entries = [(_entry(before.get(key)), run.parts.get("validation", part))]
        if name == "test":
            entries.append((part["metrics"].get(key), part))
        texts = [
            figure_text(entry, support(key, on, run.positive), share=True) for entry, on in entries
        ]
        rows.append((key, name_of(key).title, texts))
    return {
        "rule": chosen.get("rule"),
        "threshold": f"{float(chosen['threshold']):.3g}",
        "rows": rows,
        "transfer": _transfer(before, part) if name == "test" else "",
    }


def _known(part: Json | None) -> Json:
    return {key: part["metrics"].get(key) for key in _POINT} if part else {}


def _entry(found: Any) -> Json:
    """Return an estimate, also where only its value is given."""
    return found if isinstance(found, dict) else {"value": found}


def _transfer(before: Json, part: Json) -> str:
    told = []
    for key in _POINT:
        then = number(_entry(before.get(key)).get("value"))
        now = number((part["metrics"].get(key) or {}).get("value"))
        if then is None or now is None:
            return ""
        points = 100 * (now - then)
        way = "higher" if points > 0 else "lower"
        told.append(f"{key} is {abs(points):.1f} points {way}" if abs(points) >= 0.05
                    else f"{key} is the same")  # fmt: skip
    return f"On the test part {' and '.join(told)} than on validation."


def predictive(run: Run) -> dict[str, Any] | None:
    """Return the predictive values at several prevalences: rows, drawing and a sentence."""
    part = first(run)[1]
    entries = part.get("predictive_values")
    if not entries or not run.positive:
        return None
    entries = sorted(entries, key=lambda entry: float(entry["prevalence"]))
    n = int(part["n"])
    drawing = plots.predictive_values(
        [float(entry["prevalence"]) for entry in entries],
        {"PPV": [estimate(entry["ppv"]) for entry in entries],
         "NPV": [estimate(entry["npv"]) for entry in entries]},
        title="Predictive values over the prevalence",
        positive=run.positive,
    )  # fmt: skip
    rarest = entries[0]
    sentence = Markup("Where {} of 100 examined are {}, of 100 images called {} {} are so.")
    name = isolated(run.positive)
    share = f"{100 * float(rarest['prevalence']):.3g}"
    return {
        "rows": [
            (f"{100 * float(entry['prevalence']):.3g}{plots.THIN}%",
             *(figure_text(entry[key], n, share=True) for key in ("ppv", "npv")))
            for entry in entries
        ],
        "figure": figure(drawing, "Predictive values over the prevalence",
                         "The rarer the class, the more of the alarms are false.",
                         "predictive-values"),
        "says": sentence.format(share, name, name, of_hundred(rarest["ppv"])),
    }  # fmt: skip


def decision_curve(run: Run) -> Figure | None:
    """Draw the net benefit, with a sentence that says where it pays to use the classifier."""
    name, part = first(run)
    curve = part.get("decision_curve")
    if not curve or not run.positive:
        return None
    drawing = plots.net_benefit(
        curve, title="Decision curve", name=f"this classifier, {name}", positive=run.positive
    )
    share = f"{100 * float(curve['prevalence']):.3g}{plots.THIN}%"
    says = (
        "Net benefit: positives found, less the false alarms weighed by how much they cost, per "
        f"image, where {share} are positive. Worth using where it lies above both other lines: "
        f"{_worth(curve)}."
    )
    return figure(drawing, "Decision curve", says, "decision-curve")


def _worth(curve: Json) -> str:
    """Return the thresholds at which the classifier beats treating all and treating none."""
    points = zip(curve["threshold"], curve["model"], curve["all"], strict=True)
    known = [(t, m, a) for t, m, a in points if None not in (t, m, a)]
    above = [model > max(every, 0.0) for _, model, every in known]
    if not any(above):
        return "nowhere"
    start = above.index(True)
    stop = start + (above[start:].index(False) if False in above[start:] else len(above[start:]))
    ends = (known[start][0], known[stop - 1][0])
    return "at thresholds from {:.2f} to {:.2f}".format(*ends) + (
        " and some beyond" if any(above[stop:]) else ""
    )


@dataclass(frozen=True)
class Group:
    """One row of the subgroups: what they share, how many there are, and their figures."""

    attribute: str
    value: str
    n: int
    patients: int | None
    classes: list[int]
    texts: list[str]
    note: str


def subgroups(run: Run) -> dict[str, Any] | None:
    """Return the figures of each subgroup: heads, rows and a drawing; None without any."""
    part = first(run)[1]
    entries = part.get("subgroups")
    if not entries:
        return None
    rows = [_group(entry, run.classes) for entry in entries]
    return {
        "heads": [name_of(key).title for key in _GROUP],
        "rows": rows,
        "figure": _group_forest(part, entries),
        "mixed": any(row.note for row in rows),
    }


def _group(entry: Json, classes: list[str]) -> Group:
    counts, n = entry.get("counts") or {}, int(entry["n"])
    return Group(
        str(entry["attribute"]),
        str(entry["value"]),
        n,
        entry.get("groups"),
        [int(counts.get(name, 0)) for name in classes],
        [figure_text(entry["metrics"].get(key), n, share=name_of(key).share) for key in _GROUP],
        "*" if entry.get("auroc_against") == "all others" else "",
    )


def _group_forest(part: Json, entries: list[Json]) -> Figure:
    whole = number((part["metrics"].get("accuracy") or {}).get("value"))
    rows = [
        plots.Row(
            f"{entry['value']} (n = {entry['n']:,})",
            [estimate(entry["metrics"].get(key)) for key in ("accuracy", "auroc")],
            whole,
        )
        for entry in entries[:_DRAWN]
    ]
    drawing = plots.forest(
        rows,
        splits=["accuracy", "AUROC"],
        title="Figures of subgroups with 95 % intervals",
        baseline="accuracy of all",
        limits=(_floor(rows), 1.0),
    )
    says = "An interval that does not reach the diamond hints at a group that differs."
    return figure(drawing, "Subgroups beside all images", says)


def _floor(rows: Sequence[plots.Row]) -> float:
    """Return where the scale begins: the tenth below everything that is drawn."""
    ends = [end for row in rows for each in row.estimates for end in (each.value, each.low)]
    known = [end for end in [*ends, *(row.baseline for row in rows)] if end is not None]
    return max(0.0, math.floor(10 * min(known, default=0.0)) / 10 - 0.1)


def reliability_rows(run: Run) -> list[tuple[str, list[str]]]:
    """Return the calibration error, what chance gives, slope and intercept, split by split."""
    parts = [part for part in run.parts.values() if part.get("calibration")]
    if not any((part["calibration"].get("chance") or {}).get("high") is not None for part in parts):
        return []
    rows = [("Calibration error", [_error(part) for part in parts])]
    if any("plain" in part["calibration"] for part in parts):
        rows[0] = ("Calibration error, corrected for chance", rows[0][1])
        plain = [{"value": part["calibration"].get("plain")} for part in parts]
        texts = [figure_text(e, p["n"], share=False) for e, p in zip(plain, parts, strict=True)]
        rows.append(("The same, not corrected", texts))
    rows.append(("What chance alone gives, 95\u00a0%", [_chance(part) for part in parts]))
    rows.append(("So it is", [_beyond(part) for part in parts]))
    for key in ("calibration_slope", "calibration_intercept"):
        entries = [part["metrics"].get(key) for part in parts]
        if any(entries):
            rows.append((name_of(key).title, [
                figure_text(entry, part["n"], share=False)
                for entry, part in zip(entries, parts, strict=True)
            ]))  # fmt: skip
    return rows


def _error(part: Json) -> str:
    return figure_text({"value": part["calibration"].get("ece")}, part["n"], share=False)


def _band(part: Json) -> tuple[float, float] | None:
    chance = part["calibration"].get("chance") or {}
    low, high = number(chance.get("low")), number(chance.get("high"))
    return None if low is None or high is None else (low, high)


def _chance(part: Json) -> str:
    band = _band(part)
    if band is None:
        return "–"
    low, high = (rounded(end, part["n"], end=True) for end in band)
    return f"{low} to {high}"


def _beyond(part: Json) -> str:
    band, found = _band(part), number(part["calibration"].get("ece"))
    if band is None or found is None:
        return "unknown"
    return "more than chance" if found > band[1] else "no more than chance"
