"""Decisions and their figures, from a confusion matrix with any number of leading axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lucency.errors import ConfigError
from lucency.metrics.arrays import FloatArray, IntArray, ratio


def decide(
    probabilities: FloatArray, positive_index: int | None, threshold: float | None
) -> IntArray:
    """Decide one class for each image.

    Args:
        probabilities: (n, classes), rows sum to 1.
        positive_index: The positive one of two classes; None for the most probable class.
        threshold: The positive class is decided at this probability or above; unused without one.

    Returns:
        (n,) class indices; of equally probable classes the first.

    Raises:
        ConfigError: There is a positive class and no threshold.
    """
    if positive_index is None:
        return np.asarray(probabilities.argmax(axis=1), np.int64)
    if threshold is None:
        raise ConfigError("A positive class needs a threshold between 0 and 1. Received: None.")
    accepted = probabilities[:, positive_index] >= threshold
    return np.where(accepted, positive_index, 1 - positive_index).astype(np.int64)


def confusion_matrix(
    labels: ArrayLike, decisions: ArrayLike, classes: int, weights: FloatArray | None = None
) -> FloatArray:
    """Count every pair of truth and decision.

    Args:
        labels: (n,) true class indices in 0..classes-1.
        decisions: (n,) decided class indices.
        classes: The number of classes.
        weights: (..., n) how often each image counts; once when left out.

    Returns:
        (..., classes, classes), rows = truth, columns = decision.
    """
    cells = np.asarray(labels, np.int64) * classes + np.asarray(decisions, np.int64)
    counted = np.ones(len(cells)) if weights is None else weights
    order = np.argsort(cells, kind="stable")
    present, starts = np.unique(cells[order], return_index=True)
    matrix = np.zeros((*counted.shape[:-1], classes * classes))
    if len(present):
        matrix[..., present] = np.add.reduceat(counted[..., order], starts, axis=-1)
    return matrix.reshape(*counted.shape[:-1], classes, classes)


def _one_vs_rest(confusion: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return tp, fn, fp, tn of every class, each (..., classes)."""
    tp = np.diagonal(confusion, axis1=-2, axis2=-1)
    fn, fp = confusion.sum(-1) - tp, confusion.sum(-2) - tp
    return tp, fn, fp, confusion.sum((-2, -1))[..., None] - tp - fn - fp


def accuracy(confusion: FloatArray) -> FloatArray:
    """Return the share of right decisions, (...) from (..., classes, classes)."""
    return ratio(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def sensitivity(confusion: FloatArray) -> FloatArray:
    """Return tp / (tp + fn) of each class against the rest, (..., classes)."""
    tp, fn, _, _ = _one_vs_rest(confusion)
    return ratio(tp, tp + fn)


def specificity(confusion: FloatArray) -> FloatArray:
    """Return tn / (tn + fp) of each class against the rest, (..., classes)."""
    _, _, fp, tn = _one_vs_rest(confusion)
    return ratio(tn, tn + fp)


def ppv(confusion: FloatArray) -> FloatArray:
    """Return the positive predictive value tp / (tp + fp) of each class, (..., classes)."""
    tp, _, fp, _ = _one_vs_rest(confusion)
    return ratio(tp, tp + fp)


def npv(confusion: FloatArray) -> FloatArray:
    """Return the negative predictive value tn / (tn + fn) of each class, (..., classes)."""
    _, fn, _, tn = _one_vs_rest(confusion)
    return ratio(tn, tn + fn)


def f1(confusion: FloatArray) -> FloatArray:
    """Return 2 tp / (2 tp + fp + fn) of each class, (..., classes)."""
    tp, fn, fp, _ = _one_vs_rest(confusion)
    return ratio(2 * tp, 2 * tp + fp + fn)


def lr_plus(confusion: FloatArray) -> FloatArray:
    """Return sensitivity / (1 - specificity) of each class, (..., classes).

    By so much a decision for the class multiplies its odds. Infinite when no other image is
    decided to be it, nan when it or the rest is absent or no image at all is decided to be it.
    """
    return _quotient(sensitivity(confusion), 1 - specificity(confusion))


def lr_minus(confusion: FloatArray) -> FloatArray:
    """Return (1 - sensitivity) / specificity of each class, (..., classes).

    By so much a decision against the class multiplies its odds. Infinite when every other image is
    decided to be it, nan when it or the rest is absent or every image is decided to be it.
    """
    return _quotient(1 - sensitivity(confusion), specificity(confusion))


def _quotient(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide; x/0 is infinite and 0/0 nan without a warning."""
    return np.where((whole == 0) & (part > 0), np.inf, ratio(part, whole))


def balanced_accuracy(confusion: FloatArray) -> FloatArray:
    """Return the mean sensitivity over all classes, (...); nan when one of them is absent."""
    return np.asarray(sensitivity(confusion).mean(-1))


def mcc(confusion: FloatArray) -> FloatArray:
    """Return Matthews' correlation for any number of classes (Gorodkin 2004), (...).

    It is nan when all truths or all decisions are one class (scikit-learn says 0 there).
    """
    truths, decided, total = confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))
    covariance = np.trace(confusion, axis1=-2, axis2=-1) * total - (truths * decided).sum(-1)
    spread = (total**2 - (truths**2).sum(-1)) * (total**2 - (decided**2).sum(-1))
    return ratio(covariance, np.sqrt(spread))
