"""How often 95 % intervals of cross-validated figures contain the true value.

Folds, calibration and threshold are made as in a training. The classifier is a logistic regression,
as thousands of them must be fitted. Two kinds of data sets: simulated features of patients with 1
to 30 images, and 500 chest radiographs of 16 x 16 pixels, drawn by patient from the training part.

The true value is measured on images that no fold has: 50,000 simulated ones, or all other
radiographs. It is the mean over the classifiers of the folds, as the figures describe one
classifier. Beside it stand the mean error against the classifier that averages their logits, and
the interval of Nadeau and Bengio (2003), from the spread of the folds. One core needs ten minutes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats

from benchmarks.results import Figure
from benchmarks.sample_images import CHEST_XRAY
from benchmarks.trust.coverage import EXACT, SHARES, TARGET, Setting, draw_patients
from lucency import metrics
from lucency.calibration import scaling
from lucency.calibration.scaling import Scaling
from lucency.config import Config
from lucency.dataset import Entry, load_dataset
from lucency.dataset.folds import make_folds
from lucency.evaluation.figures import make_sample, overall_metrics
from lucency.metrics import Estimate, FloatArray, IntArray

FIGURES = ("auroc", "accuracy", "sensitivity", "specificity", "log_loss")
AREA = 0.9  # of the best possible classifier
KINDS = ((100, 5), (100, 50), (300, 50))  # images and features
FOLDS = 5
RADIOGRAPHS, SIDE = 500, 16
_MANY = 50_000


class Images(NamedTuple):
    """Features (n, d), labels (n,) of two classes and n patients."""

    features: FloatArray
    labels: IntArray
    groups: list[str]


class Draw(NamedTuple):
    """A data set to cross-validate, and the images that tell the truth about its classifiers."""

    images: Images
    others: Images


@dataclass
class Tally:
    """Of one figure: whether intervals held the truth, and errors of the estimate.

    Exact intervals may hold it more often than 95 %.
    """

    exact: bool = False
    contained: list[bool] = field(default_factory=list)
    spread: list[bool] = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    joined: list[float] = field(default_factory=list)


def simulated(
    n: int, features: int, seeds: Sequence[int], many: int = _MANY, area: float = AREA
) -> Iterator[Draw]:
    """Draw data sets of about n images; the classes differ equally in every feature.

    Half of the variance of a feature is the patient's. At best, the classes are separated with this
    AUROC.
    """
    setting = Setting(2, area, True, n)
    shift = math.sqrt(2 / features) * special.ndtri(area)
    others = _draw(np.arange(many), shift, features, np.random.default_rng(12345))
    for seed in seeds:
        rng = np.random.default_rng((n, features, seed))
        yield Draw(_draw(draw_patients(setting, rng), shift, features, rng), others)


def _draw(patients: IntArray, shift: float, d: int, rng: np.random.Generator) -> Images:
    count = int(patients[-1]) + 1
    labels = rng.choice(2, count, p=SHARES[2])[patients]
    noise = rng.normal(size=(count, d))[patients] + rng.normal(size=(len(patients), d))
    features = shift * labels[:, None] + noise / math.sqrt(2)
    return Images(features, labels, [str(i) for i in patients])


def radiographs(folder: Path, seeds: Sequence[int]) -> Iterator[Draw]:
    """Draw patients of the training part until they have 500 radiographs; the rest are others."""
    data = load_dataset(folder, Config(folds=0, on_leak="drop"), size=(SIDE, SIDE), colour=False)
    parts = [(each, each.pixels_8bit(np.arange(len(each)))) for each in (data.train, data.val)]
    pixels = np.concatenate([found for _, found in parts])
    every = Images(
        pixels.reshape(len(pixels), -1) / 255 - 0.5,
        np.concatenate([split.labels for split, _ in parts]),
        [group for split, _ in parts for group in split.groups],
    )
    _, patients = np.unique(every.groups, return_inverse=True)
    sizes = np.bincount(patients)
    for seed in seeds:
        order = np.random.default_rng((RADIOGRAPHS, seed)).permutation(len(sizes))
        chosen = order[np.cumsum(sizes[order]) <= RADIOGRAPHS]
        inside = np.isin(patients, chosen)
        yield Draw(_taken(every, inside), _taken(every, ~inside))


def _taken(images: Images, rows: Any) -> Images:
    where = np.flatnonzero(rows)
    groups = [images.groups[i] for i in where]
    return Images(images.features[where], images.labels[where], groups)


def tallied(draws: Iterator[Draw], strength: float, count: int = FOLDS) -> dict[str, Tally]:
    """Cross-validate a logistic regression on every data set, and compare with the truth.

    Args:
        draws: The data sets.
        strength: ``C`` of the logistic regression.
        count: The number of folds.
    """
    found: dict[str, Tally] = defaultdict(Tally)
    for seed, (images, others) in enumerate(draws):
        held_out = _held_out(images, count, seed)
        fits = [_fitted(images, held_out != k, strength) for k in range(count)]
        logits = np.array([fit(images.features) for fit in fits])
        own = logits[held_out, np.arange(len(held_out))]
        scale, prior = _calibration(images, own, seed)
        own = scale(own)[:, 0]
        estimates = _estimates(images, own, prior)
        folds = [
            _figures(images.labels[held_out == k], own[held_out == k], prior) for k in range(count)
        ]
        tests = np.array([scale(fit(others.features))[:, 0] for fit in fits])
        truths = [_figures(others.labels, each, prior) for each in tests]
        joined = _figures(others.labels, tests.mean(axis=0), prior)
        for name in FIGURES:
            truth = float(np.mean([each[name] for each in truths]))
            tally, estimate = found[name], estimates[name]
            tally.exact |= estimate.method.startswith(EXACT)
            tally.contained.append(bool(estimate.low <= truth <= estimate.high))
            tally.spread.append(_in_spread([each[name] for each in folds], truth))
            tally.bias.append(estimate.value - truth)
            tally.joined.append(estimate.value - joined[name])
    return dict(found)


def _held_out(images: Images, count: int, seed: int) -> IntArray:
    """Return the fold of each image, as in a training."""
    entries = [
        Entry(f"{i}.png", "ab"[label], "train", group)
        for i, (label, group) in enumerate(zip(images.labels, images.groups, strict=True))
    ]
    folds = make_folds(entries, Config(folds=count, seed=seed))
    assert folds is not None  # noqa: S101 - as count is not 0
    return folds.held_out


def _fitted(images: Images, rows: Any, strength: float) -> Callable[[FloatArray], FloatArray]:
    """Return the logits of a classifier, with both classes weighted alike as in a training."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
    fitted = model.fit(images.features[rows], images.labels[rows])
    weights, bias = fitted.coef_[0], float(fitted.intercept_[0])
    return lambda features: np.asarray(features @ weights + bias)


