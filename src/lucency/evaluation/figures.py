"""Figures of one split, their bootstrap replicates and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import calibration, metrics
from lucency.metrics import BoolArray, Estimate, FloatArray, IntArray

REPLICATES = 2000
RECALL = np.linspace(0.0, 1.0, 101)
# False alarms matter most where they are few, so the ROC's points lie densest there.
FPR = RECALL**2
_LOSSES = (metrics.squared_errors, metrics.log_losses)

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
        losses: (n, 2) terms of the Brier score and of the log loss.
        claimed: (n,) probability of the positive class, or else of the decided class.
        came_true: (n,) whether the image is of that class.
        bins: (n,) equal-mass bin of ``claimed``.
        chance: 95 % range of the calibration error if every probability were exactly right.
    """

    labels: IntArray
    decisions: IntArray
    probabilities: FloatArray
    owner: IntArray
    positive: int | None
    ranked: tuple[int, ...]
    rankings: tuple[metrics.Ranking, ...]
    losses: FloatArray
    claimed: FloatArray
    came_true: BoolArray
    bins: IntArray
    chance: tuple[float, float]

    @property
    def patients(self) -> int:
        """Return how many there are."""
        return int(self.owner.max()) + 1

    @property
    def clustered(self) -> bool:
        """Return whether some patient has several images."""
        return self.patients < len(self.owner)

    @property
    def bootstrap(self) -> str:
        """Return what is drawn with replacement, as the name of the method."""
        return "patient bootstrap" if self.clustered else "bootstrap"


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
    ranked = tuple(range(probabilities.shape[1])) if positive is None else (positive,)
    looked_at = decisions if positive is None else np.full_like(decisions, positive)
    claimed = np.take_along_axis(probabilities, looked_at[:, None], axis=1)[:, 0]
    return Sample(
        labels=labels,
        decisions=decisions,
        probabilities=probabilities,
        owner=np.array([numbers[name] for name in names], np.int64),
        positive=positive,
        ranked=ranked,
        rankings=tuple(metrics.rank(labels == k, probabilities[:, k]) for k in ranked),
        losses=np.stack([terms(labels, probabilities) for terms in _LOSSES], axis=1),
        claimed=claimed,
        came_true=labels == looked_at,
        bins=calibration.equal_mass_bins(claimed),
        chance=calibration.chance_error(claimed),
    )


def figures(sample: Sample, weights: FloatArray) -> Figures:
    """Compute every figure under every row of weights.

    Args:
        sample: The split.
        weights: (rows, n) how often each image counts.

    Returns:
        Figures of the whole (rows,), of each class (rows, classes), of each ranked class (rows,
        ranked) and its curves (rows, ranked, 101), of each bin (rows, bins).
    """
    classes = sample.probabilities.shape[1]
    confusion = metrics.confusion_matrix(sample.labels, sample.decisions, classes, weights)
    losses = weights @ sample.losses / weights.sum(axis=1)[:, None]
    member = np.eye(sample.bins.max() + 1)[sample.bins]
    came_true = weights @ (member * sample.came_true[:, None])
    ranked = zip(*(_ranked(ranking, weights) for ranking in sample.rankings), strict=True)
    auroc, average_precision, tpr, precision = (np.stack(x, axis=1) for x in ranked)
    return {
        "accuracy": metrics.accuracy(confusion),
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
        "sensitivity": metrics.sensitivity(confusion),
        "specificity": metrics.specificity(confusion),
        "ppv": metrics.ppv(confusion),
        "npv": metrics.npv(confusion),
        "f1": metrics.f1(confusion),
        "mcc": metrics.mcc(confusion),
        "auroc": auroc,
        "average_precision": average_precision,
        "brier": losses[:, 0],
        "log_loss": losses[:, 1],
        "ece": calibration.expected_calibration_error(
            sample.claimed, sample.came_true, weights, sample.bins
        ),
        "fraction": metrics.ratio(came_true, weights @ member),
        "tpr": tpr,
        "precision": precision,
    }


def _ranked(ranking: metrics.Ranking, weights: FloatArray) -> tuple[NDArray[np.floating[Any]], ...]:
    """Return AUROC, average precision and the curves; its cuts are freed before the next class."""
    cuts = ranking.cut(weights)
    # Curves are drawn, not reported: half the memory for many classes.
    curves = (x.astype(np.float32) for x in (cuts.tpr_at(FPR), cuts.precision_at(RECALL)))
    return cuts.auroc(), cuts.average_precision(), *curves


def value_and_spread(sample: Sample, seed: int) -> tuple[Figures, Figures]:
    """Compute every figure as it is, and as it is when patients are drawn with replacement.

    Args:
        sample: The split.
        seed: Of the bootstrap.

    Returns:
        Figures without a first axis, and with one of REPLICATES.
    """
    value = {name: x[0] for name, x in figures(sample, np.ones((1, len(sample.labels)))).items()}
    width = sample.probabilities.shape[1] ** 2
    weights = metrics.bootstrap_weights(sample.owner, REPLICATES, seed, width)
    drawn = [figures(sample, rows) for rows in weights]
    return value, {name: np.concatenate([part[name] for part in drawn]) for name in value}


