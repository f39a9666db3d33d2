"""How often the coverage of prediction sets is in the range that theory predicts.

Each simulation draws patients, finds the thresholds on some of them and measures coverage on the
others; every patient has the same weight. Reports show the 95 % range. A range of 99.8 %
distinguishes a correct procedure from a wrong one: at least 99 % of the simulations must be in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Figure
from lucency.calibration.conformal import expected_coverage, fit

CALIBRATED, TESTED, ALPHA = 200, 216, 0.1
LEVELS = (0.95, 0.998)
Drawn = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - simulated
    simulations = 100 if quick else 1000
    figures = []
    for most in (1, 6):
        rows = np.array([_simulate(seed, most) for seed in range(simulations)])
        images = "one image" if most == 1 else f"1 to {most} images"
        for i, kind in enumerate(("marginal", "class-conditional, rarer class")):
            name = f"{kind}, {images} a patient"
            mean = rows[:, i, 0].mean()
            figures.append(Figure(f"coverage: {name}", "%", [100 * mean], simulations))
            for j, level in enumerate(LEVELS, start=1):
                inside = [100 * rows[:, i, j].mean()]
                least = 99.0 if level > 0.99 else None
                label = f"in the {100 * level:g} % range: {name}"
                figures.append(Figure(label, "%", inside, simulations, least=least))
    return figures


def _simulate(seed: int, most: int) -> list[list[float]]:
    """Return the coverage of both kinds, and whether it is in each range."""
    probabilities, labels, cluster = _draw(np.random.default_rng([seed, most]), most)
    known = cluster < CALIBRATED
    found = fit(probabilities[known], labels[known], cluster[known], (ALPHA,))
    rows = []
    for threshold, among in zip(found.thresholds, (labels >= 0, labels == 1), strict=True):
        new = ~known & among
        sets = threshold.sets(probabilities[new])
        covered = sets[np.arange(len(sets)), labels[new]]
        patients, patient = np.unique(cluster[new], return_inverse=True)
        coverage = float((np.bincount(patient, covered) / np.bincount(patient)).mean())
        ranges = (
            expected_coverage(threshold.patients[1], len(patients), ALPHA, level)
            for level in LEVELS
        )
        rows.append([coverage, *(float(low <= coverage <= high) for low, high in ranges)])
    return rows


def _draw(random: np.random.Generator, most: int) -> Drawn:
    """Draw patients of two classes; those with more images are harder, and their images similar."""
    patients = CALIBRATED + TESTED
    images = random.integers(1, most + 1, patients)
    cluster = np.repeat(np.arange(patients), images)
    labels = (random.random(patients) < 0.3).astype(np.int64)[cluster]
    ease = 1.5 - 0.2 * images + random.normal(size=patients)
    odds = (ease[cluster] + random.normal(size=len(cluster))) * np.where(labels == 1, 1, -1)
    second = 1 / (1 + np.exp(-odds))
    return np.stack([1 - second, second], axis=1), labels, cluster
