"""Last layers that predict numbers, on a frozen backbone: red blood cells in a field (BCCD).

No test split is evaluated: each image outside test is held out once, in folds of another seed each
time. All heads see the same features of EfficientNet-Lite0, and choose their penalty without the
fold that they are evaluated on.

    mean                   always the mean of the training numbers
    ridge                  scikit-learn's ridge regression; its quantiles are those of its residuals
    softmax                probabilities of the bins, which have no order
    adjacent categories    as ``--task regression``: probabilities of the bins, in their order

The intervals are not widened. A difference is the mean over the seeds; its interval is over images,
for these folds and heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import DATA
from lucency import metrics
from lucency.calibration import scaling
from lucency.calibration.values import ValueRule
from lucency.metrics import FloatArray, IntArray, influences
from lucency.metrics.influences import Linear
from lucency.metrics.values import of_unexplained
from lucency.task import REGRESSION
from lucency.training.linear_head import Examples, cross_fit

SEEDS, FOLDS = 5, 5
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
ORDERED, BASELINE = "adjacent categories", "ridge"
_STRENGTHS = (1.0, 10.0, 100.0, 1e3, 1e4)  # penalties of the ridge regression


class Predicted(NamedTuple):
    """What a head predicts for images that it has not seen: means (n,), quantiles (n, levels)."""

    mean: FloatArray
    quantiles: FloatArray


class Numbers(NamedTuple):
    """Images: features (views, n, d), numbers (n,), their bins (n,), and the rule for these."""

    features: NDArray[np.float32]
    values: FloatArray
    bins: IntArray
    rule: ValueRule


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    folder = DATA / "proof" / "bccd_count"
    if quick or not folder.is_dir():
        raise Skipped("it needs $LUCENCY_DATA/proof, and minutes")
    return [*_figures(folder)]


def _figures(folder: Path) -> Iterator[Figure]:
    from lucency.config import Config
    from lucency.dataset import load_dataset
    from lucency.dataset.folds import make_folds
    from lucency.pipeline.start import plan_of
    from lucency.progress import SILENT
    from lucency.training.frozen import FrozenBackbone

    config = Config(
        labels="labels.csv", label_column="rbc_count", task=REGRESSION, effort="quick",
        start="EfficientNetLite0", folds=FOLDS,
    )  # fmt: skip
    data = load_dataset(folder, config)
    plan = plan_of(data, config, "")
    frozen = FrozenBackbone(plan, data.train, data.val, data.folds, SILENT)
    entries = [entry for entry in data.entries if entry.split == "train"]
    if data.train.values is None or plan.value is None:
        raise ValueError("there are no numbers")
    images = Numbers(frozen.train_features.pooled, data.train.values, data.train.labels, plan.value)
    found: dict[str, list[Predicted]] = {name: [] for name in HEADS}
    for seed in range(SEEDS):
        folds = make_folds(entries, dataclasses.replace(config, seed=seed))
        for name, head in HEADS.items():
            if folds is not None:
                found[name].append(head(images, folds.held_out))
    yield from _compared(found, images.values)


def _compared(found: dict[str, list[Predicted]], truth: FloatArray) -> Iterator[Figure]:
    n, cluster = len(truth), np.arange(len(truth))
    for figure, linear in FIGURES.items():
        each = {name: [linear(truth, given) for given in many] for name, many in found.items()}
        for name, measured in each.items():
            yield Figure(f"{name}: {figure}", "", [x.value for x in measured], n)
        for name in (name for name in each if name != BASELINE):
            pairs = [*zip(each[name], each[BASELINE], strict=True)]
            mean = Linear(
                float(np.mean([a.value - b.value for a, b in pairs])),
                np.mean([a.influence - b.influence for a, b in pairs], axis=0),
            )
            interval = metrics.linearised(mean.value, mean, cluster, "plain")
            values = [interval.low, interval.value, interval.high]
            label = f"{name}: {figure}, difference from {BASELINE} with its 95 % interval"
            yield Figure(label, "", values, n)


# -- figures ---------------------------------------------------------------------------------------


def _r_squared(truth: FloatArray, given: Predicted) -> Linear:
    left = of_unexplained(truth, given.mean)
    return Linear(1 - left.value, -left.influence)


def _pinball(truth: FloatArray, given: Predicted) -> Linear:
    losses = metrics.pinball_losses(truth, given.quantiles, np.array(LEVELS))
    return influences.of_mean(losses)


FIGURES: dict[str, Callable[[FloatArray, Predicted], Linear]] = {
    "mean absolute error": lambda y, given: influences.of_mean(abs(y - given.mean)),
    "R2": _r_squared,
    "pinball loss": _pinball,
}


# -- heads -----------------------------------------------------------------------------------------

Head = Callable[[Numbers, IntArray], Predicted]


def _mean(images: Numbers, held_out: IntArray) -> Predicted:
    """Always predict the distribution of the training numbers."""
    n = len(images.values)
    mean, quantiles = np.empty(n), np.empty((n, len(LEVELS)))
    for k in np.unique(held_out):
        rest = images.values[held_out != k]
        mean[held_out == k] = rest.mean()
        quantiles[held_out == k] = np.quantile(rest, LEVELS)
    return Predicted(mean, quantiles)


def _ridge(images: Numbers, held_out: IntArray) -> Predicted:
    """Predict with a ridge regression; its residuals are those of cross-validation."""
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, n = images.features[0], len(images.values)
    mean, quantiles = np.empty(n), np.empty((n, len(LEVELS)))
    for k in np.unique(held_out):
        rest, held = held_out != k, held_out == k
        model = make_pipeline(StandardScaler(), RidgeCV(_STRENGTHS, cv=FOLDS))
        residuals = images.values[rest] - cross_val_predict(model, x[rest], images.values[rest])
        mean[held] = model.fit(x[rest], images.values[rest]).predict(x[held])
        quantiles[held] = mean[held, None] + np.quantile(residuals, LEVELS)
    return Predicted(mean, quantiles)


def _bins(*, ordered: bool) -> Head:
    """Return the head of the product over the bins, with or without their order."""

    def predicted(images: Numbers, held_out: IntArray) -> Predicted:
        weights = np.ones(len(images.rule.centres))
        examples = Examples(images.features, images.bins, weights, ordered)
        _, logits = cross_fit(examples, held_out)
        p = scaling.probabilities(logits[0])
        mean = np.empty(len(p))
        for k in np.unique(held_out):
            rest, held = held_out != k, held_out == k
            sums = np.bincount(images.bins[rest], images.values[rest], len(weights))
            centres = sums / np.bincount(images.bins[rest], minlength=len(weights))
            mean[held] = p[held] @ centres
        return Predicted(mean, images.rule.quantiles(p, LEVELS))

    return predicted


HEADS: dict[str, Head] = {
    "mean": _mean,
    BASELINE: _ridge,
    "softmax": _bins(ordered=False),
    ORDERED: _bins(ordered=True),
}
