"""Metrics of scores at every threshold, and of probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lucency.metrics.arrays import BoolArray, FloatArray, IntArray, ratio

_SMALLEST = 1e-15  # smaller probabilities are clipped in the log loss


@dataclass(frozen=True)
class Cuts:
    """True and false positives at every threshold, from the highest score to the lowest.

    Attributes:
        tp: (..., levels) weight of the true positives; the last column holds all positives.
        fp: (..., levels) weight of the false positives.
    """

    tp: FloatArray
    fp: FloatArray

    def auroc(self) -> FloatArray:
        """Return the probability that a positive outranks a negative, ties counting half, (...)."""
        # np.trapezoid starts at the first level; the triangle before it comes from (0, 0).
        area = np.trapezoid(self.tp, self.fp, axis=-1) + self.tp[..., 0] * self.fp[..., 0] / 2
        return ratio(area, self.tp[..., -1] * self.fp[..., -1])

    def average_precision(self) -> FloatArray:
        """Return the average precision, without interpolation, (...)."""
        gained = np.diff(self.tp, axis=-1, prepend=0)
        accepted = np.maximum(self.tp + self.fp, np.finfo(float).tiny)  # 0 where all weights are 0
        return ratio((gained * self.tp / accepted).sum(-1), self.tp[..., -1])

    def tpr_at(self, fpr: FloatArray) -> FloatArray:
        """Return the true positive rate at each ``fpr``, (rows, points), at the top of steps."""
        tp, fp = (np.pad(np.atleast_2d(x), ((0, 0), (1, 0))) for x in (self.tp, self.fp))
        # Rounded because 0.29 * 100 < 29, which would fall below the step at 29.
        where = np.round(fpr * fp[:, -1:], 9)
        heights = [np.interp(*row) for row in zip(where, fp, tp, strict=True)]
        defined = tp[:, -1:] * (fp[:, -1:] > 0)
        return ratio(np.array(heights), defined)

    def precision_at(self, recall: FloatArray) -> FloatArray:
        """Return the precision where each ``recall`` is first reached: (rows, points).

        At a recall of 0 this is the precision at the first true positive.
        """
        tp, fp = np.atleast_2d(self.tp), np.atleast_2d(self.fp)
        wanted = np.maximum(np.round(recall * tp[:, -1:], 9), np.finfo(float).tiny)
        last = tp.shape[1] - 1
        first = np.array([np.searchsorted(*row) for row in zip(tp, wanted, strict=True)])
        first = np.minimum(first, last)
        hits, alarms = (np.take_along_axis(x, first, axis=1) for x in (tp, fp))
        return ratio(hits, (hits + alarms) * (hits > 0))


@dataclass(frozen=True)
class Ranking:
    """Images in descending order of score, sorted once for many sample weights.

    Attributes:
        order: (n,) image indices, highest score first.
        positives: (n,) whether each image is positive, in that order.
        ends: (levels,) last position of each run of equal scores.
        thresholds: (levels,) the distinct scores, descending.
    """

    order: IntArray
    positives: BoolArray
    ends: IntArray
    thresholds: FloatArray

    def cut(self, weights: FloatArray | None = None) -> Cuts:
        """Count under sample ``weights`` (..., n); 1 by default."""
        counted = np.ones(len(self.order)) if weights is None else weights[..., self.order]
        tp = np.cumsum(counted * self.positives, axis=-1)[..., self.ends]
        return Cuts(tp, np.cumsum(counted, axis=-1)[..., self.ends] - tp)


def rank(labels: ArrayLike, scores: ArrayLike) -> Ranking:
    """Sort images by score.

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.

    Returns:
        The ranking; equal scores share a level.
    """
    values = np.asarray(scores, np.float64)
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    return Ranking(order, np.asarray(labels, bool)[order], ends, falling[ends])


def auroc(labels: ArrayLike, scores: ArrayLike, weights: FloatArray | None = None) -> FloatArray:
    """Return the area under the ROC curve (Mann-Whitney, ties count half).

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.
        weights: (..., n) sample weights; 1 by default.

    Returns:
        (...) in [0, 1]; nan when positives or negatives are absent.
    """
    return rank(labels, scores).cut(weights).auroc()


def macro_auroc(labels: ArrayLike, probabilities: FloatArray) -> float:
    """Return the mean over all classes of the AUROC of each against the rest.

    Args:
        labels: (n,) true class indices; n >= 1.
        probabilities: (n, classes) finite scores, higher for the class.

    Returns:
        In [0, 1]; nan when a class is absent. For two classes it is the AUROC of either.
    """
    truth = np.asarray(labels)
    areas = [auroc(truth == k, scores) for k, scores in enumerate(probabilities.T)]
    return float(np.mean(areas))


def average_precision(
    labels: ArrayLike, scores: ArrayLike, weights: FloatArray | None = None
) -> FloatArray:
    """Return the average precision; arguments and shape as for ``auroc``, nan without positives."""
    return rank(labels, scores).cut(weights).average_precision()


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return every point of the ROC curve.

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.

    Returns:
        False positive rates, true positive rates and thresholds, each (levels + 1,), from (0, 0)
        at an infinite threshold to (1, 1); the rate of an absent class is nan.
    """
    ranking = rank(labels, scores)
    cuts = ranking.cut()
    fpr, tpr = (ratio(np.append(0.0, count), count[-1]) for count in (cuts.fp, cuts.tp))
    return fpr, tpr, np.append(np.inf, ranking.thresholds)


def pr_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return every point of the precision-recall curve.

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.

    Returns:
        Precision and recall (levels + 1,), the last pair (1, 0), and rising thresholds (levels,);
        recall is nan without positives.
    """
    ranking = rank(labels, scores)
    cuts = ranking.cut()
    precision, recall = ratio(cuts.tp, cuts.tp + cuts.fp), ratio(cuts.tp, cuts.tp[-1])
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), ranking.thresholds[::-1]


def squared_errors(labels: ArrayLike, probabilities: FloatArray) -> FloatArray:
    """Return the term of each image in the Brier score.

    Args:
        labels: (n,) true class indices.
        probabilities: (n, classes), rows sum to 1.

    Returns:
        (n,): the squared distance to the one-hot label, in [0, 2]; halved for two classes, where
        it is the usual (p - y)^2 in [0, 1].
    """
    truth = np.eye(probabilities.shape[1])[np.asarray(labels, np.int64)]
    distance = ((probabilities - truth) ** 2).sum(1)
    return np.asarray(distance / 2 if probabilities.shape[1] == 2 else distance)


def log_losses(labels: ArrayLike, probabilities: FloatArray) -> FloatArray:
    """Return -ln of the probability of each true class, (n,); at most -ln 1e-15 = 34.5."""
    truths = np.asarray(labels, np.int64)[:, None]
    given = np.take_along_axis(probabilities, truths, axis=1)[:, 0]
    return -np.log(np.clip(given, _SMALLEST, 1.0))


def brier(labels: ArrayLike, probabilities: FloatArray, weights: FloatArray | None = None) -> float:
    """Return the mean of ``squared_errors``, weighted by ``weights`` (n,); n >= 1."""
    return float(np.average(squared_errors(labels, probabilities), weights=weights))


def log_loss(
    labels: ArrayLike, probabilities: FloatArray, weights: FloatArray | None = None
) -> float:
    """Return the mean of ``log_losses``, weighted by ``weights`` (n,); n >= 1."""
    return float(np.average(log_losses(labels, probabilities), weights=weights))
