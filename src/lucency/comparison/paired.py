"""Paired comparison of two classifiers on the same images: differences and significance tests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lucency import metrics
from lucency.calibration.values import inside
from lucency.metrics import BoolArray, FloatArray, IntArray
from lucency.task import CLASSES, Task

REPLICATES = 2000
_TAIL = 0.025  # probability outside the interval, at each end
_POWER = 0.8

Figures = dict[str, FloatArray]


@dataclass(frozen=True)
class Outputs:
    """Outputs of one classifier for n images.

    Attributes:
        decisions: (n,) decided class indices.
        probabilities: (n, classes).
        predicted: (n,) predicted numbers, where these are the answer.
        intervals: (n, 2) their prediction intervals; None without any.
    """

    decisions: IntArray
    probabilities: FloatArray
    predicted: FloatArray | None = None
    intervals: FloatArray | None = None


@dataclass(frozen=True)
class Difference:
    """Second minus first, with its 95 % interval and two-sided p-value; nan means unknown.

    Attributes:
        value: The difference.
        low: Lower end of the interval.
        high: Upper end.
        p: Probability of a difference at least as large if both were equally good.
        error: The standard error of ``value``.
        method: Method of interval and p-value.
    """

    value: float
    low: float
    high: float
    p: float
    error: float
    method: str

    @property
    def detectable(self) -> float:
        """The minimum detectable difference: 80 % power at a two-sided level of 5 %."""
        reach = float(special.ndtri(1 - _TAIL) + special.ndtri(_POWER)) * self.error
        return reach if reach > 0 else math.nan

    def to_json(self) -> dict[str, float | str | None]:
        """Return the fields for strict JSON; nan becomes null."""
        return {name: plain(x) for name, x in vars(self).items()} | {
            "detectable": plain(self.detectable)
        }


def plain(value: Any) -> Any:
    """Return a number for strict JSON: nan and infinity as None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def mcnemar(first_right: BoolArray, second_right: BoolArray) -> float:
    """Return the p-value of McNemar's exact test (McNemar 1947; two-sided binomial).

    Args:
        first_right: (n,) whether the first classifier is correct.
        second_right: (n,) the same for the second.

    Returns:
        In (0, 1]; 1 where both are correct on the same images.
    """
    from scipy import stats

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    if not only_first + only_second:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def patient_test(first_right: BoolArray, second_right: BoolArray, cluster: IntArray) -> float:
    """Return the exact p-value of a permutation test that swaps the predictions per patient.

    If both are equally good, each patient's sum of (second correct - first correct) has either
    sign with the same probability (Fisher's randomisation test with patients as units). All
    2^patients assignments are counted by convolution, not sampled. With one image per patient this
    is McNemar's exact test.

    Args:
        first_right: (n,) whether the first classifier is correct.
        second_right: (n,) the same for the second.
        cluster: (n,) number of the patient, from 0.

    Returns:
        In (0, 1]; 1 where the sums cancel or there is no difference.
    """
    gains = second_right.astype(np.int64) - first_right.astype(np.int64)
    sums = np.bincount(cluster, gains).round().astype(np.int64)
    steps = np.abs(sums[sums != 0])
    probabilities = np.ones(1)
    for step in steps:
        wider = np.zeros(len(probabilities) + 2 * step)
        wider[: len(probabilities)] += probabilities / 2
        wider[2 * step :] += probabilities / 2
        probabilities = wider
    totals = np.arange(len(probabilities)) - steps.sum()
    return min(1.0, float(probabilities[np.abs(totals) >= abs(sums.sum())].sum()))


