"""Array types, division, and the numbers of clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def ratio(part: ArrayLike, whole: ArrayLike) -> FloatArray:
    """Divide; 0/0 is nan without a warning."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    shares = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=shares, where=whole != 0)
    return shares


def cluster_numbers(groups: Sequence[str]) -> IntArray:
    """Number the clusters that images belong to, in order of appearance.

    Args:
        groups: n patients; an image with "" is a cluster of its own.

    Returns:
        (n,) cluster of each image, from 0.
    """
    names = [name or i for i, name in enumerate(groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)
