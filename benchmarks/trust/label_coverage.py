"""How often intervals of several labels contain the true value, and prediction sets the label.

A patient's images share a part of the odds of each label, and an image has a part of its own. A
fifth of the labels is unknown, whatever they are. The true values come from 400,000 images. Two
classifiers that add errors of one distribution to these odds are equally good: any difference that
a comparison finds is a false alarm. No file is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.results import Figure
from lucency.calibration.conformal import expected_coverage, fit
from lucency.comparison.paired import mean_auroc_difference
from lucency.evaluation import Predictions
from lucency.evaluation.labels import mean_metrics
from lucency.metrics import Estimate, FloatArray, IntArray

TARGET, ALARMS = (93.0, 97.0), (3.0, 7.0)
ALPHA, LEVEL = 0.1, 0.998
_MANY, _SIMULATIONS, _UNKNOWN = 400_000, 1000, 0.2
_STATES = ("absent", "present")


class Setting(NamedTuple):
    """A kind of simulated test set.

    Attributes:
        shares: Of the images that have each label, about.
        images: Number of images.
        each: Images of a patient.
    """

    shares: tuple[float, ...]
    images: int
    each: int

    def __str__(self) -> str:
        rarest = f"the rarest on {min(self.shares):.0%}"
        return f"{len(self.shares)} labels, {rarest}, {self.images} images, {self.each} a patient"


SETTINGS = (
    Setting((0.5, 0.3, 0.2), 120, 1), Setting((0.5, 0.3, 0.2), 400, 2),
    Setting((0.5, 0.2, 0.06), 400, 1), Setting(tuple(np.linspace(0.1, 0.6, 11)), 300, 1),
    Setting(tuple(np.linspace(0.1, 0.6, 11)), 300, 3),
)  # fmt: skip


class Drawn(NamedTuple):
    """A simulated test set.

    Attributes:
        targets: (n, labels) float32: 1 present, 0 absent, -1 unknown.
        probabilities: (classifiers, n, labels), of equally good classifiers.
        cluster: (n,) the patient of each image.
    """

    targets: NDArray[np.float32]
    probabilities: FloatArray
    cluster: IntArray


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - simulated
    count = 100 if quick else _SIMULATIONS
    figures: list[Figure] = []
    for setting in SETTINGS:
        figures += _intervals(setting, count)
        figures += _sets(setting, count)
        print(f"  {setting}", flush=True)
    return figures


def draw(setting: Setting, random: np.random.Generator, classifiers: int = 1) -> Drawn:
    """Draw one test set, and what classifiers predict for it."""
    shape = (setting.images, len(setting.shares))
    cluster = np.arange(setting.images) // setting.each
    patients = (int(cluster[-1]) + 1, shape[1])
    # The odds have a standard deviation of 2, of which a logistic curve makes the wanted share.
    middle = special.logit(setting.shares) * np.sqrt(1 + np.pi * 2**2 / 8)
    odds = middle + np.sqrt(2) * (random.normal(size=patients)[cluster] + random.normal(size=shape))
    targets = (random.random(shape) < special.expit(odds)).astype(np.float32)
    targets[random.random(shape) < _UNKNOWN] = -1
    errors = (
        random.normal(size=(classifiers, *patients))[:, cluster]
        + random.normal(size=(classifiers, *shape))
    )  # fmt: skip
    return Drawn(targets, special.expit(odds + 0.7 * errors), cluster)


def covered(setting: Setting, simulations: int, many: int = _MANY) -> tuple[Counter[str], int]:
    """Count how often the interval of each mean over the labels holds the true value.

    Args:
        setting: The kind of test set.
        simulations: Number of test sets.
        many: Number of images for the true values.

    Returns:
        By figure the intervals that hold it, and the number of test sets with all labels.
    """
    large = draw(setting._replace(images=many), np.random.default_rng(12345))
    truths = {name: each.value for name, each in _estimates(setting, large).items()}
    inside: Counter[str] = Counter()
    whole = 0
    for seed in range(simulations):
        found = _estimates(setting, draw(setting, np.random.default_rng([0, seed])))
        if np.isnan(found["auroc"].low):
            continue
        whole += 1
        for name, each in found.items():
            inside[name] += each.low <= truths[name] <= each.high
    return inside, whole


def _estimates(setting: Setting, drawn: Drawn) -> dict[str, Estimate]:
    p, n = drawn.probabilities[0], len(drawn.targets)
    return mean_metrics(
        Predictions(
            split="test",
            classes=tuple(map(str, range(p.shape[1]))),
            files=("",) * n,
            groups=tuple(map(str, drawn.cluster)),
            labels=np.zeros(n, np.int64),
            decisions=(p >= np.array(setting.shares)).astype(np.int64),
            probabilities=p,
            targets=drawn.targets,
        )
    )


def _intervals(setting: Setting, simulations: int) -> Iterator[Figure]:
    low, high = TARGET
    inside, whole = covered(setting, simulations)
    for name, times in inside.items():
        share = [100 * times / whole]
        yield Figure(f"{setting}: mean {name}", "%", share, whole, least=low, most=high)
    alarms = [100 * false_alarms(setting, simulations)]
    label = f"{setting}: false alarms of comparing the mean AUROC"
    yield Figure(label, "%", alarms, simulations, least=ALARMS[0], most=ALARMS[1])


def false_alarms(setting: Setting, simulations: int) -> float:
    """Return how often the mean AUROC of equally good classifiers is found to differ."""
    alarms = 0
    for seed in range(simulations):
        drawn = draw(setting, np.random.default_rng([1, seed]), classifiers=2)
        one, other = drawn.probabilities[:1], drawn.probabilities[1:]
        alarms += mean_auroc_difference(drawn.targets, one, other, drawn.cluster).p < 0.05
    return alarms / simulations


def _sets(setting: Setting, simulations: int) -> Iterator[Figure]:
    """Measure the sets of the most frequent and of the rarest label."""
    for k in (int(np.argmax(setting.shares)), int(np.argmin(setting.shares))):
        rows = [sets_of(setting, k, seed) for seed in range(simulations)]
        for state, name in enumerate(_STATES):
            known = np.array([row[state] for row in rows if row[state]])
            label = f"{setting}: prediction sets, label on {setting.shares[k]:.0%}, {name}"
            mean, inside = (100 * known.mean(axis=0)).tolist()
            yield Figure(f"{label}: coverage", "%", [mean], len(known))
            title = f"{label}: in the {100 * LEVEL:g} % range"
            yield Figure(title, "%", [inside], len(known), least=99.0)


def sets_of(setting: Setting, k: int, seed: int) -> list[tuple[float, bool] | None]:
    """Return the coverage of a label's prediction sets, where it is absent and where present.

    The thresholds come from half of the patients, and every other patient has the same weight.

    Args:
        setting: The kind of data set; half of it is calibrated on.
        k: Number of the label.
        seed: Of the data set.

    Returns:
        For each state the coverage, and whether it is in the range that theory predicts; ``None``
        where the sets have no promise or no patient shows it.
    """
    double = setting._replace(images=2 * setting.images)
    drawn = draw(double, np.random.default_rng([2, k, seed]))
    known = drawn.targets[:, k] >= 0
    cluster, truth = drawn.cluster[known], (drawn.targets[known, k] > 0).astype(np.int64)
    p = drawn.probabilities[0, known, k]
    two = np.stack([1 - p, p], axis=1)
    first = cluster < setting.images // setting.each
    rule = fit(two[first], truth[first], cluster[first], (ALPHA,)).threshold(
        ALPHA, "class-conditional"
    )
    found: list[tuple[float, bool] | None] = []
    for state in (0, 1):
        new = ~first & (truth == state)
        if rule.unlimited[state] or not new.any():
            found.append(None)
            continue
        hits = rule.sets(two[new])[:, state]
        patients, patient = np.unique(cluster[new], return_inverse=True)
        coverage = float((np.bincount(patient, hits) / np.bincount(patient)).mean())
        low, high = expected_coverage(rule.patients[state], len(patients), ALPHA, LEVEL)
        found.append((coverage, low <= coverage <= high))
    return found
