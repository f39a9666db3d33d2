"""Influence of each image on a metric, from which variances over patients are computed.

An influence is the derivative of a metric with respect to the weight of one image (Hampel 1974;
Efron 1982, the infinitesimal jackknife). The influence of a mean of metrics is the mean of their
influences, so one interval serves metrics of one class and means over classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lucency.metrics.arrays import BoolArray, FloatArray, IntArray
from lucency.metrics.decisions import confusion_matrix, mcc
from lucency.metrics.intervals import NO_CLUSTER, Linear
from lucency.metrics.scores import rank

_HALF = 0.5  # count added per class to its correct cell, and to its wrong cells together


@dataclass(frozen=True)
class WeightedDecisions:
    """Labels and decisions, with half a count added to each cell of the confusion matrix.

    A class without a mistake has a variance of 0, and a likelihood ratio may divide by 0. Adding
    half a count to each cell (Haldane 1956, Anscombe 1956) corrects both.

    Attributes:
        labels: (n,) true class indices.
        decisions: (n,) decided class indices.
        weights: (n,) sample weights.
        cluster: (n,) number of the patient, from 0; NO_CLUSTER for the added counts.
    """

    labels: IntArray
    decisions: IntArray
    weights: FloatArray
    cluster: IntArray


def add_half_counts(
    labels: IntArray, decisions: IntArray, cluster: IntArray, classes: int
) -> WeightedDecisions:
    """Add half a correct decision per class, and half a wrong one over the other classes."""
    truth, decided = np.divmod(np.arange(classes**2), classes)
    added = np.where(truth == decided, _HALF, _HALF / max(1, classes - 1))
    return WeightedDecisions(
        np.append(labels, truth),
        np.append(decisions, decided),
        np.append(np.ones(len(labels)), added),
        np.append(cluster, np.full(classes**2, NO_CLUSTER)),
    )


def mean(parts: Sequence[Linear]) -> Linear:
    """Return the linearised mean of linearised metrics."""
    return Linear(
        float(np.mean([part.value for part in parts])),
        np.mean([part.influence for part in parts], axis=0),
    )


def of_mean(terms: FloatArray) -> Linear:
    """Linearise the mean of (n,) terms, one of each image."""
    value = float(terms.mean())
    return Linear(value, (terms - value) / len(terms))


def _of_share(given: WeightedDecisions, hits: BoolArray, among: BoolArray) -> Linear:
    total = given.weights @ among
    share = float(given.weights @ (hits & among) / total)
    return Linear(share, _weighed(given, among * (hits - share) / total))


def _weighed(given: WeightedDecisions, influence: FloatArray) -> FloatArray:
    """Scale so that half a count has half the variance of an image."""
    return np.asarray(np.sqrt(given.weights) * influence)


def of_sensitivity(given: WeightedDecisions, k: int) -> Linear:
    """Linearise the sensitivity of class ``k``."""
    return _of_share(given, given.decisions == k, given.labels == k)


def of_specificity(given: WeightedDecisions, k: int) -> Linear:
    """Linearise the specificity of class ``k``."""
    return _of_share(given, given.decisions != k, given.labels != k)


def of_ppv(given: WeightedDecisions, k: int) -> Linear:
    """Linearise the positive predictive value of class ``k``."""
    return _of_share(given, given.labels == k, given.decisions == k)


def of_npv(given: WeightedDecisions, k: int) -> Linear:
    """Linearise the negative predictive value of class ``k``."""
    return _of_share(given, given.labels != k, given.decisions != k)


def of_f1(given: WeightedDecisions, k: int) -> Linear:
    """Linearise F1 of class ``k``: 2 tp / (images of the class + decisions for it)."""
    true, decided = given.labels == k, given.decisions == k
    hits, counted = 2.0 * (true & decided), true.astype(float) + decided
    total = given.weights @ counted
    value = float(given.weights @ hits / total)
    return Linear(value, _weighed(given, (hits - value * counted) / total))


def of_lr_plus(given: WeightedDecisions, k: int) -> Linear:
    """Linearise the positive likelihood ratio of class ``k``, sensitivity / (1 - specificity)."""
    hit, spared = of_sensitivity(given, k), of_specificity(given, k)
    value, alarm = hit.value / (1 - spared.value), 1 - spared.value
    return Linear(value, value * (hit.influence / hit.value + spared.influence / alarm))


def of_lr_minus(given: WeightedDecisions, k: int) -> Linear:
    """Linearise the negative likelihood ratio of class ``k``, (1 - sensitivity) / specificity."""
    hit, spared = of_sensitivity(given, k), of_specificity(given, k)
    missed = 1 - hit.value
    value = missed / spared.value
    return Linear(value, -value * (hit.influence / missed + spared.influence / spared.value))


def of_mcc(given: WeightedDecisions, classes: int) -> Linear:
    """Linearise Matthews' correlation of all classes."""
    table = confusion_matrix(given.labels, given.decisions, classes, given.weights)
    truths, decided, n = table.sum(1), table.sum(0), table.sum()
    value = float(mcc(table))
    spreads = n**2 - truths @ truths, n**2 - decided @ decided
    covariance = n * np.eye(classes) + np.trace(table) - truths - decided[:, None]
    cells = covariance / math.sqrt(spreads[0] * spreads[1]) - value * (
        (n - truths)[:, None] / spreads[0] + (n - decided) / spreads[1]
    )
    return Linear(value, _weighed(given, cells[given.labels, given.decisions]))


