"""What the figures mean for use: operating point, predictive values, net benefit, subgroups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from lucency import plots
from lucency.report.drawings import Figure, estimate, figure
from lucency.report.files import Json, Run, number
from lucency.report.wording import (
    class_name,
    figure_text,
    isolated,
    listed,
    name_of,
    of_hundred,
    support,
)

_POINT = ("sensitivity", "specificity")
_GROUP = ("accuracy", "sensitivity", "specificity", "auroc")
_DRAWN = 16  # subgroups in the drawing; the table has all


def point(run: Run) -> dict[str, Any] | None:
    """Return how the threshold was chosen and what it does: rows of title and texts."""
    chosen = run.split.get("operating_point") or {}
    if not run.positive or number(chosen.get("threshold")) is None:
        return None
    validation = run.splits.get(run.chosen_on)
    before = chosen.get("validation") or {
        key: ((validation or {}).get("metrics") or {}).get(key) for key in _POINT
    }
    tested = "test" in run.splits
    rows = []
    for key in _POINT:
        entries = [(_entry(before.get(key)), validation or run.split)]
        if tested:
            entries.append((run.split["metrics"].get(key), run.split))
        texts = [
            figure_text(entry, support(key, on, run.positive), share=True) for entry, on in entries
        ]
        rows.append([name_of(key).title, *texts])
    return {
        "rule": chosen.get("rule"),
        "threshold": f"{float(chosen['threshold']):.3g}",
        "rows": rows,
        "transfer": _transfer(before, run.split, run.where_chosen) if tested else "",
    }


def _entry(found: Any) -> Json:
    """Return an estimate, also where only its value is given."""
    return found if isinstance(found, dict) else {"value": found}


def _transfer(before: Json, split: Json, where: str) -> str:
    changes = []
    for key in _POINT:
        then = number(_entry(before.get(key)).get("value"))
        now = number((split["metrics"].get(key) or {}).get("value"))
        if then is None or now is None:
            return ""
        points = 100 * (now - then)
        way = "higher" if points > 0 else "lower"
        changes.append(f"{key} is {abs(points):.1f} points {way}" if abs(points) >= 0.05
                       else f"{key} is the same")  # fmt: skip
    return f"On the test split {' and '.join(changes)} than {where}."


def predictive(run: Run) -> dict[str, Any] | None:
    """Return the predictive values at several prevalences: rows, drawing and a sentence."""
    entries, n = run.split.get("predictive_values"), int(run.split["n"])
    if not entries or not run.positive:
        return None
    entries = sorted(entries, key=lambda entry: float(entry["prevalence"]))
    drawing = plots.predictive_values(
        [float(entry["prevalence"]) for entry in entries],
        {"PPV": [estimate(entry["ppv"]) for entry in entries],
         "NPV": [estimate(entry["npv"]) for entry in entries]},
        title="Predictive values over the prevalence",
        positive=run.positive,
    )  # fmt: skip
    rarest, name = entries[0], class_name(run.positive)
    sentence = Markup("Where {} of 100 people are {}, of 100 images predicted {} {} are correct.")
    rows = [
        [f"{100 * float(entry['prevalence']):.3g}{plots.THIN}%",
         *(figure_text(entry[key], n, share=True) for key in ("ppv", "npv"))]
        for entry in entries
    ]  # fmt: skip
    return {
        "rows": rows,
        "figure": figure(drawing, "Predictive values over the prevalence",
                         "The rarer the class, the more of the alarms are false.",
                         "predictive-values"),
        "sentence": sentence.format(f"{100 * float(rarest['prevalence']):.3g}", name, name,
                                    of_hundred(rarest["ppv"])),
        "gist": f"prevalence {rows[0][0]}: PPV {rows[0][1].partition(' (')[0]}",
    }  # fmt: skip


def decision_curve(run: Run) -> Figure | None:
    """Draw the net benefit, with the thresholds at which it pays to use the classifier."""
    curve = run.split.get("decision_curve")
    if not curve or not run.positive:
        return None
    drawing = plots.net_benefit(
        curve,
        title="Decision curve",
        name=f"this classifier, {run.split_name}",
        positive=run.positive,
    )
    share = f"{100 * float(curve['prevalence']):.3g}{plots.THIN}%"
    caption = (
        f"Net benefit per image where {share} are positive. Worth using where it lies above both "
        f"other lines: {_worth(curve)}."
    )
    return figure(drawing, "Decision curve", caption, "decision-curve")


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


def subgroups(run: Run) -> dict[str, Any] | None:
    """Return the figures of each subgroup: heads, rows and a drawing; None without any."""
    entries = run.split.get("subgroups")
    if not entries:
        return None
    return {
        "heads": ["Group", "Images", "Patients", *(name_of(key).title for key in _GROUP)],
        "rows": [_group(entry, run.classes) for entry in entries],
        "figure": _group_forest(run.split, entries),
        "mixed": any(entry.get("auroc_against") == "all others" for entry in entries),
    }


def _group(entry: Json, classes: list[str]) -> list[Markup | str]:
    counts, n, patients = entry.get("counts") or {}, int(entry["n"]), entry.get("groups")
    held = [Markup("{:,} {}").format(int(counts.get(c, 0)), class_name(c)) for c in classes]
    name = Markup("{}: {} <small>{}</small>").format(
        isolated(str(entry["attribute"])),
        isolated(str(entry["value"])),
        listed(held) if len(classes) < 7 else "",
    )
    texts = [figure_text(entry["metrics"].get(key), n, share=name_of(key).share) for key in _GROUP]
    texts[-1] += "*" if entry.get("auroc_against") == "all others" else ""
    return [name, f"{n:,}", "–" if patients is None else f"{patients:,}", *texts]


def _group_forest(split: Json, entries: list[Json]) -> Figure:
    whole = number((split["metrics"].get("accuracy") or {}).get("value"))
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
    caption = "An interval that does not reach the diamond hints at a group that differs."
    return figure(drawing, "Subgroups beside all images", caption, "subgroups")


def _floor(rows: Sequence[plots.Row]) -> float:
    """Return where the scale begins: the tenth below everything that is drawn."""
    ends = [end for row in rows for each in row.estimates for end in (each.value, each.low)]
    known = [end for end in [*ends, *(row.baseline for row in rows)] if end is not None]
    return max(0.0, math.floor(10 * min(known, default=0.0)) / 10 - 0.1)
