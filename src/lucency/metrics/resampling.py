"""Figures of patients drawn anew: the bootstrap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucency.metrics.arrays import FloatArray

_TAIL = 0.025  # left out at each end
_CELLS = 2**18  # replicates x images held at once: 2 MiB an array, whatever n is


def bootstrap_weights(
    groups: ArrayLike, replicates: int = 2000, seed: int = 0, width: int = 1
) -> Iterator[FloatArray]:
    """Draw groups with replacement and say how often each image then counts.

    Args:
        groups: (n,) whose image it is; all images of a group are drawn together.
        replicates: How many times to draw as many groups as there are.
        seed: The same seed gives the same weights.
        width: Most numbers that the caller derives from one replicate, when more than n.

    Yields:
        (some replicates, n) float64 whole numbers, a few at a time so that memory stays bounded.
    """
    _, owner = np.unique(np.asarray(groups), return_inverse=True)
    count = int(owner.max()) + 1
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // max(len(owner), width))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = generator.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, owner].astype(np.float64)


def percentiles(replicates: NDArray[np.floating[Any]]) -> tuple[FloatArray, FloatArray]:
    """Return the ends between which the middle 95 % of (replicates, ...) lie, each (...).

    Replicates in which the figure is undefined are left out; with fewer than half of them left
    the ends are nan.
    """
    defined = np.isfinite(replicates).reshape(len(replicates), -1).all(1)
    if 2 * defined.sum() < len(replicates):
        nothing = np.full(replicates.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(replicates[defined].astype(np.float64), [_TAIL, 1 - _TAIL], axis=0)
    return low, high
