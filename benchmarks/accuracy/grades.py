"""Last layers that know the order of grades, beside one that does not, on a frozen backbone.

The sets are the knees and the solar cells of ``proof``. No test split is evaluated: each image
outside test is held out once, by patient, in folds of another seed each time. All heads see the
same features of EfficientNet-Lite0, and choose their penalty without the fold that they are
evaluated on. Their probabilities are not calibrated.

    softmax, balanced      as ``--task classification``: equal classes, the most probable one
    softmax                equal images, the median grade
    adjacent categories    as ``--task ordinal``: equal images, the median grade
    cumulative link        the proportional odds model (McCullagh 1980), which Lucency has not

A difference is the mean over the seeds. Its interval is over patients, for these folds and heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from benchmarks.accuracy.proof import SETS, ProofSet
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import DATA
from lucency import metrics
from lucency.calibration import scaling
from lucency.metrics import FloatArray, IntArray, influences
from lucency.metrics.influences import Linear
from lucency.task import CLASSES, ORDINAL, task_of
from lucency.training.linear_head import Examples, cross_fit

SEEDS, FOLDS = 5, 5
PLAIN, ORDERED = "softmax", "adjacent categories"
NAMES = ("knee_kl", "elpv")
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # as those of the product


class Answers(NamedTuple):
    """What a head says of the images that it has not seen.

    Attributes:
        probabilities: (n, grades).
        decisions: (n,).
    """

    probabilities: FloatArray
    decisions: IntArray


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if quick or not (DATA / "proof").is_dir():
        raise Skipped("it needs $LUCENCY_DATA/proof, and minutes")
    return [figure for each in SETS if each.name in NAMES for figure in _figures(each)]


def _figures(each: ProofSet) -> Iterator[Figure]:
    from lucency.dataset import load_dataset
    from lucency.dataset.folds import make_folds
    from lucency.pipeline.start import plan_of
    from lucency.progress import SILENT
    from lucency.training.frozen import FrozenBackbone

    config = each.config(start="EfficientNetLite0", effort="quick", folds=FOLDS, task=ORDINAL)
    data = load_dataset(each.folder, config)
    frozen = FrozenBackbone(plan_of(data, config, ""), data.train, data.val, data.folds, SILENT)
    features, labels = frozen.train_features.pooled, data.train.labels
    entries = [entry for entry in data.entries if entry.split == "train"]
    if tuple(entry.file for entry in entries) != data.train.files:
        raise ValueError("the images are in another order")
    found: dict[str, list[Answers]] = {name: [] for name in HEADS}
    for seed in range(SEEDS):
        folds = make_folds(entries, dataclasses.replace(config, seed=seed))
        for name, head in HEADS.items():
            if folds is not None:
                grades = len(data.classes)
                found[name].append(head(features, labels, grades, folds.held_out))
    yield from _compared(each.name, found, labels, metrics.cluster_numbers(data.train.groups))


def _compared(
    title: str, found: dict[str, list[Answers]], labels: IntArray, cluster: IntArray
) -> Iterator[Figure]:
    n = len(labels)
    for figure, linear in FIGURES.items():
        each = {name: [linear(labels, a) for a in answers] for name, answers in found.items()}
        for name, measured in each.items():
            yield Figure(f"{title}, {name}: {figure}", "", [x.value for x in measured], n)
        for name in (name for name in each if name != PLAIN):
            pairs = [*zip(each[name], each[PLAIN], strict=True)]
            mean = Linear(
                float(np.mean([a.value - b.value for a, b in pairs])),
                np.mean([a.influence - b.influence for a, b in pairs], axis=0),
            )
            interval = metrics.linearised(mean.value, mean, cluster, "plain")
            values = [interval.low, interval.value, interval.high]
            label = f"{title}, {name}: {figure}, difference from {PLAIN} with its 95 % interval"
            yield Figure(label, "", values, n)


# -- figures ---------------------------------------------------------------------------------------


def _log_loss(labels: IntArray, given: Answers) -> Linear:
    own = given.probabilities[np.arange(len(labels)), labels]
    return influences.of_mean(-np.log(np.maximum(own, 1e-12)))


FIGURES: dict[str, Callable[[IntArray, Answers], Linear]] = {
    "quadratic kappa": lambda y, given: influences.of_quadratic_kappa(y, given.decisions),
    "mean absolute error": lambda y, given: influences.of_mean(
        abs(y - given.decisions).astype(np.float64)
    ),
    "log loss": _log_loss,
    "accuracy": lambda y, given: influences.of_mean((y == given.decisions).astype(np.float64)),
}


# -- heads -----------------------------------------------------------------------------------------

Head = Callable[[NDArray[np.float32], IntArray, int, IntArray], Answers]


def _linear(*, ordinal: bool, balanced: bool, median: bool) -> Head:
    """Return the head of the product, with or without an order."""

    def answers(
        features: NDArray[np.float32], labels: IntArray, grades: int, held_out: IntArray
    ) -> Answers:
        counts = np.bincount(labels, minlength=grades)
        weights = len(labels) / (grades * counts) if balanced else np.ones(grades)
        _, logits = cross_fit(Examples(features, labels, weights, ordinal), held_out)
        p = scaling.probabilities(logits[0])
        return Answers(p, (task_of(ORDINAL) if median else CLASSES).decide(p, None, None))

    return answers


def _cumulative(
    features: NDArray[np.float32], labels: IntArray, grades: int, held_out: IntArray
) -> Answers:
    """Cross-fit the proportional odds model, the penalty chosen on the next fold."""
    p = np.zeros((len(labels), grades))
    x = _coordinates(features)
    for k in range(FOLDS):
        next_one = held_out == (k + 1) % FOLDS
        inner = (held_out != k) & ~next_one
        losses = []
        for strength in _STRENGTHS:
            model = _proportional_odds(x[:, inner], labels[inner], grades, strength)
            views = [
                model(view)[np.arange(next_one.sum()), labels[next_one]] for view in x[:, next_one]
            ]
            losses.append(-np.log(np.maximum(views, 1e-12)).mean())
        best = _STRENGTHS[int(np.argmin(losses))]
        model = _proportional_odds(x[:, held_out != k], labels[held_out != k], grades, best)
        p[held_out == k] = model(x[0, held_out == k])
    return Answers(p, task_of(ORDINAL).decide(p, None, None))


def _coordinates(features: NDArray[np.float32]) -> FloatArray:
    """Return features (views, n, d) scaled as those of the product, in fewer dimensions."""
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    centred, variance = flat - flat.mean(axis=0), flat.var(axis=0)
    u, sizes, _ = np.linalg.svd(centred / np.sqrt(variance + variance.mean()), full_matrices=False)
    kept = sizes > 1e-8 * sizes[0]
    return (u[:, kept] * sizes[kept]).reshape(*features.shape[:2], -1)


def _proportional_odds(
    x: FloatArray, labels: IntArray, grades: int, strength: float
) -> Callable[[FloatArray], FloatArray]:
    """Fit P(y <= k) = sigmoid(threshold_k - slope x); return the probabilities as a function.

    Args:
        x: (views, n, d).
        labels: (n,).
        grades: Number of grades.
        strength: Inverse of the penalty on the slope.
    """
    views, n, d = x.shape
    rows, y = x.reshape(views * n, d), np.tile(labels, views)
    shares = np.maximum(np.bincount(labels, minlength=grades), 0.5) / n
    cuts = special.logit(np.clip(np.cumsum(shares)[:-1], 0.01, 0.99))
    steps = np.log(np.maximum(np.diff(cuts), 0.01))

    def thresholds(given: FloatArray) -> FloatArray:
        return np.cumsum([given[0], *np.exp(given[1:])])

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        slope, given = values[:d], values[d:]
        inner, score = thresholds(given), rows @ slope
        ends = np.array([-np.inf, *inner, np.inf])
        high, low = special.expit(ends[y + 1] - score), special.expit(ends[y] - score)
        own = np.maximum(high - low, 1e-12)
        by_high, by_low = high * (1 - high) / own, low * (1 - low) / own
        by_cut = np.bincount(y, -by_high, grades)[:-1] + np.bincount(y, by_low, grades)[1:]
        after = np.cumsum(by_cut[::-1])[::-1]  # a step moves all thresholds behind it
        gradient = rows.T @ (by_high - by_low) / views + slope / strength
        by_given = after * np.array([1.0, *np.exp(given[1:])]) / views
        value = -np.log(own).sum() / views + slope @ slope / (2 * strength)
        return float(value), np.concatenate([gradient, by_given])

    start = np.concatenate([np.zeros(d), cuts[:1], steps])
    best = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x

    def probabilities(new: FloatArray) -> FloatArray:
        below = special.expit(thresholds(best[d:]) - (new @ best[:d])[:, None])
        return np.diff(below, axis=1, prepend=0, append=1)

    return probabilities


HEADS: dict[str, Head] = {
    f"{PLAIN}, balanced": _linear(ordinal=False, balanced=True, median=False),
    PLAIN: _linear(ordinal=False, balanced=False, median=True),
    ORDERED: _linear(ordinal=True, balanced=False, median=True),
    "cumulative link": _cumulative,
}
