"""Fit one network: seeded, from its checkpoints if there are any, not calibrated yet."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency import backend
from lucency.classifier import Classifier, Spec
from lucency.config import Config
from lucency.dataset import Split
from lucency.io import default_cache
from lucency.models import keras, variables_of
from lucency.progress import Progress
from lucency.training.checkpoints import Checkpoints
from lucency.training.parallel import stepper_for
from lucency.training.plan import Plan
from lucency.training.state import Epoch
from lucency.training.step import Stepper, borrowed, eval_model
from lucency.training.trainer import Trainer, build_network, logits_of_split
from lucency.training.warm_start import warm_start


class Fitted(NamedTuple):
    """A network that was trained, and what it says of the images that it was validated on.

    Attributes:
        network: Not calibrated.
        logits: (n, units) of these images, in float32 as in prediction.
    """

    network: Classifier
    logits: NDArray[np.float64]


def fit(
    splits: tuple[Split, Split],
    plan: Plan,
    config: Config,
    *,
    progress: Progress,
    on_epoch: Callable[[Epoch], None] | None,
    checkpoints: Path | None,
    initial: Mapping[str, NDArray[Any]] | None = None,
) -> Fitted:
    """Train a network.

    Args:
        splits: Train, and the images that each epoch is validated on.
        plan: How to train.
        config: With the time between checkpoints.
        progress: Called on every step.
        on_epoch: Called with each row of the history.
        checkpoints: Folder for checkpoints; ``None`` writes none.
        initial: Arrays for some of the variables, by name, that training begins with.
    """
    classes = splits[0].outputs
    network = _network(plan, len(classes), progress)
    if initial:
        for name, variable in variables_of(network).items():
            if name in initial:
                variable.assign(initial[name])
    if start := warm_start(config):
        start.assign(network, classes, plan.seed, plan.task)
    with borrowed(network, plan, len(classes), stepper_for(plan, config, progress)) as stepper:
        if not (stepper.is_compiled or backend.waits_for_memory()):
            progress.note("The first step compiles the network and takes longer than the others.")
        stored = _checkpoints(checkpoints, stepper, plan, splits, config, progress)
        trainer = Trainer(stepper, plan, splits, stored, progress)
        trainer.run(on_epoch)
        for variable, value in zip(stepper.network.weights, trainer.best or (), strict=True):
            variable.assign(value)
        classifier = _classifier(stepper.network, plan, classes)
        _record(classifier, trainer, plan)
        model = stepper.eval_model
        if plan.precision != "float32":
            model = eval_model(classifier.keras_model, plan.channels, plan.dtype)
        return Fitted(classifier, logits_of_split(model, splits[1], plan.batch))


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
    return network


def _classifier(network: Any, plan: Plan, classes: tuple[str, ...]) -> Classifier:
    # Copies, as the variables may serve the next network.
    variables = variables_of(network).items()
    weights = {name: np.array(keras.ops.convert_to_numpy(each)) for name, each in variables}
    return Classifier(spec_of(plan, classes), weights)


def untrained(plan: Plan, classes: tuple[str, ...]) -> Classifier:
    """Return a classifier with the weights that the plan starts from, and a random last layer."""
    backend.make_deterministic(plan.seed)
    return _classifier(build_network(plan, len(classes)), plan, classes)


def spec_of(plan: Plan, classes: tuple[str, ...]) -> Spec:
    """Return the description of a classifier that is not calibrated yet."""
    return Spec(
        classes=classes,
        positive=plan.positive,
        task=plan.task,
        value=plan.value.to_json() if plan.value else None,
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
        "data": {split.name: fingerprint(split) for split in splits},
        "backend": {"backend": backend.choose_backend(), "device": versions.pop("device")},
        "versions": versions,
    }


def fingerprint(split: Split) -> str:
    """Return the sha256 over file, content, patient and class of a split's images, in order.

    Of several labels, it is also over what is learned of each.
    """
    content = (split.cache.sha256[row] for row in split.rows)
    rows = [*zip(split.files, content, split.groups, map(int, split.labels), strict=True)]
    found: list[Any] = [split.classes, rows]
    if split.learned is not None:
        found += [split.label_names, split.learned.tolist()]
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
