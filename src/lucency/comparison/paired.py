"""Two classifiers on the same images: how their figures differ, and whether luck explains it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lucency import metrics
from lucency.metrics import BoolArray, FloatArray, IntArray

REPLICATES = 2000
_TAIL = 0.025  # left out at each end
_POWER = 0.8

Figures = dict[str, FloatArray]


@dataclass(frozen=True)
class Outputs:
    """What one classifier said of n images: (n,) decisions and (n, classes) probabilities."""

    decisions: IntArray
    probabilities: FloatArray


@dataclass(frozen=True)
class Difference:
    """Second minus first, its 95 % interval and two-sided p-value; nan is "unknown".

    Attributes:
        value: The difference.
        low: Lower end of the interval.
        high: Upper end.
        p: How often luck alone gives a difference as large, were both equally good.
        error: The standard error of ``value``.
        method: How interval and p-value were found.
    """

    value: float
    low: float
    high: float
    p: float
    error: float
    method: str

    @property
    def detectable(self) -> float:
        """The true difference that 4 of 5 test sets like this one would show (two-sided 5 %)."""
        reach = float(special.ndtri(1 - _TAIL) + special.ndtri(_POWER)) * self.error
        return reach if reach > 0 else math.nan

    def to_json(self) -> dict[str, float | str | None]:
        """Return the fields for strict JSON, nan as null."""
        return {name: plain(x) for name, x in vars(self).items()} | {
            "detectable": plain(self.detectable)
        }


def plain(value: Any) -> Any:
    """Return a number for strict JSON: nan and infinity as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def mcnemar(first_right: BoolArray, second_right: BoolArray) -> float:
    """Return the p-value of McNemar's exact test (McNemar 1947; two-sided binomial).

    Args:
        first_right: (n,) whether the first classifier decided right.
        second_right: (n,) the same of the second.

    Returns:
        In (0, 1]; 1 where both are right on the same images.
    """
    from scipy import stats

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if not only_first + only_second:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def patient_test(first_right: BoolArray, second_right: BoolArray, owner: IntArray) -> float:
    """Return the exact p-value of swapping the classifiers' answers patient by patient.

    Were both equally good, each patient's sum of (second right - first right) could as well have
    the other sign (Fisher's randomisation test, with the patient as the unit). All 2^patients
    assignments are counted by convolution, not sampled. With one image per patient this is
    McNemar's exact test.

    Args:
        first_right: (n,) whether the first classifier decided right.
        second_right: (n,) the same of the second.
        owner: (n,) number of the patient, from 0.

    Returns:
        In (0, 1]; 1 where the sums cancel or there is no difference.
    """
    gains = second_right.astype(np.int64) - first_right.astype(np.int64)
    sums = np.bincount(owner, gains).round().astype(np.int64)
    steps = np.abs(sums[sums != 0])
    chances = np.ones(1)
    for step in steps:
        wider = np.zeros(len(chances) + 2 * step)
        wider[: len(chances)] += chances / 2
        wider[2 * step :] += chances / 2
        chances = wider
    totals = np.arange(len(chances)) - steps.sum()
    return min(1.0, float(chances[np.abs(totals) >= abs(sums.sum())].sum()))


def auroc_difference(
    positive: BoolArray, first: FloatArray, second: FloatArray, owner: IntArray
) -> Difference:
    """Compare two AUROCs on the same images (DeLong 1988; patients: Obuchowski 1997).

    An AUROC is a mean of structural components, one of each image, so the difference of two -
    or of two means over seeds - is the mean of their differences, whose variance is summed over
    patients.

    Args:
        positive: (n,) true for positives.
        first: (runs, n) scores of one classifier or of its repeats with other seeds.
        second: (other runs, n) scores of the other.
        owner: (n,) number of the patient, from 0.

    Returns:
        Mean AUROC of the second minus that of the first; all nan when positives or negatives are
        absent, no interval and p = 1 where no pair of images is ranked differently.
    """
    method = metrics.named("paired DeLong", owner)
    if positive.all() or not positive.any():
        return Difference(math.nan, math.nan, math.nan, math.nan, math.nan, "undefined")
    difference = _components(positive, second) - _components(positive, first)
    value = float(difference[positive].mean())
    variance = metrics.clustered_variance(positive, difference - value, owner)
    if not variance > 0:
        p = 1.0 if variance == 0 and value == 0 else math.nan
        return Difference(value, math.nan, math.nan, p, math.nan, f"{method}, no variation")
    error = math.sqrt(variance)
    reach = float(special.ndtri(1 - _TAIL)) * error
    p = 2 * float(special.ndtr(-abs(value) / error))
    return Difference(value, max(-1.0, value - reach), min(1.0, value + reach), p, error, method)


