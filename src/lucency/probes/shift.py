"""How the test part differs from the training part: a model that tells them apart, mix and tone."""

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
_MOST_CLASSES = 6  # that are looked at one by one
_LEAST = 0.6  # AUROC below which a difference is not worth a word


@dataclass(frozen=True)
class Shift:
    """Train against test.

    Attributes:
        probes: AUROC with which a small model tells them apart, by what it sees: of all images,
            and within each class, where another mix of classes does not help it; and whether it
            gets further than chance and 0.6.
        prevalence: By class its share in train and in test, and the difference.
        tone: Mean grey in train and in test, and the difference at the same mix of classes.
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


def shift(data: Dataset, learn: Sample, test: Sample, seed: int) -> Shift:
    """Compare the test part with the others.

    Args:
        data: The whole data set, for the mix of classes.
        learn: Images of train and validation.
        test: Images of the test part.
        seed: Of folds and bootstrap.
    """
    tone, tones = _tone(data.classes, learn, test, seed)
    return Shift(
        probes=tuple(_probes(data.classes, learn, test, seed)),
        prevalence=_prevalence(data, seed),
        tone=tone,
        tones=tones,
    )


def _probes(
    classes: Sequence[str], learn: Sample, test: Sample, seed: int
) -> Iterator[tuple[str, Estimate, bool]]:
    part = np.repeat([0, 1], [len(learn.files), len(test.files)])
    labels = np.concatenate([learn.labels, test.labels])
    groups = np.array([*(f"a{g}" for g in learn.groups), *(f"b{g}" for g in test.groups)])
    seen = np.concatenate([learn.seen, test.seen])
    ways = (
        ("file", np.concatenate([learn.header, test.header]), True),
        ("tone", features.tone(seen), True),
        ("thumbnail", features.thumbnail(seen), False),
    )
    everyone = np.ones(len(labels), bool)
    looks = [(name, everyone, values, trees) for name, values, trees in ways]
    if len(classes) <= _MOST_CLASSES:
        looks += [
            (f"{name} of {label}", labels == k, values, trees)
            for k, label in _shared(classes, learn, test)
            for name, values, trees in ways[1:]
        ]
    for name, of, values, trees in looks:
        whose = groups[of].tolist()
        auc = cross_validated(values[of], part[of], whose, seed, trees=trees)
        flagged = auc.value >= _LEAST and beyond_chance(auc.value, part[of], whose)
        yield name, auc, flagged


def _prevalence(data: Dataset, seed: int) -> tuple[tuple[str, float, float, Estimate], ...]:
    assert data.test is not None  # noqa: S101 - the caller has looked
    parts = (data.train, data.test)
    shares, spread = [], []
    for offset, part in enumerate(parts):
        member = np.eye(len(data.classes))[part.labels]
        shares.append(member.mean(axis=0))
        spread.append(_means(member, part.groups, seed + offset))
    found = []
    for k, name in enumerate(data.classes):
        a, b = float(shares[0][k]), float(shares[1][k])
        found.append((name, a, b, _estimate(b - a, spread[1][:, k] - spread[0][:, k])))
    return tuple(found)


def _means(values: FloatArray, groups: Sequence[str], seed: int) -> FloatArray:
    """Return bootstrap replicates of the means of columns, (replicates, columns)."""
    drawn = metrics.bootstrap_weights(groups, _REPLICATES, seed)
    return np.concatenate([rows @ values / rows.sum(axis=1)[:, None] for rows in drawn])


def _tone(
    classes: Sequence[str], learn: Sample, test: Sample, seed: int
) -> tuple[tuple[float, float, Estimate], tuple[tuple[str, Estimate], ...]]:
    """Return mean grey levels and their difference, as the mean over the classes and in each.

    Only classes that both parts have count.
    """
    levels, spread = [], []
    shared = _shared(classes, learn, test)
    for offset, part in enumerate((learn, test)):
        grey = part.seen.reshape(len(part.seen), -1).mean(axis=1)
        members = [part.labels == k for k, _ in shared]
        groups = np.array(part.groups)
        levels.append(np.array([grey[of].mean() for of in members]))
        replicates = [
            _means(grey[of][:, None], groups[of].tolist(), seed + offset) for of in members
        ]
        spread.append(np.column_stack(replicates))
    differences, moved = levels[1] - levels[0], spread[1] - spread[0]
    train, asked = (float(each.mean()) for each in levels)
    whole = _estimate(asked - train, moved.mean(axis=1))
    single = [
        (name, _estimate(float(differences[i]), moved[:, i])) for i, (_, name) in enumerate(shared)
    ]
    return (train, asked, whole), tuple(single)


def _shared(classes: Sequence[str], learn: Sample, test: Sample) -> list[tuple[int, str]]:
    """Return the classes of which both samples have images."""
    both = set(learn.labels.tolist()) & set(test.labels.tolist())
    return [(k, name) for k, name in enumerate(classes) if k in both]


def _estimate(value: float, replicates: FloatArray) -> Estimate:
    low, high = (float(end) for end in metrics.percentiles(replicates))
    return Estimate(value, low, high, "patient bootstrap")
