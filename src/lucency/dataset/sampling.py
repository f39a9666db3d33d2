"""Evenly spaced samples of many images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return up to ``most`` evenly spaced indices from 0 to ``count`` - 1, both ends included."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def class_balanced(labels: NDArray[np.int64], classes: int, most: int) -> NDArray[np.int64]:
    """Return up to ``most`` indices in ascending order, equally many and evenly spaced per class.

    Args:
        labels: (n,) class indices.
        classes: Number of classes.
        most: At least 1.
    """
    room = max(1, min(most, len(labels)) // classes)
    of_each = (np.flatnonzero(labels == label) for label in range(classes))
    chosen = np.concatenate([found[evenly(len(found), room)] for found in of_each])
    return np.sort(chosen)[:most]
