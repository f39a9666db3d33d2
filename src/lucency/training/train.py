"""Train a classifier on one split, and calibrate it on another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
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
from lucency.training.calibrate import calibrate
from lucency.training.checkpoints import Checkpoints
from lucency.training.plan import Plan, make_plan, positive_class
from lucency.training.state import Epoch
from lucency.training.step import Stepper
from lucency.training.trainer import Trainer, build_network


def train(
    train_split: Split,
    val_split: Split,
    config: Config = Config(),  # noqa: B008 - frozen
    progress: Progress = SILENT,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> Classifier:
    """Train a classifier, keep the epoch that the plan says, and settle the rest on validation.

    On a processor, the same data, configuration, versions and machine give the same bits, also
    where training was ended at any moment and gone on with from its checkpoints.

    Args:
        train_split: Images to learn from.
        val_split: Images to choose temperature, operating point, prediction sets and the limit of
            the out-of-distribution detector by, and the epoch where the plan asks for the best one;
            never varied.
        config: What a person decided; the rest follows from it and the data.
        progress: Hears of every step.
        on_epoch: Called with each row of the history as it is measured; of epochs that were over
            before, at the start.
        checkpoints: Folder for checkpoints, made if missing; training goes on from what is there.
            ``None`` keeps none.

    Returns:
        The classifier; its ``history`` holds one ``Epoch`` per epoch.

    Raises:
        ConfigError: Choices that do not go together.
        RunError: The checkpoints are of another training, or training diverged from the start.
        BackendError: There is not enough memory for one image at a time.
    """
    plan = make_plan(train_split, config)
    positive = positive_class(train_split.classes, config.positive)
    backend.make_deterministic(plan.seed)
    backend.keep_compiled(default_cache() / "compiled")
    network = build_network(plan, len(train_split.classes))
    if plan.recipe == "article":  # the tutorial shows what it has built
        network.summary(print_fn=progress.note, line_length=80)
    if backend.is_slow_here():
        progress.warn(
            f"{backend.choose_backend()} trains on a processor several times slower than "
            'TensorFlow. To use that: pip install "lucency[tensorflow]", then set '
            "KERAS_BACKEND=tensorflow."
        )
    if not backend.waits_for_memory():
        progress.note("The first step compiles the network and takes longer than the others.")
    parts = (train_split, val_split)
    stepper = Stepper(network, plan, len(train_split.classes))
    kept = _checkpoints(checkpoints, stepper, plan, parts, config, progress)
    fit = Trainer(stepper, plan, parts, kept, progress)
    fit.run(on_epoch)
    for variable, value in zip(network.weights, fit.best or (), strict=True):
        variable.assign(value)
    spec = Spec(
        classes=train_split.classes,
        positive=positive,
        size=plan.size,
        channels=plan.channels,
        architecture=plan.architecture,
        network_channels=plan.network_channels,
        parameters={k: v for k, v in plan.parameters.items() if k != "weights"},
        versions=backend.environment(),
    )
    weights = {variable.path: keras.ops.convert_to_numpy(variable) for variable in network.weights}
    classifier = Classifier(spec, weights)
    calibrate(classifier, plan, config, parts, progress)
    state = fit.state
    classifier.history, classifier.best_epoch = tuple(state.history), state.stopper.best_epoch + 1
    classifier.training = {
        "divergences": [dataclasses.asdict(each) for each in state.divergences],
        "batch": plan.batch,
        "micro_batch": state.micro,
    }
    return classifier


def _checkpoints(
    folder: Path | None,
    stepper: Stepper,
    plan: Plan,
    parts: tuple[Split, Split],
    config: Config,
    progress: Progress,
) -> Checkpoints | None:
    if folder is None:
        return None
    return Checkpoints(
        folder,
        _identity(plan, parts),
        seconds=config.checkpoint_seconds,
        largest=stepper.capture().nbytes,
        progress=progress,
    )


def _identity(plan: Plan, parts: tuple[Split, Split]) -> dict[str, Any]:
    """Return what has to be the same for training to go on, and what ought to be."""
    made = backend.environment()
    return {
        "plan": {k: v for k, v in dataclasses.asdict(plan).items() if k != "choices"},
        "data": {part.name: _fingerprint(part) for part in parts},
        "backend": {"backend": backend.choose_backend(), "device": made.pop("device")},
        "versions": made,
    }


def _fingerprint(split: Split) -> str:
    """Return the sha256 over file, content, patient and class of a split's images, in order."""
    content = (split.store.sha256[row] for row in split.rows)
    rows = [*zip(split.files, content, split.groups, map(int, split.labels), strict=True)]
    return hashlib.sha256(json.dumps([split.classes, rows]).encode()).hexdigest()
