"""The drawings of a report, each made from the files of the run folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lucency import plots
from lucency.report.files import Json, Run, number
from lucency.report.wording import name_of, plural, trivial

_FOREST = (
    *("auroc", "average_precision", "accuracy", "balanced_accuracy"),
    *("sensitivity", "specificity", "ppv", "npv", "f1"),
)


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption: a heading, one sentence, and its page of the glossary."""

    drawing: Markup
    heading: str
    caption: str = ""
    page: str = ""


def figure(drawing: str, heading: str, caption: str = "", page: str = "") -> Figure:
    """Return a drawing of ``plots`` with its caption; ``page`` names a page of the glossary."""
    # What `plots` returns has every text escaped.
    return Figure(Markup(drawing), heading, caption, page)  # noqa: S704


def estimate(entry: Json | None) -> plots.Estimate:
    """Return an estimate of a JSON document for drawing; what is missing stays missing."""
    return plots.Estimate(*(number((entry or {}).get(key)) for key in ("value", "low", "high")))


def best_epoch(run: Run) -> tuple[int, str] | None:
    """Return the epoch to mark: the one that was kept, or where validation was best."""
    if run.chosen_on == "out-of-fold":
        return None  # each network has its own
    if (kept := number(run.plan.get("best_epoch"))) is not None:
        return int(kept), f"kept: epoch {int(kept)}"
    column, sign, words = "val_loss", -1, "lowest validation loss"
    if run.plan.get("recipe") == "article":
        column, sign, words = "val_accuracy", 1, "best validation accuracy"
    known = [
        (sign * value, -int(row["epoch"] or 0))
        for row in run.history
        if (value := row.get(column)) is not None
    ]
    if not known:
        return None
    epoch = -max(known)[1]
    return epoch, f"{words}: epoch {epoch}"


def _mean_of_folds(run: Run) -> list[dict[str, float | None]]:
    """Return the mean over the folds for each epoch that all of them have; empty without folds.

    The history has the epochs of one fold after the other.
    """
    counts = [int(x["epochs"]) for x in (run.plan.get("training") or {}).get("folds") or []]
    if not counts or sum(counts) != len(run.history):
        return []
    starts = np.cumsum([0, *counts[:-1]])
    means: list[dict[str, float | None]] = []
    for epoch in range(min(counts)):
        rows = [run.history[start + epoch] for start in starts]
        known = {name: [x for row in rows if (x := row[name]) is not None] for name in rows[0]}
        row = {name: sum(each) / len(each) if each else None for name, each in known.items()}
        means.append(row | {"epoch": epoch + 1})
    return means


def training(run: Run) -> list[Figure]:
    """Draw loss, accuracy and learning rate over the epochs."""
    if not run.history:
        return []
    rows = _mean_of_folds(run) or run.history
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    loss = {"training": columns["loss"], "validation": columns["val_loss"]}
    accuracy = {"training": columns["accuracy"], "validation": columns["val_accuracy"]}
    if any(value is not None for value in columns.get("val_auroc", [])):
        accuracy["validation AUROC"] = columns["val_auroc"]
    rate = {"learning rate": columns["learning_rate"]}
    epochs, best = [int(value or 0) for value in columns["epoch"]], best_epoch(run)
    return [
        figure(
            plots.line_curves(
                lines, title=title, y_label=label, epochs=epochs, limits=limits, best=best
            ),
            title,
        )
        for title, lines, label, limits in (
            ("Loss", loss, "loss", (0, None)),
            ("In the right bin" if run.is_regression else "Accuracy", accuracy, "share", (None, 1)),
            ("Learning rate", rate, "learning rate", (0, None)),
        )
    ]


def confusions(run: Run) -> list[Figure]:
    """Draw the confusion matrix of each split."""
    return [
        figure(
            plots.confusion(
                split["confusion"], split["classes"], title=f"Confusion matrix, {name}"
            ),
            f"{name.capitalize()}, {plural(split['n'], run.unit, run.units)}",
        )
        for name, split in run.splits.items()
    ]


