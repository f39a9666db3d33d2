"""One training step: a batch in, updated weights out; and all variables that it updates.

Compiling a step takes seconds. The last one that was compiled is kept, and serves again for a
network of the same kind, such as that of the next fold.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lucency import backend, models
from lucency.augmentation.layer import augmented
from lucency.dataset.batches import TrainingBatch
from lucency.errors import BackendError
from lucency.task import task_of
from lucency.training.fused_layers import fused
from lucency.training.plan import Plan
from lucency.training.state import Arrays, Weights

keras = models.keras


class Stepper:
    """A network with its loss and its optimizer.

    Args:
        network: As returned by ``build_network``.
        plan: How it is trained.
        classes: Number of classes.

    Attributes:
        network: The network.
        micro: Images per micro-batch. A larger batch is computed in micro-batches, whose gradients
            are accumulated before the weights are updated.
        eval_model: From pixels that are not augmented to the logits of the network.
        is_compiled: Whether a step has been run.
    """

    def __init__(self, network: Any, plan: Plan, classes: int) -> None:
        self.network = network
        self.micro = plan.batch
        self._plan, self._classes = plan, classes
        self._class_weights = np.asarray(plan.class_weights, np.float32)
        self._trainer = self._compiled()
        self._untrained = self._optimizer_state()
        self.eval_model = eval_model(network, plan.channels, plan.dtype)
        self.is_compiled = False

    def adopt(self, network: Any, plan: Plan) -> None:
        """Become what a new stepper of this network would be, which is of the same kind.

        Args:
            network: Its weights are copied, and so is the state of dropout.
            plan: How it is trained; only what ``_kind`` leaves out is different.
        """
        self._plan = plan
        self._class_weights = np.asarray(plan.class_weights, np.float32)
        for own, other in zip(self.network.variables, network.variables, strict=True):
            own.assign(other.value)
        for variable, array in zip(self._slots(), self._untrained, strict=True):
            variable.assign(array)

    @property
    def is_whole(self) -> bool:
        """Whether it computes whole batches."""
        return self.micro == self._plan.batch

    def train(self, batch: TrainingBatch, rate: float) -> Mapping[str, float]:
        """Update the weights by one batch; return its mean loss and accuracy before the update.

        Args:
            batch: As many images as the plan has per step.
            rate: The learning rate.
        """
        self._trainer.optimizer.learning_rate = rate
        arrays = arrays_of(batch, self._classes)
        weights = self._class_weights[batch.labels]
        results = []
        for start in range(0, len(batch.labels), self.micro):
            rows = slice(start, start + self.micro)
            inputs, targets = [array[rows] for array in arrays[:-1]], arrays[-1][rows]
            results.append(
                self._trainer.train_on_batch(inputs, targets, weights[rows], return_dict=True)
            )
        return {name: sum(float(r[name]) for r in results) / len(results) for name in results[0]}

    def capture(self) -> Weights:
        """Copy the variables that a step updates."""
        copies = [np.array(keras.ops.convert_to_numpy(v.value)) for v in self._network_state()]
        return Weights(copies, [np.array(x) for x in self._optimizer_state()])

    def restore(self, weights: Weights) -> None:
        """Restore what ``capture`` copied, possibly with another size of micro-batch.

        Raises:
            ValueError: The arrays are not those of this network and its optimizer.
        """
        slots = self._slots()
        _check_fit(self._network_state(), weights.network)
        _check_fit(slots, weights.optimizer)
        for variable, array in zip(self._network_state(), weights.network, strict=True):
            variable.assign(array)
        for variable, array in zip(slots, weights.optimizer, strict=True):
            variable.assign(array * self._micro_batches if variable is slots[0] else array)
        for variable in self._trainer.optimizer.variables:
            if _is_accumulator(variable):
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def shrink(self) -> None:
        """Halve the micro-batch, after memory ran out.

        Then restore an earlier ``capture``: gradients of a part of a batch may have been
        accumulated.

        Raises:
            BackendError: The micro-batch is a single image already.
        """
        if self.micro == 1:
            raise BackendError(
                "Out of memory, even with one image at a time. Choose a smaller network or "
                "smaller images (--effort quick, --set size=64), or a machine with more memory."
            )
        batch = self._plan.batch
        self.micro = next(m for m in range(self.micro // 2, 0, -1) if batch % m == 0)
        del self._trainer
        self._trainer = self._compiled()

    def release(self) -> None:
        """Release what is not needed until the next step."""

    @property
    def _micro_batches(self) -> int:
        return self._plan.batch // self.micro

    def _network_state(self) -> list[Any]:
        return [*self._trainer.trainable_variables, *self._trainer.non_trainable_variables]

    def _slots(self) -> list[Any]:
        return [v for v in self._trainer.optimizer.variables if not _is_accumulator(v)]

    def _optimizer_state(self) -> Arrays:
        """Return the optimizer's variables; the first counts steps, not micro-batches."""
        count, *rest = (keras.ops.convert_to_numpy(v.value) for v in self._slots())
        return [count // self._micro_batches, *rest]

    def _compiled(self) -> Any:
        """Wrap the network: stored pixels and random numbers in, logits out."""
        plan = self._plan
        inputs, x = augmented(plan.augmentation, (*plan.size, plan.channels), plan.dtype)
        logits = fused(self.network, plan.channels)(x)
        trainer = keras.Model(inputs, logits)
        multilabel = task_of(plan.task).is_multilabel
        loss, accuracy = loss_of(logits.shape[-1] == 1, plan.label_smoothing, multilabel)
        optimizer = _optimizer(plan, self._micro_batches)
        compiled = False if backend.waits_for_memory() else "auto"
        trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=compiled)
        optimizer.build(trainer.trainable_variables)  # so that its variables can be restored
        return trainer


