"""Training steps on several devices or nodes, which give the same bits whatever their number.

The variables stay in this process. Devices, and workers on the nodes of a cluster, only compute
gradients of shards, so that nothing is lost with a worker: its shards are computed by the others.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import backend
from lucency.backend import Arrays, Computed, Shard, ShardedStep, Variables
from lucency.cluster import connect
from lucency.config import Config
from lucency.dataset.batches import TrainingBatch
from lucency.errors import BackendError, RunError
from lucency.progress import Progress
from lucency.training.plan import Plan
from lucency.training.step import Stepper, arrays_of, loss_of

_STARTED = 300.0  # seconds in which a worker must have built its network
_LOOK = 60.0  # seconds between two looks for nodes that have joined


def stepper_for(plan: Plan, config: Config, progress: Progress) -> Callable[..., Stepper]:
    """Return what makes the stepper of a network, a plan and a number of classes."""
    if plan.shards == 1:
        return Stepper
    if not config.on:
        return ParallelStepper
    return functools.partial(ClusterStepper, on=config.on, progress=progress)


class ParallelStepper(Stepper):
    """Computes each batch in shards, on all devices of this process.

    Args:
        network: As returned by ``build_network``.
        plan: How it is trained, with several shards; the backend is JAX.
        classes: Number of classes.
    """

    def __init__(self, network: Any, plan: Plan, classes: int) -> None:
        super().__init__(network, plan, classes)
        self._step = self._sharded()

    def train(self, batch: TrainingBatch, rate: float) -> Mapping[str, float]:
        """Update the weights by one batch; return its mean loss and accuracy before the update.

        Args:
            batch: As many images as the plan has per step.
            rate: The learning rate.
        """
        trainer, optimizer = self._trainer, self._trainer.optimizer
        optimizer.learning_rate = rate
        variables = Variables(
            _values(trainer.trainable_variables), _values(trainer.non_trainable_variables)
        )
        sums, largest = self._sums(variables, self._shards(batch))
        slots = _values(optimizer.variables)
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
            f"a smaller batch, or smaller images: --set batch={self._plan.batch // 2}"
        )

    def gradients(self, variables: Variables, shards: Sequence[Shard]) -> Computed:
        """Return the gradients of some shards, computed on the devices of this process."""
        return self._step.on_devices(variables, shards)

    def _sums(
        self, variables: Variables, shards: Sequence[Shard]
    ) -> tuple[list[Arrays], NDArray[np.float32]]:
        """Return the sums over all shards, and the largest values in any of them."""
        computed = self.gradients(variables, shards)
        largest = computed.largest
        return [computed.sum(largest)], largest

    def _shards(self, batch: TrainingBatch) -> list[Shard]:
        *inputs, targets = arrays_of(batch, self._classes)
        weights = self._class_weights[batch.labels]
        return [
            Shard(k, [each[rows] for each in inputs], targets[rows], weights[rows])
            for k, rows in enumerate(np.split(np.arange(len(targets)), self._plan.shards))
        ]

    def _sharded(self) -> ShardedStep:
        loss, _ = loss_of(self._classes == 2, self._plan.label_smoothing)
        return ShardedStep(self._trainer, loss, self._trainer.optimizer, self._plan.shards)


class ClusterStepper(ParallelStepper):
    """Computes each batch in shards, by workers on the nodes of a cluster.

    A step is repeated where a worker has died in it, by those that are left.

    Args:
        network: As returned by ``build_network``.
        plan: How it is trained, with several shards; the backend is JAX.
        classes: Number of classes.
        on: The cluster, as in ``Config.on``.
        progress: Called with the number of workers.
    """

    def __init__(
        self, network: Any, plan: Plan, classes: int, *, on: str, progress: Progress
    ) -> None:
        super().__init__(network, plan, classes)
        self._cluster, self._progress = connect(on, progress), progress
        self._workers: list[Any] = []
        self._starting: list[Any] = []
        self._looked = 0.0

    def _sums(
        self, variables: Variables, shards: Sequence[Shard]
    ) -> tuple[list[Arrays], NDArray[np.float32]]:
        shared = self._cluster.share(Variables(*map(_on_host, variables)))
        while True:
            self._find_workers()
            asked = [
                (worker, worker.gradients.remote(shared, own))
                for k, worker in enumerate(self._workers)
                if (own := shards[k :: len(self._workers)])
            ]
            found = self._answers(asked)
            if len(found) < len(asked):
                continue
            largest = np.asarray(np.max([most for _, most in found], axis=0))
            sums = self._answers([(worker, worker.sum.remote(largest)) for worker, _ in found])
            if len(sums) == len(found):
                return [each for _, each in sums], largest

    def _answers(self, asked: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Return the workers that have answered, with their answers; the others are dead."""
        import ray

        found = []
        for worker, reference in asked:
            try:
                found.append((worker, ray.get(reference)))
            except ray.exceptions.RayActorError:
                self._workers.remove(worker)
                self._cluster.end(worker)  # where it was only out of reach
                self._looked = 0.0
                self._progress.warn(
                    f"A worker of the cluster died (workers left: {len(self._workers)}). The step "
                    "is repeated."
                )
        return found

    def release(self) -> None:
        """End the workers, whose processors are needed for other tasks."""
        for worker in (*self._workers, *self._starting):
            self._cluster.end(worker)
        self._workers, self._starting, self._looked = [], [], 0.0

    def _find_workers(self) -> None:
        """Start a worker on each free processor, up to one for each shard."""
        if self._workers and time.monotonic() - self._looked < _LOOK:
            return
        self._looked = time.monotonic()
        wanted = min(self._plan.shards, self._cluster.devices)
        for _ in range(wanted - len(self._workers) - len(self._starting)):
            worker = self._cluster.actor(Worker, self._plan, self._classes, env=backend.OF_WORKERS)
            self._starting.append(worker)
        seconds = 0.0 if self._workers else _STARTED
        ready, self._starting = self._cluster.ready(self._starting, seconds)
        self._workers += ready
        if not self._workers:
            raise RunError(
                f"No worker of the cluster could start within {_STARTED:.0f} s. Free processors or "
                "memory there, or repeat the command when there are nodes; what is finished is "
                "kept."
            )
        if ready:
            self._progress.note(f"Workers on the cluster: {len(self._workers)}.")


class Worker:
    """What computes gradients on a node.

    Args:
        plan: How the network is trained.
        classes: Number of classes.
    """

    def __init__(self, plan: Plan, classes: int) -> None:
        from lucency.training.trainer import build_network

        backend.make_deterministic(plan.seed)
        self._stepper = ParallelStepper(build_network(plan, classes), plan, classes)
        self._computed: Computed | None = None

    def gradients(self, shared: Any, shards: Sequence[Shard]) -> NDArray[np.float32]:
        """Compute the gradients of some shards, and return the largest values in any of them."""
        self._computed = self._stepper.gradients(shared.value, shards)
        return self._computed.largest

    def sum(self, largest: NDArray[np.float32]) -> Arrays:
        """Return the sum over these shards as integers, given the largest values of all shards."""
        if self._computed is None:
            raise RunError("Ask for gradients first.")
        return _on_host(self._computed.sum(largest))


def _values(variables: Sequence[Any]) -> Arrays:
    return [each.value for each in variables]


def _on_host(arrays: Sequence[Any]) -> Arrays:
    return [np.asarray(each) for each in arrays]
