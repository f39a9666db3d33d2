"""Ways to tell the classes apart without looking at the content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.metrics import Estimate
from lucency.probes import features
from lucency.probes.headers import NAMES
from lucency.probes.sample import Sample
from lucency.probes.score import beyond_chance, cross_validated, single, transferred

FloatArray = NDArray[np.float64]

_LEAST = 0.6  # an AUROC below shows a trace, but nothing that a network would live on
_STRONG = 0.7  # of probes that content may reach too


@dataclass(frozen=True)
class Kind:
    """A way of looking.

    Attributes:
        name: In tables.
        trees: Whether its small model is boosted trees, else logistic regression.
        least: AUROC from which on it is flagged, where chance is ruled out.
        see: What it sees of a sample, (n, d), with names of the columns or none.
    """

    name: str
    trees: bool
    least: float
    see: Callable[[Sample], tuple[FloatArray, Sequence[str]]]


KINDS = (
    Kind("file", True, _LEAST, lambda s: (s.header, NAMES)),
    Kind("marks", True, _STRONG, lambda s: (features.marks(s.seen), features.MARKS)),
    Kind("border", False, _STRONG, lambda s: (features.border(s.seen), ())),
    Kind("tone", True, _STRONG, lambda s: (features.tone(s.seen), features.TONE)),
    Kind("centre removed", False, _STRONG, lambda s: (features.without_centre(s.seen), ())),
    Kind("thumbnail", False, _STRONG, lambda s: (features.thumbnail(s.seen), ())),
)


@dataclass(frozen=True)
class Shortcut:
    """How far one way of looking gets.

    Attributes:
        probe: Name of the way.
        auc: AUROC by cross-validation over the patients of train and validation.
        test: AUROC on the test part of a model of train and validation, or None.
        flagged: Whether it gets further than chance and its limit.
        features: The strongest single features with their AUROC.
    """

    probe: str
    auc: Estimate
    test: Estimate | None
    flagged: bool
    features: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for JSON."""
        return {
            "probe": self.probe,
            "auc": self.auc.to_json(),
            "test": self.test and self.test.to_json(),
            "flagged": self.flagged,
            "features": [{"name": name, "auc": round(auc, 4)} for name, auc in self.features],
        }


def shortcut(kind: Kind, learn: Sample, test: Sample | None, seed: int) -> Shortcut:
    """Look one way at a data set.

    Args:
        kind: The way.
        learn: Images of train and validation.
        test: Images of the test part, or None.
        seed: Of the folds.
    """
    seen, names = kind.see(learn)
    return _measured(kind.name, kind, seen, names, (learn, test), seed)


def name_shortcut(
    learn: Sample, test: Sample | None, classes: Sequence[str], seed: int
) -> Shortcut:
    """Look at the file names alone; the network never sees them, so it is told but not feared."""
    kind = Kind("name", True, _LEAST, lambda _: (np.empty(0), ()))
    files = (*learn.files, *(test.files if test else ()))
    seen, names = features.name_features(files, classes)
    count = len(learn.files)
    found = _measured("name", kind, seen[:count], names, (learn, None), seed)
    transfer = (
        transferred(
            (seen[:count], learn.labels), (seen[count:], test.labels, test.groups), trees=True
        )
        if test
        else None
    )
    return Shortcut("name", found.auc, transfer, False, found.features)


def _measured(
    name: str,
    kind: Kind,
    seen: FloatArray,
    names: Sequence[str],
    parts: tuple[Sample, Sample | None],
    seed: int,
) -> Shortcut:
    learn, test = parts
    auc = cross_validated(seen, learn.labels, learn.groups, seed, trees=kind.trees)
    asked = None
    if test is not None:
        ask = (kind.see(test)[0], test.labels, test.groups)
        asked = transferred((seen, learn.labels), ask, trees=kind.trees)
    strongest: tuple[tuple[str, float], ...] = ()
    if names:
        areas = single(seen, learn.labels)
        best = np.argsort(-areas, kind="stable")[:3]
        strongest = tuple((names[i], float(areas[i])) for i in best if areas[i] >= 0.55)
    flagged = auc.value >= kind.least and beyond_chance(auc.value, learn.labels, learn.groups)
    return Shortcut(name, auc, asked, flagged, strongest)
