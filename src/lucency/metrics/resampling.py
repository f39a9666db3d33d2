"""Bootstrap over patients, and folds by patient."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucency.metrics.arrays import FloatArray, IntArray

FOLDS = 5  # of ``group_folds``
_TAIL = 0.025  # probability outside the interval, at each end
_CELLS = 2**18  # replicates x images in memory at once: 2 MiB an array for any n


def group_folds(labels: IntArray, groups: IntArray, classes: int, seed: int) -> IntArray | None:
    """Divide images into five folds by group, stratified by class.

    Args:
        labels: (n,) class indices.
        groups: (n,) cluster of each image, all of whose images are in one fold.
        classes: Number of classes.
        seed: Of the division.

    Returns:
        (n,) the fold of each image, from 0; ``None`` if a class has fewer than five groups, or is
        in one fold alone.
    """
    of_images = (np.ascontiguousarray(each, np.int64).tobytes() for each in (labels, groups))
    return _group_folds(*of_images, classes, seed)


@lru_cache(maxsize=4)  # every probe of a data set divides it in the same way
def _group_folds(labels_: bytes, groups_: bytes, classes: int, seed: int) -> IntArray | None:
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = np.frombuffer(labels_, np.int64), np.frombuffer(groups_, np.int64)
    if min(len(np.unique(groups[labels == k])) for k in range(classes)) < FOLDS:
        return None
    found = np.zeros(len(labels), np.int64)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for k, (rest, held) in enumerate(folds.split(found, labels, groups)):
        if len(np.unique(labels[rest])) < classes:
            return None
        found[held] = k
    found.flags.writeable = False
    return found


def bootstrap_weights(
    groups: ArrayLike, replicates: int = 2000, seed: int = 0, width: int = 1
) -> Iterator[FloatArray]:
    """Draw groups with replacement and yield the resulting sample weights.

    Args:
        groups: (n,) patient of each image; all images of a group are drawn together.
        replicates: How many bootstrap samples to draw.
        seed: The same seed gives the same weights.
        width: Most numbers that the caller computes per replicate, where more than n.

    Yields:
        (some replicates, n) float64 whole numbers, in batches that bound the memory.
    """
    _, cluster = np.unique(np.asarray(groups), return_inverse=True)
    count = int(cluster.max()) + 1
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // max(len(cluster), width))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = generator.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, cluster].astype(np.float64)


def percentiles(replicates: NDArray[np.floating[Any]]) -> tuple[FloatArray, FloatArray]:
    """Return the 2.5 % and 97.5 % percentiles of (replicates, ...), each (...).

    Undefined replicates are excluded; with fewer than half of them defined, both ends are nan.
    """
    defined = np.isfinite(replicates).reshape(len(replicates), -1).all(1)
    if 2 * defined.sum() < len(replicates):
        nothing = np.full(replicates.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(replicates[defined].astype(np.float64), [_TAIL, 1 - _TAIL], axis=0)
    return low, high
