"""Figures of one split, their intervals, and the bands of its curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.calibration import temperature
from lucency.metrics import (
    UNDEFINED,
    BoolArray,
    Decided,
    Estimate,
    FloatArray,
    IntArray,
    Linear,
    Scale,
    influences,
)

REPLICATES = 2000
RECALL = np.linspace(0.0, 1.0, 101)
# False alarms matter most where they are few, so the ROC's points lie densest there.
FPR = RECALL**2

_Of = Callable[[Decided, int], Linear]
# Of a class against the rest: how a figure is computed, linearised, and on which scale.
_OF_TABLE: dict[str, tuple[Callable[[FloatArray], FloatArray], _Of, Scale]] = {
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
    """One split as all its figures see it.

    Attributes:
        labels: (n,) true class indices.
        decisions: (n,) decided class indices.
        probabilities: (n, classes).
        owner: (n,) number of the patient, counted from 0.
        positive: Index of the positive class, or None.
        ranked: The classes that have curves: the positive one, or all.
        rankings: A ranking for each of these.
        halved: The decisions, with half an image more of each kind.
        claimed: (n,) probability of the positive class, or else of the decided class.
        came_true: (n,) whether the image is of that class.
        bins: (n,) equal-mass bin of ``claimed``.
    """

    labels: IntArray
    decisions: IntArray
    probabilities: FloatArray
    owner: IntArray
    positive: int | None
    ranked: tuple[int, ...]
    rankings: tuple[metrics.Ranking, ...]
    halved: Decided
    claimed: FloatArray
    came_true: BoolArray
    bins: IntArray

    @property
    def patients(self) -> int:
        """Return how many there are."""
        return int(self.owner.max()) + 1

    @property
    def classes(self) -> int:
        """Return how many there are."""
        return int(self.probabilities.shape[1])

    @cached_property
    def chance(self) -> tuple[float, float]:
        """Return the 95 % range of the calibration error if every probability were right."""
        return temperature.chance_error(self.claimed, self.owner)

    @cached_property
    def confusion(self) -> FloatArray:
        """Return (classes, classes) images by truth (rows) and decision."""
        return metrics.confusion_matrix(self.labels, self.decisions, self.classes)


def sample_of(
    labels: IntArray,
    decisions: IntArray,
    probabilities: FloatArray,
    groups: Sequence[str] | None,
    positive: int | None,
) -> Sample:
    """Prepare a split: number its patients, rank its images, bin its probabilities.

    Args:
        labels: (n,) true class indices; n >= 1.
        decisions: (n,) decided class indices.
        probabilities: (n, classes), rows sum to 1.
        groups: n patients, "" for an image that stands alone; None when all do.
        positive: Index of the positive class, or None.

    Returns:
        The sample.
    """
    names = [name or i for i, name in enumerate(groups or [""] * len(labels))]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    owner = np.array([numbers[name] for name in names], np.int64)
    ranked = tuple(range(probabilities.shape[1])) if positive is None else (positive,)
    looked_at = decisions if positive is None else np.full_like(decisions, positive)
    claimed = np.take_along_axis(probabilities, looked_at[:, None], axis=1)[:, 0]
    return Sample(
        labels=labels,
        decisions=decisions,
        probabilities=probabilities,
        owner=owner,
        positive=positive,
        ranked=ranked,
        rankings=tuple(metrics.rank(labels == k, probabilities[:, k]) for k in ranked),
        halved=metrics.with_halves(labels, decisions, owner, probabilities.shape[1]),
        claimed=claimed,
        came_true=labels == looked_at,
        bins=temperature.equal_mass_bins(claimed),
    )


def value_and_spread(sample: Sample, seed: int) -> tuple[Figures, Figures]:
    """Compute the curves as they are, and as they are when patients are drawn with replacement.

    Args:
        sample: The split.
        seed: Of the bootstrap.

    Returns:
        The true positive rates "tpr" at FPR and the "precision" at RECALL, (ranked, 101) without a
        first axis, and with one of REPLICATES.
    """
    value = {name: x[0] for name, x in _curves(sample, np.ones((1, len(sample.labels)))).items()}
    weights = metrics.bootstrap_weights(sample.owner, REPLICATES, seed)
    drawn = [_curves(sample, rows) for rows in weights]
    return value, {name: np.concatenate([part[name] for part in drawn]) for name in value}


def _curves(sample: Sample, weights: FloatArray) -> Figures:
    """Return the curves under each row of weights (rows, n), each (rows, ranked, 101)."""
    drawn = [_curve(ranking, weights) for ranking in sample.rankings]
    return {name: np.stack([curve[name] for curve in drawn], axis=1) for name in drawn[0]}


def _curve(ranking: metrics.Ranking, weights: FloatArray) -> Figures:
    """Return one class's curves; its cuts are freed before the next class."""
    cuts = ranking.cut(weights)
    # Curves are drawn, not reported: half the memory for many classes.
    return {
        "tpr": cuts.tpr_at(FPR).astype(np.float32),
        "precision": cuts.precision_at(RECALL).astype(np.float32),
    }


