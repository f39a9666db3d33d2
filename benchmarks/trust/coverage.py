"""How often 95 % intervals contain the true value, over simulated test sets.

Scores are normal with a known AUROC. A patient has 1 to 30 images of one class, most have one (mean
1.5), and half of the variance of a score is the patient's. The true values come from a million
images. No file is read. One core needs about ten minutes for 2,000 test sets of each kind.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import special

from benchmarks.results import Figure
from lucency import metrics
from lucency.calibration import reliability
from lucency.evaluation.figures import Sample, make_sample, overall_metrics
from lucency.metrics import FloatArray, IntArray

SHARES = {2: (0.37, 0.63), 3: (0.5, 0.3, 0.2)}
SIZES = np.arange(1, 31)
ALIKE = 0.5  # share of a score's variance that is the patient's
IMAGES_PER_PATIENT = 1.512
EXACT = "Clopper-Pearson"
TARGET = (93.0, 97.0)
_MANY = 1_000_000
_DRAWS = 200  # for the null band; an evaluation takes 2,000

Drawn = tuple[IntArray, FloatArray, list[str]]


@dataclass(frozen=True)
class Setting:
    """A kind of simulated test set.

    Attributes:
        classes: 2 or 3.
        area: AUROC of one class against another.
        alike: Whether patients have several images.
        n: The approximate number of images.
    """

    classes: int
    area: float
    alike: bool
    n: int

    def __str__(self) -> str:
        clusters = "several images per patient" if self.alike else "one image per patient"
        return f"{self.classes} classes, {self.area:g}, {clusters}, n={self.n}"


SETTINGS = [
    Setting(classes, area, alike, n)
    for classes, area in ((2, 0.97), (2, 0.85), (3, 0.9))
    for alike in (False, True)
    for n in (50, 200, 624)
]


def draw(setting: Setting, rng: np.random.Generator, *, fair: bool = False) -> Drawn:
    """Draw one test set.

    Args:
        setting: Its kind.
        rng: Random numbers.
        fair: Whether the probabilities use the class prior, and so are calibrated; otherwise they
            assume equally frequent classes.

    Returns:
        (n,) labels, (n, classes) probabilities, n patients.
    """
    shares = np.array(SHARES[setting.classes])
    cluster = draw_patients(setting, rng)
    count, n, k = int(cluster[-1]) + 1, len(cluster), setting.classes
    labels = rng.choice(k, count, p=shares)[cluster]
    distance = math.sqrt(2) * special.ndtri(setting.area)
    share = ALIKE if setting.alike else 0.0
    # Two classes differ along one axis, three along one axis each.
    noise = [
        math.sqrt(share) * rng.normal(size=count)[cluster]
        + math.sqrt(1 - share) * rng.normal(size=n)
        for _ in range(1 if k == 2 else k)
    ]
    if k == 2:
        score = distance * (distance * labels + noise[0]) - distance**2 / 2
        logits = np.stack([np.zeros(n), score], axis=1)
    else:
        logits = distance * (distance * np.eye(k)[labels] + np.stack(noise, axis=1))
    logits += np.log(shares) if fair else 0.0
    return labels, np.asarray(special.softmax(logits, axis=1)), [str(i) for i in cluster]


def draw_patients(setting: Setting, rng: np.random.Generator) -> IntArray:
    """Return the patient of each image, from 0, in groups of 1 to 30 if ``setting.alike``."""
    if not setting.alike:
        return np.arange(setting.n)
    frequency = SIZES**-2.7
    count = round(setting.n / IMAGES_PER_PATIENT)
    return np.repeat(np.arange(count), rng.choice(SIZES, count, p=frequency / frequency.sum()))


def _sample(drawn: Drawn) -> Sample:
    labels, probabilities, clusters = drawn
    positive = 1 if probabilities.shape[1] == 2 else None
    decisions = metrics.decide(probabilities, positive, 0.5)
    return make_sample(labels, decisions, probabilities, clusters, positive)


def covered(
    setting: Setting, simulations: int, seed: int = 0, many: int = _MANY
) -> dict[str, tuple[int, int, bool]]:
    """Count how often each interval contains the true value.

    Args:
        setting: The kind of test set.
        simulations: The number of test sets.
        seed: The same seed draws the same test sets.
        many: The number of images for the true values.

    Returns:
        By figure: intervals that contain it, all intervals, and whether they are exact.
    """
    truths = _truths(setting.classes, setting.area, many)
    contained: dict[str, list[bool]] = defaultdict(list)
    exact = {}
    for rng in _generators(seed, simulations):
        for name, found in overall_metrics(_sample(draw(setting, rng))).items():
            if not math.isnan(found.low):
                contained[name].append(found.low <= truths[name] <= found.high)
            exact[name] = exact.get(name, False) or found.method.startswith(EXACT)
    return {name: (sum(hits), len(hits), exact[name]) for name, hits in contained.items()}


@cache
def _truths(classes: int, area: float, many: int) -> dict[str, float]:
    large = draw(Setting(classes, area, False, many), np.random.default_rng(12345))
    return {name: found.value for name, found in overall_metrics(_sample(large)).items()}


def _generators(seed: int, simulations: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng((seed, i)) for i in range(simulations))


def inside_null_band(setting: Setting, simulations: int, seed: int = 0, draws: int = _DRAWS) -> int:
    """Count how often the calibration error of calibrated probabilities is in its null band."""
    inside = 0
    for rng in _generators(seed, simulations):
        labels, probabilities, clusters = draw(setting, rng, fair=True)
        sample = _sample((labels, probabilities, clusters))
        error = reliability.debiased_error(sample.event_probability, sample.event, sample.cluster)
        _, high = reliability.chance_error(sample.event_probability, sample.cluster, draws)
        inside += bool(error <= high)
    return inside


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - simulated
    count = 50 if quick else 2000
    figures = []
    for setting in SETTINGS:
        for name, (contained, intervals, exact) in covered(setting, count).items():
            label = f"{setting}: {name}"
            low, high = TARGET
            share = 100 * contained / max(1, intervals)
            # Exact intervals may contain the true value more often than 95 %.
            most = None if exact else high
            figures.append(Figure(label, "%", [share], intervals, least=low, most=most))
        share = 100 * inside_null_band(setting, count) / count
        figures.append(Figure(f"{setting}: ece in null band", "%", [share], count, least=94.0))
        _report(setting, figures)
    return figures


def _report(setting: Setting, figures: Sequence[Figure]) -> None:
    """Print the progress, and the figures that missed their target."""
    shares = {x.name.rpartition(": ")[2]: x for x in figures if x.name.startswith(f"{setting}: ")}
    missed = [f"{name} {x.values[0]:.1f}" for name, x in shares.items() if x.verdict != "met"]
    print(f"  {setting}: {', '.join(missed) or 'all met'}", flush=True)
