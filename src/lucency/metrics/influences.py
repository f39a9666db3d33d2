"""How much each image moves a figure: what its variance over patients is made of.

An influence is the derivative of a figure to the weight of one image (Hampel 1974; Efron 1982, the
infinitesimal jackknife). The influence of a mean of figures is the mean of their influences, so one
interval serves figures of one class and means over classes alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lucency.metrics.arrays import BoolArray, FloatArray, IntArray
from lucency.metrics.decisions import confusion_matrix, mcc
from lucency.metrics.intervals import NOBODY, Linear
from lucency.metrics.scores import rank

_HALF = 0.5  # image added to each cell of a table, and spread over the wrong ones of many classes


@dataclass(frozen=True)
class Decided:
    """Decisions beside the truth, and half an image more of each kind.

    A class without a mistake would have a variance of 0, and a likelihood ratio a division by 0.
    Half an image more in each cell (Haldane 1956, Anscombe 1956) mends both.

    Attributes:
        labels: (n,) true class indices.
        decisions: (n,) decided class indices.
        weights: (n,) how much each image counts.
        owner: (n,) number of the patient, from 0; NOBODY of what is added.
    """

    labels: IntArray
    decisions: IntArray
    weights: FloatArray
    owner: IntArray


def with_halves(labels: IntArray, decisions: IntArray, owner: IntArray, classes: int) -> Decided:
    """Add half a right image to each class, and half a wrong one spread over the other classes."""
    truth, decided = np.divmod(np.arange(classes**2), classes)
    added = np.where(truth == decided, _HALF, _HALF / max(1, classes - 1))
    return Decided(
        np.append(labels, truth),
        np.append(decisions, decided),
        np.append(np.ones(len(labels)), added),
        np.append(owner, np.full(classes**2, NOBODY)),
    )


def mean(parts: Sequence[Linear]) -> Linear:
    """Return the mean of figures."""
    return Linear(
        float(np.mean([part.value for part in parts])),
        np.mean([part.influence for part in parts], axis=0),
    )


def of_mean(terms: FloatArray) -> Linear:
    """Linearise the mean of the images' terms, (n,)."""
    value = float(terms.mean())
    return Linear(value, (terms - value) / len(terms))


def _of_share(given: Decided, hits: BoolArray, among: BoolArray) -> Linear:
    total = given.weights @ among
    share = float(given.weights @ (hits & among) / total)
    return Linear(share, _weighed(given, among * (hits - share) / total))


def _weighed(given: Decided, influence: FloatArray) -> FloatArray:
    """Give half an image half the variance of one."""
    return np.asarray(np.sqrt(given.weights) * influence)


def of_sensitivity(given: Decided, k: int) -> Linear:
    """Linearise the sensitivity of class ``k``."""
    return _of_share(given, given.decisions == k, given.labels == k)


def of_specificity(given: Decided, k: int) -> Linear:
    """Linearise the specificity of class ``k``."""
    return _of_share(given, given.decisions != k, given.labels != k)


def of_ppv(given: Decided, k: int) -> Linear:
    """Linearise the positive predictive value of class ``k``."""
    return _of_share(given, given.labels == k, given.decisions == k)


def of_npv(given: Decided, k: int) -> Linear:
    """Linearise the negative predictive value of class ``k``."""
    return _of_share(given, given.labels != k, given.decisions != k)


def of_f1(given: Decided, k: int) -> Linear:
    """Linearise F1 of class ``k``: 2 tp over the images that are it plus those decided to be."""
    true, decided = given.labels == k, given.decisions == k
    hits, named = 2.0 * (true & decided), true.astype(float) + decided
    total = given.weights @ named
    value = float(given.weights @ hits / total)
    return Linear(value, _weighed(given, (hits - value * named) / total))


def of_lr_plus(given: Decided, k: int) -> Linear:
    """Linearise the positive likelihood ratio of class ``k``, sensitivity / (1 - specificity)."""
    hit, spared = of_sensitivity(given, k), of_specificity(given, k)
    value, alarm = hit.value / (1 - spared.value), 1 - spared.value
    return Linear(value, value * (hit.influence / hit.value + spared.influence / alarm))


def of_lr_minus(given: Decided, k: int) -> Linear:
    """Linearise the negative likelihood ratio of class ``k``, (1 - sensitivity) / specificity."""
    hit, spared = of_sensitivity(given, k), of_specificity(given, k)
    missed = 1 - hit.value
    value = missed / spared.value
    return Linear(value, -value * (hit.influence / missed + spared.influence / spared.value))


def of_mcc(given: Decided, classes: int) -> Linear:
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


def components(positive: BoolArray, scores: FloatArray) -> FloatArray:
    """Return for each image the share of the other class that it is ranked right against, (n,)."""
    overall = _midranks(scores)
    share = np.empty(len(scores))
    for members in (positive, ~positive):
        share[members] = (overall[members] - _midranks(scores[members])) / (~members).sum()
    return np.where(positive, share, 1 - share)


def _midranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1, equal values sharing their mean rank."""
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[level])


def of_auroc(labels: ArrayLike, scores: FloatArray) -> Linear:
    """Linearise the AUROC of (n,) labels, both classes present: DeLong's structural components."""
    positive = np.asarray(labels, bool)
    share = components(positive, scores)
    value = float(share[positive].mean())
    return Linear(value, (share - value) / np.where(positive, positive.sum(), (~positive).sum()))


def of_average_precision(labels: ArrayLike, scores: FloatArray) -> Linear:
    """Linearise the average precision of (n,) labels with a positive.

    An image moves it as a positive of its own, and by changing the precision at every positive
    that scores no higher.
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