def of_quadratic_kappa(labels: IntArray, decisions: IntArray) -> Linear:
    """Linearise Cohen's kappa with quadratic weights, of (n,) grades 0, 1, 2, ...

    The value is nan where all labels and decisions are one grade.
    """
    return of_concordance(labels.astype(np.float64), decisions.astype(np.float64))


def of_concordance(true: FloatArray, given: FloatArray) -> Linear:
    """Linearise Lin's concordance correlation of (n,) numbers; of grades it is quadratic kappa.

    The value is nan where all numbers are equal.
    """
    squares, means = (true - given) ** 2, (true.mean(), given.mean())
    # The squared difference of two independent numbers is the mean of these, less a constant.
    chances = true**2 + given**2 - 2 * (true * means[1] + means[0] * given)
    square, chance = squares.mean(), chances.mean() + 2 * means[0] * means[1]
    if not chance > 0:
        return Linear(math.nan, np.zeros(len(true)))
    change = (square - squares) / chance + square / chance**2 * (chances - chances.mean())
    return Linear(float(1 - square / chance), change / len(true))


def components(positive: BoolArray, scores: FloatArray) -> FloatArray:
    """Return DeLong's structural components, (n,).

    The component of an image is the share of the other class that it is ranked correctly against.
    """
    overall = _midranks(scores)
    share = np.empty(len(scores))
    for members in (positive, ~positive):
        share[members] = (overall[members] - _midranks(scores[members])) / (~members).sum()
    return np.where(positive, share, 1 - share)


def _midranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1; equal values share their mean rank."""
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[level])


def of_auroc(labels: ArrayLike, scores: FloatArray) -> Linear:
    """Linearise the AUROC of (n,) labels with both classes, by DeLong's structural components."""
    positive = np.asarray(labels, bool)
    share = components(positive, scores)
    value = float(share[positive].mean())
    return Linear(value, (share - value) / np.where(positive, positive.sum(), (~positive).sum()))


def of_average_precision(labels: ArrayLike, scores: FloatArray) -> Linear:
    """Linearise the average precision of (n,) labels with a positive.

    An image contributes as a positive itself, and through the precision at every positive that
    does not score higher.
    """
    ranking = rank(labels, scores)
    cuts = ranking.cut()
    accepted, gained = cuts.tp + cuts.fp, np.diff(cuts.tp, prepend=0)
    precision, total = cuts.tp / accepted, cuts.tp[-1]
    value = float(gained @ precision / total)
    added, taken = (
        np.cumsum(x[::-1])[::-1] for x in (gained / accepted, gained * precision / accepted)
    )
    level = np.searchsorted(ranking.ends, np.arange(len(ranking.order)))
    own = ranking.positives * (precision[level] - value + added[level])
    influence = np.empty(len(ranking.order))
    influence[ranking.order] = (own - taken[level]) / total
    return Linear(value, influence)
