"""Native JPEG files to a trained network of the article: Lucency beside Keras and PyTorch.

Each way runs in its own process, which reads the files and trains for ten epochs. They take turns,
and each ratio is of one round. ``whole run`` counts everything from the start of the program,
including imports and compiling; ``an epoch`` is the median epoch after the first. The others do not
validate; Lucency's validation has two images. A way that names no precision runs in its default:
bfloat16 for Lucency where the processor supports it, float32 for the others.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import run_json
from benchmarks.results import Figure, Skipped, ratio
from benchmarks.sample_images import copy_images

SIDE = 255
ARTICLE = "article's code"
OURS = "Lucency"
BEST_TORCH = "PyTorch, bfloat16"


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    if not importlib.util.find_spec("keras"):
        raise Skipped("Keras is not installed")
    batch, copies, rounds, epochs = (10, 1, 1, 2) if quick else (100, 2, 2, 10)
    ways = [way for way in WAYS if "PyTorch" not in way or importlib.util.find_spec("torch")]
    with TemporaryDirectory() as temporary:
        folder = copy_images(files, Path(temporary) / "images", copies)
        rounds_ = [
            {way: _in_child(way, folder, batch, epochs) for way in ways} for _ in range(rounds)
        ]
    n = len(files) * copies
    whole = {
        way: Figure(f"whole run: {way}", "s", [sum(each[way]) for each in rounds_], n * epochs)
        for way in ways
    }
    rates = {
        way: Figure(
            f"an epoch: {way}",
            "images/s",
            [n / statistics.median(each[way][2:]) for each in rounds_],
            n * (epochs - 1),
        )
        for way in ways
    }
    least = {ARTICLE: 8.0, BEST_TORCH: 2.5}
    theirs = [way for way in ways if OURS not in way]
    return [
        *whole.values(),
        *rates.values(),
        *(
            ratio(f"whole run: {OURS} against {way}", whole[way], whole[OURS], least=least.get(way))
            for way in theirs
        ),
        *(ratio(f"an epoch: {OURS} against {way}", rates[OURS], rates[way]) for way in theirs),
    ]


def _in_child(*arguments: object) -> list[float]:
    """Return the seconds before the first epoch, then those of each epoch."""
    stamps: list[float] = run_json(__name__, *arguments)
    return [stamps[0], *(b - a for a, b in itertools.pairwise(stamps))]


def _lucency(
    folder: Path, batch: int, epochs: int, done: Callable[[], None], precision: Any = None
) -> None:
    import dataclasses

    from lucency import backend
    from lucency.config import Config
    from lucency.dataset import load_labelled
    from lucency.progress import SILENT
    from lucency.training.plan import make_plan
    from lucency.training.step import Stepper
    from lucency.training.trainer import Trainer, build_network

    config = Config(recipe="article", epochs=epochs, batch=batch, precision=precision)
    classes = tuple(sorted(each.name for each in folder.iterdir()))
    places = Config(cache=str(folder.parent / f"cache{time.time()}"))
    few = copy_images(
        [next(each.glob("*")) for each in sorted(folder.iterdir())], folder.parent / "few"
    )
    training, val = (
        load_labelled(each, classes, places, size=(SIDE, SIDE), colour=False)
        for each in (folder, few)
    )
    plan = dataclasses.replace(
        make_plan(training, config), patience=0
    )  # all epochs, like the others
    backend.make_deterministic(plan.seed)
    network = build_network(plan, len(classes))
    done()
    Trainer(Stepper(network, plan, len(classes)), plan, (training, val), None, SILENT).run(
        lambda _: done()
    )


def _keras(
    name: str, folder: Path, batch: int, epochs: int, done: Callable[[], None], precision: str
) -> None:
    from lucency.models import keras
    from benchmarks.speed.peers import keras as peer  # isort: skip

    keras.config.set_dtype_policy(precision)
    network, images = getattr(peer, name)(keras, folder, SIDE, batch)
    network.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    done()
    ends = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: done())  # noqa: ARG005
    network.fit(images, epochs=epochs, callbacks=[ends], verbose=0)


def _torch(folder: Path, batch: int, epochs: int, done: Callable[[], None], precision: str) -> None:
    from benchmarks.speed.peers import pytorch

    pytorch.train_article(folder, SIDE, batch, epochs, done, precision)


WAYS: dict[str, Callable[[Path, int, int, Callable[[], None]], None]] = {
    OURS: _lucency,
    f"{OURS}, float32": lambda *given: _lucency(*given, precision="float32"),
    ARTICLE: lambda *given: _keras("article", *given, precision="float32"),
    "image_dataset_from_directory": lambda *given: _keras("modern", *given, precision="float32"),
    "image_dataset_from_directory, bfloat16": lambda *given: _keras(
        "modern", *given, precision="mixed_bfloat16"
    ),
    "PyTorch": lambda *given: _torch(*given, precision="float32"),
    BEST_TORCH: lambda *given: _torch(*given, precision="bfloat16"),
}

if __name__ == "__main__":
    START = time.perf_counter()
    STAMPS: list[float] = []
    WAYS[sys.argv[1]](
        Path(sys.argv[2]),
        int(sys.argv[3]),
        int(sys.argv[4]),
        lambda: STAMPS.append(time.perf_counter() - START),
    )
    print(json.dumps(STAMPS))