def auroc_difference(
    positive: BoolArray, first: FloatArray, second: FloatArray, cluster: IntArray
) -> Difference:
    """Compare two AUROCs on the same images (DeLong 1988; patients: Obuchowski 1997).

    An AUROC is a mean of structural components, one per image. The difference of two AUROCs, or
    of two means over seeds, is the mean of the differences of components; its variance is summed
    over patients.

    Args:
        positive: (n,) true for positives.
        first: (runs, n) scores of one classifier, or of several seeds.
        second: (other runs, n) scores of the other.
        cluster: (n,) number of the patient, from 0.

    Returns:
        Mean AUROC of the second minus that of the first; all nan without positives or negatives,
        no interval and p = 1 where no pair of images is ranked differently.
    """
    method = metrics.named("paired DeLong", cluster)
    if positive.all() or not positive.any():
        return Difference(math.nan, math.nan, math.nan, math.nan, math.nan, "undefined")
    difference = _components(positive, second) - _components(positive, first)
    value = float(difference[positive].mean())
    variance = metrics.clustered_variance(positive, difference - value, cluster)
    if not variance > 0:
        p = 1.0 if variance == 0 and value == 0 else math.nan
        return Difference(value, math.nan, math.nan, p, math.nan, f"{method}, no variation")
    error = math.sqrt(variance)
    reach = float(special.ndtri(1 - _TAIL)) * error
    p = 2 * float(special.ndtr(-abs(value) / error))
    return Difference(value, max(-1.0, value - reach), min(1.0, value + reach), p, error, method)


def mean_auroc_difference(
    targets: NDArray[np.float32], first: FloatArray, second: FloatArray, cluster: IntArray
) -> Difference:
    """Compare the means of the AUROC over several labels, each on the images where it is known.

    The influence of an image on a mean is the mean of its influences on the AUROCs, which are
    DeLong's structural components. They are summed over patients, so that labels that a patient
    has together are no independent evidence.

    Args:
        targets: (n, labels): above 0 present, 0 absent, below 0 unknown.
        first: (runs, n, labels) probabilities of one classifier, or of several seeds.
        second: (other runs, n, labels) probabilities of the other.
        cluster: (n,) number of the patient, from 0.

    Returns:
        Mean of the second minus that of the first, with a t interval; all nan where a label has a
        single known value, no interval and p = 1 where no pair of images is ranked differently.
    """
    method = metrics.named("paired DeLong, mean over labels", cluster)
    truth, known = targets > 0, targets >= 0
    if not ((truth & known).any(axis=0) & (~truth & known).any(axis=0)).all():
        return Difference(math.nan, math.nan, math.nan, math.nan, math.nan, "undefined")
    influence, values = np.zeros(len(targets)), []
    for k, rows in enumerate(map(np.flatnonzero, known.T)):
        ends = (
            metrics.influences.mean(
                [metrics.influences.of_auroc(truth[rows, k], run[rows, k]) for run in runs]
            )
            for runs in (first, second)
        )
        one, other = ends
        influence[rows] += (other.influence - one.influence) / targets.shape[1]
        values.append(other.value - one.value)
    value = float(np.mean(values))
    error, freedom = metrics.standard_error(influence, cluster)
    if not error > 0:
        p = 1.0 if error == 0 and value == 0 else math.nan
        return Difference(value, math.nan, math.nan, p, math.nan, f"{method}, no variation")
    low, high = metrics.t_interval(value, error, freedom, "plain")
    p = 2 * float(special.stdtr(freedom, -abs(value) / error))
    return Difference(value, max(-1.0, low), min(1.0, high), p, error, method)


def _components(positive: BoolArray, scores: FloatArray) -> FloatArray:
    """Return the structural components of the mean AUROC over runs, (n,), of scores (runs, n)."""
    return np.asarray(np.mean([metrics.components(positive, run) for run in scores], axis=0))


