"""What stands beside the figures: robustness, looks at the test set, checklists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lucency.evaluation.ledger import expected_luck
from lucency.report.files import Json, Run, number
from lucency.report.wording import UNDEFINED, figure_text, isolated, plural, rounded

_NORMAL = 1.96  # standard errors on each side of a 95 % interval
_WORST = 6  # changes shown before the whole table is opened
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # of a share, where the next shade begins


# What is told of a look, and how much of it.
_LOOK = {"when": 20, "what": 20, "run": 80, "classifier": 12}


@dataclass(frozen=True)
class Cell:
    """A figure of the robustness table with its shade, 0 (none) to 5."""

    text: str
    shade: int = 0


@dataclass(frozen=True)
class Change:
    """One way the images were changed, and what became of the figures."""

    name: str
    cells: list[Cell]


def robustness(run: Run) -> dict[str, Any] | None:
    """Return how changed images change the answers; None where it was not measured."""
    found = run.robustness
    if not found or not found.get("rows"):
        return None
    n, rows = int(found["n"]), found["rows"]
    worst = sorted(rows, key=_flipped, reverse=True)
    return {
        "n": plural(n, "image"),
        "split": {"val": "validation"}.get(str(found.get("split")), str(found.get("split"))),
        "worst": [_change(row, n) for row in worst[:_WORST]],
        "rows": [_change(row, n) for row in rows],
        "says": _says(worst, n),
    }


def _flipped(row: Json) -> float:
    return number(row.get("flipped_predictions")) or 0.0


def _name(row: Json) -> str:
    severity = row.get("severity")
    if row["corruption"] == "none":
        return "unchanged"
    name = str(row["corruption"])
    return name if severity in (None, "") else f"{name}, {severity}"


def _says(worst: Sequence[Json], n: int) -> Markup:
    top = worst[0]
    if not _flipped(top):
        return Markup("No change flipped a decision.")
    sentence = Markup("What changes most decisions: {} ({}).")
    return sentence.format(isolated(_name(top)), rounded(_flipped(top), n, share=True))


def _change(row: Json, n: int) -> Change:
    figures = [
        Cell(figure_text({"value": row.get(key)}, n, share=share))
        for key, share in (("auroc", False), ("accuracy", True), ("sensitivity", True),
                           ("specificity", True))
    ]  # fmt: skip
    moved = [
        _shaded(row.get(key), n)
        for key in ("mean_abs_difference", "max_abs_difference", "flipped_predictions")
    ]
    return Change(_name(row), figures + moved)


def _shaded(value: object, n: int) -> Cell:
    known = number(value)
    if known is None:
        return Cell(UNDEFINED)
    return Cell(rounded(known, n, share=True), sum(known >= step for step in _STEPS))


def test_evaluations(run: Run) -> dict[str, Any] | None:
    """Return every recorded look at this test set, the last one first; None without a record."""
    if not run.test_evaluations or not run.test_evaluations.get("evaluations"):
        return None
    entries = run.test_evaluations["evaluations"]
    classifiers = len({entry.get("classifier") for entry in entries})
    return {
        "says": f"This test set has been looked at {_times(len(entries))}, "
        f"by {plural(classifiers, 'classifier')}.",
        "luck": _luck(run, classifiers),
        "gaps": _gaps(run.test_evaluations),
        "n": plural(int(run.test_evaluations.get("n") or 0), "image"),
        "test_set": str(run.test_evaluations.get("test_set") or "")[:16],
        "rows": [
            [str(entry.get(key) or UNDEFINED)[:most] for key, most in _LOOK.items()]
            for entry in reversed(entries)
        ],
    }


def _luck(run: Run, classifiers: int) -> str:
    """Return what luck alone would give the best of so many classifiers."""
    accuracy = next(iter(run.parts.values()))["metrics"]["accuracy"]
    low, high = number(accuracy.get("low")), number(accuracy.get("high"))
    if classifiers < 2 or low is None or high is None:
        return ""
    points = 100 * expected_luck(classifiers, (high - low) / (2 * _NORMAL))
    return (
        f"Of {classifiers:,} equally good classifiers the best would seem better than it is by up "
        f"to about {points:.1f} points of accuracy, by luck alone."
    )


def _gaps(test_evaluations: Json) -> str:
    """Return what the record may lack."""
    told = ""
    if test_evaluations.get("on_record") is False:
        told = "This look is not on record, because the ledger could not be written. "
    if damaged := int(test_evaluations.get("damaged_lines") or 0):
        told += f"{plural(damaged, 'line')} of the ledger could not be read."
    return told.strip()


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def checklists(run: Run) -> list[dict[str, Any]] | None:
    """Return each reporting checklist with its items and how many are filled."""
    if not run.checklist or not run.checklist.get("items"):
        return None
    lists: dict[str, list[Json]] = {}
    for item in run.checklist["items"]:
        lists.setdefault(str(item["list"]), []).append(item)
    return [
        {
            "name": name,
            "items": items,
            "count": len(items),
            "statuses": Counter(str(item["status"]) for item in items).most_common(),
        }
        for name, items in lists.items()
    ]
