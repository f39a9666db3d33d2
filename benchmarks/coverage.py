"""How often the 95 % intervals hold the truth, over simulated test sets.

    python -m benchmarks.coverage [--simulations 2000] [--results DIR]

Scores are normal with a known AUROC. A patient has 1 to 30 images, most have one (mean 1.5), all
of one class, and half of a score's variance is the patient's own. The truths come from a million
images. No file is read; one core needs about ten minutes for 2,000 test sets of each kind.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import special

from benchmarks.child import ROOT
from benchmarks.results import Figure, show, write
from lucency import metrics
from lucency.calibration import temperature
from lucency.evaluation.figures import Sample, overall, sample_of
from lucency.metrics import FloatArray, IntArray

SHARES = {2: (0.37, 0.63), 3: (0.5, 0.3, 0.2)}
SIZES = np.arange(1, 31)
ALIKE = 0.5  # share of a score's variance that is the patient's own
IMAGES_PER_PATIENT = 1.512
EXACT = "Clopper-Pearson"
WANTED = (93.0, 97.0)
_MANY = 1_000_000
_DRAWS = 200  # of the null band, which an evaluation draws 2,000 times

Drawn = tuple[IntArray, FloatArray, list[str]]


@dataclass(frozen=True)
class Setting:
    """What kind of test sets are drawn.

    Attributes:
        classes: 2 or 3.
        area: AUROC of one class against another.
        alike: Whether patients have several images.
        n: Images, about.
    """

    classes: int
    area: float
    alike: bool
    n: int

    def __str__(self) -> str:
        owners = "several images per patient" if self.alike else "one image per patient"
        return f"{self.classes} classes, {self.area:g}, {owners}, n={self.n}"


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
        rng: Where chance comes from.
        fair: Whether the probabilities know how frequent the classes are, and so are calibrated;
            else they take all as equally frequent.

    Returns:
        (n,) labels, (n, classes) probabilities, n patients.
    """
    shares = np.array(SHARES[setting.classes])
    owner = _patients(setting, rng)
    count, n, k = int(owner[-1]) + 1, len(owner), setting.classes
    labels = rng.choice(k, count, p=shares)[owner]
    distance = math.sqrt(2) * special.ndtri(setting.area)
    own = ALIKE if setting.alike else 0.0
    # Two classes differ along one line, three along one each.
    noise = [
        math.sqrt(own) * rng.normal(size=count)[owner] + math.sqrt(1 - own) * rng.normal(size=n)
        for _ in range(1 if k == 2 else k)
    ]
    if k == 2:
        score = distance * (distance * labels + noise[0]) - distance**2 / 2
        logits = np.stack([np.zeros(n), score], axis=1)
    else:
        logits = distance * (distance * np.eye(k)[labels] + np.stack(noise, axis=1))
    logits += np.log(shares) if fair else 0.0
    return labels, np.asarray(special.softmax(logits, axis=1)), [str(i) for i in owner]


def _patients(setting: Setting, rng: np.random.Generator) -> IntArray:
    if not setting.alike:
        return np.arange(setting.n)
    frequency = SIZES**-2.7
    count = round(setting.n / IMAGES_PER_PATIENT)
    return np.repeat(np.arange(count), rng.choice(SIZES, count, p=frequency / frequency.sum()))


def _sample(drawn: Drawn) -> Sample:
    labels, probabilities, owners = drawn
    positive = 1 if probabilities.shape[1] == 2 else None
    decisions = metrics.decide(probabilities, positive, 0.5)
    return sample_of(labels, decisions, probabilities, owners, positive)


def covered(
    setting: Setting, simulations: int, seed: int = 0, many: int = _MANY
) -> dict[str, tuple[int, int, bool]]:
    """Count how often each interval holds the truth.

    Args:
        setting: What is drawn.
        simulations: How many test sets.
        seed: The same seed draws the same test sets.
        many: Images that the truths are found from.

    Returns:
        By figure: intervals that hold it, intervals, and whether they are exact ones.
    """
    truths = _truths(setting.classes, setting.area, many)
    held: dict[str, list[bool]] = defaultdict(list)
    exact = {}
    for rng in _generators(seed, simulations):
        for name, found in overall(_sample(draw(setting, rng))).items():
            if not math.isnan(found.low):
                held[name].append(found.low <= truths[name] <= found.high)
            exact[name] = exact.get(name, False) or found.method.startswith(EXACT)
    return {name: (sum(holds), len(holds), exact[name]) for name, holds in held.items()}


@cache
def _truths(classes: int, area: float, many: int) -> dict[str, float]:
    large = draw(Setting(classes, area, False, many), np.random.default_rng(12345))
    return {name: found.value for name, found in overall(_sample(large)).items()}


def _generators(seed: int, simulations: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng((seed, i)) for i in range(simulations))


def inside_null_band(setting: Setting, simulations: int, seed: int = 0, draws: int = _DRAWS) -> int:
    """Count how often the calibration error of right probabilities is in its null band."""
    inside = 0
    for rng in _generators(seed, simulations):
        labels, probabilities, owners = draw(setting, rng, fair=True)
        sample = _sample((labels, probabilities, owners))
        error = temperature.debiased_error(sample.claimed, sample.came_true, sample.owner)
        _, high = temperature.chance_error(sample.claimed, sample.owner, draws)
        inside += bool(error <= high)
    return inside


def measure(files: Sequence[Path], *, quick: bool, simulations: int = 2000) -> list[Figure]:
    """Measure all settings; ``files`` are not read."""
    del files
    count = 50 if quick else simulations
    figures = []
    for setting in SETTINGS:
        for name, (held, intervals, exact) in covered(setting, count).items():
            label = f"{setting}: {name}"
            low, high = WANTED
            share = 100 * held / max(1, intervals)
            # Exact intervals may hold the truth more often than 95 %.
            most = None if exact else high
            figures.append(Figure(label, "%", [share], intervals, least=low, most=most))
        share = 100 * inside_null_band(setting, count) / count
        figures.append(Figure(f"{setting}: ece in null band", "%", [share], count, least=94.0))
        _tell(setting, figures)
    return figures


def _tell(setting: Setting, figures: Sequence[Figure]) -> None:
    """Print how far it is, and what missed."""
    shares = {x.name.rpartition(": ")[2]: x for x in figures if x.name.startswith(f"{setting}: ")}
    missed = [f"{name} {x.values[0]:.1f}" for name, x in shares.items() if x.verdict != "met"]
    print(f"  {setting}: {', '.join(missed) or 'all met'}", flush=True)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--simulations", type=int, default=2000, metavar="N")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results", metavar="DIR")
    given = parser.parse_args()
    figures = measure((), quick=False, simulations=given.simulations)
    show("coverage", figures)
    print(f"-> {write(given.results / 'coverage.csv', figures)}")


if __name__ == "__main__":
    _main()