def curves(run: Run) -> list[Figure]:
    """Draw ROC and precision-recall of each class, the first split with its band."""
    name, split = run.split_name, run.split
    others = [(other, more) for other, more in run.splits.items() if other != name]
    drawn: list[Figure] = []
    for target, pair in split["curves"].items():
        beside = {
            kind: next(
                ((other, more["curves"][target][kind]) for other, more in others
                 if target in more["curves"]), None
            )
            for kind in ("roc", "pr")
        }  # fmt: skip
        rest = "" if run.positive else f": {target} against the rest"
        roc = plots.roc(
            pair["roc"],
            title=f"ROC, {target}",
            name=name,
            beside=beside["roc"],
            operating_point=_operating_point(split, target) if run.positive else None,
        )
        pr = plots.precision_recall(
            pair["pr"],
            title=f"Precision-recall, {target}",
            prevalence=float(split["per_class"][target]["n"]) / float(split["n"]),
            name=name,
            beside=beside["pr"],
        )
        drawn += [
            figure(roc, f"ROC{rest}", page="roc-auroc"),
            figure(pr, f"Precision–recall{rest}", page="average-precision"),
        ]
    return drawn


def _operating_point(split: Json, target: str) -> tuple[float, float, str] | None:
    """Return where the decisions lie, counted from the confusion matrix."""
    table, i = np.array(split["confusion"]), split["classes"].index(target)
    positives, negatives = table[i].sum(), table.sum() - table[i].sum()
    if not positives or not negatives:
        return None
    false_alarms = table[:, i].sum() - table[i, i]
    threshold = number((split.get("operating_point") or {}).get("threshold"))
    words = "decisions" if threshold is None else f"threshold {threshold:.3g}"
    return float(false_alarms / negatives), float(table[i, i] / positives), words


def histograms(run: Run) -> list[Figure]:
    """Draw the distribution of the probabilities over the images of each class.

    Two classes: one drawing per split. More: one per class, of the split that counts.
    """
    names = list(run.splits) if run.positive else [run.split_name]
    return [figure for name in names for figure in _histograms_of(run, name)]


def _histograms_of(run: Run, name: str) -> list[Figure]:
    found = run.predictions_of(name)
    if found is None:
        return []
    labels, p = np.array(found.classes)[found.labels], found.probabilities
    if run.positive:
        scores = p[:, run.classes.index(run.positive)]
        drawing = plots.score_histograms(
            {target: scores[labels == target] for target in run.classes},
            title=f"Probabilities, {name}",
            x_label=f"probability of {run.positive}",
            threshold=number((run.splits[name].get("operating_point") or {}).get("threshold")),
        )
        return [figure(drawing, f"Probabilities, {name}")]
    return [
        figure(
            plots.score_histograms(
                {target: p[labels == target, i], "the rest": p[labels != target, i]},
                title=f"Probabilities of {target}, {name}",
                x_label=f"probability of {target}",
            ),
            f"Probabilities, {name}: {target}",
        )
        for i, target in enumerate(run.classes)
    ]


def calibrations(run: Run) -> list[Figure]:
    """Draw the reliability diagram of each split."""
    if run.positive:
        x_label, y_label = f"predicted probability of {run.positive}", "observed share"
    else:
        x_label, y_label = "predicted probability of the decision", "share of correct decisions"
    return [
        figure(
            plots.reliability(
                split["calibration"]["bins"],
                title=f"Calibration, {name}",
                x_label=x_label,
                y_label=y_label,
            ),
            name.capitalize(),
        )
        for name, split in run.splits.items()
        if split.get("calibration")
    ]


def forest(run: Run) -> Figure:
    """Draw the figures with their intervals beside what the trivial baseline scores."""
    drawing = plots.forest(
        list(_forest_rows(run, trivial(run.split, run.positive))),
        splits=list(run.splits),
        title="Figures with 95 % intervals",
        baseline=f"always {run.split['baseline']['class']}",
    )
    caption = (
        "Mark: the figure. Line: its 95 % interval. Diamond: what always predicting the most "
        "frequent class scores."
    )
    return figure(drawing, "Figures beside the baseline", caption, "intervals")


def _forest_rows(run: Run, baselines: dict[str, float]) -> Iterator[plots.Row]:
    metrics = [split["metrics"] for split in run.splits.values()]
    for key in _FOREST:
        entries = [found.get(key) or {} for found in metrics]
        if any(number(entry.get("value")) is not None for entry in entries):
            short = {"ppv": "PPV", "npv": "NPV"}.get(key, name_of(key).title)
            yield plots.Row(short, [estimate(entry) for entry in entries], baselines.get(key))
