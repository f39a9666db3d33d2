"""Places evenly spread over many, so that a few can stand for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return up to ``most`` places from 0 to ``count`` - 1, the first and the last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def over_classes(labels: NDArray[np.int64], classes: int, most: int) -> NDArray[np.int64]:
    """Return up to ``most`` places in order: as many of every class, spread over its own.

    Args:
        labels: (n,) class indices.
        classes: How many there are.
        most: At least 1.
    """
    room = max(1, min(most, len(labels)) // classes)
    of_each = (np.flatnonzero(labels == label) for label in range(classes))
    chosen = np.concatenate([found[evenly(len(found), room)] for found in of_each])
    return np.sort(chosen)[:most]
