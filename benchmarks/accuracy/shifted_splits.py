"""Splits of the training radiographs that differ from those a network is trained on, by patient.

    adverse    radiographs that a linear classifier of 8 x 8 thumbnails gets most wrong
    exposure   the brightest normal and the darkest pneumonia radiographs
    series     the lowest numbers in the file names: radiographs from another time
    alike      drawn at random, for validation and calibration
    fit        all others, for training

Recipes are chosen on these splits, never on the test set.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lucency.dataset import Dataset, Split

SHIFTED = ("adverse", "exposure", "series")
_SHARES = {0: 0.10, 1: 0.06}  # of the normal and of the pneumonia radiographs, in each split


def splits(data: Dataset) -> dict[str, Split]:
    """Partition train and validation, together, into ``fit``, ``alike`` and the shifted splits.

    Args:
        data: Grey radiographs of two classes, NORMAL first.
    """
    joined = _join(data.train, data.val)
    members: dict[str, list[int]] = {}
    for i, group in enumerate(joined.groups):
        members.setdefault(group, []).append(i)
    grey = joined.pixels(np.arange(len(joined)))[..., 0] / 255
    pneumonia = _by_thumbnail(grey, joined)
    chance = np.random.default_rng(5).random(len(joined))
    taken: dict[str, str] = {}
    for label, share in _SHARES.items():
        sign = 1 - 2 * label
        orders: dict[str, Callable[[int], float]] = {
            "adverse": lambda i, sign=sign: sign * pneumonia[i],
            "exposure": lambda i, sign=sign: sign * grey[i].mean(),
            "series": lambda i: -_number(joined.files[i]),
            "alike": lambda i: chance[i],
        }
        of_class = [g for g in members if joined.labels[members[g][0]] == label]
        wanted = share * sum(len(members[g]) for g in of_class)
        for name, order in orders.items():
            means = {g: np.mean([order(i) for i in members[g]]) for g in of_class if g not in taken}
            count = 0
            for group in sorted(means, key=lambda g: means[g], reverse=True):
                if count >= wanted:
                    break
                taken[group] = name
                count += len(members[group])
    names = [taken.get(group, "fit") for group in joined.groups]
    return {
        name: _subset(joined, np.flatnonzero([each == name for each in names]), name)
        for name in ("fit", "alike", *SHIFTED)
    }


def _by_thumbnail(grey: NDArray[np.float64], joined: Split) -> NDArray[np.float64]:
    """Return probabilities of pneumonia (n,) from thumbnails, cross-validated by patient."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    n, height, width = grey.shape
    small = grey.reshape(n, 8, height // 8, 8, width // 8).mean(axis=(2, 4)).reshape(n, 64)
    probabilities = cross_val_predict(
        LogisticRegression(C=10, max_iter=3000), small, joined.labels,
        groups=np.array(joined.groups), cv=GroupKFold(5), method="predict_proba",
    )  # fmt: skip
    return np.asarray(probabilities[:, 1])


def _number(file: str) -> int:
    return int(re.findall(r"\d+", file.rsplit("/", 1)[-1].replace("NORMAL2", ""))[0])


def _join(first: Split, second: Split) -> Split:
    files = first.files + second.files
    order = np.array(sorted(range(len(files)), key=files.__getitem__))
    both = dataclasses.replace(
        first,
        files=files,
        groups=first.groups + second.groups,
        labels=np.concatenate([first.labels, second.labels]),
        rows=np.concatenate([first.rows, second.rows]),
    )
    return _subset(both, order, "train")


def _subset(split: Split, places: NDArray[np.int64], name: str) -> Split:
    return dataclasses.replace(
        split,
        name=name,
        files=tuple(split.files[i] for i in places),
        groups=tuple(split.groups[i] for i in places),
        labels=split.labels[places],
        rows=split.rows[places],
    )
