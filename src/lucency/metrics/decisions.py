"""Decisions, and metrics of a confusion matrix with any number of leading axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lucency.errors import ConfigError, nearest
from lucency.metrics.arrays import FloatArray, IntArray, ratio


def positive_index(classes: Sequence[str], positive: str | None) -> int | None:
    """Return the index of the positive class.

    Args:
        classes: Class names in order.
        positive: One of exactly two classes, or None.

    Returns:
        Its index, or None.

    Raises:
        ConfigError: It is not one of exactly two classes.
    """
    if positive is None:
        return None
    if positive not in classes or len(classes) != 2:
        raise ConfigError(
            f"The positive class must be one of exactly two classes; there are "
            f"{', '.join(classes)}. Received: {positive!r}.{nearest(positive, classes)}"
        )
    return list(classes).index(positive)


def decide(probabilities: FloatArray, positive: int | None, threshold: float | None) -> IntArray:
    """Decide on one class for each image.

    Args:
        probabilities: (n, classes), rows sum to 1.
        positive: Index of the positive class; None decides on the most probable class.
        threshold: Least probability of the positive class; unused without one.

    Returns:
        (n,) class indices; of equally probable classes the first.

    Raises:
        ConfigError: There is a positive class and no threshold.
    """
    if positive is None:
        return np.asarray(probabilities.argmax(axis=1), np.int64)
    if threshold is None:
        raise ConfigError("A positive class needs a threshold between 0 and 1. Received: None.")
    accepted = probabilities[:, positive] >= threshold
    return np.where(accepted, positive, 1 - positive).astype(np.int64)


def confusion_matrix(
    labels: ArrayLike, decisions: ArrayLike, classes: int, weights: FloatArray | None = None
) -> FloatArray:
    """Count images by true and decided class.

    Args:
        labels: (n,) true class indices in 0..classes-1.
        decisions: (n,) decided class indices.
        classes: The number of classes.
        weights: (..., n) sample weights; 1 by default.

    Returns:
        (..., classes, classes), rows are true classes, columns decided ones.
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
    """Return tp, fn, fp and tn of every class against the rest, each (..., classes)."""
    tp = np.diagonal(confusion, axis1=-2, axis2=-1)
    fn, fp = confusion.sum(-1) - tp, confusion.sum(-2) - tp
    return tp, fn, fp, confusion.sum((-2, -1))[..., None] - tp - fn - fp


def accuracy(confusion: FloatArray) -> FloatArray:
    """Return the share of correct decisions, (...) from (..., classes, classes)."""
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

    A decision for the class multiplies its odds by this ratio. It is infinite without false
    positives, and nan when the class or the rest is absent or no decision is for the class.
    """
    return _quotient(sensitivity(confusion), 1 - specificity(confusion))


def lr_minus(confusion: FloatArray) -> FloatArray:
    """Return (1 - sensitivity) / specificity of each class, (..., classes).

    A decision against the class multiplies its odds by this ratio. It is infinite without true
    negatives, and nan when the class or the rest is absent or every decision is for the class.
    """
    return _quotient(1 - sensitivity(confusion), specificity(confusion))


def _quotient(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide; x/0 is infinite and 0/0 nan without a warning."""
    return np.where((whole == 0) & (part > 0), np.inf, ratio(part, whole))


def balanced_accuracy(confusion: FloatArray) -> FloatArray:
    """Return the mean sensitivity over all classes, (...); nan when one of them is absent."""
    return np.asarray(sensitivity(confusion).mean(-1))


def quadratic_kappa(confusion: FloatArray) -> FloatArray:
    """Return Cohen's kappa with quadratic weights (Cohen 1968), (...), of grades 0, 1, 2, ...

    It is 1 minus the mean squared difference between true and decided grade, divided by the one
    that is expected by chance. It is nan when all truths and all decisions are one grade.
    """
    grades = np.arange(confusion.shape[-1])
    squares = (grades[:, None] - grades) ** 2
    by_chance = confusion.sum(-1)[..., :, None] * confusion.sum(-2)[..., None, :]
    chance = (by_chance * squares).sum((-2, -1))
    return np.asarray(
        1 - ratio((confusion * squares).sum((-2, -1)) * confusion.sum((-2, -1)), chance)
    )


def mean_absolute_error(confusion: FloatArray) -> FloatArray:
    """Return the mean number of grades between true and decided grade, (...)."""
    grades = np.arange(confusion.shape[-1])
    apart = abs(grades[:, None] - grades)
    return ratio((confusion * apart).sum((-2, -1)), confusion.sum((-2, -1)))


def mcc(confusion: FloatArray) -> FloatArray:
    """Return Matthews' correlation for any number of classes (Gorodkin 2004), (...).

    It is nan when all truths or all decisions are one class (scikit-learn returns 0).
    """
    truths, decided, total = confusion.sum(-1), confusion.sum(-2), confusion.sum((-2, -1))
    covariance = np.trace(confusion, axis1=-2, axis2=-1) * total - (truths * decided).sum(-1)
    variances = (total**2 - (truths**2).sum(-1)) * (total**2 - (decided**2).sum(-1))
    return ratio(covariance, np.sqrt(variances))