def overall(sample: Sample) -> dict[str, Estimate]:
    """Estimate the figures of the split: the positive class's, or means over all classes.

    Args:
        sample: The split.

    Returns:
        Estimates by name.
    """
    k = sample.positive
    main = _means(sample) if k is None else of_class(sample, k)
    table, owner, halved = sample.confusion, sample.owner, sample.halved
    recalls = [influences.of_sensitivity(halved, k) for k in range(sample.classes)]
    matthews = influences.of_mcc(halved, sample.classes)
    return {
        "auroc": main.pop("auroc"),
        "accuracy": metrics.proportion(sample.labels == sample.decisions, owner),
        "balanced_accuracy": metrics.linearised(
            float(metrics.balanced_accuracy(table)), influences.mean(recalls), halved.owner, "logit"
        ),
        **main,
        "mcc": metrics.linearised(float(metrics.mcc(table)), matthews, halved.owner, "Fisher"),
        "average_precision": _average_precision(sample),
        **_of_probabilities(sample),
    }


def of_class(sample: Sample, k: int) -> dict[str, Estimate]:
    """Estimate the figures of one class against the rest.

    Args:
        sample: The split.
        k: The class.

    Returns:
        Estimates by name.
    """
    true, decided = sample.labels == k, sample.decisions == k
    return {
        "auroc": metrics.delong(true, sample.probabilities[:, k], sample.owner),
        "sensitivity": proportion(sample, decided, true),
        "specificity": proportion(sample, ~decided, ~true),
        "ppv": proportion(sample, true, decided),
        "npv": proportion(sample, ~true, ~decided),
        **{name: _of_table(sample, name, (k,)) for name in ("f1", "lr_plus", "lr_minus")},
    }


def proportion(sample: Sample, hits: BoolArray, among: BoolArray) -> Estimate:
    """Estimate the share of hits (n,) among some images (n,); all nan when it is among none."""
    return metrics.proportion(hits[among], sample.owner[among])


def _means(sample: Sample) -> dict[str, Estimate]:
    """Estimate the means over all classes, each against the rest."""
    every = range(sample.classes)
    return {"auroc": _macro_auroc(sample)} | {
        name: _of_table(sample, name, every) for name in _OF_TABLE
    }


def _of_table(sample: Sample, name: str, classes: Sequence[int]) -> Estimate:
    """Estimate the mean of a figure over classes; the value has no half images in it."""
    figure, linear, scale = _OF_TABLE[name]
    value = float(figure(sample.confusion)[list(classes)].mean())
    parts = [linear(sample.halved, k) for k in classes]
    return metrics.linearised(value, influences.mean(parts), sample.halved.owner, scale)


def _macro_auroc(sample: Sample) -> Estimate:
    positives = [sample.labels == k for k in range(sample.classes)]
    if any(positive.all() or not positive.any() for positive in positives):
        return UNDEFINED
    areas = [
        influences.of_auroc(positive, scores)
        for positive, scores in zip(positives, sample.probabilities.T, strict=True)
    ]
    area = influences.mean(areas)
    found = metrics.linearised(area.value, area, sample.owner, "logit", "DeLong")
    if math.isfinite(found.low):
        return found
    pairs = min(metrics.independent_pairs(positive, sample.owner) for positive in positives)
    return metrics.exact_auroc(area.value, pairs)


def _average_precision(sample: Sample) -> Estimate:
    """Estimate the mean over the ranked classes."""
    present = [(sample.labels == k).any() for k in sample.ranked]
    if not all(present):
        return UNDEFINED
    parts = [
        influences.of_average_precision(sample.labels == k, sample.probabilities[:, k])
        for k in sample.ranked
    ]
    found = influences.mean(parts)
    return metrics.linearised(found.value, found, sample.owner, "logit")


def _of_probabilities(sample: Sample) -> dict[str, Estimate]:
    """Estimate the figures of the probabilities themselves."""
    claimed, came, owner = sample.claimed, sample.came_true, sample.owner
    losses = {
        "brier": metrics.squared_errors(sample.labels, sample.probabilities),
        "log_loss": metrics.log_losses(sample.labels, sample.probabilities),
    }
    fits = {
        "calibration_slope": metrics.calibration_slope(claimed, came),
        "calibration_intercept": metrics.calibration_intercept(claimed, came),
    }
    means = {name: influences.of_mean(terms) for name, terms in losses.items()}
    error = float(temperature.debiased_error(claimed, came, owner))
    return {
        **{x: metrics.linearised(mean.value, mean, owner, "log") for x, mean in means.items()},
        # No interval held it as often as it said: the null band tells what chance alone does.
        "ece": Estimate(error, math.nan, math.nan, "debiased, no interval: see chance"),
        **{
            x: UNDEFINED if fit is None else metrics.linearised(fit.value, fit, owner, "plain")
            for x, fit in fits.items()
        },
    }
