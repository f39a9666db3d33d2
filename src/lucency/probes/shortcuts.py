"""Shortcuts: features other than the content that separate the classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.metrics import Estimate
from lucency.probes import features
from lucency.probes.aspect import ASPECT, LEAST_ASPECT, aspect
from lucency.probes.headers import NAMES
from lucency.probes.sample import Sample
from lucency.probes.score import beyond_chance, cross_validated, single_features, transfer

FloatArray = NDArray[np.float64]

_LEAST = 0.6  # AUROC below which a network would hardly rely on the feature
_STRONG = 0.7  # for probes that the content may influence too


@dataclass(frozen=True)
class ShortcutProbe:
    """A small model on one kind of features.

    Attributes:
        name: In tables.
        trees: Whether the model is boosted trees, otherwise logistic regression.
        threshold: AUROC from which on it is flagged, if chance is ruled out.
        extract: Returns its features of a sample, (n, d), and the names of the columns, if any.
    """

    name: str
    trees: bool
    threshold: float
    extract: Callable[[Sample], tuple[FloatArray, Sequence[str]]]


SHORTCUT_PROBES = (
    ShortcutProbe("file", True, _LEAST, lambda s: (s.header, NAMES)),
    ShortcutProbe(
        "aspect",
        False,
        LEAST_ASPECT,
        lambda s: (aspect(s.images, s.header[:, NAMES.index("aspect ratio")]), ASPECT),
    ),
    ShortcutProbe("marks", True, _STRONG, lambda s: (features.marks(s.images), features.MARKS)),
    ShortcutProbe("border", False, _STRONG, lambda s: (features.border(s.images), ())),
    ShortcutProbe("tone", True, _STRONG, lambda s: (features.tone(s.images), features.TONE)),
    ShortcutProbe(
        "centre removed", False, _STRONG, lambda s: (features.without_centre(s.images), ())
    ),
    ShortcutProbe("thumbnail", False, _STRONG, lambda s: (features.thumbnail(s.images), ())),
)


@dataclass(frozen=True)
class Shortcut:
    """The result of one probe.

    Attributes:
        probe: Name of the probe.
        auc: AUROC by cross-validation over the patients of train and validation.
        test: AUROC on test of a model trained on train and validation, or ``None``.
        flagged: Whether it exceeds chance and its threshold.
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


def shortcut(probe: ShortcutProbe, train: Sample, test: Sample | None, seed: int) -> Shortcut:
    """Run one probe on a data set.

    Args:
        probe: The probe.
        train: Images of train and validation.
        test: Images of test, or ``None``.
        seed: Of the folds.
    """
    x, names = probe.extract(train)
    tested = (probe.extract(test)[0], test) if test else None
    auc, transferred = _aurocs(x, train, tested, seed, trees=probe.trees)
    flagged = auc.value >= probe.threshold and beyond_chance(auc.value, train.labels, train.groups)
    return Shortcut(probe.name, auc, transferred, flagged, _strongest(x, names, train))


def name_shortcut(
    train: Sample, test: Sample | None, classes: Sequence[str], seed: int
) -> Shortcut:
    """Probe the file names; it is never flagged, as the network does not receive them."""
    files = (*train.files, *(test.files if test else ()))
    x, names = features.name_features(files, classes)
    x, tested = x[: len(train.files)], (x[len(train.files) :], test) if test else None
    auc, transferred = _aurocs(x, train, tested, seed, trees=True)
    return Shortcut("name", auc, transferred, False, _strongest(x, names, train))


def _aurocs(
    x: FloatArray,
    train: Sample,
    tested: tuple[FloatArray, Sample] | None,
    seed: int,
    *,
    trees: bool,
) -> tuple[Estimate, Estimate | None]:
    """Return the AUROC by cross-validation, and on test where there is one."""
    auc = cross_validated(x, train.labels, train.groups, seed, trees=trees)
    if tested is None:
        return auc, None
    y, test = tested
    return auc, transfer((x, train.labels), (y, test.labels, test.groups), trees=trees)


def _strongest(x: FloatArray, names: Sequence[str], train: Sample) -> tuple[tuple[str, float], ...]:
    """Return up to three features with an AUROC of at least 0.55, the strongest first."""
    if not names:
        return ()
    aurocs = single_features(x, train.labels)
    best = np.argsort(-aurocs, kind="stable")[:3]
    return tuple((names[i], float(aurocs[i])) for i in best if aurocs[i] >= 0.55)
