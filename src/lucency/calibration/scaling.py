"""From logits to calibrated probabilities: a temperature, and a bias where it helps.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks") divides all logits
by one number and moves no decision. Where a network leans to one class, a bias per class is needed
as well (Platt scaling for two classes; "bias-corrected temperature scaling" of Alexandari et al.
2020 for more). It is used only where it lowers the cross-validated log loss by more than a standard
error, since chance alone often favours it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from lucency.errors import ClassifierError, DataError
from lucency.metrics import FOLDS, FloatArray, IntArray, group_folds

_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class Scaling:
    """How logits become calibrated.

    Attributes:
        temperature: Divides the logits; above 1 softens.
        bias: Added to the logits before, one value per unit of the network; their mean is 0 with
            more than one unit. All 0 where a temperature alone is as good.
        log_loss: By cross-validation, with the temperature alone and with the bias; nan where there
            were too few groups to cross-validate.
    """

    temperature: float
    bias: tuple[float, ...]
    log_loss: tuple[float, float] = (float("nan"), float("nan"))

    def __call__(self, logits: ArrayLike) -> FloatArray:
        """Return the calibrated logits, (n, units) float64."""
        return np.asarray((_columns(logits) + np.asarray(self.bias)) / self.temperature)


def probabilities(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Turn a network's logits into probabilities.

    Args:
        logits: (n, classes), or (n,) or (n, 1) for the log odds of the second of two classes.
        temperature: Divides the logits; above 1 softens.

    Returns:
        (n, classes) float64, rows sum to 1. With two classes both columns are computed separately,
        so that small values keep their precision.
    """
    scaled = _columns(logits) / temperature
    if scaled.shape[1] == 1:
        odds = scaled[:, 0]
        return np.stack([special.expit(-odds), special.expit(odds)], axis=1)
    return np.asarray(special.softmax(scaled, axis=1), np.float64)


