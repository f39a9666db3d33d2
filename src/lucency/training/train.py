"""Train a classifier on one split, and calibrate it on another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lucency import backend
from lucency.classifier import Classifier, Spec
from lucency.config import Config
from lucency.dataset import Split
from lucency.dataset.cache import default_cache
from lucency.models import keras
from lucency.progress import SILENT, Progress
from lucency.training.budget import Images, buy, described
from lucency.training.calibrate import HeldOut, calibrate, logits_of, ood_detector
from lucency.training.checkpoints import Checkpoints
from lucency.training.plan import Plan, make_plan
from lucency.training.speed import measure_speed
from lucency.training.state import Epoch
from lucency.training.step import Stepper
from lucency.training.trainer import Trainer, build_network


def train(
    train_split: Split,
    val_split: Split,
    config: Config = Config(),  # noqa: B008 - frozen
    *,
    plan: Plan | None = None,
    progress: Progress = SILENT,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> Classifier:
    """Train a classifier on ``train_split`` and calibrate it on ``val_split``.

    On a processor, the same data, configuration, versions and machine give the same bits, also
    where training was interrupted and resumed from its checkpoints.

    Args:
        train_split: Images to learn from.
        val_split: Images that temperature, operating point, prediction sets and the limit of the
            out-of-distribution detector are chosen on, and the epoch where the plan asks for the
            best one; never augmented.
        config: The user's choices.
        plan: How to train, as ``make_plan`` derives it from ``train_split`` and ``config``; derived
            here if ``None``. With a time as effort, the speed is measured first, at the size of the
            images; to resume such a training, pass the plan of the first call.
        progress: Called on every step.
        on_epoch: Called with each row of the history as it is measured; when training is resumed,
            first with the rows of the epochs that are complete.
        checkpoints: Folder for checkpoints, made if missing; training resumes from the newest one
            there. ``None`` writes none.

    Returns:
        The classifier; its ``history`` holds one ``Epoch`` per epoch.

    Raises:
        ConfigError: Choices contradict each other.
        RunError: The checkpoints are of another training, or training diverged from the start.
        BackendError: There is not enough memory for one image at a time.
    """
    if plan is None and config.seconds:
        plan = _plan_in_time(train_split, val_split, config)
    plan = plan or make_plan(train_split, config)
    splits = (train_split, val_split)
    classifier = fit(
        splits, plan, config, progress=progress, on_epoch=on_epoch, checkpoints=checkpoints
    )
    held_out = HeldOut(logits_of(classifier, val_split, plan), val_split.labels, val_split.groups)
    calibrate(
        classifier, plan, config, train_split.labels, held_out,
        lambda: classifier.predict_split(val_split), progress,
    )  # fmt: skip
    classifier.ood_detector = ood_detector(classifier, train_split, val_split)
    return classifier


def fit(
    splits: tuple[Split, Split],
    plan: Plan,
    config: Config,
    *,
    progress: Progress,
    on_epoch: Callable[[Epoch], None] | None,
    checkpoints: Path | None,
) -> Classifier:
    """Train a network as ``train`` does, and return it as a classifier that is not calibrated.

    Args:
        splits: Train, and the images that each epoch is validated on.
        plan: How to train.
        config: With the time between checkpoints.
        progress: Called on every step.
        on_epoch: Called with each row of the history.
        checkpoints: Folder for checkpoints; ``None`` writes none.
    """
    classes = splits[0].classes
    network = _network(plan, len(classes), progress)
    stepper = Stepper(network, plan, len(classes))
    stored = _checkpoints(checkpoints, stepper, plan, splits, config, progress)
    trainer = Trainer(stepper, plan, splits, stored, progress)
    trainer.run(on_epoch)
    for variable, value in zip(network.weights, trainer.best or (), strict=True):
        variable.assign(value)
    classifier = _classifier(network, plan, classes)
    _record(classifier, trainer, plan)
    return classifier


def _plan_in_time(train: Split, val: Split, config: Config) -> Plan:
    """Plan what the time budget buys; the images have the size that they were decoded to."""
    end = time.monotonic() + (config.seconds or 0)
    bought = buy(
        dataclasses.replace(config, size=train.cache.shape[0]),
        Images(len(train), len(val), 0, evaluated=False),
        left=lambda: end - time.monotonic(),
        measure=lambda settings: measure_speed(train, settings, config.seconds or 0),
    )
    return described(make_plan(train, bought.config), bought, config)


def _network(plan: Plan, classes: int, progress: Progress) -> Any:
    """Seed the backend and build the network."""
    backend.make_deterministic(plan.seed)
    backend.keep_compiled(default_cache() / "compiled")
    network = build_network(plan, classes)
    if plan.recipe == "article":  # the tutorial prints a summary of its network
        network.summary(print_fn=progress.note, line_length=80)
    if backend.is_slow_here():
        progress.warn(
            f"{backend.choose_backend()} trains on a processor several times slower than "
            'TensorFlow. To use TensorFlow: pip install "lucency[tensorflow]", then set '
            "KERAS_BACKEND=tensorflow."
        )
    if not backend.waits_for_memory():
        progress.note("The first step compiles the network and takes longer than the others.")
    return network


def _classifier(network: Any, plan: Plan, classes: tuple[str, ...]) -> Classifier:
    weights = {variable.path: keras.ops.convert_to_numpy(variable) for variable in network.weights}
    return Classifier(spec_of(plan, classes), weights)


def spec_of(plan: Plan, classes: tuple[str, ...]) -> Spec:
    """Return the description of a classifier that is not calibrated yet."""
    return Spec(
        classes=classes,
        positive=plan.positive,
        size=plan.size,
        channels=plan.channels,
        depth=plan.depth,
        architecture=plan.architecture,
        network_channels=plan.network_channels,
        parameters={k: v for k, v in plan.parameters.items() if k != "weights"},
        weights_origin=plan.weights_origin,
        versions=backend.environment(),
    )


def _record(classifier: Classifier, trainer: Trainer, plan: Plan) -> None:
    """Give the classifier the facts of its training."""
    state = trainer.state
    classifier.history = tuple(state.history)
    classifier.best_epoch = state.early_stopping.best_epoch + 1
    classifier.training = {
        "divergences": [dataclasses.asdict(each) for each in state.divergences],
        "batch": plan.batch,
        "micro_batch": state.micro,
    }


def _checkpoints(
    folder: Path | None,
    stepper: Stepper,
    plan: Plan,
    splits: tuple[Split, Split],
    config: Config,
    progress: Progress,
) -> Checkpoints | None:
    if folder is None:
        return None
    return Checkpoints(
        folder,
        _identity(plan, splits),
        seconds=config.checkpoint_seconds,
        largest=stepper.capture().nbytes,
        progress=progress,
    )


def _identity(plan: Plan, splits: tuple[Split, Split]) -> dict[str, Any]:
    """Return what must be the same to resume training, and the versions, which should be."""
    versions = backend.environment()
    return {
        "plan": {k: v for k, v in dataclasses.asdict(plan).items() if k != "choices"},
        "data": {split.name: _fingerprint(split) for split in splits},
        "backend": {"backend": backend.choose_backend(), "device": versions.pop("device")},
        "versions": versions,
    }


def _fingerprint(split: Split) -> str:
    """Return the sha256 over file, content, patient and class of a split's images, in order."""
    content = (split.cache.sha256[row] for row in split.rows)
    rows = [*zip(split.files, content, split.groups, map(int, split.labels), strict=True)]
    return hashlib.sha256(json.dumps([split.classes, rows]).encode()).hexdigest()
