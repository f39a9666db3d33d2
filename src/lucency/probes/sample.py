"""Some images of a split, whole patients at a time, so that looking stays quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lucency.dataset import Split
from lucency.probes import features
from lucency.probes.headers import headers

_MOST = 3000  # images of a part
_READ = 512  # images at once

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Images as the probes see them.

    Attributes:
        files: n paths.
        labels: (n,) class indices.
        groups: n patients.
        header: (n, 12) as ``headers`` gives it.
        seen: (n, 64, 64) uint8, grey.
    """

    files: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    header: FloatArray
    seen: NDArray[np.uint8]


def drawn(parts: Sequence[Split], root: Path, seed: int, workers: int) -> Sample:
    """Draw up to 3,000 images, all of a patient or none, and read what the probes need.

    The classes take turns, so that a rare one is not lost among many.

    Args:
        parts: Splits to draw from.
        root: Folder that their files are relative to.
        seed: Of the drawing.
        workers: Threads that read files.
    """
    labels = np.concatenate([part.labels for part in parts])
    groups = [group for part in parts for group in part.groups]
    files = [file for part in parts for file in part.files]
    rows = np.concatenate([part.rows for part in parts])
    owner = np.unique(groups, return_inverse=True)[1]
    order = _in_turn(labels, owner, seed)
    sizes = np.bincount(owner)[order]
    kept = order[: max(1, int(np.searchsorted(np.cumsum(sizes), _MOST, side="right")))]
    chosen = np.flatnonzero(np.isin(owner, kept))
    store = parts[0].store
    seen = [
        features.small(store.read(rows[chosen[start : start + _READ]]))
        for start in range(0, len(chosen), _READ)
    ]
    names = tuple(files[i] for i in chosen)
    return Sample(
        files=names,
        labels=labels[chosen],
        groups=tuple(groups[i] for i in chosen),
        header=headers(
            [root / name for name in names], [store.sha256[rows[i]] for i in chosen], workers
        ),
        seen=np.concatenate(seen),
    )


def _in_turn(labels: NDArray[np.int64], owner: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the patients shuffled, one of each class after the other while there are any."""
    _, first = np.unique(owner, return_index=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    label = labels[first][shuffled]
    turn = np.zeros(len(first), np.int64)
    for k in np.unique(label):
        turn[label == k] = np.arange((label == k).sum())
    return np.asarray(shuffled[np.argsort(turn, kind="stable")], np.int64)
