"""Shift between train and test: a model that separates them, class prevalence, brightness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.dataset import Dataset
from lucency.metrics import Estimate
from lucency.probes import features
from lucency.probes.sample import Sample
from lucency.probes.score import beyond_chance, cross_validated

FloatArray = NDArray[np.float64]

_REPLICATES = 1000
_MOST_CLASSES = 6  # that are compared one by one
_LEAST = 0.6  # AUROC below which a difference is not reported


@dataclass(frozen=True)
class Shift:
    """Differences between train and test.

    Attributes:
        probes: Name, AUROC with which a small model separates train from test, and whether it
            exceeds chance and 0.6; on all images, and within each class, where different
            prevalences do not help the model.
        prevalence: Class, prevalence in train and in test, and the difference.
        tone: Mean grey in train and in test, and the difference at equal prevalences.
        tones: The difference within each class.
    """

    probes: tuple[tuple[str, Estimate, bool], ...]
    prevalence: tuple[tuple[str, float, float, Estimate], ...]
    tone: tuple[float, float, Estimate]
    tones: tuple[tuple[str, Estimate], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for JSON."""
        train, test, difference = self.tone
        return {
            "probes": [
                {"probe": name, "auc": auc.to_json(), "flagged": flagged}
                for name, auc, flagged in self.probes
            ],
            "prevalence": [
                {"class": name, "train": a, "test": b, "difference": d.to_json()}
                for name, a, b, d in self.prevalence
            ],
            "tone": {
                "train": train,
                "test": test,
                "difference": difference.to_json(),
                "classes": [
                    {"class": name, "difference": each.to_json()} for name, each in self.tones
                ],
            },
        }


def shift(data: Dataset, train: Sample, test: Sample, seed: int) -> Shift:
    """Compare test with train and validation.

    Args:
        data: The whole data set, for the prevalences.
        train: Images of train and validation.
        test: Images of test.
        seed: Of folds and bootstrap.
    """
    tone, tones = _tone(data.classes, train, test, seed)
    return Shift(
        probes=tuple(_probes(data.classes, train, test, seed)),
        prevalence=_prevalence(data, seed),
        tone=tone,
        tones=tones,
    )


def _probes(
    classes: Sequence[str], train: Sample, test: Sample, seed: int
) -> Iterator[tuple[str, Estimate, bool]]:
    is_test = np.repeat([0, 1], [len(train.files), len(test.files)])
    labels = np.concatenate([train.labels, test.labels])
    groups = np.array([*(f"a{g}" for g in train.groups), *(f"b{g}" for g in test.groups)])
    images = np.concatenate([train.images, test.images])
    inputs = (
        ("file", np.concatenate([train.header, test.header]), True),
        ("tone", features.tone(images), True),
        ("thumbnail", features.thumbnail(images), False),
    )
    everyone = np.ones(len(labels), bool)
    probes = [(name, everyone, values, trees) for name, values, trees in inputs]
    if len(classes) <= _MOST_CLASSES:
        probes += [
            (f"{name} of {label}", labels == k, values, trees)
            for k, label in _shared(classes, train, test)
            for name, values, trees in inputs[1:]
        ]
    for name, of, values, trees in probes:
        patients = groups[of].tolist()
        auc = cross_validated(values[of], is_test[of], patients, seed, trees=trees)
        flagged = auc.value >= _LEAST and beyond_chance(auc.value, is_test[of], patients)
        yield name, auc, flagged


def _prevalence(data: Dataset, seed: int) -> tuple[tuple[str, float, float, Estimate], ...]:
    assert data.test is not None  # noqa: S101 - checked by the caller
    shares, replicates = [], []
    for offset, split in enumerate((data.train, data.test)):
        one_hot = np.eye(len(data.classes))[split.labels]
        shares.append(one_hot.mean(axis=0))
        replicates.append(_means(one_hot, split.groups, seed + offset))
    found = []
    for k, name in enumerate(data.classes):
        a, b = float(shares[0][k]), float(shares[1][k])
        found.append((name, a, b, _estimate(b - a, replicates[1][:, k] - replicates[0][:, k])))
    return tuple(found)


def _means(values: FloatArray, groups: Sequence[str], seed: int) -> FloatArray:
    """Return bootstrap replicates of the means of columns, (replicates, columns)."""
    weights = metrics.bootstrap_weights(groups, _REPLICATES, seed)
    return np.concatenate([rows @ values / rows.sum(axis=1)[:, None] for rows in weights])


def _tone(
    classes: Sequence[str], train: Sample, test: Sample, seed: int
) -> tuple[tuple[float, float, Estimate], tuple[tuple[str, Estimate], ...]]:
    """Return mean grey levels and their difference, as the mean over the classes and in each.

    Only classes that occur in both samples count.
    """
    levels, replicates = [], []
    shared = _shared(classes, train, test)
    for offset, sample in enumerate((train, test)):
        grey = sample.images.reshape(len(sample.images), -1).mean(axis=1)
        members = [sample.labels == k for k, _ in shared]
        groups = np.array(sample.groups)
        levels.append(np.array([grey[of].mean() for of in members]))
        drawn = [_means(grey[of][:, None], groups[of].tolist(), seed + offset) for of in members]
        replicates.append(np.column_stack(drawn))
    differences, drawn_differences = levels[1] - levels[0], replicates[1] - replicates[0]
    in_train, in_test = (float(each.mean()) for each in levels)
    whole = _estimate(in_test - in_train, drawn_differences.mean(axis=1))
    by_class = tuple(
        (name, _estimate(float(differences[i]), drawn_differences[:, i]))
        for i, (_, name) in enumerate(shared)
    )
    return (in_train, in_test, whole), by_class


def _shared(classes: Sequence[str], train: Sample, test: Sample) -> list[tuple[int, str]]:
    """Return the classes that occur in both samples."""
    both = set(train.labels.tolist()) & set(test.labels.tolist())
    return [(k, name) for k, name in enumerate(classes) if k in both]


def _estimate(value: float, replicates: FloatArray) -> Estimate:
    low, high = (float(end) for end in metrics.percentiles(replicates))
    return Estimate(value, low, high, "patient bootstrap")