def fit(
    logits: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> Scaling:
    """Find the scaling under which the labels are most likely.

    If every prediction is correct, the likelihood always rises with confidence. So each class of n
    images gets two additional ones, one of the class and one of another (Platt 1999, section 2.2):
    n images never make the classifier more confident than n images can, (n + 1) / (n + 2). The
    other one is spread over all other classes, so that many classes do not make it less confident.

    Args:
        logits: (n, classes), or (n,) or (n, 1) for the log odds of the second of two classes.
        labels: (n,) true class indices.
        weights: (n,) weight of each image; equal if ``None``.
        groups: n patients, for the cross-validation that decides on the bias; ``None`` fits a
            temperature alone.
        seed: Of the folds.

    Returns:
        The scaling; its temperature lies in [0.05, 20].

    Raises:
        DataError: There is no image.
        ClassifierError: A logit is not finite.
    """
    z, truth = _columns(logits), np.asarray(labels, np.int64)
    if not len(z):
        raise DataError("Cannot calibrate: the validation split has no images.")
    if not np.isfinite(z).all():
        raise ClassifierError(
            "Cannot calibrate: the network's logits are not finite. "
            "Training has diverged; lower the learning rate."
        )
    w = np.ones(len(z)) if weights is None else np.asarray(weights, np.float64)
    members = np.unique(np.arange(len(z)) if groups is None else groups, return_inverse=True)[1]
    losses = None if groups is None else _cross_validated(z, truth, w, members, seed)
    if losses is None:
        return _fitted(z, truth, w, with_bias=False)
    best = _fitted(z, truth, w, with_bias=is_better(losses[:, 1], losses[:, 0], members))
    means = losses.sum(axis=0) / w.sum()
    return Scaling(best.temperature, best.bias, (float(means[0]), float(means[1])))


def out_of_fold(
    logits: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike,
    *,
    groups: Sequence[str],
    seed: int = 0,
) -> FloatArray | None:
    """Return the weighted log loss of each image under a scaling that has not seen its group.

    The scaling has a bias where ``fit`` would give it one.

    Args:
        logits: As for ``fit``.
        labels: As for ``fit``.
        weights: (n,) weight of each image.
        groups: n patients.
        seed: Of the folds.

    Returns:
        (n,), or ``None`` where a class has too few groups to cross-validate.
    """
    z, truth, w = _columns(logits), np.asarray(labels, np.int64), np.asarray(weights, np.float64)
    members = np.unique(groups, return_inverse=True)[1]
    losses = _cross_validated(z, truth, w, members, seed)
    if losses is None:
        return None
    return np.asarray(losses[:, int(is_better(losses[:, 1], losses[:, 0], members))])


def is_better(losses: FloatArray, others: FloatArray, members: IntArray) -> bool:
    """Tell whether losses are smaller than others by more than the standard error, by group.

    Args:
        losses: (n,) of images.
        others: (n,) of the same images.
        members: (n,) number of the group of each image, from 0; two groups or more.
    """
    gain, error = gain_with_error(losses, others, members)
    return gain > error


def gain_with_error(
    losses: FloatArray, others: FloatArray, members: IntArray
) -> tuple[float, float]:
    """Return by how much the sum of losses is smaller, as ``is_better``, and its standard error."""
    gains = np.bincount(members, others - losses)
    return float(gains.sum()), float(np.sqrt(len(gains)) * gains.std(ddof=1))


@dataclass(frozen=True)
class LabelScaling:
    """How the logits of several labels become calibrated: each by itself, as in ``Scaling``."""

    temperature: FloatArray
    bias: FloatArray

    def __call__(self, logits: ArrayLike) -> FloatArray:
        """Return the calibrated logits, (n, labels) float64."""
        return np.asarray((np.asarray(logits, np.float64) + self.bias) / self.temperature)


def fit_labels(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
) -> LabelScaling:
    """Find the scaling of each label on the images where it is known.

    Args:
        logits: (n, labels).
        targets: (n, labels): 1 present, 0 absent, below 0 unknown.
        groups: n patients, as for ``fit``.
        seed: Of the folds.

    Raises:
        DataError: A label is known for no image.
        ClassifierError: A logit is not finite.
    """
    z, truth = np.asarray(logits, np.float64), np.asarray(targets)
    found = []
    for k in range(truth.shape[1]):
        known = np.flatnonzero(truth[:, k] >= 0).tolist()
        own = None if groups is None else [groups[i] for i in known]
        labels = (truth[known, k] > 0).astype(np.int64)
        found.append(fit(z[known, k], labels, groups=own, seed=seed))
    return LabelScaling(
        np.array([each.temperature for each in found]), np.array([each.bias[0] for each in found])
    )


def _cross_validated(
    z: FloatArray, labels: IntArray, w: FloatArray, members: IntArray, seed: int
) -> FloatArray | None:
    """Return the weighted log loss of each image out of fold, without and with a bias, (n, 2).

    ``None`` where a class has too few groups.
    """
    folds = group_folds(labels, members, max(2, z.shape[1]), seed)
    if folds is None:
        return None
    losses = np.zeros((len(z), 2))
    for fold in range(FOLDS):
        rest, held = folds != fold, folds == fold
        for k, with_bias in enumerate((False, True)):
            scaling = _fitted(z[rest], labels[rest], w[rest], with_bias=with_bias)
            losses[held, k] = w[held] * _losses(scaling(z[held]), labels[held])
    return losses


def _fitted(z: FloatArray, labels: IntArray, w: FloatArray, *, with_bias: bool) -> Scaling:
    """Minimise the log loss, which is convex in 1 / temperature and bias / temperature."""
    from scipy import optimize

    units = z.shape[1]
    classes = max(2, units)
    wrong = 1 / ((np.bincount(labels, w, classes) + 2) * (classes - 1))[labels, None]
    targets = np.eye(classes)[labels] * (1 - classes * wrong) + wrong
    scale = max(1.0, float(abs(z).max()))  # so that the search has values of about 1

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        x = values[0] / scale * z + values[1:]
        p = probabilities(x)
        error = w[:, None] * (p - targets)
        error = error[:, 1:] if units == 1 else error
        gradient = np.concatenate([[(error * z).sum() / scale], error.sum(axis=0)])
        return float(-(w[:, None] * targets * _logs(x)).sum() / w.sum()), gradient / w.sum()

    free = (None, None) if with_bias else (0.0, 0.0)
    bounds = [tuple(scale / t for t in reversed(_TEMPERATURES)), *[free] * units]
    start = np.concatenate([[scale], np.zeros(units)])
    found = optimize.minimize(
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B",
        options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-8},
    ).x  # fmt: skip
    temperature = scale / found[0]
    bias = found[1:] * temperature
    bias -= bias.mean() if units > 1 else 0.0
    return Scaling(float(temperature), tuple(map(float, bias + 0.0)))


def _losses(x: FloatArray, labels: IntArray) -> FloatArray:
    """Return the log loss of each image from calibrated logits."""
    return np.asarray(-_logs(x)[np.arange(len(x)), labels])


def _logs(x: FloatArray) -> FloatArray:
    """Return the logarithms of the probabilities (n, classes)."""
    if x.shape[1] == 1:
        return np.stack([-np.logaddexp(0, x[:, 0]), -np.logaddexp(0, -x[:, 0])], axis=1)
    return np.asarray(x - special.logsumexp(x, axis=1, keepdims=True), np.float64)


def _columns(logits: ArrayLike) -> FloatArray:
    values = np.asarray(logits, np.float64)
    return values[:, None] if values.ndim == 1 else values
