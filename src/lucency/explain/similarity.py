"""Similarity of two maps, and the share of a map at the image border."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.metrics import FloatArray

BORDER = 0.15  # of the side


def rank_correlations(
    first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]
) -> FloatArray:
    """Return Spearman's rank correlation of each pair of maps.

    Args:
        first: (n, h, w).
        second: (n, h, w).

    Returns:
        (n,) in -1..1; 0 where one of the two is constant.
    """
    from scipy import stats

    pairs = [stats.rankdata(each.reshape(len(each), -1), axis=1) for each in (first, second)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in pairs)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    product = (a * b).sum(axis=1)
    return np.asarray(np.divide(product, size, out=np.zeros(len(a)), where=size > 0), np.float64)


def similarities(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> FloatArray:
    """Return the structural similarity of each pair of maps, taken over the whole map.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    the terms of contrast and structure. The term of the means is omitted, because the mean of a map
    is the logit of the prediction. The value range is the wider one of the two maps.

    Args:
        first: (n, h, w).
        second: (n, h, w).

    Returns:
        (n,) in -1..1; 1 for maps that differ only in their means.
    """
    a, b = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (first, second))
    reach = np.maximum(np.ptp(a, axis=1), np.ptp(b, axis=1))
    small = (0.03 * reach) ** 2
    together = (a * b).mean(axis=1) - a.mean(axis=1) * b.mean(axis=1)
    above, below = 2 * together + small, a.var(axis=1) + b.var(axis=1) + small
    return np.asarray(np.divide(above, below, out=np.ones(len(a)), where=below > 0), np.float64)


def border_shares(maps: NDArray[np.floating[Any]]) -> tuple[FloatArray, float]:
    """Return the share of each map in the outer 15 % of the image on each side.

    Args:
        maps: (n, height, width) at the size of the image.

    Returns:
        (n,) shares of the sum of absolute values (nan for an empty map), and the share of a
        uniform map.
    """
    height, width = maps.shape[1:]
    inside = np.zeros((height, width), bool)
    down, across = round(BORDER * height), round(BORDER * width)
    inside[down : height - down, across : width - across] = True
    size = np.abs(maps)
    total = size.sum(axis=(1, 2))
    outer = size[:, ~inside].sum(axis=1)
    shares = np.divide(outer, total, out=np.full(len(maps), np.nan), where=total > 0)
    return np.asarray(shares, np.float64), float((~inside).mean())