def _components(positive: BoolArray, scores: FloatArray) -> FloatArray:
    """Return the structural components of the mean AUROC over runs, (n,), of scores (runs, n)."""
    return np.asarray(np.mean([metrics.components(positive, run) for run in scores], axis=0))


def figures(
    labels: IntArray, answers: Outputs, positive: int | None, weights: FloatArray
) -> Figures:
    """Compute the figures that are compared, under every row of weights.

    Args:
        labels: (n,) true class indices.
        answers: One classifier's.
        positive: Index of the positive class; None for means over all classes.
        weights: (rows, n) how often each image counts.

    Returns:
        Figures by name, each (rows,).
    """
    given = answers.probabilities
    classes = range(given.shape[1]) if positive is None else (positive,)
    confusion = metrics.confusion_matrix(labels, answers.decisions, given.shape[1], weights)
    areas = [metrics.rank(labels == k, given[:, k]).cut(weights).auroc() for k in classes]
    total = weights.sum(axis=1)
    return {
        "auroc": np.mean(areas, axis=0),
        "accuracy": metrics.accuracy(confusion),
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
        "sensitivity": metrics.sensitivity(confusion)[:, list(classes)].mean(axis=1),
        "specificity": metrics.specificity(confusion)[:, list(classes)].mean(axis=1),
        "brier": weights @ metrics.squared_errors(labels, given) / total,
        "log_loss": weights @ metrics.log_losses(labels, given) / total,
    }


def replicated(
    labels: IntArray, runs: Mapping[str, Outputs], positive: int | None, owner: IntArray
) -> dict[str, tuple[Figures, Figures]]:
    """Compute every run's figures as they are, and under the same draws of patients.

    Args:
        labels: (n,) true class indices.
        runs: Answers by name.
        positive: Index of the positive class, or None.
        owner: (n,) number of the patient, from 0.

    Returns:
        By name the figures (1,) and their replicates (REPLICATES,): replicate i is of the same
        patients for every run, so that differences are paired.
    """
    once = np.ones((1, len(labels)))
    drawn: dict[str, list[Figures]] = {name: [] for name in runs}
    for weights in metrics.bootstrap_weights(owner, REPLICATES):
        for name, answers in runs.items():
            drawn[name].append(figures(labels, answers, positive, weights))
    return {
        name: (
            figures(labels, answers, positive, once),
            {key: np.concatenate([part[key] for part in drawn[name]]) for key in drawn[name][0]},
        )
        for name, answers in runs.items()
    }


def bootstrapped(value: float, replicates: NDArray[np.float64], owner: IntArray) -> Difference:
    """Turn a difference and its paired replicates into an interval and a p-value.

    The p-value is twice the share of replicates on the far side of 0 (Efron & Tibshirani 1993,
    section 15.4), so it is below 0.05 where the percentile interval leaves 0 out.

    Args:
        value: The difference.
        replicates: (replicates,) the same under draws of patients; nan where undefined.
        owner: (n,) number of the patient, which names the method.

    Returns:
        The difference; without interval where fewer than half of the replicates are defined or
        nothing varies.
    """
    method = "paired patient bootstrap" if metrics.clustered(owner) else "paired bootstrap"
    if not math.isfinite(value):
        return Difference(math.nan, math.nan, math.nan, math.nan, math.nan, "undefined")
    low, high = (float(end) for end in metrics.percentiles(replicates))
    if not low < high:
        p = 1.0 if value == low == high == 0 else math.nan
        return Difference(value, math.nan, math.nan, p, math.nan, f"{method}, no variation")
    known = replicates[np.isfinite(replicates)]
    beyond = min(int((known <= 0).sum()), int((known >= 0).sum()))
    p = min(1.0, 2 * (beyond + 1) / (len(known) + 1))
    return Difference(value, low, high, p, float(known.std(ddof=1)), method)


def holm(p_values: list[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the same order; nan stays."""
    known = sorted((p, i) for i, p in enumerate(p_values) if math.isfinite(p))
    corrected, least = list(p_values), 0.0
    for place, (p, i) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - place)))
        corrected[i] = least
    return corrected
