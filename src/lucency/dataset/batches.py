"""Batches of a split: shuffled to train on, in order to predict.

All batches have the same number of images, so that the network is compiled only once.
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
from lucency.imaging.decoder.pool import Pixels

_PREFETCH = 2  # batches read while the network processes the current one
_ORDER = 1  # random stream of the order; augmentation uses stream 0

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class TrainingBatch:
    """Images to train on.

    Attributes:
        pixels: (n, height, width, channels), 0 to 255, not yet augmented.
        labels: (n,) int64, indices into the split's classes.
        draw: Random numbers with which the device augments each image.
        targets: (n, labels) ``Split.learned``, where an image may have several labels.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    draw: Draw
    targets: NDArray[np.float32] | None = None

    @property
    def inputs(self) -> list[NDArray[Any]]:
        """The inputs of ``lucency.augmentation.layer.augmented``."""
        return [self.pixels, *self.draw.arrays]


def steps_per_epoch(split: Split, size: int) -> int:
    """Return the number of batches that cover every image."""
    return -(-len(split) // size)


def training_batches(
    split: Split, size: int, policy: Augmentation, seed: int, epoch: int, first: int = 0
) -> Iterator[TrainingBatch]:
    """Yield the batches of one epoch, a pure function of the arguments.

    Args:
        split: Images to train on; at least ``size`` of them.
        size: Images per batch; the last batch is filled up from the start of the same order.
        policy: Ranges of the augmentation.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        first: The batch to start with, from 0; those before it are skipped without being read.
    """
    order = generator(seed, epoch, 0, _ORDER).permutation(len(split))
    order = np.resize(order, steps_per_epoch(split, size) * size)

    def load(items: NDArray[np.int64]) -> TrainingBatch:
        pixels = split.pixels(items)
        height, width = pixels.shape[1:3]
        drawn = draw(policy, seed, epoch, items, (height, width))
        targets = None if split.learned is None else split.learned[items]
        return TrainingBatch(pixels, split.labels[items], drawn, targets)

    yield from _prefetched(load, order.reshape(-1, size)[first:])


def pixel_batches(split: Split, size: int) -> Iterator[Pixels]:
    """Yield the pixels of a split in order, (size, height, width, channels) at a time.

    The last batch is padded with the last image; the caller truncates the outputs to
    ``len(split)``.
    """
    padded = np.minimum(np.arange(-(-len(split) // size) * size), len(split) - 1)
    yield from _prefetched(split.pixels, padded.reshape(-1, size))


def _prefetched(
    load: Callable[[NDArray[np.int64]], Item], batches: NDArray[np.int64]
) -> Iterator[Item]:
    """Yield ``load(batch)`` in order, loading a few batches ahead in a thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: list[Future[Item]] = []
        for batch in batches:
            waiting.append(pool.submit(load, batch))
            if len(waiting) > _PREFETCH:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
