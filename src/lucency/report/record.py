"""What stands beside the figures: robustness, training, test-set evaluations, checklists, plan."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from lucency.evaluation.ledger import expected_chance_gain
from lucency.report import values
from lucency.report.files import Json, Run, number
from lucency.report.wording import UNDEFINED, figure_text, plural, rounded, seconds_text

_NORMAL = 1.96  # standard errors on each side of a 95 % interval
_WORST = 6  # corruptions shown before the whole table is opened
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)  # of a share, where the next shade begins
_OF_VALUES = ("mean_absolute_error", "root_mean_squared_error", "r2", "interval_coverage")
_EVALUATION = {"when": 20, "what": 20, "run": 80, "classifier": 12}  # key, and its longest text


@dataclass(frozen=True)
class Cell:
    """A figure of the robustness table with its shade, 0 (none) to 5."""

    text: str
    shade: int = 0


def robustness(run: Run) -> dict[str, Any] | None:
    """Return the figures under corruptions of the images; None where none were measured."""
    found = run.robustness
    if not found or not found.get("rows"):
        return None
    n, rows = int(found["n"]), found["rows"]
    if run.is_regression:
        return _robustness_of_values(found)
    worst = sorted(rows, key=_flipped, reverse=True)
    top = f"{_name(worst[0])} ({rounded(_flipped(worst[0]), n, share=True)})"
    return {
        "n": plural(n, "image"),
        "split": {"val": "validation"}.get(str(found.get("split")), str(found.get("split"))),
        "worst": [_corruption(row, n) for row in worst[:_WORST]],
        "rows": [_corruption(row, n) for row in rows],
        "top": top if _flipped(worst[0]) else "",
    }


def _robustness_of_values(found: Json) -> dict[str, Any]:
    """Return the errors of numbers under corruptions, the largest first."""
    n, rows = int(found["n"]), found["rows"]
    errors = [number(row["mean_absolute_error"]) or 0.0 for row in rows]
    order = sorted(range(len(rows)), key=errors.__getitem__, reverse=True)
    cells = [_corrupted_values(row, n) for row in rows]
    worst = order[0]
    is_worse = errors[worst] > errors[0]
    heads = ["Corruption", *(values.NAMES[key].title for key in _OF_VALUES)]
    return {
        "heads": [*heads, "Mean difference", "Largest"],
        "n": plural(n, "image"),
        "split": {"val": "validation"}.get(str(found.get("split")), str(found.get("split"))),
        "worst": [cells[i] for i in order[:_WORST]],
        "rows": cells,
        "top": f"{_name(rows[worst])} ({cells[worst][1]})" if is_worse else "",
        "unchanged": cells[0][1],
    }


def _corrupted_values(row: Json, n: int) -> list[str]:
    like = max(number(row.get(key)) or 0.0 for key in ("mean_absolute_error", "max_abs_difference"))
    moved = ("mean_abs_difference", "max_abs_difference")
    return [
        _name(row),
        *(values.text_of(key, {"value": row.get(key)}, n) for key in _OF_VALUES),
        *(values.of_number(number(row.get(key)), like, n) for key in moved),
    ]


def _flipped(row: Json) -> float:
    return number(row.get("flipped_predictions")) or 0.0


def _name(row: Json) -> str:
    severity = row.get("severity")
    if row["corruption"] == "none":
        return "unchanged"
    named = str(row["corruption"])
    return f"{named}, {severity}" if severity not in (None, "") else named


def _corruption(row: Json, n: int) -> list[str | Cell]:
    shares = {"auroc": False, "accuracy": True, "sensitivity": True, "specificity": True}
    figures = [figure_text({"value": row.get(key)}, n, share=shares[key]) for key in shares]
    moved = ("mean_abs_difference", "max_abs_difference", "flipped_predictions")
    return [_name(row), *figures, *(_shaded(row.get(key), n) for key in moved)]


def _shaded(value: object, n: int) -> Cell:
    known = number(value)
    if known is None:
        return Cell(UNDEFINED)
    return Cell(rounded(known, n, share=True), sum(known >= step for step in _STEPS))


def pace(run: Run) -> str:
    """Return how long training took, and how fast it was."""
    epochs = run.plan.get("epochs") or []
    if not epochs:
        return ""
    total = sum(number(row.get("seconds")) or 0.0 for row in epochs)
    speeds = [speed for row in epochs if (speed := number(row.get("images_per_second")))]
    if is_frozen(run):
        return f"the last layer in {seconds_text(total)}"
    text = f"{plural(len(epochs), 'epoch')} in {seconds_text(total)}"
    return f"{text}, {sum(speeds) / len(speeds):,.0f} images per second" if speeds else text


def is_frozen(run: Run) -> bool:
    """Return whether the last layer alone was trained."""
    return bool((run.plan.get("training") or {}).get("frozen"))


def incidents(run: Run) -> list[str]:
    """Return what disturbed the training, one sentence each."""
    training = run.plan.get("training") or {}
    found = [
        f"Training diverged in epoch {each.get('epoch')}, step {each.get('step')} "
        f"({each.get('reason')}); the epoch was restarted at half the learning rate."
        for each in training.get("divergences") or []
    ]
    if training.get("resumed"):
        found.append("Training was interrupted and resumed from a checkpoint.")
    micro, batch = training.get("micro_batch"), training.get("batch")
    if micro and batch and micro < batch:
        found.append(
            f"Memory ran out: each batch of {batch} images was computed in pieces of {micro}. "
            "Batch statistics then come from fewer images."
        )
    return found


def test_evaluations(run: Run) -> dict[str, Any] | None:
    """Return every recorded evaluation of this test set, the last first; None without a record."""
    if not run.test_evaluations or not run.test_evaluations.get("evaluations"):
        return None
    entries = run.test_evaluations["evaluations"]
    classifiers = len({entry.get("classifier") for entry in entries})
    return {
        "classifiers": classifiers,
        "text": f"This test set has been evaluated {_times(len(entries))}, "
        f"by {plural(classifiers, 'classifier')}.",
        "luck": _luck(run, classifiers),
        "gaps": _gaps(run.test_evaluations),
        "n": plural(int(run.test_evaluations.get("n") or 0), "image"),
        "test_set": str(run.test_evaluations.get("test_set") or "")[:16],
        "rows": [
            [str(entry.get(key) or UNDEFINED)[:most] for key, most in _EVALUATION.items()]
            for entry in reversed(entries)
        ],
    }


def _luck(run: Run, classifiers: int) -> str:
    """Return what luck alone would give the best of so many classifiers."""
    accuracy = run.split["metrics"].get("accuracy") or {}
    low, high = number(accuracy.get("low")), number(accuracy.get("high"))
    if classifiers < 2 or low is None or high is None:
        return ""
    points = 100 * expected_chance_gain(classifiers, (high - low) / (2 * _NORMAL))
    return (
        f"The best of {classifiers:,} equally good classifiers would look better than it is by up "
        f"to about {points:.1f} points of accuracy, by luck alone."
    )


def _gaps(record: Json) -> str:
    """Return what the record may lack."""
    found = ""
    if record.get("recorded") is False:
        found = "This evaluation is not on record, because the ledger could not be written. "
    if damaged := int(record.get("damaged_lines") or 0):
        found += f"{plural(damaged, 'line')} of the ledger could not be read."
    return found.strip()


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
            "rows": [_item(item) for item in items],
            "statuses": Counter(str(item["status"]) for item in items).most_common(),
        }
        for name, items in lists.items()
    ]


def _item(item: Json) -> list[str]:
    place = ", ".join(str(item[key]) for key in ("section", "item") if item.get(key))
    return [place, str(item["topic"]), str(item["status"]), str(item.get("fact") or "")]


def choices(plan: Json) -> list[list[str]]:
    """Return what was chosen for the run, with value and reason."""
    return [
        [str(each["name"]), _plain(each["value"]), str(each.get("reason", ""))]
        for each in plan.get("choices") or []
    ]


def facts(run: Run) -> list[tuple[str, str]]:
    """Return what another person needs in order to get the same classifier."""
    plan, classifier = run.plan, run.classifier or {}
    data, weights = plan.get("data") or {}, classifier.get("weights") or {}
    found = [
        ("Seed", plan.get("seed")),
        ("Data folder", data.get("folder")),
        ("Data fingerprint", data.get("fingerprint")),
        ("Network", (classifier.get("architecture") or {}).get("name")),
        ("Input", _input(classifier.get("input"))),
        ("Parameters", f"{plan['parameters']:,}" if plan.get("parameters") else None),
        ("Initial weights", classifier.get("weights_origin")),
        ("Weights, SHA-256", weights.get("sha256")),
        ("ONNX export", _parity(classifier)),
    ]
    times = [f"{key} {seconds_text(float(s))}" for key, s in (plan.get("seconds") or {}).items()]
    found.append(("Time", ", ".join(times) or None))
    known = {"lucency": "Lucency", "python": "Python", "keras": "Keras"}
    found += [
        (known.get(name, name.replace("_", " ").capitalize()), value)
        for name, value in (plan.get("environment") or {}).items()
    ]
    return [(name, _plain(value)) for name, value in found if value is not None]


def _plain(value: Any) -> str:
    """Return a value from JSON as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _input(shape: Json | None) -> str | None:
    if not shape:
        return None
    return f"{shape['height']}×{shape['width']} pixels, {plural(int(shape['channels']), 'channel')}"


def _parity(classifier: Json) -> str | None:
    parity = (classifier.get("onnx") or {}).get("parity")
    if not parity:
        return None
    agreed = float(parity["decision_agreement"])
    decisions = "all decisions equal" if agreed == 1 else f"{agreed:.2%} of the decisions equal"
    return (
        f"{'passed' if parity['passed'] else 'NOT passed'}: largest difference of a probability "
        f"{float(parity['max_abs_difference']):.1e}, {decisions}, on "
        f"{plural(int(parity['n']), 'image')} ({parity['split']})"
    )
