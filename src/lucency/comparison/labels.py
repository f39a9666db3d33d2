"""Compare runs with several labels: each where it is known, and the means over them.

The mean AUROC decides. Each label has a p-value of its own, corrected for the number of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lucency import metrics
from lucency.comparison import wording
from lucency.comparison.paired import REPLICATES, Figures, Outputs, figures, holm
from lucency.comparison.result import LabelPair, System
from lucency.comparison.runs import Run, Truth
from lucency.comparison.systems import Measured, decisions_of, differences_of
from lucency.evaluation.labels import of_label
from lucency.metrics import FloatArray, IntArray

_FIGURES = (
    *("auroc", "average_precision", "accuracy", "balanced_accuracy", "sensitivity"),
    *("specificity", "brier", "log_loss"),
)


def measure_labels(runs: Sequence[Run], truth: Truth) -> Measured:
    """Measure runs with several labels.

    Args:
        runs: With predictions of the same labels, in one order.
        truth: With targets.

    Returns:
        The means over the labels, and each label by itself. All are computed under the same
        bootstrap samples of patients, whose labels are taken together.
    """
    views = [_view(runs, truth, k) for k in range(len(truth.classes))]
    names = [run.name for run in runs]
    once = np.ones((1, len(truth.labels)))
    values = [_figures(views, name, once) for name in names]
    batches: list[list[list[Figures]]] = [[] for _ in names]
    for weights in metrics.bootstrap_weights(truth.cluster, REPLICATES):
        for found, name in zip(batches, names, strict=True):
            found.append(_figures(views, name, weights))
    replicates = [[_joined(of) for of in zip(*found, strict=True)] for found in batches]
    pairs = [*zip(names, values, replicates, strict=True)]
    return Measured(
        truth,
        {run.name: run.outputs for run in runs},
        {name: (_mean(value), _mean(spread)) for name, value, spread in pairs},
        {
            label: replace(
                views[k][0], drawn={name: (value[k], spread[k]) for name, value, spread in pairs}
            )
            for k, label in enumerate(truth.classes)
        },
    )


def _view(runs: Sequence[Run], truth: Truth, k: int) -> tuple[Measured, IntArray]:
    """Return the runs with one label as two classes, and the images where it is known."""
    found = {run.name: of_label(run.predictions, k) for run in runs}
    alone, known = found[runs[0].name]
    _, cluster = np.unique(truth.cluster[known], return_inverse=True)
    of = replace(
        truth,
        classes=alone.classes,
        positive=1,
        labels=alone.labels,
        cluster=cluster.astype(np.int64),
        targets=None,
    )
    outputs = {name: Outputs(x.decisions, x.probabilities) for name, (x, _) in found.items()}
    return Measured(of, outputs, {}, {}), known


def _figures(
    views: Sequence[tuple[Measured, IntArray]], run: str, weights: FloatArray
) -> list[Figures]:
    """Return the figures of each label of a run under every row of weights (rows, n)."""
    found = []
    for view, known in views:
        truth, outputs, own = view.truth.labels, view.outputs[run], weights[:, known]
        if not len(known):
            found.append({name: np.full(len(weights), np.nan) for name in _FIGURES})
            continue
        precision = metrics.rank(truth, outputs.probabilities[:, 1]).cut(own).average_precision()
        every = {**figures(truth, outputs, 1, own), "average_precision": precision}
        found.append({name: every[name] for name in _FIGURES})
    return found


def _joined(batches: Sequence[Figures]) -> Figures:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _mean(of_labels: Sequence[Figures]) -> Figures:
    return {name: np.mean([of[name] for of in of_labels], axis=0) for name in _FIGURES}


def label_pairs(
    first: System, others: Sequence[System], measured: Measured
) -> list[dict[str, LabelPair]]:
    """Compare each label of systems with that of the first.

    Args:
        first: The reference.
        others: The compared systems.
        measured: With labels.

    Returns:
        By label, one for each other system. The p-values are corrected for the number of labels
        and systems together (Holm).
    """
    of_labels = [
        {name: differences_of(first, other, of) for name, of in measured.labels.items()}
        for other in others
    ]
    corrected = iter(holm([each["auroc"].p for of in of_labels for each in of.values()]))
    return [
        {
            name: LabelPair(
                n=len((of := measured.labels[name]).truth.labels),
                present=int(of.truth.labels.sum()),
                differences=each,
                decisions=decisions_of(first, other, of),
                figure="auroc",
                p=next(corrected),
            )
            for name, each in found.items()
        }
        for other, found in zip(others, of_labels, strict=True)
    ]


def sentences(first: str, second: str, labels: Mapping[str, LabelPair]) -> list[str]:
    """Return what is shown of each label, and of which labels nothing is.

    Args:
        first: Name of the reference.
        second: Name of the compared system.
        labels: By name.
    """
    found, rest = [], []
    for name, each in labels.items():
        if each.p < 0.05:
            text = wording.conclusion(
                first, second, each.figure, each.differences[each.figure], each.p
            )
            found.append(f"Label {name}: {text}")
        else:
            rest.append(name)
    if rest:
        which = ", ".join(rest) if found else "any label by itself"
        found.append(f"No difference in AUROC is shown for {which}.")
    return found
