"""How often a comparison of two classifiers is wrong: false alarms for equal ones, and power.

In the simulated test sets, the score of an image is the true class, plus what its patient and
itself add for both classifiers, plus what each classifier makes of patient and image. Both
classifiers are drawn from one distribution, so any difference between equal ones is a false alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Figure
from lucency.comparison.paired import auroc_difference, mcnemar, patient_test

_LEVEL = 0.05
# Patients, images per patient at most, and the distance of the classes: AUROC 0.87 or 0.98.
_SETTINGS = {
    "200 patients, 1 image each": (200, 1, 2.0),
    "200 patients, 1 to 3 images": (200, 3, 2.0),
    "80 patients, 1 to 8 images": (80, 8, 2.0),
    "216 patients, 1 to 2 images, AUROC 0.98": (216, 2, 3.6),
    "40 patients, 1 to 4 images": (40, 4, 2.0),
}
_TestSet = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - simulated
    """Return the share of test sets on which each test finds a difference, in percent."""
    n = 100 if quick else 4000
    figures = []
    for name, setting in _SETTINGS.items():
        found = _shares(setting, n, gain=0.0)
        bounds = {
            "ranking": (3.0, 7.0),
            "decisions": (None, 6.0),
            "images as independent": (None, None),
        }
        for test, values in found.items():
            low, high = (None, None) if quick else bounds[test]
            label = f"false alarms, {test}: {name}"
            figures.append(Figure(label, "%", values, n, least=low, most=high))
        power = _shares(setting, n // 4, gain=0.8)
        figures.append(Figure(f"power, ranking: {name}", "%", power["ranking"], n // 4))
    return figures


def _shares(setting: tuple[int, int, float], n: int, gain: float) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    counts = {"ranking": 0, "decisions": 0, "images as independent": 0}
    for _ in range(n):
        positive, scores, cluster = _draw(rng, *setting, gain)
        one, other = scores[:1], scores[1:]
        counts["ranking"] += auroc_difference(positive, one, other, cluster).p < _LEVEL
        middle = setting[2] / 2
        first, second = ((x[0] > middle) == positive for x in (one, other))
        counts["decisions"] += patient_test(first, second, cluster) < _LEVEL
        counts["images as independent"] += mcnemar(first, second) < _LEVEL
    return {test: [100 * count / n] for test, count in counts.items()}


def _draw(
    rng: np.random.Generator, patients: int, most: int, apart: float, gain: float
) -> _TestSet:
    cluster = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    positive = (rng.random(patients) < 0.6)[cluster]
    n = len(cluster)
    shared = apart * positive + 0.7 * rng.normal(size=patients)[cluster] + 0.5 * rng.normal(size=n)
    drift = 0.6 * rng.normal(size=(2, patients))[:, cluster]
    scores = shared + drift + 0.6 * rng.normal(size=(2, n))
    scores[1] += gain * (positive - 0.5)
    return positive, scores, cluster
