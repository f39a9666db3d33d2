"""Selective prediction: risk over coverage, conformal coverage, abstention."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from lucency import metrics
from lucency.calibration.conformal import Conformal, Threshold, expected_coverage, rank_of
from lucency.metrics import BoolArray, Estimate, FloatArray, IntArray, Ranking
from lucency.task import CLASSES, Task

COVERAGE = np.arange(1, 101) / 100
_DRAWS = 20_000


def risk_coverage(
    probabilities: FloatArray,
    labels: IntArray,
    decisions: IntArray,
    weights: Iterable[FloatArray],
) -> dict[str, list[float]]:
    """Return the error rate among the most confident predictions (El-Yaniv & Wiener 2010).

    Args:
        probabilities: (n, classes), rows sum to 1; n >= 1.
        labels: (n,) true class indices.
        decisions: (n,) decided class indices; their probability is the confidence.
        weights: Batches (rows, n) of ``metrics.bootstrap_weights``.

    Returns:
        "coverage" (0.01 to 1), "risk", and its 95 % band "low" and "high", 100 numbers each.
    """
    confidence = np.take_along_axis(probabilities, decisions[:, None], axis=1)[:, 0]
    ranking = metrics.rank(labels != decisions, confidence)
    value = _risk(ranking, np.ones((1, len(labels))))[0]
    low, high = metrics.percentiles(np.concatenate([_risk(ranking, rows) for rows in weights]))
    curves = {"coverage": COVERAGE, "risk": value, "low": low, "high": high}
    return {name: np.round(points, 6).tolist() for name, points in curves.items()}


def _risk(ranking: Ranking, rows: FloatArray) -> FloatArray:
    """Return the error rate at each coverage, (rows, points).

    Among equally confident predictions, errors are spread evenly.
    """
    cuts = ranking.cut(rows)
    wrong, accepted = (np.pad(x, ((0, 0), (1, 0))) for x in (cuts.tp, cuts.tp + cuts.fp))
    kept = COVERAGE * accepted[:, -1:]
    errors = [np.interp(*row) for row in zip(kept, accepted, wrong, strict=True)]
    return metrics.ratio(np.array(errors), kept)


def conformal_coverage(
    conformal: Conformal,
    probabilities: FloatArray,
    labels: IntArray,
    cluster: IntArray,
) -> list[dict[str, Any]]:
    """Measure the coverage of prediction sets; every patient has the same weight.

    Args:
        conformal: The thresholds, calibrated on other images.
        probabilities: (n, classes), rows sum to 1; n >= 1.
        labels: (n,) true class indices.
        cluster: (n,) number of the patient.

    Returns:
        Per threshold "alpha", "kind", "coverage" (an Estimate), "expected" ({"low", "high"}, its
        95 % range by chance), "mean_size", "singletons" and "empty" (shares of the images),
        "per_class" ("coverage" and "expected" of each class in order) and "unlimited" (indices of
        classes that are in every set because validation has too few patients of them).
    """
    return [_coverage_of(each, probabilities, labels, cluster) for each in conformal.thresholds]


def _coverage_of(
    threshold: Threshold, probabilities: FloatArray, labels: IntArray, cluster: IntArray
) -> dict[str, Any]:
    sets = threshold.sets(probabilities)
    covered = np.take_along_axis(sets, labels[:, None], axis=1)[:, 0]
    sizes = sets.sum(axis=1)
    members = [labels == k for k in range(probabilities.shape[1])]
    tested = [len(np.unique(cluster[mask])) for mask in members]
    if threshold.kind == "marginal":
        calibrated = threshold.patients[0]
        expected = expected_coverage(calibrated, len(np.unique(cluster)), threshold.alpha)
    else:
        expected = _expected_overall(threshold, members, cluster)
    return {
        "alpha": threshold.alpha,
        "kind": threshold.kind,
        "coverage": metrics.coverage(covered, cluster),
        "expected": _range(expected),
        "mean_size": float(sizes.mean()),
        "singletons": float((sizes == 1).mean()),
        "empty": float((sizes == 0).mean()),
        "per_class": [
            {
                "coverage": metrics.coverage(covered[mask], cluster[mask]),
                "expected": _range(_expected_of_class(threshold, k, tested[k])),
            }
            for k, mask in enumerate(members)
        ],
        "unlimited": [k for k, all_in in enumerate(threshold.unlimited) if all_in],
    }


def _range(ends: tuple[float, float] | None) -> dict[str, float] | None:
    return None if ends is None else {"low": ends[0], "high": ends[1]}


def _expected_of_class(threshold: Threshold, k: int, tested: int) -> tuple[float, float] | None:
    """Return the range by chance; None for a marginal threshold or an absent class."""
    if threshold.kind == "marginal" or not tested:
        return None
    return expected_coverage(threshold.patients[k], tested, threshold.alpha)


def _expected_overall(
    threshold: Threshold, members: list[BoolArray], cluster: IntArray
) -> tuple[float, float]:
    """Return the range by chance, by simulation, where each class has its own quantile."""
    generator = np.random.default_rng(0)
    weight = 1 / np.bincount(cluster)[cluster]
    total = np.zeros(_DRAWS)
    for k, mask in enumerate(members):
        patients = threshold.patients[k]
        order = rank_of(patients, threshold.alpha)
        tested = len(np.unique(cluster[mask]))
        covered = np.ones(_DRAWS)
        if tested and order <= patients:
            true = generator.beta(order, patients + 1 - order, _DRAWS)
            covered = generator.binomial(tested, true) / tested
        total += covered * weight[mask].sum()
    low, high = np.quantile(total / weight.sum(), [0.025, 0.975])
    return float(low), float(high)


def abstention(  # noqa: PLR0913 - each is an array of its own
    labels: IntArray,
    decisions: IntArray,
    sets: BoolArray,
    outside: BoolArray,
    positive: int | None,
    weights: Iterable[FloatArray],
    cluster: IntArray,
    *,
    task: Task = CLASSES,
) -> dict[str, Any]:
    """Evaluate the predictions that remain when the classifier abstains on doubtful images.

    A prediction is made when the image is in distribution and its set allows it: ``Task.is_clear``.

    Args:
        labels: (n,) true class indices.
        decisions: (n,) decided class indices.
        sets: (n, classes) prediction sets.
        outside: (n,) whether the image is out of distribution.
        positive: Index of the positive class; None for means over all classes.
        weights: Parts (rows, n) of ``metrics.bootstrap_weights``; unused with a positive class.
        cluster: (n,) number of the patient.
        task: Decides which sets are clear.

    Returns:
        "n", its parts "predicted", "out_of_distribution" and "ambiguous", and "metrics" of those
        predicted: Estimates "accuracy", "sensitivity", "specificity".
    """
    clear = task.is_clear(sets, decisions)
    predicted = clear & ~outside
    true, given, own = labels[predicted], decisions[predicted], cluster[predicted]
    if positive is None:
        rows = (batch[:, predicted] for batch in weights)
        rates = _mean_rates(true, given, sets.shape[1], rows)
    else:
        positives, found = true == positive, given == positive
        rates = {
            "sensitivity": metrics.proportion(found[positives], own[positives]),
            "specificity": metrics.proportion(~found[~positives], own[~positives]),
        }
    return {
        "n": len(labels),
        "predicted": int(predicted.sum()),
        "out_of_distribution": int(outside.sum()),
        "ambiguous": int((~clear & ~outside).sum()),
        "metrics": {"accuracy": metrics.proportion(true == given, own), **rates},
    }


def _mean_rates(
    labels: IntArray, decisions: IntArray, classes: int, weights: Iterable[FloatArray]
) -> dict[str, Estimate]:
    """Estimate the macro means of sensitivity and specificity, with a bootstrap."""
    tables = [metrics.confusion_matrix(labels, decisions, classes, rows) for rows in weights]
    table, drawn = metrics.confusion_matrix(labels, decisions, classes), np.concatenate(tables)
    estimates = {}
    for name, rate in (("sensitivity", metrics.sensitivity), ("specificity", metrics.specificity)):
        value = float(rate(table).mean())
        low, high = (float(end) for end in metrics.percentiles(rate(drawn).mean(axis=-1)))
        if math.isnan(value):
            estimates[name] = metrics.UNDEFINED
        elif low == high:  # a point would suggest certainty
            estimates[name] = Estimate(value, math.nan, math.nan, "bootstrap, no variation")
        else:
            estimates[name] = Estimate(value, low, high, "bootstrap")
    return estimates
