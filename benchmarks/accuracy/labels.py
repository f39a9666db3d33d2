"""Several labels, beside a logistic regression of scikit-learn for each, on frozen features.

The set is ``rbc12_multilabel`` of ``proof``: 11 types of red cells, of which a smear shows some. No
test split is evaluated: each image outside test is held out once, in five folds. No patients are
known, so neighbouring images of one smear may be in several folds, for all alike.

    logistic regressions     of scikit-learn, one for each label, on the features of
                             EfficientNet-Lite0; the strength of each is chosen in the other folds
    heads of the product     on the same features, scaled, as they are and augmented; one of the
                             same strengths, for all labels, is chosen in the other folds
    EFFORT                   ``lucency train --effort EFFORT --folds 5``, calibrated, seed 0 only

The first two see the same folds, of another seed each time (``LUCENCY_SEEDS``, 5); the commands
(``LUCENCY_EFFORTS``, none) those of seed 0, and are kept in ``$LUCENCY_RUNS``. A difference is the
mean over the seeds with its 95 % interval over images, for these folds and heads.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.accuracy.kept_runs import RUNS, trained
from benchmarks.accuracy.proof import ProofSet
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import DATA
from lucency import metrics
from lucency.metrics import FloatArray, IntArray, influences, label_losses
from lucency.metrics.influences import Linear
from lucency.training.linear_head import Examples, cross_fit

if TYPE_CHECKING:
    from lucency.dataset import Dataset

SEEDS = int(os.environ.get("LUCENCY_SEEDS") or 5)
EFFORTS = [*filter(None, os.environ.get("LUCENCY_EFFORTS", "").split(","))]
FOLDS = 5
SET = ProofSet("rbc12_multilabel", ("--labels", "LABELS"))
BASELINE, OURS = "logistic regressions", "heads of the product"
_STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 0.3, 1.0)

Targets = NDArray[np.float32]


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if quick or not (DATA / "proof").is_dir():
        raise Skipped("it needs $LUCENCY_DATA/proof, and minutes")
    from lucency.dataset import load_dataset
    from lucency.dataset.folds import make_folds
    from lucency.pipeline.start import plan_of
    from lucency.progress import SILENT
    from lucency.training.frozen import FrozenBackbone

    config = SET.config(start="EfficientNetLite0", effort="quick", folds=FOLDS)
    data = load_dataset(SET.folder, config)
    targets = data.train.targets
    if targets is None:
        raise ValueError("the set does not have several labels")
    frozen = FrozenBackbone(plan_of(data, config, ""), data.train, data.val, data.folds, SILENT)
    entries = [entry for entry in data.entries if entry.split == "train"]
    if tuple(entry.file for entry in entries) != data.train.files:
        raise ValueError("the images are in another order")
    found: dict[str, list[FloatArray]] = {BASELINE: [], OURS: []}
    for seed in range(SEEDS):
        folds = make_folds(entries, dataclasses.replace(config, seed=seed))
        if folds is not None:
            held_out = folds.held_out
            pooled = frozen.train_features.pooled
            found[BASELINE].append(_logistic(pooled[0], targets, held_out, seed))
            examples = Examples(
                pooled, data.train.labels, np.ones(len(data.train.classes)),
                targets=targets,
            )  # fmt: skip
            found[OURS].append(special.expit(cross_fit(examples, held_out)[1][0]))
            print(f"  seed {seed} of {SEEDS}", flush=True)
    for effort in EFFORTS:
        found[f"--effort {effort}"] = [_command(effort, data)]
    return [*_compared(found, targets, data.train.groups)]


def _logistic(
    features: NDArray[np.float32], targets: Targets, held_out: IntArray, seed: int
) -> FloatArray:
    """Return probabilities (n, labels) of images that each regression has not seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from threadpoolctl import threadpool_limits

    p = np.zeros(targets.shape)
    # Files of one smear are neighbours: folds that are not shuffled would choose for other smears.
    inner = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    regression = LogisticRegression(max_iter=2000)
    search = GridSearchCV(regression, {"C": _STRENGTHS}, scoring="neg_log_loss", cv=inner)
    with threadpool_limits(1):  # more threads only wait for each other
        for fold in range(FOLDS):
            inside = held_out == fold
            for k, target in enumerate(targets.T):
                rows = ~inside & (target >= 0)
                search.fit(features[rows], target[rows] > 0)
                p[inside, k] = search.predict_proba(features[inside])[:, 1]
    return p


def _command(effort: str, data: Dataset) -> FloatArray:
    """Return the out-of-fold probabilities of a whole training, in the order of the images."""
    from lucency.evaluation import OUT_OF_FOLD, read_predictions

    name = f"labels-{SET.name}-{effort}"
    options = ["--effort", effort, "--folds", str(FOLDS), "--set", "on_leak=drop", *SET.command]
    trained(name, SET.folder, *options)
    splits = {each.split: each for each in read_predictions(RUNS / name / "predictions.csv")}
    found = splits[OUT_OF_FOLD]
    if sorted(found.files) != sorted(data.train.files):
        raise ValueError(f"{RUNS / name} has other images outside test. Remove it.")
    place = {file: i for i, file in enumerate(found.files)}
    return found.probabilities[[place[file] for file in data.train.files]]


def _compared(
    found: dict[str, list[FloatArray]], targets: Targets, groups: Sequence[str]
) -> Iterator[Figure]:
    n, cluster = len(targets), metrics.cluster_numbers(groups)
    for figure, linear in FIGURES.items():
        each = {name: [linear(targets, p) for p in runs] for name, runs in found.items()}
        for name, measured in each.items():
            yield Figure(f"{SET.name}, {name}: {figure}", "", [x.value for x in measured], n)
        for name in (name for name in each if name != BASELINE):
            pairs = [*zip(each[name], each[BASELINE], strict=False)]
            values = mean_difference(pairs, cluster)
            label = f"{SET.name}, {name}: {figure}, difference from {BASELINE} with its interval"
            yield Figure(label, "", values, n)


def mean_difference(pairs: Sequence[tuple[Linear, Linear]], cluster: IntArray) -> list[float]:
    """Return the mean difference of pairs of metrics on the same images, in its 95 % interval.

    Args:
        pairs: One of each seed: a metric, and the one that is subtracted.
        cluster: (n,) the patient of each image.

    Returns:
        The lower limit, the mean and the upper limit.
    """
    mean = Linear(
        float(np.mean([a.value - b.value for a, b in pairs])),
        np.mean([a.influence - b.influence for a, b in pairs], axis=0),
    )
    interval = metrics.linearised(mean.value, mean, cluster, "plain")
    return [interval.low, interval.value, interval.high]


def _mean_over_labels(
    of: Callable[[NDArray[np.bool_], FloatArray], Linear],
) -> Callable[[Targets, FloatArray], Linear]:
    def linear(targets: Targets, p: FloatArray) -> Linear:
        value, influence = [], np.zeros(len(targets))
        for truth, given in zip(targets.T, p.T, strict=True):
            known = np.flatnonzero(truth >= 0)
            found = of(truth[known] > 0, given[known])
            value.append(found.value)
            influence[known] += found.influence / targets.shape[1]
        return Linear(float(np.mean(value)), influence)

    return linear


FIGURES: dict[str, Callable[[Targets, FloatArray], Linear]] = {
    "mean AUROC": _mean_over_labels(influences.of_auroc),
    "mean average precision": _mean_over_labels(influences.of_average_precision),
    "log loss": lambda targets, p: influences.of_mean(label_losses(targets, p)),
}
