"""Decoding and predicting on a cluster, beside this machine alone with as many processors.

The cluster is two nodes of one processor each, on this machine. Both sides take turns, and each
ratio compares neighbouring measurements. The processes of the nodes are started before time is
measured, as those of a cluster that is in use.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from threadpoolctl import threadpool_limits

from benchmarks.local_cluster import local_cluster
from benchmarks.results import Figure, Skipped, ratio
from benchmarks.sample_images import CHEST_XRAY, copy_images, images
from benchmarks.service.setup import trained_for_one_epoch
from lucency.classifier import Classifier
from lucency.cluster import decoders
from lucency.config import Config
from lucency.dataset.cache import SourceFile, decode
from lucency.pipeline.predict import predict_files

SIDES = (64, 224)
WORKERS = 2


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    if not importlib.util.find_spec("ray"):
        raise Skipped('it needs Ray: pip install "lucency[cluster]"')
    repeats = 1 if quick else 5
    with TemporaryDirectory() as temporary, local_cluster(WORKERS):
        folder = Path(temporary)
        native = images(copy_images(files, folder / "native", 1 if quick else 5))
        small = [*CHEST_XRAY.rglob("*.jpeg")][: 40 if quick else None]
        classifier = Classifier.load(trained_for_one_epoch(folder / "run", "default"))
        figures = []
        for name, some, side in (("native", native, 224), ("224 px", small, 64)):
            if some:
                figures += _compared(
                    f"decode {name} files to {side} px",
                    lambda on, some=some, side=side: _decode(some, side, on),
                    len(some),
                    repeats,
                )
        given = small or native
        figures += _compared(
            "predict", lambda on: _predict(classifier, given, on), len(given), repeats
        )
    return figures


def _compared(name: str, work: Callable[[str], object], n: int, repeats: int) -> list[Figure]:
    """Measure a piece of work here and on the cluster, in turns."""
    rates: dict[str, list[float]] = {"": [], "ray": []}
    for on in rates:
        work(on)
    for _ in range(repeats):
        for on, measured in rates.items():
            start = time.perf_counter()
            work(on)
            measured.append(n / (time.perf_counter() - start))
    here, there = (
        Figure(f"{name}: {where}", "files/s", values, n)
        for where, values in zip(("here", "cluster"), rates.values(), strict=True)
    )
    return [here, there, ratio(f"{name}: cluster / here", there, here, least=0.9)]


def _decode(files: Sequence[Path], side: int, on: str) -> None:
    config = Config(on=on, workers=min(WORKERS, os.cpu_count() or 1))
    with TemporaryDirectory() as cache, decoders(config) as pool:
        listed = [SourceFile(file, str(file)) for file in files]
        decode(listed, size=(side, side), colour=False, folder=Path(cache), pool=pool).close()


def _predict(classifier: Classifier, files: Sequence[Path], on: str) -> None:
    with threadpool_limits(1, "blas"):  # as the command line has it
        for _ in predict_files(classifier, files, on):
            pass
