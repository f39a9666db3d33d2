"""Metrics of several labels of each image, over those that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lucency.metrics.arrays import FloatArray
from lucency.metrics.scores import auroc

_SMALLEST = 1e-15  # smaller probabilities are clipped in the log loss


def label_losses(targets: NDArray[np.float32], probabilities: FloatArray) -> FloatArray:
    """Return the log loss of each image, the mean over its known labels, (n,).

    Args:
        targets: (n, labels): 1 present, 0 absent, between for a doubt, below 0 unknown.
        probabilities: (n, labels) that each label is present.
    """
    p = np.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
    known = targets >= 0
    losses = -(targets * np.log(p) + (1 - targets) * np.log1p(-p)) * known
    return np.asarray(losses.sum(axis=1) / np.maximum(known.sum(axis=1), 1))


def label_accuracy(targets: NDArray[np.float32], probabilities: FloatArray) -> float:
    """Return the share of known labels on whose side of 50 % the probability is."""
    known = targets >= 0
    return float(((targets > 0) == (probabilities > 0.5))[known].mean())


def mean_auroc(targets: NDArray[np.float32], probabilities: FloatArray) -> float:
    """Return the mean AUROC of the labels; nan where one has a single known value."""
    areas = []
    for truth, p in zip(targets.T, probabilities.T, strict=True):
        known = truth >= 0
        areas.append(float(auroc(truth[known] > 0, p[known])) if known.any() else np.nan)
    return float(np.mean(areas))
