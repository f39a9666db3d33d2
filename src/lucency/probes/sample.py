"""Samples of the images, whole patients at a time, so that the probes stay fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lucency.dataset import Dataset, Split
from lucency.probes import features
from lucency.probes.headers import headers

MOST_PROBED = 200_000  # images of a split
_MOST = 3000  # images in a sample
_READ = 512  # images read at a time

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """The data that the probes use of some images.

    Attributes:
        files: n paths.
        labels: (n,) class indices.
        groups: n patients.
        header: (n, 12) as returned by ``headers``.
        images: (n, 64, 64) uint8, grey.
    """

    files: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    header: FloatArray
    images: NDArray[np.uint8]


def draw_sample(splits: Sequence[Split], root: Path, seed: int, workers: int) -> Sample:
    """Draw up to 3,000 images, all or none of each patient, and read the data that probes use.

    The classes alternate, so that a rare class is represented.

    Args:
        splits: Splits to draw from.
        root: Folder that their files are relative to.
        seed: Of the sample.
        workers: Number of threads that read files.
    """
    labels = np.concatenate([split.labels for split in splits])
    groups = [group for split in splits for group in split.groups]
    files = [file for split in splits for file in split.files]
    rows = np.concatenate([split.rows for split in splits])
    patients = np.unique(groups, return_inverse=True)[1]
    order = _alternating(labels, patients, seed)
    sizes = np.bincount(patients)[order]
    kept = order[: max(1, int(np.searchsorted(np.cumsum(sizes), _MOST, side="right")))]
    chosen = np.flatnonzero(np.isin(patients, kept))
    cache = splits[0].cache
    images = [
        features.small(cache.read_8bit(rows[chosen[start : start + _READ]]))
        for start in range(0, len(chosen), _READ)
    ]
    names = tuple(files[i] for i in chosen)
    return Sample(
        files=names,
        labels=labels[chosen],
        groups=tuple(groups[i] for i in chosen),
        header=headers(
            [root / name for name in names], [cache.sha256[rows[i]] for i in chosen], workers
        ),
        images=np.concatenate(images),
    )


def probed(data: Dataset, seed: int) -> Dataset:
    """Return a data set with up to 200,000 images of each split; itself if no split has more.

    All or none of the images of a patient are drawn, with the same share of the patients of each
    class.

    Args:
        data: The data set.
        seed: Of the sample.
    """
    train, val = (_some_patients(split, seed) for split in (data.train, data.val))
    test = data.test and _some_patients(data.test, seed)
    if (train, val, test) == (data.train, data.val, data.test):
        return data
    return replace(data, train=train, val=val, test=test)


def _some_patients(split: Split, seed: int) -> Split:
    if len(split) <= MOST_PROBED:
        return split
    numbers: dict[str, int] = {}
    patients = np.array([numbers.setdefault(group, len(numbers)) for group in split.groups])
    first = np.unique(patients, return_index=True)[1]
    shuffled = np.random.default_rng(seed).permutation(len(first))
    label = split.labels[first][shuffled]
    turn = np.zeros(len(first))
    for k in np.unique(label):
        count = int((label == k).sum())
        turn[label == k] = (np.arange(count) + 0.5) / count
    order = shuffled[np.argsort(turn, kind="stable")]
    sizes = np.cumsum(np.bincount(patients)[order])
    kept = order[: max(1, int(np.searchsorted(sizes, MOST_PROBED, side="right")))]
    return split.subset(split.name, np.flatnonzero(np.isin(patients, kept)))


def _alternating(
    labels: NDArray[np.int64], patients: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Return the patients shuffled, alternating between the classes."""
    _, first = np.unique(patients, return_index=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    label = labels[first][shuffled]
    turn = np.zeros(len(first), np.int64)
    for k in np.unique(label):
        turn[label == k] = np.arange((label == k).sum())
    return np.asarray(shuffled[np.argsort(turn, kind="stable")], np.int64)