def _calibration(images: Images, logits: FloatArray, seed: int) -> tuple[Scaling, float]:
    """Return temperature and bias, both classes weighted alike, and the log odds of the classes."""
    share = np.bincount(images.labels, minlength=2) / len(images.labels)
    weights = (0.5 / share)[images.labels]
    found = scaling.fit(logits, images.labels, weights, groups=images.groups, seed=seed)
    return found, math.log(share[1] / share[0])


def _estimates(images: Images, logits: FloatArray, prior: float) -> Mapping[str, Estimate]:
    """Return the figures of out-of-fold predictions with their intervals, as a run has them."""
    decisions, probabilities = (logits >= 0).astype(np.int64), _probabilities(logits + prior)
    sample = make_sample(images.labels, decisions, probabilities, images.groups, 1)
    return overall_metrics(sample)


def _probabilities(logits: FloatArray) -> FloatArray:
    return np.stack([special.expit(-logits), special.expit(logits)], axis=1)


def _figures(labels: IntArray, logits: FloatArray, prior: float) -> dict[str, float]:
    """Return the figures of logits; nan where a class is missing."""
    hit = (logits >= 0) == labels
    losses = metrics.log_losses(labels, _probabilities(logits + prior))
    rates = [hit[labels == k].mean() if (labels == k).any() else math.nan for k in (1, 0)]
    values = (metrics.auroc(labels, logits), hit.mean(), *rates, losses.mean())
    return {name: float(value) for name, value in zip(FIGURES, values, strict=True)}


def _in_spread(values: Sequence[float], truth: float) -> bool:
    """Tell whether the truth is in the interval of Nadeau and Bengio.

    See "Inference for the Generalization Error" (2003). The variance of the mean of
    k folds is that of the folds times 1/k + 1/(k - 1), the latter being images held out per image
    trained on. The quantile is that of t with k - 1 degrees of freedom.
    """
    k = len(values)
    error = math.sqrt(1 / k + 1 / (k - 1)) * float(np.std(values, ddof=1))
    return bool(abs(np.mean(values) - truth) <= stats.t.ppf(0.975, k - 1) * error)


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001 - the whole set
    simulations, subsets = (10, 5) if quick else (300, 40)
    kinds: dict[str, Callable[[], dict[str, Tally]]] = {
        f"simulated, n={n}, {d} features": partial(
            lambda n, d: tallied(simulated(n, d, range(simulations)), 1.0), n, d
        )
        for n, d in KINDS
    }
    if CHEST_XRAY.is_dir():
        name = f"{RADIOGRAPHS} radiographs, {SIDE} x {SIDE} pixels"
        kinds[name] = lambda: tallied(radiographs(CHEST_XRAY, range(subsets)), 0.1)
    figures = []
    for kind, work in kinds.items():
        for name, tally in work().items():
            rows = _rows(f"{kind}: {name}", tally)
            figures += rows
            print("  " + ", ".join(f"{row.name} {row.values[0]:.4g}" for row in rows), flush=True)
    return figures


def _rows(name: str, tally: Tally) -> list[Figure]:
    n, (least, high) = len(tally.contained), TARGET
    most = None if tally.exact else high
    return [
        Figure(name, "%", [100 * np.mean(tally.contained)], n, least=least, most=most),
        Figure(f"{name}, interval from the spread", "%", [100 * np.mean(tally.spread)], n),
        Figure(f"{name}, mean error", "", [float(np.mean(tally.bias))], n),
        Figure(f"{name}, mean error for all joined", "", [float(np.mean(tally.joined))], n),
    ]