_kept: list[tuple[tuple[Plan, int], Stepper]] = []  # at most one, which nobody uses


@contextlib.contextmanager
def borrowed(
    network: Any, plan: Plan, classes: int, new: Callable[..., Stepper] = Stepper
) -> Iterator[Stepper]:
    """Lend a stepper with the weights of a network: the one that was kept, or a new one.

    If the block ends without an error, it is kept for the next one.

    Args:
        network: As returned by ``build_network``. A new stepper trains it; the one that was kept
            copies its weights, and trains its own.
        plan: How it is trained.
        classes: Number of classes.
        new: What makes a stepper.
    """
    key = _kind(plan), classes
    if _kept and _kept[0][0] == key:
        stepper = _kept.pop()[1]
        stepper.adopt(network, plan)
    else:
        _kept.clear()  # its memory is needed
        stepper = new(network, plan, classes)
    try:
        yield stepper
    finally:
        stepper.release()
    if stepper.is_whole:
        _kept[:] = [(key, stepper)]


def _kind(plan: Plan) -> Plan:
    """Return what a compiled step depends on: the plan without all else."""
    return dataclasses.replace(
        plan, effort="", seed=0, positive=None, weights_origin="", epochs=0,
        class_weights=(), monitor="", patience=0, choices=(),
    )  # fmt: skip


def eval_model(network: Any, channels: int, dtype: str = "uint8") -> Any:
    """Return a model from pixels that are not augmented to logits; it shares the weights."""
    height, width = network.input_shape[1:3]
    pixels = keras.Input((height, width, channels), dtype=dtype)
    return keras.Model(pixels, fused(network, channels)(keras.ops.cast(pixels, "float32")))


def _is_accumulator(variable: Any) -> bool:
    """Return whether a variable accumulates gradients: it is zero between two whole batches."""
    return str(variable.path).endswith("gradient_accumulator")


def _check_fit(variables: list[Any], arrays: Arrays) -> None:
    shapes = [(tuple(v.shape), str(v.dtype)) for v in variables]
    received = [(a.shape, str(a.dtype)) for a in arrays]
    if shapes != received:
        pairs = enumerate(zip(shapes, received, strict=False))
        wrong = next((i for i, (a, b) in pairs if a != b), min(len(shapes), len(received)))
        raise ValueError(f"array {wrong} of {len(received)} does not fit; {len(shapes)} expected")


def loss_of(two_classes: bool, smoothing: float, multilabel: bool = False) -> tuple[Any, Any]:
    """Return the loss and the metric of logits."""
    if multilabel:
        return KnownLabels(smoothing), known_accuracy
    if two_classes:
        loss = keras.losses.BinaryCrossentropy(True, smoothing)
        return loss, keras.metrics.BinaryAccuracy("accuracy", threshold=0)
    loss = keras.losses.CategoricalCrossentropy(True, smoothing)
    return loss, keras.metrics.CategoricalAccuracy("accuracy")


class KnownLabels(keras.losses.Loss):  # type: ignore[misc, name-defined]
    """Binary cross-entropy of logits, the mean over the labels of an image that are known.

    Args:
        smoothing: Share of each target that is spread over both values.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__(name="known_labels")
        self._smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, (n,), of targets (n, labels), -1 where unknown."""
        ops = keras.ops
        known = ops.cast(y_true >= 0, y_pred.dtype)
        targets = ops.cast(y_true, y_pred.dtype) * (1 - self._smoothing) + self._smoothing / 2
        losses = ops.binary_crossentropy(targets, y_pred, from_logits=True)
        return ops.sum(known * losses, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1)


def known_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return the share of the known labels of each image that the sign of its logit gives, (n,)."""
    ops = keras.ops
    known = ops.cast(y_true >= 0, "float32")
    right = ops.cast((y_true > 0.5) == (y_pred > 0), "float32")
    return ops.sum(known * right, axis=-1) / ops.maximum(ops.sum(known, axis=-1), 1)


known_accuracy.__name__ = "accuracy"


def _optimizer(plan: Plan, micro_batches: int) -> Any:
    options = {"gradient_accumulation_steps": micro_batches if micro_batches > 1 else None}
    if plan.optimizer == "adam":
        return keras.optimizers.Adam(plan.learning_rate, **options)
    rate, decay = plan.learning_rate, plan.weight_decay
    optimizer = keras.optimizers.AdamW(rate, weight_decay=decay, **options)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def arrays_of(batch: TrainingBatch, classes: int) -> Arrays:
    """Return the inputs of the training model, the targets last."""
    if batch.targets is not None:
        return [*batch.inputs, batch.targets]
    targets = (
        batch.labels[:, None].astype(np.float32)
        if classes == 2
        else np.eye(classes, dtype=np.float32)[batch.labels]
    )
    return [*batch.inputs, targets]
