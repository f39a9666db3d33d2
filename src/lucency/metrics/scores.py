"""Figures of scores: rankings cut at every threshold, and probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lucency.metrics.arrays import BoolArray, FloatArray, IntArray, ratio

_SMALLEST = 1e-15  # the probability below which a log loss no longer grows


@dataclass(frozen=True)
class Cuts:
    """True and false positives as the threshold falls from one distinct score to the next.

    Attributes:
        tp: (..., levels) weight of the positives accepted; the last column is all of them.
        fp: (..., levels) weight of the negatives accepted.
    """

    tp: FloatArray
    fp: FloatArray

    def auroc(self) -> FloatArray:
        """Return the chance that a positive scores above a negative, ties half, (...)."""
        # np.trapezoid starts at the first level; the triangle before it comes from (0, 0).
        area = np.trapezoid(self.tp, self.fp, axis=-1) + self.tp[..., 0] * self.fp[..., 0] / 2
        return ratio(area, self.tp[..., -1] * self.fp[..., -1])

    def average_precision(self) -> FloatArray:
        """Return the mean precision over the positives, without interpolation, (...)."""
        gained = np.diff(self.tp, axis=-1, prepend=0)
        accepted = np.maximum(self.tp + self.fp, np.finfo(float).tiny)  # 0 where all weigh nothing
        return ratio((gained * self.tp / accepted).sum(-1), self.tp[..., -1])

    def tpr_at(self, fpr: FloatArray) -> FloatArray:
        """Return the ROC curve's height at each ``fpr``: (rows, points); a step's upper end."""
        tp, fp = (np.pad(np.atleast_2d(x), ((0, 0), (1, 0))) for x in (self.tp, self.fp))
        # Rounded because 0.29 * 100 < 29, which would land below the step at 29.
        where = np.round(fpr * fp[:, -1:], 9)
        heights = [np.interp(*row) for row in zip(where, fp, tp, strict=True)]
        defined = tp[:, -1:] * (fp[:, -1:] > 0)
        return ratio(np.array(heights), defined)

    def precision_at(self, recall: FloatArray) -> FloatArray:
        """Return the precision where each ``recall`` is first reached: (rows, points).

        At a recall of 0 that is the precision with which the first positive is found.
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
    """Images in falling order of score, sorted once and cut under many weights.

    Attributes:
        order: (n,) image indices, highest score first.
        positives: (n,) whether each is positive, in that order.
        ends: (levels,) last position of each run of equal scores.
        thresholds: (levels,) the distinct scores, falling.
    """

    order: IntArray
    positives: BoolArray
    ends: IntArray
    thresholds: FloatArray

    def cut(self, weights: FloatArray | None = None) -> Cuts:
        """Count under ``weights`` (..., n); every image once when left out."""
        counted = np.ones(len(self.order)) if weights is None else weights[..., self.order]
        tp = np.cumsum(counted * self.positives, axis=-1)[..., self.ends]
        return Cuts(tp, np.cumsum(counted, axis=-1)[..., self.ends] - tp)


def rank(labels: ArrayLike, scores: ArrayLike) -> Ranking:
    """Sort images by score.

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.

    Returns:
        The ranking, in which equal scores share a level.
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
        weights: (..., n) how often each image counts; once when left out.

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
        at an infinite threshold to (1, 1); a rate without members is nan.
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
    """Return each image's term of the Brier score.

    Args:
        labels: (n,) true class indices.
        probabilities: (n, classes), rows sum to 1.

    Returns:
        (n,): the squared distance to the truth, in [0, 2]; halved for two classes, where it is
        then the usual (p - y)^2 in [0, 1].
    """
    truth = np.eye(probabilities.shape[1])[np.asarray(labels, np.int64)]
    distance = ((probabilities - truth) ** 2).sum(1)
    return np.asarray(distance / 2 if probabilities.shape[1] == 2 else distance)


def log_losses(labels: ArrayLike, probabilities: FloatArray) -> FloatArray:
    """Return -ln of the probability given to each truth, (n,); at most -ln 1e-15 = 34.5."""
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
