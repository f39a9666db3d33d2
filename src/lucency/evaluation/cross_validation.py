"""Cross-validation: figures of the out-of-fold predictions, and beside them their spread.

The interval of a figure says how far it depends on which patients were drawn. The spread over folds
says how far it differs from one network and one fold to the next. The two are never mixed: folds
share most of their training images, so their spread gives no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lucency.classifier import Classifier, Outputs
from lucency.dataset import Split
from lucency.dataset.entry import natural
from lucency.evaluation.figures import make_sample, overall_metrics
from lucency.evaluation.labels import mean_metrics
from lucency.evaluation.predictions import Predictions, of_outputs
from lucency.evaluation.result import Evaluation, plain
from lucency.metrics import (
    Estimate,
    FloatArray,
    IntArray,
    cluster_numbers,
    positive_index,
    value_estimates,
)
from lucency.task import CLASSES, MULTILABEL, ORDINAL, REGRESSION, Task, task_of

OUT_OF_FOLD = "out_of_fold"
FIGURES = ("balanced_accuracy", "auroc", "log_loss")  # of every fold
_OF_GRADES = ("quadratic_kappa", "mean_absolute_error", "log_loss")
_OF_VALUES = ("mean_absolute_error", "root_mean_squared_error", "r2")
_OF_LABELS = ("auroc", "average_precision", "log_loss")
_UNBOUNDED = ("log_loss", "mean_absolute_error", "root_mean_squared_error")
_LOWEST = {"quadratic_kappa": -1.0, "r2": -math.inf}  # others: 0
_FEWEST = 3  # values of a column from which the next one is predicted
_LEVEL = 0.95


@dataclass(frozen=True)
class Fold:
    """The figures of the images that were held out in one fold, with intervals over patients."""

    fold: str
    n: int
    groups: int | None
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class CrossValidation:
    """The evaluation of the out-of-fold predictions; ``cross_validation`` of ``evaluation.json``.

    Attributes:
        evaluation: All figures, with intervals over patients.
        column: That the folds are made by; empty for random ones.
        folds: Each fold by itself.
        spread: "mean", "sd" and the number of "folds" of each figure, over the folds that have it.
        next: For folds by a column, the "low" and "high" end of the 95 % prediction interval for
            another value, such as the next site, of each figure that three folds or more have.
    """

    evaluation: Evaluation
    column: str
    folds: tuple[Fold, ...]
    spread: Mapping[str, Mapping[str, float]]
    next: Mapping[str, Mapping[str, float]] | None

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the evaluation, and those of this class beside them."""
        own = {name: value for name, value in vars(self).items() if name != "evaluation"}
        own["folds"] = [vars(fold) for fold in self.folds]
        return {**self.evaluation.to_json(), **plain(own)}


def out_of_fold(classifier: Classifier, pool: Split, outputs: Outputs) -> Predictions:
    """Return the out-of-fold predictions of the images of all folds."""
    return replace(of_outputs(classifier, pool, outputs), split=OUT_OF_FOLD)


def cross_validation(
    evaluation: Evaluation, predictions: Predictions, held_out: Sequence[str], column: str
) -> CrossValidation:
    """Add the figures of each fold to the evaluation of the out-of-fold predictions.

    Args:
        evaluation: Of all of them.
        predictions: The n out-of-fold predictions.
        held_out: The name of the fold of each image.
        column: That the folds are made by; empty for random ones.
    """
    where = np.array(held_out, object)
    task = CLASSES if evaluation.grades is None else task_of(ORDINAL)
    if evaluation.labels is not None:
        task = task_of(MULTILABEL)
    if evaluation.values is not None:
        task = task_of(REGRESSION)
    folds = tuple(
        _fold(name, predictions, np.flatnonzero(where == name), evaluation.positive, task)
        for name in dict.fromkeys(sorted(held_out, key=natural))
    )
    values = {x: np.array([fold.metrics[x].value for fold in folds]) for x in _figures(task)}
    defined = {name: each[np.isfinite(each)] for name, each in values.items()}
    return CrossValidation(
        evaluation=evaluation,
        column=column,
        folds=folds,
        spread={name: _spread(each) for name, each in defined.items()},
        next={x: _next(x, each) for x, each in defined.items() if len(each) >= _FEWEST}
        if column
        else None,
    )


def _figures(task: Task) -> tuple[str, ...]:
    if task.is_multilabel:
        return _OF_LABELS
    if task.is_regression:
        return _OF_VALUES
    return _OF_GRADES if task.is_ordinal else FIGURES


def _fold(name: str, found: Predictions, rows: IntArray, positive: str | None, task: Task) -> Fold:
    groups = [found.groups[i] for i in rows]
    if found.targets is not None:
        some = replace(
            found, groups=tuple(groups), targets=found.targets[rows],
            decisions=found.decisions[rows], probabilities=found.probabilities[rows],
        )  # fmt: skip
        patients = int(cluster_numbers(groups).max()) + 1 if any(groups) else None
        means = mean_metrics(some)
        return Fold(name, len(rows), patients, {x: means[x] for x in _OF_LABELS})
    if found.values is not None and found.predicted is not None:
        cluster = cluster_numbers(groups)
        of_values = value_estimates(found.values[rows], found.predicted[rows], cluster)
        patients = int(cluster.max()) + 1 if any(groups) else None
        return Fold(name, len(rows), patients, {x: of_values[x] for x in _OF_VALUES})
    sample = make_sample(
        found.labels[rows],
        found.decisions[rows],
        found.probabilities[rows],
        groups,
        positive_index(found.classes, positive),
    )
    estimates = overall_metrics(sample, task)
    return Fold(
        fold=name,
        n=len(rows),
        groups=sample.patients if any(groups) else None,
        metrics={x: estimates[x] for x in _figures(task)},
    )


def _spread(values: FloatArray) -> dict[str, float]:
    """Return mean and standard deviation, nan where there are too few values."""
    return {
        "mean": float(values.mean()) if len(values) else math.nan,
        "sd": float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        "folds": len(values),
    }


def _next(name: str, values: FloatArray) -> dict[str, float]:
    """Return the 95 % prediction interval for one more value of the column.

    It assumes that the figures of all values are drawn from one normal distribution, and uses the t
    distribution with k - 1 degrees of freedom. It ends where the range of the figure does.
    """
    from scipy import stats

    k = len(values)
    t = stats.t.ppf((1 + _LEVEL) / 2, k - 1)
    half = float(t * values.std(ddof=1) * math.sqrt(1 + 1 / k))
    mean, highest = float(values.mean()), math.inf if name in _UNBOUNDED else 1.0
    return {"low": max(_LOWEST.get(name, 0.0), mean - half), "high": min(highest, mean + half)}
