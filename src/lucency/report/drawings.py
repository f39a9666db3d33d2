"""The drawings of a report, each made from what the run folder holds."""

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
    """A drawing with its caption: a heading, one explaining sentence and where to read more."""

    drawing: Markup
    heading: str
    says: str = ""
    explained: str = ""


def figure(drawing: str, heading: str, says: str = "", explained: str = "") -> Figure:
    """Return a drawing of ``plots`` with its caption; ``explained`` names an explanation."""
    # What `plots` returns has every text escaped.
    return Figure(Markup(drawing), heading, says, explained)  # noqa: S704


def estimate(entry: Json | None) -> plots.Estimate:
    """Return an estimate of a JSON document for drawing; what is missing stays missing."""
    return plots.Estimate(*(number((entry or {}).get(key)) for key in ("value", "low", "high")))


def best_epoch(run: Run) -> tuple[int, str] | None:
    """Return the epoch to mark: the one that was kept, or where validation was best."""
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


def training(run: Run) -> list[Figure]:
    """Draw loss, accuracy and learning rate over the epochs."""
    if not run.history:
        return []
    columns = {name: [row.get(name) for row in run.history] for name in run.history[0]}
    epochs = [int(value or 0) for value in columns["epoch"]]
    best = best_epoch(run)
    loss = {"training": columns["loss"], "validation": columns["val_loss"]}
    accuracy = {"training": columns["accuracy"], "validation": columns["val_accuracy"]}
    if any(value is not None for value in columns.get("val_auroc", [])):
        accuracy["validation AUROC"] = columns["val_auroc"]
    rate = {"learning rate": columns["learning_rate"]}
    return [
        figure(
            plots.line_curves(
                loss, title="Loss", y_label="loss", epochs=epochs, limits=(0, None), best=best
            ),
            "Loss",
            "What training makes small. If training falls while validation rises, the network "
            "learns its images by heart.",
        ),
        figure(
            plots.line_curves(
                accuracy,
                title="Accuracy",
                y_label="share",
                epochs=epochs,
                limits=(None, 1),
                best=best,
            ),
            "Accuracy",
            "Share decided rightly. Training images are augmented, so they can be harder "
            "than the validation images.",
        ),
        figure(
            plots.line_curves(
                rate,
                title="Learning rate",
                y_label="learning rate",
                epochs=epochs,
                limits=(0, None),
                best=best,
            ),
            "Learning rate",
            "How large a step the network takes after each batch.",
        ),
    ]


def confusions(run: Run) -> list[Figure]:
    """Draw the confusion matrix of each split."""
    return [
        figure(
            plots.confusion(part["confusion"], part["classes"], title=f"Confusion matrix, {name}"),
            f"{name.capitalize()}, {plural(part['n'], 'image')}",
        )
        for name, part in run.parts.items()
    ]


def curves(run: Run) -> list[Figure]:
    """Draw ROC and precision-recall of each class, the first split with its band."""
    (name, part), *others = run.parts.items()
    drawn: list[Figure] = []
    for target, pair in part["curves"].items():
        besides = [
            (other, more["curves"][target]) for other, more in others if target in more["curves"]
        ]
        roc_beside, pr_beside = (
            next(((f"{other}", both[kind]) for other, both in besides), None)
            for kind in ("roc", "pr")
        )
        of = "" if run.positive else f": {target} against the rest"
        drawn += [
            figure(
                plots.roc(
                    pair["roc"],
                    title=f"ROC, {target}",
                    name=name,
                    beside=roc_beside,
                    operating_point=_operating_point(part, target) if run.positive else None,
                ),
                f"ROC{of}",
                explained="roc-auroc",
            ),
            figure(
                plots.precision_recall(
                    pair["pr"],
                    title=f"Precision-recall, {target}",
                    prevalence=_prevalence(part, target),
                    name=name,
                    beside=pr_beside,
                ),
                f"Precision–recall{of}",
                explained="average-precision",
            ),
        ]
    return drawn


