"""Training steps on several devices, with the same bits whatever their number; JAX only.

A batch is cut into shards. One compiled program computes the gradients of a shard, on any device.
The gradients of all shards are added as integers, in which a sum has no order: before, each array
is scaled by the power of two that makes its largest value, over all shards, fill 32 bits. So the
sum is as exact as one of float32, and depends on neither the number of devices nor their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.backend.choice import import_quietly

Arrays = list[Any]  # of JAX or NumPy
# XLA computes with other kernels on one thread than on several.
OF_WORKERS = {"KERAS_BACKEND": "jax", "NPROC": "2"}


class Shard(NamedTuple):
    """A part of a batch.

    Attributes:
        number: From 0.
        inputs: Of the model.
        targets: (n, units).
        weights: (n,) of the images in the loss.
    """

    number: int
    inputs: Sequence[NDArray[Any]]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]


class Variables(NamedTuple):
    """The variables that the gradients depend on.

    Attributes:
        trainable: The weights.
        state: All others: moving means and variances, and the states of random generators.
    """

    trainable: Arrays
    state: Arrays


class ShardedStep:
    """The program of a step: gradients of shards, their exact mean, and the update.

    Args:
        model: From the inputs of a shard to logits, (n, 1) or (n, classes).
        loss: From targets, logits and weights to the mean loss.
        optimizer: Built for the trainable variables of the model.
        count: Number of shards.

    Attributes:
        optimizer: The optimizer.
    """

    def __init__(self, model: Any, loss: Callable[..., Any], optimizer: Any, count: int) -> None:
        self._jax = import_quietly("jax")
        self._model, self._loss, self._count = model, loss, count
        self.optimizer = optimizer
        self._is_random = [str(each.dtype) == "uint32" for each in model.non_trainable_variables]
        # Of 31 bits, those that are left when so many shards are added.
        self._bits = 30 - math.ceil(math.log2(count))
        jit = self._jax.jit
        self.gradients = jit(self._gradients)
        self._integers = jit(self._as_integers)
        self._add = jit(lambda a, b: [x + y for x, y in zip(a, b, strict=True)])
        self._mean = jit(self._as_mean)
        self._apply = jit(optimizer.stateless_apply)

    @property
    def devices(self) -> list[Any]:
        """All devices of this process."""
        return list(self._jax.local_devices())

    def on_devices(
        self, variables: Variables, shards: Sequence[Shard], devices: Sequence[Any] | None = None
    ) -> Computed:
        """Compute the gradients of shards on the devices of this process, in turns."""
        devices = devices or self.devices
        put = self._jax.device_put
        copies = [put(tuple(variables), each) for each in devices[: len(shards)]]
        results = [
            self.gradients(*copies[i % len(copies)], *put(tuple(shard), devices[i % len(copies)]))
            for i, shard in enumerate(shards)
        ]
        return Computed(self, [values for values, _ in results], [most for _, most in results])

    def sum_of(self, parts: Sequence[Arrays], largest: NDArray[np.float32]) -> Arrays:
        """Return the sum of the values of shards, as integers."""
        total: Arrays | None = None
        first = self.devices[0]
        for each in parts:
            integers = self._jax.device_put(self._integers(each, largest), first)
            total = integers if total is None else self._add(total, integers)
        return total or []

    def update(
        self,
        variables: Variables,
        slots: Arrays,
        sums: Sequence[Arrays],
        largest: NDArray[np.float32],
    ) -> tuple[Variables, Arrays, float, float]:
        """Return the variables and the optimizer's after the step, the loss and the accuracy.

        Args:
            variables: Before the step.
            slots: Variables of the optimizer, before the step.
            sums: Of all shards, in any grouping and order.
            largest: The largest absolute value in any shard, for each array.
        """
        total = sums[0]
        for each in sums[1:]:
            total = self._add(total, each)
        *means, loss, accuracy = self._mean(total, largest)
        weights = len(variables.trainable)
        trainable, slots = self._apply(slots, means[:weights], variables.trainable)
        floats = iter(means[weights:])
        state = [
            _advanced(old, self._count) if random else next(floats)
            for old, random in zip(variables.state, self._is_random, strict=True)
        ]
        return Variables(list(trainable), state), list(slots), float(loss), float(accuracy)

    def _gradients(
        self, trainable: Arrays, state: Arrays, number: Any, inputs: Any, targets: Any, weights: Any
    ) -> tuple[Arrays, Any]:
        """Return gradients, new state, loss and accuracy, and the largest value of each."""
        own = [
            _advanced(each, number) if random else each
            for each, random in zip(state, self._is_random, strict=True)
        ]

        def loss_of(trainable: Arrays) -> tuple[Any, tuple[Any, Arrays]]:
            logits, new = self._model.stateless_call(trainable, own, list(inputs), training=True)
            return self._loss(targets, logits, weights), (logits, new)

        gradient = self._jax.value_and_grad(loss_of, has_aux=True)
        (loss, (logits, new)), gradients = gradient(trainable)
        floats = [x for x, random in zip(new, self._is_random, strict=True) if not random]
        values = [*gradients, *floats, loss, _accuracy(targets, logits)]
        values = [each.astype("float32") for each in values]
        numpy = self._jax.numpy
        return values, numpy.stack([numpy.abs(each).max() for each in values])

    def _exponents(self, largest: Any) -> Any:
        numpy = self._jax.numpy
        return self._bits - numpy.frexp(largest)[1]

    def _as_integers(self, values: Arrays, largest: Any) -> Arrays:
        numpy, exponents = self._jax.numpy, self._exponents(largest)
        return [
            numpy.rint(numpy.ldexp(each, exponents[i])).astype("int32")
            for i, each in enumerate(values)
        ]

    def _as_mean(self, total: Arrays, largest: Any) -> Arrays:
        numpy, exponents = self._jax.numpy, self._exponents(largest)
        means = []
        for i, each in enumerate(total):
            mean = numpy.ldexp(each.astype("float32"), -exponents[i]) / self._count
            means.append(numpy.where(numpy.isfinite(largest[i]), mean, numpy.nan))
        return means


class Computed(NamedTuple):
    """The gradients of some shards, still on their devices.

    Attributes:
        step: The program.
        values: Of each shard.
        maxima: The largest absolute value of each array, for each shard.
    """

    step: ShardedStep
    values: list[Arrays]
    maxima: list[Any]

    @property
    def largest(self) -> NDArray[np.float32]:
        """The largest absolute value of each array, over the shards."""
        return np.asarray(np.max([np.asarray(each) for each in self.maxima], axis=0))

    def sum(self, largest: NDArray[np.float32]) -> Arrays:
        """Return the sum over the shards as integers, given the largest values of all shards."""
        return self.step.sum_of(self.values, largest)


def _advanced(seed: Any, by: Any) -> Any:
    """Return the state of a random generator after so many numbers."""
    return seed.at[1].add(by) if hasattr(seed, "at") else seed + np.array([0, by], np.uint32)


def _accuracy(targets: Any, logits: Any) -> Any:
    if logits.shape[-1] == 1:
        return ((logits > 0) == (targets > 0.5)).mean()
    return (logits.argmax(axis=-1) == targets.argmax(axis=-1)).mean()
