"""Radiographs that are unlike those a network learns from, all cut by patient from the training part.

    adverse    a linear classifier of 8 x 8 thumbnails is most wrong about them
    exposure   the brightest normal and the darkest pneumonia radiographs
    series     the lowest numbers in the files' names: radiographs of another time
    alike      drawn at random, to calibrate by
    fit        all others, to learn from

Recipes are chosen on these, never on the test part.
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
_SHARES = {0: 0.10, 1: 0.06}  # of the normal and of the pneumonia radiographs, in each part


def splits(data: Dataset) -> dict[str, Split]:
    """Cut train and validation, together, into ``fit``, ``alike`` and the shifted parts.

    Args:
        data: Two classes, NORMAL first, and grey radiographs.
    """
    whole = _joined(data.train, data.val)
    radiographs: dict[str, list[int]] = {}
    for i, group in enumerate(whole.groups):
        radiographs.setdefault(group, []).append(i)
    grey = whole.pixels(np.arange(len(whole)))[..., 0] / 255
    ill = _by_thumbnail(grey, whole)
    luck = np.random.default_rng(5).random(len(whole))
    taken: dict[str, str] = {}
    for label, share in _SHARES.items():
        sign = 1 - 2 * label
        orders: dict[str, Callable[[int], float]] = {
            "adverse": lambda i, sign=sign: sign * ill[i],
            "exposure": lambda i, sign=sign: sign * grey[i].mean(),
            "series": lambda i: -_number(whole.files[i]),
            "alike": lambda i: luck[i],
        }
        of_class = [g for g in radiographs if whole.labels[radiographs[g][0]] == label]
        wanted = share * sum(len(radiographs[g]) for g in of_class)
        for name, order in orders.items():
            means = {
                g: np.mean([order(i) for i in radiographs[g]]) for g in of_class if g not in taken
            }
            count = 0
            for group in sorted(means, key=lambda g: means[g], reverse=True):
                if count >= wanted:
                    break
                taken[group] = name
                count += len(radiographs[group])
    names = [taken.get(group, "fit") for group in whole.groups]
    return {
        name: _some(whole, np.flatnonzero([each == name for each in names]), name)
        for name in ("fit", "alike", *SHIFTED)
    }


def _by_thumbnail(grey: NDArray[np.float64], whole: Split) -> NDArray[np.float64]:
    """Return what thumbnails say for pneumonia, of radiographs that were not learned from."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict

    n, height, width = grey.shape
    small = grey.reshape(n, 8, height // 8, 8, width // 8).mean(axis=(2, 4)).reshape(n, 64)
    said = cross_val_predict(
        LogisticRegression(C=10, max_iter=3000), small, whole.labels,
        groups=np.array(whole.groups), cv=GroupKFold(5), method="predict_proba",
    )  # fmt: skip
    return np.asarray(said[:, 1])


def _number(file: str) -> int:
    return int(re.findall(r"\d+", file.rsplit("/", 1)[-1].replace("NORMAL2", ""))[0])


def _joined(first: Split, second: Split) -> Split:
    files = first.files + second.files
    order = np.array(sorted(range(len(files)), key=files.__getitem__))
    both = dataclasses.replace(
        first,
        files=files,
        groups=first.groups + second.groups,
        labels=np.concatenate([first.labels, second.labels]),
        rows=np.concatenate([first.rows, second.rows]),
    )
    return _some(both, order, "train")


def _some(split: Split, places: NDArray[np.int64], name: str) -> Split:
    return dataclasses.replace(
        split,
        name=name,
        files=tuple(split.files[i] for i in places),
        groups=tuple(split.groups[i] for i in places),
        labels=split.labels[places],
        rows=split.rows[places],
    )
