"""A split becomes batches: in a shuffled order to train on, in its own order to predict.

Every batch has the same number of images, so that nothing is compiled twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lucency.augmentation import Augmentation, Draw, draw, generator
from lucency.dataset import Split

_AHEAD = 2  # batches read while the network works on the present one
_ORDER = 1  # random stream of the order; augmentation uses stream 0

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class TrainingBatch:
    """Images to learn from.

    Attributes:
        pixels: (n, height, width, channels) uint8, not yet varied.
        labels: (n,) int64, positions in the split's classes.
        draw: How the device is to vary each image.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    draw: Draw

    @property
    def inputs(self) -> list[NDArray[Any]]:
        """What ``lucency.augmentation.layer.varied`` takes."""
        return [self.pixels, *self.draw.arrays]


def steps_per_epoch(split: Split, size: int) -> int:
    """Return the number of batches in which every image is seen."""
    return -(-len(split) // size)


def training_batches(
    split: Split, size: int, policy: Augmentation, seed: int, epoch: int, first: int = 0
) -> Iterator[TrainingBatch]:
    """Yield the batches of one epoch, a pure function of the arguments.

    Args:
        split: Images to learn from; at least ``size`` of them.
        size: Images per batch; the last batch is filled up from the front of the same order.
        policy: How far images may vary.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        first: The batch to begin with, from 0; those before it are skipped without being read.
    """
    order = generator(seed, epoch, 0, _ORDER).permutation(len(split))
    order = np.resize(order, steps_per_epoch(split, size) * size)

    def load(items: NDArray[np.int64]) -> TrainingBatch:
        pixels = split.pixels(items)
        height, width = pixels.shape[1:3]
        drawn = draw(policy, seed, epoch, items, (height, width))
        return TrainingBatch(pixels, split.labels[items], drawn)

    yield from _ahead(load, order.reshape(-1, size)[first:])


def pixel_batches(split: Split, size: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the pixels of a split in its own order, (size, height, width, channels) at a time.

    The last batch repeats the last image to be full; the caller cuts the answers to
    ``len(split)``.
    """
    padded = np.minimum(np.arange(-(-len(split) // size) * size), len(split) - 1)
    yield from _ahead(split.pixels, padded.reshape(-1, size))


def _ahead(load: Callable[[NDArray[np.int64]], Item], splits: NDArray[np.int64]) -> Iterator[Item]:
    """Yield ``load(part)`` in order, loading a few parts ahead in a thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: list[Future[Item]] = []
        for split in splits:
            waiting.append(pool.submit(load, split))
            if len(waiting) > _AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
