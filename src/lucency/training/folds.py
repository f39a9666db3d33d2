"""Cross-validation: one network for each fold, joined in one classifier.

Every network is trained on all folds but one, which nothing of its training depends on. So each
image has the logits of a network that has not seen it; everything that is chosen on held-out images
is chosen on those. The classifier averages the logits of all networks.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.calibration import ood, ood_folds
from lucency.classifier import Classifier, Outputs, Spec
from lucency.config import Config
from lucency.dataset import Folds, Split, evenly
from lucency.progress import Progress
from lucency.training.calibrate import (
    HeldOut,
    calibrate,
    most_images,
    probabilities_of,
)
from lucency.training.ensemble import join
from lucency.training.fit import Fitted, spec_of
from lucency.training.plan import Plan, make_plan
from lucency.training.state import Epoch
from lucency.training.trials import Fold, fold_trainer

_CHUNK = 256  # images embedded at once


class CrossValidated(NamedTuple):
    """A classifier of all folds.

    Attributes:
        classifier: Calibrated on the out-of-fold logits.
        outputs: Calibrated probabilities and OOD scores of each image of the pool, from the network
            of the fold that it was held out of.
    """

    classifier: Classifier
    outputs: Outputs


class OutOfFold(NamedTuple):
    """What each image gives in the network of the fold that it was held out of.

    Attributes:
        logits: (n, units).
        final: (n, d) features of the classifier, where it is not all networks side by side.
        features: (n, k * d) of the networks of k folds, side by side; ``None`` where they have the
            features of the classifier.
    """

    logits: NDArray[np.float64]
    final: NDArray[np.float32] | None = None
    features: NDArray[np.float32] | None = None


def train_folds(
    pool: Split,
    folds: Folds,
    config: Config,
    *,
    plan: Plan,
    progress: Progress,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> CrossValidated:
    """Train a network for each fold and join them to one calibrated classifier.

    Args:
        pool: All images that are not in test.
        folds: Its folds.
        config: The user's choices.
        plan: From ``plan_folds``.
        progress: Called on every step.
        on_epoch: As for ``fold_networks``.
        checkpoints: As for ``fold_networks``.
    """
    trained = fold_networks(pool, folds, config, progress, on_epoch, checkpoints)
    return join_folds([*trained], pool, folds, plan, config, progress)


def fold_networks(
    pool: Split,
    folds: Folds,
    config: Config,
    progress: Progress,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> Iterator[Fitted]:
    """Yield the network of each fold, with the logits of the images that it has not seen.

    Resumes from checkpoints as ``train`` does; the networks of finished folds are read from theirs.
    On a cluster, several are trained at once.

    Args:
        pool: All images that are not in test.
        folds: Its folds.
        config: The user's choices.
        progress: Called on every step.
        on_epoch: Called with each row of the history; epochs are counted through all folds.
        checkpoints: Folder for a folder of checkpoints for each fold; ``None`` writes none.
    """
    networks = [
        _fold(pool, folds, k, config, checkpoints and checkpoints / f"fold-{k + 1}")
        for k in range(len(folds))
    ]
    passed = 0
    with fold_trainer(pool, networks, config, progress) as trainer:
        for k, name in enumerate(folds.names):
            held = int(networks[k].held.sum())
            which = f" ({folds.column} {name})" if folds.column else ""
            progress.note(
                f"Fold {k + 1} of {len(folds)}{which}: "
                f"{len(pool) - held:,} images to train on, {held:,} held out."
            )
            trained = trainer.train(k, on_epoch and _shifted(on_epoch, passed))
            passed += len(trained.network.history)
            yield trained


def _fold(pool: Split, folds: Folds, k: int, config: Config, checkpoints: Path | None) -> Fold:
    """Plan the network of a fold, which nothing of the images that it is evaluated on enters."""
    held = folds.held_out == k
    plan = make_plan(pool.subset("train", np.flatnonzero(~held)), config)
    return Fold(held, dataclasses.replace(plan, seed=fold_seed(config.seed, k)), checkpoints)


def join_folds(
    trained: Sequence[Fitted],
    pool: Split,
    folds: Folds,
    plan: Plan,
    config: Config,
    progress: Progress,
) -> CrossValidated:
    """Join what ``fold_networks`` has yielded to one calibrated classifier."""
    networks = [each.network for each in trained]
    logits = np.zeros((len(pool), trained[0].logits.shape[1]))
    for k, (_, held) in enumerate(trained):
        logits[folds.held_out == k] = held
    classifier = join_networks(networks, spec_of(plan, pool.outputs))
    record_folds(classifier, networks, folds)
    return finish_folds(classifier, pool, folds, OutOfFold(logits), plan, config, progress)


def _shifted(on_epoch: Callable[[Epoch], None], passed: int) -> Callable[[Epoch], None]:
    return lambda row: on_epoch(dataclasses.replace(row, epoch=passed + row.epoch))


def fold_seed(seed: int, fold: int) -> int:
    """Return the seed of the training of a fold, from 0 to 2**31 - 1."""
    digest = hashlib.sha256(f"{seed}:fold {fold}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def finish_folds(
    classifier: Classifier,
    pool: Split,
    folds: Folds,
    held_out: OutOfFold,
    plan: Plan,
    config: Config,
    progress: Progress,
) -> CrossValidated:
    """Calibrate the classifier of all folds, and return it with the out-of-fold outputs.

    Args:
        classifier: The mean of all folds, not calibrated.
        pool: All images that are not in test.
        folds: Its folds.
        held_out: What the networks say of the images that they have not seen.
        plan: How it was trained.
        config: The user's choices.
        progress: Warned if the images do not reach the rule of the operating point.
    """
    logits, before = held_out.logits, classifier.logits_bias

    def predict() -> NDArray[np.float64]:
        return probabilities_of(classifier, logits, before)

    images = HeldOut.of(logits, pool)
    calibrate(classifier, plan, config, pool.labels, images, predict, progress)
    classifier.ood_detector, scores = _ood_detector(classifier, pool, folds, held_out)
    return CrossValidated(classifier, Outputs(predict(), scores))


def join_networks(networks: Sequence[Classifier], spec: Spec) -> Classifier:
    """Return one network whose logits are the mean of those of several default networks.

    Args:
        networks: Of one architecture.
        spec: Of the result, with so many members.
    """
    return Classifier(spec, join([network.weights for network in networks]))


def record_folds(classifier: Classifier, networks: Sequence[Classifier], folds: Folds) -> None:
    """Give the classifier the facts of the training of all networks."""
    rows = [row for network in networks for row in network.history]
    classifier.history = tuple(dataclasses.replace(row, epoch=i + 1) for i, row in enumerate(rows))
    classifier.best_epoch = len(rows)
    trained = [*zip(folds.names, networks, strict=True)]
    classifier.training = {
        "divergences": [
            {**each, "fold": name} for name, of in trained for each in of.training["divergences"]
        ],
        **{x: min(of.training[x] for of in networks) for x in ("batch", "micro_batch")},
        "folds": [
            {"fold": name, "epochs": len(of.history), "best_epoch": of.best_epoch}
            for name, of in trained
        ],
    }


def _ood_detector(
    classifier: Classifier, pool: Split, folds: Folds, held_out: OutOfFold
) -> tuple[ood.OODDetector, NDArray[np.float64]]:
    """Return the detector, and the OOD score of each image from the network new to it."""
    known = held_out.final if held_out.features is None else held_out.features

    def embed(some: NDArray[np.int64]) -> NDArray[np.float32]:
        return classifier.embed(pool, some) if known is None else known[some]

    few = _stratified(pool, folds, most_images(pool))
    fitted = ood_folds.fit(
        embed(few), pool.labels[few], pool.pixels(few), folds.held_out[few],
        final=None if held_out.final is None else held_out.final[few],
    )  # fmt: skip
    every = np.arange(len(pool))
    distances = np.concatenate(
        [
            fitted.distances(embed(some), pool.pixels(some), folds.held_out[some])
            for some in np.split(every, every[_CHUNK::_CHUNK])
        ]
    )
    detector = fitted.detector(distances, pool.groups)
    return detector, np.asarray((distances / detector.limits).max(axis=1))


def _stratified(pool: Split, folds: Folds, most: int) -> NDArray[np.int64]:
    """Return indices of about ``most`` images, evenly over each class in each fold."""
    stratum = pool.labels * len(folds) + folds.held_out
    share = min(1.0, most / len(pool))
    places = [np.flatnonzero(stratum == each) for each in np.unique(stratum)]
    kept = [some[evenly(len(some), max(1, round(share * len(some))))] for some in places]
    return np.sort(np.concatenate(kept))