def overall(sample: Sample, value: Figures, spread: Figures) -> dict[str, Estimate]:
    """Estimate the figures of the split: the positive class's, or means over all classes.

    Args:
        sample: The split.
        value: Its figures.
        spread: Their replicates.

    Returns:
        Estimates by name.
    """
    everyone = np.ones(len(sample.labels), bool)
    right = sample.labels == sample.decisions
    names = ("auroc", "sensitivity", "specificity", "ppv", "npv", "f1")
    if sample.positive is None:
        main = {x: _bootstrapped(sample, value[x].mean(), spread[x].mean(1)) for x in names}
    else:
        main = of_class(sample, sample.positive, value, spread)
    plain = ("balanced_accuracy", "mcc", "brier", "log_loss", "average_precision")
    # The mean is over the ranked classes for average precision, over nothing for the others.
    rest = {
        x: _bootstrapped(sample, value[x].mean(), spread[x].reshape(REPLICATES, -1).mean(1))
        for x in plain
    }
    return {
        "auroc": main["auroc"],
        "accuracy": proportion(sample, right, everyone, spread["accuracy"]),
        "balanced_accuracy": rest["balanced_accuracy"],
        **{x: main[x] for x in names[1:]},
        **{x: rest[x] for x in ("mcc", "average_precision", "brier", "log_loss")},
        "ece": _calibration_error(sample, float(value["ece"]), spread["ece"]),
    }


def of_class(sample: Sample, k: int, value: Figures, spread: Figures) -> dict[str, Estimate]:
    """Estimate the figures of one class against the rest.

    Args:
        sample: The split.
        k: The class.
        value: Its figures.
        spread: Their replicates.

    Returns:
        Estimates by name.
    """
    true, decided = sample.labels == k, sample.decisions == k
    shares = {
        "sensitivity": (decided, true),
        "specificity": (~decided, ~true),
        "ppv": (true, decided),
        "npv": (~true, ~decided),
    }
    area = metrics.delong(true, sample.probabilities[:, k], sample.owner)
    return {
        "auroc": area,
        **{x: proportion(sample, *of, spread[x][:, k]) for x, of in shares.items()},
        "f1": _bootstrapped(sample, value["f1"][k], spread["f1"][:, k]),
    }


def proportion(
    sample: Sample, hits: BoolArray, among: BoolArray, replicates: NDArray[np.floating[Any]]
) -> Estimate:
    """Estimate a proportion of images.

    The interval is Clopper and Pearson's when every patient has one image, else a bootstrap of
    patients. Where all images are hits or none is, a bootstrap sees no variation and would claim
    certainty: Clopper and Pearson's is then taken with every patient counted once.

    Args:
        sample: The split.
        hits: (n,) the images counted.
        among: (n,) the images they are counted among.
        replicates: (replicates,) the proportion under the bootstrap.

    Returns:
        The proportion; all nan when it is among none.
    """
    n, successes = int(among.sum()), int((hits & among).sum())
    if not n:
        return Estimate(math.nan, math.nan, math.nan, "undefined")
    share = successes / n
    if not sample.clustered:
        return Estimate(share, *metrics.clopper_pearson(successes, n), "Clopper-Pearson")
    if 0 < successes < n:
        return _bootstrapped(sample, share, replicates)
    patients = len(np.unique(sample.owner[among]))
    ends = metrics.clopper_pearson(share * patients, patients)
    return Estimate(share, *ends, "Clopper-Pearson over patients")


def _bootstrapped(
    sample: Sample, value: float | FloatArray, replicates: NDArray[np.floating[Any]]
) -> Estimate:
    if not np.isfinite(value):
        return Estimate(math.nan, math.nan, math.nan, "undefined")
    low, high = (float(end) for end in metrics.percentiles(replicates))
    if low == high:
        # A point would claim certainty, as for a classifier without a single mistake.
        return Estimate(float(value), math.nan, math.nan, f"{sample.bootstrap}, no variation")
    return Estimate(float(value), low, high, sample.bootstrap)


def _calibration_error(
    sample: Sample, value: float, replicates: NDArray[np.floating[Any]]
) -> Estimate:
    """Estimate the calibration error, whose replicates are too large as it is itself.

    Noise adds to a mean of distances, and a replicate has the noise twice: percentiles would miss
    the small errors. The upper reach, which the noise makes longer, is used on both sides, and an
    error that chance alone explains may be 0.
    """
    _, high = metrics.percentiles(replicates)
    reach = max(0.0, float(high) - value)
    low = 0.0 if value <= sample.chance[1] else max(0.0, value - reach)
    return Estimate(value, low, min(1.0, value + reach), f"{sample.bootstrap}, symmetric")
