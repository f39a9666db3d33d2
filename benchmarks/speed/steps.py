"""Each step of training by itself, and the training step beside the limits of this machine.

The limits are measured in the same process: arithmetic by multiplying two matrices of 4,096 x 4,096
in the precision of the network, memory bandwidth by adding one to 256 MiB. A training step counts
as three times the multiplications of its convolutions and dense layers. It must at least read and
write the inputs and outputs of each of them once per pass (forward, gradients of inputs, gradients
of weights). The real step reads, augments and feeds its images; the synthetic one gets the same
prepared tensors every time. Both alternate.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.command import run_json
from benchmarks.results import Figure, Skipped, seconds
from benchmarks.sample_images import copy_images

RECIPES = ("quick", "standard", "article")
PASSES = 3  # forward, and backward to inputs and weights


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    if not importlib.util.find_spec("keras"):
        raise Skipped("Keras is not installed")
    with TemporaryDirectory() as temporary:
        folder = copy_images(files, Path(temporary) / "images", 1 if quick else 5)
        return [
            Figure(f"{recipe}: {name}", unit, values, n, least=least, most=most)
            for recipe in RECIPES
            for name, unit, values, n, least, most in run_json(
                __name__, recipe, folder, 2 if quick else 8
            )
        ]


class Bench:
    """One recipe, ready to train."""

    def __init__(self, recipe: str, folder: Path) -> None:
        from lucency import backend
        from lucency.config import Config
        from lucency.dataset import load_labelled
        from lucency.training.plan import make_plan
        from lucency.training.step import Stepper
        from lucency.training.trainer import build_network

        given: Any = {"recipe": "article"} if recipe == "article" else {"effort": recipe}
        config = Config(**given, cache=str(folder.parent / "cache"))
        classes = tuple(sorted(each.name for each in folder.iterdir()))
        self.split = load_labelled(folder, classes, config, size=config.input_size, colour=False)
        self.plan = make_plan(self.split, config)
        backend.make_deterministic(0)
        self.network = build_network(self.plan, 2)
        self.stepper = Stepper(self.network, self.plan, 2)

    def real(self, epoch: int) -> float:
        """Return seconds per step of an epoch, with reading and augmenting."""
        from lucency.dataset.batches import training_batches

        plan, steps, start = self.plan, 0, time.perf_counter()
        for batch in training_batches(self.split, plan.batch, plan.augmentation, 0, epoch):
            self.stepper.train(batch, 1e-3)
            steps += 1
        return (time.perf_counter() - start) / steps

    def synthetic(self, steps: int) -> float:
        """Return seconds per step on prepared tensors."""
        from lucency.dataset.batches import training_batches
        from lucency.models import keras

        plan = self.plan
        batch = next(training_batches(self.split, plan.batch, plan.augmentation, 0, 0))
        arrays = [*batch.inputs, batch.labels[:, None].astype(np.float32)]
        *inputs, targets = [keras.ops.convert_to_tensor(each) for each in arrays]
        weights = keras.ops.ones(plan.batch)
        trainer = self.stepper._trainer  # without what feeds it
        start = time.perf_counter()
        for _ in range(steps):
            trainer.train_on_batch(inputs, targets, weights)
        return (time.perf_counter() - start) / steps

    def operations(self) -> float:
        """Return the multiplications and additions of one training step."""
        total = 0
        for layer, _, outside in self._layers():
            places = outside[1] * outside[2] if len(outside) == 4 else 1
            grey = layer.name == "conv1"  # three equal channels are computed once
            total += places * int(np.prod(layer.kernel.shape)) // (3 if grey else 1)
        return 2.0 * PASSES * total * self.plan.batch

    def traffic(self) -> float:
        """Return the bytes that one training step has to move at least."""
        values = sum(
            int(np.prod(inside[1:])) + int(np.prod(outside[1:]))
            for _, inside, outside in self._layers()
        )
        size = 4 if self.plan.precision == "float32" else 2
        return float(PASSES * values * size * self.plan.batch)

    def _layers(self) -> list[tuple[Any, Any, Any]]:
        return [
            (layer, layer.input.shape, layer.output.shape)
            for layer in self.network.layers
            if hasattr(layer, "kernel")
        ]


def _limits(precision: str) -> tuple[float, float]:
    """Return operations and bytes per second on the device of the backend."""
    from lucency.models import keras

    ops, side = keras.ops, 4096
    kind = "float32" if precision == "float32" else "bfloat16"
    one = ops.cast(keras.random.normal((side, side)), kind)
    many = ops.zeros(2**26)

    def done(x: Any) -> None:
        # Some backends return before they have computed.
        ops.convert_to_numpy(ops.cast(ops.reshape(x, (-1,))[0], "float32"))

    arithmetic = 2.0 * side**3 / _best(lambda: done(ops.matmul(one, one)))
    memory = 2.0 * 2**28 / _best(lambda: done(ops.add(many, 1.0)))
    return arithmetic, memory


def _best(work: Callable[[], object], repeats: int = 7) -> float:
    return min([seconds(work) for _ in range(repeats)][1:])


def _augmentation(bench: Bench) -> tuple[float, float]:
    """Return images per second of drawing random numbers and of applying the augmentation."""
    from lucency.augmentation import draw
    from lucency.augmentation.layer import augmented
    from lucency.models import keras

    plan = bench.plan
    items = np.arange(plan.batch)
    drawing = _best(lambda: draw(plan.augmentation, 0, 1, items, plan.size))
    drawn = draw(plan.augmentation, 0, 1, items, plan.size)
    model = keras.Model(*augmented(plan.augmentation, bench.split.cache.shape))
    arrays = [bench.split.pixels(items), *drawn.arrays]
    applying = _best(lambda: model.predict_on_batch(arrays))
    return plan.batch / drawing, plan.batch / applying


def main(recipe: str, folder: Path, rounds: int) -> list[tuple[Any, ...]]:
    bench = Bench(recipe, folder)
    plan, n = bench.plan, len(bench.split)
    bench.real(0)
    bench.synthetic(2)
    steps = max(1, n // plan.batch)
    pairs = [(bench.real(k + 1), bench.synthetic(steps)) for k in range(rounds)]
    real, alone = ([each[k] for each in pairs] for k in (0, 1))
    arithmetic, memory = _limits(plan.precision)
    drawing, applying = _augmentation(bench)
    order = np.random.default_rng(0).permutation(n)
    reading = n / _best(lambda: bench.split.pixels(order))
    counted, moved = bench.operations(), bench.traffic()
    needed = counted / arithmetic, moved / memory
    best = statistics.median(alone)
    return [
        ("read from the cache", "images/s", [reading], n, None, None),
        ("draw augmentation", "images/s", [drawing], plan.batch, None, None),
        ("apply augmentation", "images/s", [applying], plan.batch, None, None),
        (f"train, {plan.precision}", "images/s", [plan.batch / s for s in real], n, None, None),
        ("train, prepared tensors", "images/s", [plan.batch / s for s in alone], n, None, None),
        ("feeding costs", "%", [100 * (a / b - 1) for a, b in pairs], n, None, 3.0),
        ("limit of arithmetic", "GFLOP/s", [arithmetic / 1e9], 1, None, None),
        ("limit of memory", "GB/s", [memory / 1e9], 1, None, None),
        ("counted in a step", "GFLOP", [counted / 1e9], plan.batch, None, None),
        ("moved in a step, at least", "GB", [moved / 1e9], plan.batch, None, None),
        ("of the limit of arithmetic", "%", [100 * needed[0] / best], plan.batch, None, None),
        ("of the limit of memory", "%", [100 * needed[1] / best], plan.batch, None, None),
    ]


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))
