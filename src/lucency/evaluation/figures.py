"""Metrics of one split with their intervals, and curves with their bands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.calibration import reliability
from lucency.metrics import (
    UNDEFINED,
    BoolArray,
    Estimate,
    FloatArray,
    IntArray,
    Linear,
    Scale,
    WeightedDecisions,
    influences,
)
from lucency.task import CLASSES, Task

REPLICATES = 2000
RECALL = np.linspace(0.0, 1.0, 101)
# Low false positive rates matter most, so the points of the ROC curve lie densest there.
FPR = RECALL**2

_Of = Callable[[WeightedDecisions, int], Linear]
# Metrics of a class against the rest: value, linearisation, scale of the interval.
_CONFUSION_METRICS: dict[str, tuple[Callable[[FloatArray], FloatArray], _Of, Scale]] = {
    "sensitivity": (metrics.sensitivity, influences.of_sensitivity, "logit"),
    "specificity": (metrics.specificity, influences.of_specificity, "logit"),
    "ppv": (metrics.ppv, influences.of_ppv, "logit"),
    "npv": (metrics.npv, influences.of_npv, "logit"),
    "f1": (metrics.f1, influences.of_f1, "logit"),
    "lr_plus": (metrics.lr_plus, influences.of_lr_plus, "log"),
    "lr_minus": (metrics.lr_minus, influences.of_lr_minus, "log"),
}

Figures = dict[str, NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Sample:
    """One split, prepared for all metrics.

    Attributes:
        labels: (n,) true class indices.
        decisions: (n,) decided class indices.
        probabilities: (n, classes).
        cluster: (n,) number of the patient, from 0.
        positive: Index of the positive class, or None.
        curve_classes: The classes with curves: the positive one, or all.
        rankings: The ranking of each of these.
        smoothed: The decisions with half a count added to each cell of the confusion matrix.
        event_probability: (n,) probability of the positive class, else of the decided class.
        event: (n,) whether the image is of that class.
        bins: (n,) equal-mass bin of ``event_probability``.
    """

    labels: IntArray
    decisions: IntArray
    probabilities: FloatArray
    cluster: IntArray
    positive: int | None
    curve_classes: tuple[int, ...]
    rankings: tuple[metrics.Ranking, ...]
    smoothed: WeightedDecisions
    event_probability: FloatArray
    event: BoolArray
    bins: IntArray

    @property
    def patients(self) -> int:
        """Number of patients."""
        return int(self.cluster.max()) + 1

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.probabilities.shape[1])

    @cached_property
    def chance(self) -> tuple[float, float]:
        """Return the 95 % range of the calibration error under perfect calibration."""
        return reliability.chance_error(self.event_probability, self.cluster)

    @cached_property
    def confusion(self) -> FloatArray:
        """Return (classes, classes) image counts, true classes in rows, decided ones in columns."""
        return metrics.confusion_matrix(self.labels, self.decisions, self.classes)


def make_sample(
    labels: IntArray,
    decisions: IntArray,
    probabilities: FloatArray,
    groups: Sequence[str] | None,
    positive: int | None,
) -> Sample:
    """Prepare a split: number the patients, rank the images, bin the probabilities.

    Args:
        labels: (n,) true class indices; n >= 1.
        decisions: (n,) decided class indices.
        probabilities: (n, classes), rows sum to 1.
        groups: n patients, "" where unknown; None when none is known.
        positive: Index of the positive class, or None.

    Returns:
        The sample.
    """
    cluster = metrics.cluster_numbers(groups or [""] * len(labels))
    curve_classes = tuple(range(probabilities.shape[1])) if positive is None else (positive,)
    event_class = decisions if positive is None else np.full_like(decisions, positive)
    event_probability = np.take_along_axis(probabilities, event_class[:, None], axis=1)[:, 0]
    return Sample(
        labels=labels,
        decisions=decisions,
        probabilities=probabilities,
        cluster=cluster,
        positive=positive,
        curve_classes=curve_classes,
        rankings=tuple(metrics.rank(labels == k, probabilities[:, k]) for k in curve_classes),
        smoothed=metrics.add_half_counts(labels, decisions, cluster, probabilities.shape[1]),
        event_probability=event_probability,
        event=labels == event_class,
        bins=reliability.equal_mass_bins(event_probability),
    )


def curves_and_replicates(sample: Sample, seed: int) -> tuple[Figures, Figures]:
    """Compute the curves and their bootstrap replicates over patients.

    Args:
        sample: The split.
        seed: Of the bootstrap.

    Returns:
        The true positive rates "tpr" at FPR and the "precision" at RECALL: the values,
        (curve classes, 101), and the replicates, (REPLICATES, curve classes, 101).
    """
    value = {name: x[0] for name, x in _curves(sample, np.ones((1, len(sample.labels)))).items()}
    weights = metrics.bootstrap_weights(sample.cluster, REPLICATES, seed)
    drawn = [_curves(sample, rows) for rows in weights]
    return value, {name: np.concatenate([batch[name] for batch in drawn]) for name in value}


def _curves(sample: Sample, weights: FloatArray) -> Figures:
    """Return the curves under each row of weights (rows, n), each (rows, curve classes, 101)."""
    drawn = [_curve(ranking, weights) for ranking in sample.rankings]
    return {name: np.stack([curve[name] for curve in drawn], axis=1) for name in drawn[0]}


def _curve(ranking: metrics.Ranking, weights: FloatArray) -> Figures:
    """Return the curves of one class; its counts are freed before the next class."""
    cuts = ranking.cut(weights)
    # float32 is enough for plots and halves the memory for many classes.
    return {
        "tpr": cuts.tpr_at(FPR).astype(np.float32),
        "precision": cuts.precision_at(RECALL).astype(np.float32),
    }


def overall_metrics(sample: Sample, task: Task = CLASSES) -> dict[str, Estimate]:
    """Estimate the metrics of the split: of the positive class, or means over all classes.

    Args:
        sample: The split.
        task: Grades have metrics of their own.

    Returns:
        Estimates by name.
    """
    k = sample.positive
    main = _means(sample) if k is None else class_metrics(sample, k)
    table, cluster, smoothed = sample.confusion, sample.cluster, sample.smoothed
    recalls = [influences.of_sensitivity(smoothed, k) for k in range(sample.classes)]
    matthews = influences.of_mcc(smoothed, sample.classes)
    return {
        "auroc": main.pop("auroc"),
        "accuracy": metrics.proportion(sample.labels == sample.decisions, cluster),
        "balanced_accuracy": metrics.linearised(
            float(metrics.balanced_accuracy(table)),
            influences.mean(recalls),
            smoothed.cluster,
            "logit",
        ),
        **main,
        "mcc": metrics.linearised(float(metrics.mcc(table)), matthews, smoothed.cluster, "Fisher"),
        "average_precision": _average_precision(sample),
        **_of_probabilities(sample),
        **(_of_grades(sample) if task.is_ordinal else {}),
    }


def _of_grades(sample: Sample) -> dict[str, Estimate]:
    """Estimate the metrics that count by how many grades a decision is wrong."""
    labels, decisions, cluster = sample.labels, sample.decisions, sample.cluster
    apart = abs(labels - decisions).astype(np.float64)
    mean = influences.of_mean(apart)
    # No counts are added: among so many cells, far from the diagonal, they would weigh too much.
    kappa = influences.of_quadratic_kappa(labels, decisions)
    return {
        "quadratic_kappa": metrics.linearised(kappa.value, kappa, cluster, "Fisher"),
        "mean_absolute_error": metrics.linearised(mean.value, mean, cluster, "log"),
        "within_one": metrics.proportion(apart <= 1, cluster),
    }


def cut_metrics(sample: Sample, k: int) -> dict[str, Estimate]:
    """Estimate how well the probability of grade ``k`` or a higher one separates and predicts."""
    truth, p = sample.labels >= k, sample.probabilities[:, k:].sum(axis=1)
    fits = {
        "calibration_slope": metrics.calibration_slope(p, truth),
        "calibration_intercept": metrics.calibration_intercept(p, truth),
    }
    return {
        "auroc": metrics.delong(truth, p, sample.cluster),
        **{
            name: UNDEFINED
            if fit is None
            else metrics.linearised(fit.value, fit, sample.cluster, "plain")
            for name, fit in fits.items()
        },
    }


def class_metrics(sample: Sample, k: int) -> dict[str, Estimate]:
    """Estimate the metrics of one class against the rest.

    Args:
        sample: The split.
        k: The class.

    Returns:
        Estimates by name.
    """
    true, decided = sample.labels == k, sample.decisions == k
    return {
        "auroc": metrics.delong(true, sample.probabilities[:, k], sample.cluster),
        "sensitivity": proportion(sample, decided, true),
        "specificity": proportion(sample, ~decided, ~true),
        "ppv": proportion(sample, true, decided),
        "npv": proportion(sample, ~true, ~decided),
        **{name: _confusion_metric(sample, name, (k,)) for name in ("f1", "lr_plus", "lr_minus")},
    }


def proportion(sample: Sample, hits: BoolArray, among: BoolArray) -> Estimate:
    """Estimate the proportion of hits (n,) among some images (n,); nan where these are none."""
    return metrics.proportion(hits[among], sample.cluster[among])


def _means(sample: Sample) -> dict[str, Estimate]:
    """Estimate the means over all classes, each against the rest."""
    every = range(sample.classes)
    return {"auroc": _macro_auroc(sample)} | {
        name: _confusion_metric(sample, name, every) for name in _CONFUSION_METRICS
    }


def _confusion_metric(sample: Sample, name: str, classes: Sequence[int]) -> Estimate:
    """Estimate the mean of a metric over classes; the added counts enter only the interval."""
    figure, linear, scale = _CONFUSION_METRICS[name]
    value = float(figure(sample.confusion)[list(classes)].mean())
    parts = [linear(sample.smoothed, k) for k in classes]
    return metrics.linearised(value, influences.mean(parts), sample.smoothed.cluster, scale)


def _macro_auroc(sample: Sample) -> Estimate:
    positives = [sample.labels == k for k in range(sample.classes)]
    if any(positive.all() or not positive.any() for positive in positives):
        return UNDEFINED
    areas = [
        influences.of_auroc(positive, scores)
        for positive, scores in zip(positives, sample.probabilities.T, strict=True)
    ]
    area = influences.mean(areas)
    found = metrics.linearised(area.value, area, sample.cluster, "logit", "DeLong")
    if math.isfinite(found.low):
        return found
    pairs = min(metrics.independent_pairs(positive, sample.cluster) for positive in positives)
    return metrics.exact_auroc(area.value, pairs)


def _average_precision(sample: Sample) -> Estimate:
    """Estimate the mean over the classes with curves."""
    present = [(sample.labels == k).any() for k in sample.curve_classes]
    if not all(present):
        return UNDEFINED
    parts = [
        influences.of_average_precision(sample.labels == k, sample.probabilities[:, k])
        for k in sample.curve_classes
    ]
    found = influences.mean(parts)
    return metrics.linearised(found.value, found, sample.cluster, "logit")


def _of_probabilities(sample: Sample) -> dict[str, Estimate]:
    """Estimate the metrics of the probabilities."""
    probability, event, cluster = sample.event_probability, sample.event, sample.cluster
    losses = {
        "brier": metrics.squared_errors(sample.labels, sample.probabilities),
        "log_loss": metrics.log_losses(sample.labels, sample.probabilities),
    }
    fits = {
        "calibration_slope": metrics.calibration_slope(probability, event),
        "calibration_intercept": metrics.calibration_intercept(probability, event),
    }
    means = {name: influences.of_mean(conditions) for name, conditions in losses.items()}
    error = float(reliability.debiased_error(probability, event, cluster))
    return {
        **{x: metrics.linearised(mean.value, mean, cluster, "log") for x, mean in means.items()},
        # No interval reached its nominal coverage; the range by chance is reported instead.
        "ece": Estimate(error, math.nan, math.nan, "debiased, no interval: see chance"),
        **{
            x: UNDEFINED if fit is None else metrics.linearised(fit.value, fit, cluster, "plain")
            for x, fit in fits.items()
        },
    }
