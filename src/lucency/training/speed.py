"""Measure how fast this machine trains: the real network, in batches of the real size."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import backend
from lucency.config import Config
from lucency.dataset import Split
from lucency.dataset.batches import TrainingBatch, training_batches
from lucency.dataset.cache import PixelCache
from lucency.io import default_cache
from lucency.models import keras
from lucency.training.budget import Speed
from lucency.training.plan import Plan, make_plan
from lucency.training.step import Stepper
from lucency.training.trainer import build_network

_LEAST_STEPS, _LEAST_SECONDS, _MOST_SECONDS = 5, 2.0, 15.0  # measured, after the first steps
_SHARE = 0.02  # of the time budget: on a machine that others use, speed varies within seconds


def measure_speed(train: Split, config: Config, budget: float = 0.0) -> Speed:
    """Train for a few seconds and discard the result; what follows does not depend on it.

    Args:
        train: Images to train on, as many as a batch has or more.
        config: Decides the network, the batch and the precision.
        budget: Seconds that will be spent at this speed; more are measured for more.

    Raises:
        ConfigError: Choices contradict each other or the data.
    """
    plan = make_plan(train, config)
    backend.make_deterministic(plan.seed)
    backend.keep_compiled(default_cache() / "compiled")
    start = time.perf_counter()
    stepper = Stepper(build_network(plan, len(train.outputs)), plan, len(train.outputs))
    try:
        while True:
            try:
                return _timed(stepper, plan, train, start, max(_LEAST_SECONDS, _SHARE * budget))
            except Exception as error:
                if not backend.is_out_of_memory(error):
                    raise
            stepper.shrink()  # as training will
    finally:
        del stepper
        keras.utils.clear_session()  # names of layers are counted from the start again


def _timed(stepper: Stepper, plan: Plan, train: Split, start: float, least: float) -> Speed:
    with closing(_endless(train, plan)) as batches:
        stepper.train(next(batches), plan.learning_rate)
        ready = time.perf_counter() - start
        stepper.train(next(batches), plan.learning_rate)
        start, seconds, steps = time.perf_counter(), 0.0, 0
        while (steps < _LEAST_STEPS or seconds < least) and seconds < _MOST_SECONDS:
            stepper.train(next(batches), plan.learning_rate)
            steps, seconds = steps + 1, time.perf_counter() - start
    return Speed(steps * plan.batch / seconds, ready)


def _endless(train: Split, plan: Plan) -> Generator[TrainingBatch]:
    for epoch in itertools.count():
        yield from training_batches(train, plan.batch, plan.augmentation, plan.seed, epoch)


class Noise(PixelCache):
    """Pixels without a data set, to measure with: the time of a step does not depend on them.

    Args:
        shape: Height, width and channels.
        count: Number of rows.
    """

    def __init__(self, shape: tuple[int, int, int], count: int) -> None:
        random = np.random.default_rng(0)
        self.shape = shape
        self.depth = 8  # bits: more of them take hardly more time
        self.sha256 = ("",) * count
        self.sizes = np.full((count, 2), shape[:2])
        self._pixels = random.integers(0, 256, (min(count, 32), *shape), np.uint8)

    def read(self, rows: Any) -> NDArray[np.uint8]:
        """Return rows, (k, height, width, channels) uint8; they repeat."""
        return self._pixels[np.asarray(rows, np.int64) % len(self._pixels)]


def noise_split(classes: tuple[str, ...], shape: tuple[int, int, int], count: int) -> Split:
    """Return a split of ``count`` images of noise, in turn of each class."""
    names = tuple(map(str, range(count)))
    rows = np.arange(count)
    return Split("train", classes, names, names, rows % len(classes), Noise(shape, count), rows)
