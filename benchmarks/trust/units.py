"""One answer for all images of a patient: calibration, prediction sets and intervals.

Each simulation draws patients with 1 to 6 images. An image alone has calibrated log odds (normal,
mean +-2, variance 4); the images of a patient share a part of their noise, their correlation. The
rule is fitted on 200 patients and measured on 216 others. Figures of a real run need $LUCENCY_RUN,
a run that was trained with ``--unit patient``; min and max are then the 95 % interval.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import special

from benchmarks.results import Figure
from lucency.calibration.conformal import expected_coverage
from lucency.calibration.units import fit, pooled_logits
from lucency.classifier import Classifier
from lucency.evaluation import Predictions, evaluate_predictions, read_predictions
from lucency.metrics import BoolArray, FloatArray, delong
from lucency.run_folder.files import PREDICTIONS

FITTED, TESTED, ALPHA = 200, 216, 0.1
IMAGES, CORRELATIONS = (1, 2, 6), (0.0, 0.5, 0.9)
LEVEL = 0.998  # at least 99 % of the simulations must be in this range of coverage
KEYS = ("auroc", "sensitivity", "specificity", "accuracy", "ece", "log_loss")


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - simulated
    simulations = 10 if quick else 200
    figures = []
    for images, correlation in itertools.product(IMAGES, CORRELATIONS):
        if images > 1 or correlation == 0:
            figures += _simulated(images, correlation, simulations)
    run = os.environ.get("LUCENCY_RUN")
    return figures + (_measured(Path(run)) if run else [])


def _simulated(images: int, correlation: float, simulations: int) -> list[Figure]:
    drawn = [_simulate(seed, images, correlation) for seed in range(simulations)]
    rows = {key: [each[key] for each in drawn] for key in drawn[0]}
    several = f", correlation {correlation:g}" if images > 1 else ""
    name = f"{images} image{'s' if images > 1 else ''} a patient{several}"

    def mean(key: str, unit: str = "%", least: float | None = None) -> Figure:
        scale = 100 if unit == "%" else 1
        value = [scale * float(np.mean(rows[key]))]
        return Figure(f"{key}: {name}", unit, value, simulations, least=least)

    return [
        Figure(f"temperature: {name}", "", rows["temperature"], FITTED),
        mean("coverage of 90 % sets"),
        mean("coverage in the 99.8 % range", least=99.0),
        mean("95 % interval of AUROC has the true value", least=93.0),
        *(mean(f"log loss, {how}", "nats") for how in ("one image", "mean", "sum", "fitted")),
        mean("log loss, best possible", "nats"),
    ]


def _simulate(seed: int, images: int, correlation: float) -> dict[str, float]:
    """Return the figures of one simulation."""
    random = np.random.default_rng([seed, images, round(100 * correlation)])
    patients = FITTED + TESTED
    truth = (random.random(patients) < 0.5).astype(np.int64)
    own = math.sqrt(correlation) * random.normal(size=(patients, 1))
    each = math.sqrt(1 - correlation) * random.normal(size=(patients, images))
    odds = 2 * (2 * truth[:, None] - 1) + 2 * (own + each)
    patient = np.repeat(np.arange(patients), images)
    p = np.stack([special.expit(-odds), special.expit(odds)], axis=-1).reshape(-1, 2)
    known = patient < FITTED
    names = [str(k) for k in patient[known]]
    rule = fit(p[known], truth[patient[known]], names, (0.5, 0.5), seed=seed)
    unit, new = patient[~known] - FITTED, truth[FITTED:] == 1
    found = rule.probabilities(p[~known], unit)
    z = pooled_logits(p[~known], unit)[:, 0]
    # Of the mean of these log odds, the log likelihood ratio is 4 z over their variance.
    variance = 4 * (correlation + (1 - correlation) / images)
    area = float(special.ndtr(4 / math.sqrt(2 * variance)))
    interval = delong(new, found[:, 1], np.arange(TESTED))
    sets = rule.conformal.threshold(ALPHA, "marginal").sets(found)
    covered = float(sets[np.arange(TESTED), truth[FITTED:]].mean())
    low, high = expected_coverage(FITTED, TESTED, ALPHA, LEVEL)
    return {
        "temperature": rule.temperature,
        "coverage of 90 % sets": covered,
        "coverage in the 99.8 % range": float(low <= covered <= high),
        "95 % interval of AUROC has the true value": float(interval.low <= area <= interval.high),
        "log loss, one image": _log_loss(odds[FITTED:, 0], new),
        "log loss, mean": _log_loss(z, new),
        "log loss, sum": _log_loss(images * z, new),
        "log loss, fitted": _log_loss(special.logit(found[:, 1]), new),
        "log loss, best possible": _log_loss(4 * z / variance, new),
    }


def _log_loss(odds: FloatArray, positive: BoolArray) -> float:
    return float(np.logaddexp(0, np.where(positive, -odds, odds)).mean())


def _measured(run: Path) -> list[Figure]:
    """Return the figures of the test split of a run, of all patients and of those with several."""
    classifier, test = Classifier.load(run), read_predictions(run / PREDICTIONS)[-1]
    _, place, counts = np.unique(test.groups, return_inverse=True, return_counts=True)
    figures = []
    for of, chosen in (("all patients", counts[place] > 0), ("several images", counts[place] > 1)):
        images = evaluate_predictions(classifier, _chosen(test, chosen))
        for what, found in (("per image", images), ("per patient", images.per_unit)):
            if found is None:
                raise ValueError(f"{run} was not trained with --unit patient.")
            for key in KEYS:
                value = found.metrics[key]
                ends = (
                    [value.value] if math.isnan(value.low) else [value.low, value.value, value.high]
                )
                name = f"{key} {what}, {of}: chest radiographs"
                figures.append(Figure(name, "", ends, found.n))
    return figures


def _chosen(test: Predictions, chosen: BoolArray) -> Predictions:
    rows = np.flatnonzero(chosen)
    return Predictions(
        split=test.split,
        classes=test.classes,
        files=tuple(test.files[i] for i in rows),
        groups=tuple(test.groups[i] for i in rows),
        labels=test.labels[rows],
        decisions=test.decisions[rows],
        probabilities=test.probabilities[rows],
        ood_scores=None if test.ood_scores is None else test.ood_scores[rows],
    )