def _prevalence(part: Json, target: str) -> float:
    return float(part["per_class"][target]["n"]) / float(part["n"])


def _operating_point(part: Json, target: str) -> tuple[float, float, str] | None:
    """Return where the decisions lie, counted from the confusion matrix."""
    table, i = np.array(part["confusion"]), part["classes"].index(target)
    positives, negatives = table[i].sum(), table.sum() - table[i].sum()
    if not positives or not negatives:
        return None
    false_alarms = table[:, i].sum() - table[i, i]
    threshold = number((part.get("operating_point") or {}).get("threshold"))
    words = "decisions" if threshold is None else f"threshold {threshold:.3g}"
    return float(false_alarms / negatives), float(table[i, i] / positives), words


def histograms(run: Run) -> list[Figure]:
    """Draw how the probabilities spread over the images of each class.

    Two classes: one drawing per split. More: one per class, of the split that counts.
    """
    names = list(run.parts) if run.positive else list(run.parts)[:1]
    return [figure for name in names for figure in _histograms_of(run, name)]


def _histograms_of(run: Run, name: str) -> list[Figure]:
    part, seen = run.parts[name], run.predictions
    if seen is None:
        return []
    rows = np.array([split in split_names(name) for split in seen.split], dtype=bool)
    if not rows.any():
        return []
    labels, p = np.array(seen.label)[rows], seen.p[rows]
    if run.positive:
        scores = p[:, run.classes.index(run.positive)]
        groups = {target: scores[labels == target] for target in run.classes}
        threshold = number((part.get("operating_point") or {}).get("threshold"))
        drawing = plots.score_histograms(
            groups,
            title=f"Probabilities, {name}",
            x_label=f"probability of {run.positive}",
            threshold=threshold,
        )
        return [figure(drawing, name.capitalize())]
    return [
        figure(
            plots.score_histograms(
                {target: p[labels == target, i], "the rest": p[labels != target, i]},
                title=f"Probabilities of {target}, {name}",
                x_label=f"probability of {target}",
            ),
            f"{name.capitalize()}: {target}",
        )
        for i, target in enumerate(run.classes)
    ]


def split_names(part: str) -> set[str]:
    """Return how the tables may call a part of the evaluation."""
    return {"test"} if part == "test" else {"val", "validation"}


def calibrations(run: Run) -> list[Figure]:
    """Draw the reliability diagram of each split."""
    if run.positive:
        x_label, y_label = f"stated probability of {run.positive}", "observed share"
    else:
        x_label, y_label = "stated probability of the decision", "share decided rightly"
    return [
        figure(
            plots.reliability(
                part["calibration"]["bins"],
                title=f"Calibration, {name}",
                x_label=x_label,
                y_label=y_label,
            ),
            name.capitalize(),
        )
        for name, part in run.parts.items()
        if part.get("calibration")
    ]


def forest(run: Run) -> Figure:
    """Draw the figures with their intervals beside what the trivial answer scores."""
    part = next(iter(run.parts.values()))
    baselines = trivial(part, run.positive)
    drawing = plots.forest(
        list(_forest_rows(run, baselines)),
        splits=list(run.parts),
        title="Figures with 95 % intervals",
        baseline=f"always {part['baseline']['class']}",
    )
    return figure(
        drawing,
        "Figures beside the trivial answer",
        "Mark: the figure. Line: its 95 % interval. Diamond: what always giving the same "
        "answer scores.",
        "intervals",
    )


def _forest_rows(run: Run, baselines: dict[str, float]) -> Iterator[plots.Row]:
    metrics = [part["metrics"] for part in run.parts.values()]
    for key in _FOREST:
        entries = [found.get(key) or {} for found in metrics]
        if any(number(entry.get("value")) is not None for entry in entries):
            estimates = [estimate(entry) for entry in entries]
            short = {"ppv": "PPV", "npv": "NPV"}.get(key, name_of(key).title)
            yield plots.Row(short, estimates, baselines.get(key))
