"""Training steps on several devices or nodes, which give the same bits whatever their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lucency import models
from lucency.backend import Shard, ShardedStep, Variables
from lucency.dataset.batches import TrainingBatch
from lucency.errors import BackendError
from lucency.training.plan import Plan
from lucency.training.step import Stepper, arrays_of, loss_of

keras = models.keras


class ParallelStepper(Stepper):
    """Computes each batch in shards, on all devices of this process.

    Args:
        network: As returned by ``build_network``.
        plan: How it is trained, with several shards.
        classes: Number of classes.

    Raises:
        BackendError: The backend is not JAX.
    """

    def __init__(self, network: Any, plan: Plan, classes: int) -> None:
        super().__init__(network, plan, classes)
        self._step = sharded_step(self._trainer, plan, classes)

    def train(self, batch: TrainingBatch, rate: float) -> Mapping[str, float]:
        """Update the weights by one batch; return its mean loss and accuracy before the update.

        Args:
            batch: As many images as the plan has per step.
            rate: The learning rate.
        """
        trainer, optimizer = self._trainer, self._trainer.optimizer
        optimizer.learning_rate = rate
        variables = Variables(
            [each.value for each in trainer.trainable_variables],
            [each.value for each in trainer.non_trainable_variables],
        )
        slots = [each.value for each in optimizer.variables]
        shards = self._shards(batch)
        computed = self._step.on_devices(variables, shards)
        largest = computed.largest
        sums = [computed.sum(largest)]
        new, slots, loss, accuracy = self._step.update(variables, slots, sums, largest)
        for variable, value in zip(
            (*trainer.trainable_variables, *trainer.non_trainable_variables, *optimizer.variables),
            (*new.trainable, *new.state, *slots),
            strict=True,
        ):
            variable.assign(value)
        return {"loss": loss, "accuracy": accuracy}

    def shrink(self) -> None:
        """Reject smaller micro-batches, which would be other shards.

        Raises:
            BackendError: Always.
        """
        raise BackendError(
            f"Out of memory with {self._plan.batch // self._plan.shards} images on a device. Use "
            f"more shards, a smaller batch, or smaller images: --set batch={self._plan.batch // 2}"
        )

    def _shards(self, batch: TrainingBatch) -> Sequence[Shard]:
        *inputs, targets = arrays_of(batch, self._classes)
        weights = self._class_weights[batch.labels]
        return [
            Shard(k, [each[rows] for each in inputs], targets[rows], weights[rows])
            for k, rows in enumerate(np.split(np.arange(len(targets)), self._plan.shards))
        ]


def stepper_for(plan: Plan) -> type[Stepper]:
    """Return what computes the steps of a plan."""
    return ParallelStepper if plan.shards > 1 else Stepper


def sharded_step(trainer: Any, plan: Plan, classes: int) -> ShardedStep:
    """Return the program of a step of a trainer, as ``Stepper`` builds it."""
    loss, _ = loss_of(classes == 2, plan.label_smoothing)
    return ShardedStep(trainer, loss, trainer.optimizer, plan.shards)
