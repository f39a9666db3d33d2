"""How often intervals of figures of numbers hold the true value, and prediction intervals numbers.

A patient's images share a part of their number and of the error of the prediction, and each has a
part of its own. The true values come from 400,000 images. The prediction intervals are those of
distributions that are centred on the prediction and too wide or too narrow: an offset corrects them
on other patients. No file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from benchmarks.results import Figure
from lucency import metrics
from lucency.calibration.conformal import expected_coverage
from lucency.calibration.values import COVERAGE, ValueRule, fit
from lucency.evaluation.values import inside
from lucency.metrics import FloatArray, IntArray

TARGET = (93.0, 97.0)
FIGURES = ("mean_absolute_error", "r2", "agreement_low", "agreement_high")
_MANY, _SIMULATIONS = 400_000, 2000
_EDGES = np.linspace(-4.0, 4.0, 17)  # of the bins, in standard deviations of the numbers
_PATIENTS, _LEVEL = 100, 0.95  # calibrated on, and as many measured on


class Setting(NamedTuple):
    """A kind of simulated test set.

    Attributes:
        images: Number of images.
        each: Images of a patient.
        errors: "normal"; "growing": twice as large for high numbers as for low ones; or "heavy":
            with Student's t distribution of 5 degrees of freedom.
    """

    images: int
    each: int
    errors: str

    def __str__(self) -> str:
        return f"{self.images} images, {self.each} a patient, {self.errors} errors"


SETTINGS = (
    Setting(60, 1, "normal"), Setting(90, 1, "growing"), Setting(300, 1, "normal"),
    Setting(300, 1, "heavy"), Setting(120, 2, "normal"), Setting(300, 2, "growing"),
    Setting(400, 4, "normal"),
)  # fmt: skip


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - simulated
    count = 100 if quick else _SIMULATIONS
    low, high = TARGET
    figures = [
        Figure(f"{setting}: {name}", "%", [100 * held / count], count, least=low, most=high)
        for setting in SETTINGS
        for name, held in covered(setting, count).items()
    ]
    return figures + _intervals(count // 4)


def covered(setting: Setting, simulations: int, many: int = _MANY) -> dict[str, int]:
    """Count how often the interval of each of ``FIGURES`` holds the true value.

    Args:
        setting: The kind of test set.
        simulations: The number of test sets.
        many: The number of images for the true values.
    """
    random = np.random.default_rng(12345)
    true, predicted, cluster = draw(setting._replace(images=many), random)
    truths = metrics.value_estimates(true, predicted, cluster)
    held = dict.fromkeys(FIGURES, 0)
    for seed in range(simulations):
        found = metrics.value_estimates(*draw(setting, np.random.default_rng([0, seed])))
        for name in FIGURES:
            held[name] += found[name].low <= truths[name].value <= found[name].high
    return held


def draw(setting: Setting, random: np.random.Generator) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return true and predicted numbers and the patients of one test set, each (n,)."""
    patients = setting.images // setting.each
    shape = (patients, setting.each)
    true = 0.8 * random.normal(size=(patients, 1)) + 0.6 * random.normal(size=shape)
    parts = [0.25 * _error(setting, random, size) for size in ((patients, 1), shape)]
    error = sum(parts, np.zeros(shape))
    if setting.errors == "growing":
        error = error * 2 ** special.expit(2 * true)
    predicted = 0.1 + 0.95 * true + error
    return true.ravel(), predicted.ravel(), np.repeat(np.arange(patients), setting.each)


def _error(setting: Setting, random: np.random.Generator, size: tuple[int, int]) -> FloatArray:
    if setting.errors == "heavy":
        return np.asarray(random.standard_t(5, size))
    return np.asarray(random.normal(size=size))


def _intervals(simulations: int) -> list[Figure]:
    """Measure how often prediction intervals hold the numbers of new patients."""
    figures = []
    for each, width in ((1, 0.5), (1, 2.0), (3, 0.5)):
        rows = np.array([interval_coverage(each, width, seed) for seed in range(simulations)])
        title = f"prediction intervals, {each} images a patient, distributions {width:g} as wide"
        mean, in_range = 100 * rows.mean(axis=0)
        promised = 100 * COVERAGE
        figures.append(
            Figure(f"{title}: coverage", "%", [mean], simulations, least=promised - 0.5, most=93.0)
        )
        label = f"{title}: in the {100 * _LEVEL:g} % range of chance"
        figures.append(Figure(label, "%", [in_range], simulations, least=TARGET[0]))
    return figures


def interval_coverage(each: int, width: float, seed: int) -> tuple[float, float]:
    """Return the coverage among new patients, and whether it is in its range (1 or 0).

    Args:
        each: Images of a patient.
        width: Standard deviation of the stated distribution, as a multiple of that of the errors.
        seed: Of the simulation.
    """
    random = np.random.default_rng([1, seed, each])
    setting = Setting(2 * _PATIENTS * each, each, "growing")
    true, predicted, cluster = draw(setting, random)
    scale = 0.5 * width
    heights = special.ndtr((_EDGES[1:-1] - predicted[:, None]) / scale)
    p = np.diff(heights, axis=1, prepend=0.0, append=1.0)
    middles = (_EDGES[1:] + _EDGES[:-1]) / 2
    rule = ValueRule("number", tuple(_EDGES), tuple(middles), mean=0.0)
    held_out = cluster < _PATIENTS
    groups = [str(x) for x in cluster[held_out]]
    intervals = fit(rule, p[held_out], true[held_out], groups).intervals(p[~held_out])
    if intervals is None:
        raise RuntimeError("too few patients were held out")
    share = metrics.coverage(inside(true[~held_out], intervals), cluster[~held_out]).value
    low, high = expected_coverage(_PATIENTS, _PATIENTS, 1 - COVERAGE, _LEVEL)
    return share, float(low <= share <= high)
