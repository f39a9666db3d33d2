"""Pictures per second through the article's network: Lucency beside the article's own code.

Every measurement is a process of its own; they take turns, and each ratio is of one round. One
epoch compiles and warms up. Of the others the time from the end of the first step to the end of the
last counts, on both sides: what an epoch spends on starting is much of a short one and nothing of
a real one. Validation is in nobody's time. What names no precision is in float32.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.child import run
from benchmarks.results import Figure, Skipped, ratio
from benchmarks.sample import copy_pictures
from lucency.config import Config
from lucency.dataset import Split, load_labelled
from lucency.progress import Progress, Task

SIDE = 255
EPOCHS = 3  # the first is not timed
NATIVE = "article, native files"
CACHED, CACHED_SHORT = "article, cached pixels", "article, cached pixels, mixed_bfloat16"
OURS, SHORT = "Lucency", "Lucency, mixed_bfloat16"
PAIRS = ((OURS, CACHED, 1.6), (OURS, NATIVE, 4), (SHORT, CACHED_SHORT, 1.6), (SHORT, NATIVE, 4))
# Asked in a process of its own, as it loads the backend and this one is to stay small.
ASK = "from lucency import backend; print(backend.has_fast_bfloat16())"


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    if not importlib.util.find_spec("keras"):
        raise Skipped("Keras is not installed")
    most, copies, rounds = (10, 1, 1) if quick else (100, 3, 3)
    batch = min(most, len(files))
    files = files[len(files) % batch :]  # so that all batches are full
    with TemporaryDirectory() as temporary:
        folder = copy_pictures(files, Path(temporary) / "pictures", copies)
        fast = run(sys.executable, "-c", ASK).output.split()[-1] == "True"
        ways = [way for way in WAYS if fast or "bfloat16" not in way]
        seen = [{way: _in_child(way, folder, batch) for way in ways} for _ in range(rounds)]
    n = (len(files) * copies - batch) * (EPOCHS - 1)
    rates = {way: Figure(way, "pictures/s", [each[way] for each in seen], n) for way in ways}
    return [*rates.values()] + [
        ratio(f"{ours} / {theirs}", rates[ours], rates[theirs], least=least)
        for ours, theirs, least in PAIRS
        if ours in rates
    ]


def _in_child(*arguments: object) -> float:
    command = (sys.executable, "-m", "benchmarks.training", *map(str, arguments))
    return float(run(*command).output.split()[-1])


class Clock(Progress, Task):
    """Notes when every training step ends."""

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []

    def task(self, name: str, total: int, unit: str = "") -> Task:  # noqa: ARG002
        if not name.startswith("Epoch"):
            return Task()
        self.epochs.append([])
        return self

    def advance(self, steps: int = 1, **facts: float) -> None:  # noqa: ARG002
        self.epochs[-1].append(time.perf_counter())

    def rate(self, batch: int) -> float:
        timed = self.epochs[1:]
        seconds = sum(stamps[-1] - stamps[0] for stamps in timed)
        return batch * sum(len(stamps) - 1 for stamps in timed) / seconds


def _train_lucency(folder: Path, batch: int, precision: Any = "float32") -> float:
    from lucency.training import train

    config = Config(recipe="article", epochs=EPOCHS, batch=batch, precision=precision)
    split, clock = _cached(folder), Clock()
    train(split, split, config, clock)
    return clock.rate(batch)


def _train_article(
    folder: Path, batch: int, precision: str = "float32", *, native: bool = False
) -> float:
    from lucency.models import keras  # first, as it chooses the backend
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # isort: skip

    keras.config.set_dtype_policy(precision)
    vary = ImageDataGenerator(rescale=1 / 255, zoom_range=0.2, vertical_flip=True)
    if native:
        batches = vary.flow_from_directory(
            folder, (SIDE, SIDE), class_mode="binary", batch_size=batch
        )
    else:
        split = _cached(folder)
        pixels = split.pixels(range(len(split))).repeat(3, axis=3).astype(np.float32)
        batches = vary.flow(pixels, split.labels, batch_size=batch)
    clock = Clock()
    ends = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: clock.task(f"Epoch {epoch}", 0),  # noqa: ARG005
        on_train_batch_end=lambda step, logs: clock.advance(),  # noqa: ARG005
    )
    network = _article_network(keras)
    network.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    network.fit(batches, epochs=EPOCHS, callbacks=[ends], verbose=0)
    return clock.rate(batch)


def _article_network(keras: Any) -> Any:
    layers = keras.layers
    network = keras.Sequential([keras.Input((SIDE, SIDE, 3))])
    for dropout in (0, 0.2, 0.2):
        network.add(layers.Conv2D(32, 3, activation="relu"))
        network.add(layers.MaxPooling2D(2))
        network.add(layers.Dropout(dropout))  # of nothing, it does nothing
    network.add(layers.Flatten())
    network.add(layers.Dropout(0.2))
    network.add(layers.Dense(128, activation="relu"))
    network.add(layers.Dense(1, activation="sigmoid"))
    return network


def _cached(folder: Path) -> Split:
    classes = tuple(sorted(each.name for each in folder.iterdir()))
    config = Config(cache=str(folder.parent / "cache"))
    return load_labelled(folder, classes, config, size=(SIDE, SIDE), colour=False)


WAYS: dict[str, Callable[[Path, int], float]] = {
    OURS: _train_lucency,
    CACHED: _train_article,
    NATIVE: lambda folder, batch: _train_article(folder, batch, native=True),
    SHORT: lambda folder, batch: _train_lucency(folder, batch, "mixed_bfloat16"),
    CACHED_SHORT: lambda folder, batch: _train_article(folder, batch, "mixed_bfloat16"),
}

if __name__ == "__main__":
    print(WAYS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))
