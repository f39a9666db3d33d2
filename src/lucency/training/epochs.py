"""The epochs: what is computed in each, and whose weights are kept."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import backend, calibration, metrics, models
from lucency.augment.layer import Augment
from lucency.batches import TrainingBatch, pixel_batches, steps_per_epoch, training_batches
from lucency.dataset import Split
from lucency.plan import Plan
from lucency.progress import Progress

keras = models.keras


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One row of the history; ``val_*`` are measured after the epoch, ``loss`` during it.

    ``loss`` includes class weights and label smoothing, ``val_loss`` the class weights only.
    """

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_auroc: float
    seconds: float
    images_per_second: float


def learning_rate(plan: Plan, step: int, steps: int) -> float:
    """Return the learning rate of step ``step`` (from 0), ``steps`` being those of an epoch."""
    if plan.schedule != "cosine":
        return plan.learning_rate * float(0.5 ** (step // (10 * steps)))
    total = plan.epochs * steps
    warm = max(1, round(0.05 * total))
    if step < warm:
        return plan.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, total - warm)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


class Stopper:
    """Remembers the best epoch, and says when to stop.

    Args:
        monitor: ``log_loss`` (smaller is better), ``accuracy`` (larger is better), or ``last``
            (the latest of sound loss).
        patience: Epochs without a better value before stopping; 0 for never.
    """

    def __init__(self, monitor: str, patience: int) -> None:
        self.monitor, self.patience = monitor, patience
        self.best, self.best_epoch, self.epochs = -math.inf, -1, 0

    def is_best(self, val_loss: float, val_accuracy: float) -> bool:
        """Take in one epoch's values; tell whether it is the best so far. NaN never is."""
        values = {"log_loss": -val_loss, "accuracy": val_accuracy, "last": self.epochs}
        value = values[self.monitor] if math.isfinite(val_loss) else math.nan
        self.epochs += 1
        if value > self.best:  # false for NaN
            self.best, self.best_epoch = value, self.epochs - 1
            return True
        return False

    @property
    def should_stop(self) -> bool:
        """Whether ``patience`` epochs have passed without a better value."""
        return self.patience > 0 and self.epochs - 1 - self.best_epoch >= self.patience


def build_network(plan: Plan, classes: int) -> Any:
    """Build the network of the plan in its precision, with random weights."""
    keras.config.set_dtype_policy(plan.precision)
    try:
        shape = (*plan.size, plan.network_channels)
        return models.build(plan.architecture, classes, shape, plan.parameters)
    finally:
        keras.config.set_dtype_policy("float32")


def fit(
    network: Any,
    plan: Plan,
    train_split: Split,
    val_split: Split,
    progress: Progress,
    on_epoch: Callable[[Epoch], None] | None,
) -> tuple[list[Epoch], list[NDArray[Any]], int]:
    """Run the epochs; return their history, and the weights and number of the best one."""
    trainer = _trainer(network, plan)
    judge = judge_of(network, plan.channels)
    stopper = Stopper(plan.monitor, plan.patience)
    history: list[Epoch] = []
    best = network.get_weights()
    steps = steps_per_epoch(train_split, plan.batch)
    for number in range(plan.epochs):
        start = time.perf_counter()
        seen = _train_epoch(trainer, plan, train_split, number, progress)
        took = time.perf_counter() - start
        judged = _judge_split(judge, plan, val_split)
        row = Epoch(
            epoch=number + 1,
            learning_rate=learning_rate(plan, (number + 1) * steps - 1, steps),
            loss=seen["loss"],
            accuracy=seen["accuracy"],
            **judged,
            seconds=time.perf_counter() - start,
            images_per_second=steps * plan.batch / took,
        )
        history.append(row)
        if on_epoch:
            on_epoch(row)
        if stopper.is_best(row.val_loss, row.val_accuracy):
            best = network.get_weights()
        if stopper.should_stop:
            break
    return history, best, stopper.best_epoch + 1


def _trainer(network: Any, plan: Plan) -> Any:
    """Wrap the network so that stored pixels and drawn numbers go in and logits come out."""
    height, width = plan.size
    count = plan.augmentation.rectangles
    inputs = [
        keras.Input((height, width, plan.channels), dtype="uint8", name="pixels"),
        keras.Input((8,), name="affine"),
        keras.Input((3,), name="tone"),
        keras.Input((count, 5), name="rectangles"),
    ]
    x = Augment(plan.augmentation, name="augment")(inputs)
    logits = _logits_of(network)(models.widened(network, plan.channels)(x))
    trainer = keras.Model(inputs, logits)
    loss, accuracy = _loss_and_accuracy(logits.shape[-1] == 1, plan.label_smoothing)
    # XLA's convolutions on processors are slower than the backend's own.
    jit = "auto" if backend.choose_backend() != "tensorflow" or backend.device() == "gpu" else False
    trainer.compile(_optimizer(plan), loss, metrics=[accuracy], jit_compile=jit)
    return trainer


def _loss_and_accuracy(two_classes: bool, smoothing: float) -> tuple[Any, Any]:
    """Return the loss and the metric of logits."""
    if two_classes:
        loss = keras.losses.BinaryCrossentropy(True, smoothing)
        return loss, keras.metrics.BinaryAccuracy("accuracy", threshold=0)
    loss = keras.losses.CategoricalCrossentropy(True, smoothing)
    return loss, keras.metrics.CategoricalAccuracy("accuracy")


def _optimizer(plan: Plan) -> Any:
    if plan.optimizer == "adam":
        return keras.optimizers.Adam(plan.learning_rate)
    optimizer = keras.optimizers.AdamW(plan.learning_rate, weight_decay=plan.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _logits_of(network: Any) -> Any:
    return keras.Model(network.inputs, network.get_layer("logits").output, name=network.name)


def _train_epoch(
    trainer: Any, plan: Plan, split: Split, number: int, progress: Progress
) -> Mapping[str, float]:
    """Run one epoch; return its mean loss and accuracy."""
    steps = steps_per_epoch(split, plan.batch)
    weights = np.asarray(plan.class_weights, np.float32)
    sums = dict.fromkeys(("loss", "accuracy"), 0.0)
    with progress.task(f"Epoch {number + 1}/{plan.epochs}", steps * plan.batch, "pictures") as task:
        batches = training_batches(split, plan.batch, plan.augmentation, plan.seed, number)
        for step, batch in enumerate(batches):
            trainer.optimizer.learning_rate = learning_rate(plan, number * steps + step, steps)
            inputs, targets = _arrays(batch, len(split.classes))
            seen = trainer.train_on_batch(inputs, targets, weights[batch.labels], return_dict=True)
            sums = {name: total + float(seen[name]) for name, total in sums.items()}
            task.advance(plan.batch, **{name: total / (step + 1) for name, total in sums.items()})
    return {name: total / steps for name, total in sums.items()}


def _arrays(batch: TrainingBatch, classes: int) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
    drawn = batch.draw
    targets = (
        batch.labels[:, None].astype(np.float32)
        if classes == 2
        else np.eye(classes, dtype=np.float32)[batch.labels]
    )
    return [batch.pixels, drawn.affine, drawn.tone, drawn.rectangles], targets


def judge_of(network: Any, channels: int) -> Any:
    """Wrap the network for unvaried pixels; it shares its weights and answers with logits."""
    height, width = network.input_shape[1:3]
    pixels = keras.Input((height, width, channels), dtype="uint8")
    x = models.widened(network, channels)(keras.ops.cast(pixels, "float32"))
    return keras.Model(pixels, _logits_of(network)(x))


def logits_of_split(judge: Any, split: Split, batch: int) -> NDArray[np.float64]:
    """Return what ``judge`` says of a split, (n, 1) or (n, classes), in its order."""
    parts = [np.asarray(judge.predict_on_batch(p)) for p in pixel_batches(split, batch)]
    return np.concatenate(parts)[: len(split)].astype(np.float64)


def _judge_split(judge: Any, plan: Plan, split: Split) -> dict[str, float]:
    """Return loss (class-weighted), accuracy and AUROC on validation."""
    probabilities = calibration.probabilities(logits_of_split(judge, split, plan.batch), 1.0)
    weights = np.asarray(plan.class_weights)[split.labels]
    return {
        "val_loss": metrics.log_loss(split.labels, probabilities, weights),
        "val_accuracy": float(np.mean(probabilities.argmax(axis=1) == split.labels)),
        "val_auroc": metrics.macro_auroc(split.labels, probabilities),
    }
