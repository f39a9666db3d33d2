"""How often intervals of grades contain the true value, and prediction sets the true grade.

A patient's images have one normal latent severity, and each image a part of its own. Label and
decision are that severity, the decision with an error, rounded to a grade. The true values come
from 400,000 images. No file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from benchmarks.results import Figure
from lucency import metrics
from lucency.calibration.conformal import expected_coverage, fit
from lucency.metrics import FloatArray, IntArray, influences
from lucency.training.ordinal import scales

TARGET = (93.0, 97.0)
_MANY, _SIMULATIONS = 400_000, 2000
_PATIENTS, _ALPHA, _LEVEL = 400, 0.1, 0.998  # half of the patients are calibrated on


class Setting(NamedTuple):
    """A kind of simulated test set.

    Attributes:
        grades: Number of grades.
        images: Approximate number of images.
        each: Images of a patient.
        error: Standard deviation of the error of a decision, in grades.
    """

    grades: int
    images: int
    each: int
    error: float

    def __str__(self) -> str:
        images = f"{self.images} images, {self.each} a patient"
        return f"{self.grades} grades, {images}, error {self.error:g}"


SETTINGS = (
    Setting(5, 60, 2, 0.8), Setting(5, 300, 2, 0.8), Setting(5, 100, 1, 0.4),
    Setting(5, 500, 2, 1.5), Setting(4, 66, 1, 1.0), Setting(4, 300, 1, 1.0),
    Setting(3, 100, 1, 0.6),
)  # fmt: skip


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - simulated
    count = 100 if quick else _SIMULATIONS
    low, high = TARGET
    figures = []
    for setting in SETTINGS:
        for name, inside in covered(setting, count).items():
            share = [100 * inside / count]
            figures.append(Figure(f"{setting}: {name}", "%", share, count, least=low, most=high))
    return figures + _sets(count // 2)


def covered(setting: Setting, simulations: int, many: int = _MANY) -> dict[str, int]:
    """Count how often the intervals of kappa and of the mean absolute error hold the true value.

    Args:
        setting: The kind of test set.
        simulations: The number of test sets.
        many: The number of images for the true values.
    """
    labels, decisions, _ = _draw(setting._replace(images=many), np.random.default_rng(12345))
    truths = (
        influences.of_quadratic_kappa(labels, decisions).value,
        float(abs(labels - decisions).mean()),
    )
    inside = np.zeros(2, np.int64)
    for seed in range(simulations):
        labels, decisions, cluster = _draw(setting, np.random.default_rng([0, seed]))
        kappa = influences.of_quadratic_kappa(labels, decisions)
        error = influences.of_mean(abs(labels - decisions).astype(np.float64))
        found = (
            metrics.linearised(kappa.value, kappa, cluster, "Fisher"),
            metrics.linearised(error.value, error, cluster, "log"),
        )
        inside += [each.low <= true <= each.high for each, true in zip(found, truths, strict=True)]
    return dict(zip(("quadratic kappa", "mean absolute error"), inside.tolist(), strict=True))


def _draw(setting: Setting, random: np.random.Generator) -> tuple[IntArray, IntArray, IntArray]:
    """Return labels, decisions and patients of one test set, each (n,)."""
    patients, last = setting.images // setting.each, setting.grades - 1
    shape = (patients, setting.each)
    severity = last / 2 + random.normal(size=(patients, 1)) + 0.7 * random.normal(size=shape)
    given = severity + setting.error * random.normal(size=shape)
    labels, decisions = (
        x.round().clip(0, last).astype(np.int64).ravel() for x in (severity, given)
    )
    return labels, decisions, np.repeat(np.arange(patients), setting.each)


def _sets(simulations: int) -> list[Figure]:
    """Measure the coverage of prediction sets without gaps, for one image a patient."""
    rows = np.array([sets_of(seed) for seed in range(simulations)])
    figures = []
    for i, kind in enumerate(("marginal", "class-conditional, highest grade")):
        title = f"sets without gaps, {kind}"
        mean, enough = 100 * rows[:, i, 0].mean(), 100 * rows[:, i, 1].mean()
        figures.append(Figure(f"{title}: coverage", "%", [mean], simulations, least=89.5))
        # Sets are only enlarged, so more coverage than predicted is no fault.
        label = f"{title}: not below the {100 * _LEVEL:g} % range"
        figures.append(Figure(label, "%", [enough], simulations, least=99.0))
    return figures


def sets_of(seed: int) -> list[list[float]]:
    """Return the coverage of both kinds of sets, and whether it reaches its range."""
    random = np.random.default_rng([1, seed])
    labels = random.choice(5, _PATIENTS, p=[0.35, 0.2, 0.2, 0.15, 0.1])
    score = labels - 2 + 0.8 * random.normal(size=_PATIENTS)
    probabilities: FloatArray = special.softmax(np.outer(score, scales(5)), axis=1)
    half = _PATIENTS // 2
    found = fit(probabilities[:half], labels[:half], alphas=(_ALPHA,), runs=True)
    rows = []
    for threshold, among in zip(
        found.thresholds, (labels[half:] >= 0, labels[half:] == 4), strict=True
    ):
        inside = threshold.sets(probabilities[half:][among])
        coverage = float(inside[np.arange(len(inside)), labels[half:][among]].mean())
        low, _ = expected_coverage(threshold.patients[4], len(inside), _ALPHA, _LEVEL)
        rows.append([coverage, float(coverage >= low)])
    return rows