def figures(
    labels: IntArray,
    outputs: Outputs,
    positive: int | None,
    weights: FloatArray,
    task: Task = CLASSES,
) -> Figures:
    """Compute the compared metrics under every row of weights.

    Args:
        labels: (n,) true class indices.
        outputs: Of one classifier.
        positive: Index of the positive class; None for means over all classes.
        weights: (rows, n) sample weights.
        task: Grades have metrics of their own.

    Returns:
        Metrics by name, each (rows,).
    """
    given = outputs.probabilities
    classes = range(given.shape[1]) if positive is None else (positive,)
    confusion = metrics.confusion_matrix(labels, outputs.decisions, given.shape[1], weights)
    areas = [metrics.rank(labels == k, given[:, k]).cut(weights).auroc() for k in classes]
    total = weights.sum(axis=1)
    of_grades = (
        {
            "quadratic_kappa": metrics.quadratic_kappa(confusion),
            "mean_absolute_error": metrics.mean_absolute_error(confusion),
        }
        if task.is_ordinal
        else {}
    )
    return {
        **of_grades,
        "auroc": np.mean(areas, axis=0),
        "accuracy": metrics.accuracy(confusion),
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
        "sensitivity": metrics.sensitivity(confusion)[:, list(classes)].mean(axis=1),
        "specificity": metrics.specificity(confusion)[:, list(classes)].mean(axis=1),
        "brier": metrics.ratio(weights @ metrics.squared_errors(labels, given), total),
        "log_loss": metrics.ratio(weights @ metrics.log_losses(labels, given), total),
    }


def value_figures(
    values: FloatArray, outputs: Outputs, cluster: IntArray, weights: FloatArray
) -> Figures:
    """Compute the compared metrics of numbers under every row of weights.

    Args:
        values: (n,) true numbers.
        outputs: Of one classifier, with ``predicted``.
        cluster: (n,) number of the patient, from 0.
        weights: (rows, n) sample weights.

    Returns:
        "mean_absolute_error", "root_mean_squared_error", "r2", "concordance" and
        "interval_coverage" (every patient has the same weight; nan without intervals), each
        (rows,).
    """
    if outputs.predicted is None:
        raise ValueError("these are no outputs of a classifier of numbers")
    found = metrics.value_figures(values, outputs.predicted, weights)
    ends, coverage = outputs.intervals, np.full(len(weights), math.nan)
    if ends is not None:
        covered = inside(values, ends)
        of_patients = weights / np.bincount(cluster)[cluster]
        coverage = of_patients @ covered.astype(np.float64) / of_patients.sum(axis=1)
    return {**found, "interval_coverage": coverage}


def replicated(
    labels: IntArray,
    runs: Mapping[str, Outputs],
    positive: int | None,
    cluster: IntArray,
    task: Task = CLASSES,
    values: FloatArray | None = None,
) -> dict[str, tuple[Figures, Figures]]:
    """Compute the metrics of every run and their replicates under the same bootstrap samples.

    Args:
        labels: (n,) true class indices.
        runs: Outputs by name.
        positive: Index of the positive class, or None.
        cluster: (n,) number of the patient, from 0.
        task: What the runs answer.
        values: (n,) true numbers, where these are predicted; labels are then unused.

    Returns:
        By name the metrics (1,) and their replicates (REPLICATES,): replicate i has the same
        patients in every run, so differences are paired.
    """

    def of(outputs: Outputs, weights: FloatArray) -> Figures:
        if values is not None:
            return value_figures(values, outputs, cluster, weights)
        return figures(labels, outputs, positive, weights, task)

    once = np.ones((1, len(labels)))
    drawn: dict[str, list[Figures]] = {name: [] for name in runs}
    for weights in metrics.bootstrap_weights(cluster, REPLICATES):
        for name, outputs in runs.items():
            drawn[name].append(of(outputs, weights))
    return {
        name: (
            of(outputs, once),
            {key: np.concatenate([batch[key] for batch in drawn[name]]) for key in drawn[name][0]},
        )
        for name, outputs in runs.items()
    }


def bootstrapped(value: float, replicates: NDArray[np.float64], cluster: IntArray) -> Difference:
    """Turn a difference and its paired replicates into an interval and a p-value.

    The p-value is twice the share of replicates beyond 0 (Efron & Tibshirani 1993, section 15.4),
    so it is below 0.05 where the percentile interval excludes 0.

    Args:
        value: The difference.
        replicates: (replicates,) its bootstrap replicates; nan where undefined.
        cluster: (n,) number of the patient.

    Returns:
        The difference; without interval where fewer than half of the replicates are defined or
        they do not vary.
    """
    method = "paired patient bootstrap" if metrics.clustered(cluster) else "paired bootstrap"
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
