from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lucency.augmentation import Augmentation
from lucency.dataset import Split
from lucency.dataset.batches import pixel_batches, steps_per_epoch, training_batches

POLICY = Augmentation(flip_horizontal=True, rotation=5)


def split_of(n: int) -> Split:
    """Return a split whose image i holds the value i everywhere."""
    values = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
    cache: Any = SimpleNamespace(shape=(4, 4, 1), read=lambda rows: values[rows])
    return Split(
        name="train", classes=("a", "b"), files=tuple(map(str, range(n))), groups=("",) * n,
        labels=np.arange(n) % 2, cache=cache, rows=np.arange(n),
    )  # fmt: skip


@pytest.mark.parametrize("n", [8, 10, 3])
def test_every_image_is_seen_in_an_epoch(n: int) -> None:
    size = min(4, n)
    batches = list(training_batches(split_of(n), size, POLICY, seed=0, epoch=0))
    assert len(batches) == steps_per_epoch(split_of(n), size)
    assert all(batch.pixels.shape == (size, 4, 4, 1) for batch in batches)
    seen = np.concatenate([batch.pixels[:, 0, 0, 0] for batch in batches])
    assert set(seen) == set(range(n))
    labels = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(labels, seen % 2)


def test_epochs_are_pure_functions_of_seed_and_number() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = training_batches(split_of(50), 5, POLICY, seed, epoch)
        return [int(v) for batch in batches for v in batch.pixels[:, 0, 0, 0]]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_prediction_batches_keep_the_order_and_repeat_the_last() -> None:
    batches = list(pixel_batches(split_of(10), 4))
    values = np.concatenate([batch[:, 0, 0, 0] for batch in batches])
    assert values.tolist() == [*range(10), 9, 9]


def test_an_error_while_reading_reaches_the_caller() -> None:
    split = split_of(8)

    def fail(rows: Any) -> Any:
        raise OSError("gone")

    split.cache.read = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="gone"):
        list(training_batches(split, 4, POLICY, 0, 0))
