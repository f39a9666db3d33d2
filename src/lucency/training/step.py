"""One step: a batch in, changed weights out; and all that it changes, as arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import backend, models
from lucency.augmentation.layer import varied
from lucency.dataset.batches import TrainingBatch
from lucency.errors import BackendError
from lucency.training.fused_layers import fused
from lucency.training.plan import Plan

keras = models.keras

Arrays = list[NDArray[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """What a step changes, copied.

    Attributes:
        network: Weights, moving statistics and the state of dropout, in the network's order.
        optimizer: The count of steps, the learning rate and the slots, in the optimiser's order.
    """

    network: Arrays
    optimizer: Arrays

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in (*self.network, *self.optimizer))


class Stepper:
    """A network with its loss and its optimiser.

    Args:
        network: As ``build_network`` makes it.
        plan: How it is trained.
        classes: How many there are.

    Attributes:
        network: The network.
        micro: Images that are computed at once. A batch of more is computed in parts, whose
            gradients are added up before the weights change once.
    """

    def __init__(self, network: Any, plan: Plan, classes: int) -> None:
        self.network = network
        self.micro = plan.batch
        self._plan, self._classes = plan, classes
        self._members = int(plan.parameters.get("members", 1))
        self._class_weights = np.asarray(plan.class_weights, np.float32)
        self._trainer = self._compiled()

    def train(self, batch: TrainingBatch, rate: float) -> Mapping[str, float]:
        """Change the weights by one batch; return its mean loss and accuracy before the change.

        Args:
            batch: Images, as many as the plan says.
            rate: The learning rate.
        """
        self._trainer.optimizer.learning_rate = rate
        arrays = _arrays(batch, self._classes)
        weights = self._class_weights[batch.labels]
        if self._members > 1:  # each learns by itself
            arrays[-1] = np.repeat(arrays[-1][:, None], self._members, axis=1)
            weights = np.repeat(weights[:, None], self._members, axis=1)
        seen = []
        for start in range(0, len(batch.labels), self.micro):
            part = slice(start, start + self.micro)
            inputs, targets = [array[part] for array in arrays[:-1]], arrays[-1][part]
            seen.append(
                self._trainer.train_on_batch(inputs, targets, weights[part], return_dict=True)
            )
        return {name: sum(float(s[name]) for s in seen) / len(seen) for name in seen[0]}

    def capture(self) -> Weights:
        """Copy what a step changes."""
        copies = [np.array(keras.ops.convert_to_numpy(v.value)) for v in self._network_state()]
        return Weights(copies, [np.array(x) for x in self._optimizer_state()])

    def restore(self, weights: Weights) -> None:
        """Put back what ``capture`` copied; the micro-batch may have become another.

        Raises:
            ValueError: The arrays are not those of this network and its optimiser.
        """
        slots = self._slots()
        _check_fit(self._network_state(), weights.network)
        _check_fit(slots, weights.optimizer)
        for variable, array in zip(self._network_state(), weights.network, strict=True):
            variable.assign(array)
        for variable, array in zip(slots, weights.optimizer, strict=True):
            variable.assign(array * self._parts if variable is slots[0] else array)
        for variable in self._trainer.optimizer.variables:
            if _adds_up(variable):
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def shrink(self) -> None:
        """Compute half as many images at once, after memory ran out.

        What ``capture`` copied before must be restored: a part of a batch may have been added up.

        Raises:
            BackendError: There is only one image left at a time.
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

    @property
    def _parts(self) -> int:
        return self._plan.batch // self.micro

    def _network_state(self) -> list[Any]:
        return [*self._trainer.trainable_variables, *self._trainer.non_trainable_variables]

    def _slots(self) -> list[Any]:
        return [v for v in self._trainer.optimizer.variables if not _adds_up(v)]

    def _optimizer_state(self) -> Arrays:
        """Return the slots; the first counts steps, whatever parts they are computed in."""
        count, *rest = (keras.ops.convert_to_numpy(v.value) for v in self._slots())
        return [count // self._parts, *rest]

    def _compiled(self) -> Any:
        """Wrap the network so that stored pixels and drawn numbers go in and logits come out."""
        plan = self._plan
        inputs, x = varied(plan.augmentation, (*plan.size, plan.channels))
        logits = fused(self.network, plan.channels, self._members)(x)
        trainer = keras.Model(inputs, logits)
        loss, accuracy = _loss_and_accuracy(logits.shape[-1] == 1, plan.label_smoothing)
        optimizer = _optimizer(plan, self._parts)
        compiled = False if backend.waits_for_memory() else "auto"
        trainer.compile(optimizer, loss, metrics=[accuracy], jit_compile=compiled)
        optimizer.build(trainer.trainable_variables)  # so that there are slots to restore
        return trainer


def _adds_up(variable: Any) -> bool:
    """Tell whether an optimiser's variable adds up gradients: zero between two whole batches."""
    return str(variable.path).endswith("gradient_accumulator")


def _check_fit(variables: list[Any], arrays: Arrays) -> None:
    shapes = [(tuple(v.shape), str(v.dtype)) for v in variables]
    given = [(a.shape, str(a.dtype)) for a in arrays]
    if shapes != given:
        wrong = next((i for i, pair in enumerate(zip(shapes, given, strict=False))
                      if pair[0] != pair[1]), min(len(shapes), len(given)))  # fmt: skip
        raise ValueError(f"array {wrong} of {len(given)} is not the one of {len(shapes)} expected")


def _loss_and_accuracy(two_classes: bool, smoothing: float) -> tuple[Any, Any]:
    """Return the loss and the metric of logits."""
    if two_classes:
        loss = keras.losses.BinaryCrossentropy(True, smoothing)
        return loss, keras.metrics.BinaryAccuracy("accuracy", threshold=0)
    loss = keras.losses.CategoricalCrossentropy(True, smoothing)
    return loss, keras.metrics.CategoricalAccuracy("accuracy")


def _optimizer(plan: Plan, parts: int) -> Any:
    given = {"gradient_accumulation_steps": parts if parts > 1 else None}
    if plan.optimizer == "adam":
        return keras.optimizers.Adam(plan.learning_rate, **given)
    optimizer = keras.optimizers.AdamW(plan.learning_rate, weight_decay=plan.weight_decay, **given)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


def _arrays(batch: TrainingBatch, classes: int) -> Arrays:
    """Return what the trainer takes, the targets last."""
    targets = (
        batch.labels[:, None].astype(np.float32)
        if classes == 2
        else np.eye(classes, dtype=np.float32)[batch.labels]
    )
    return [*batch.inputs, targets]
