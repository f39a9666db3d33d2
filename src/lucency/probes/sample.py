"""A sample of the images, whole patients at a time, so that the probes stay fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lucency.dataset import Split
from lucency.probes import features
from lucency.probes.headers import headers

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
