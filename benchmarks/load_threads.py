"""A network whose threads share each image, beside one that has a thread for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from benchmarks.results import Figure, ratio
from lucency.classifier import Classifier
from lucency.classifier.onnx.session import PROCESSORS, batch_of, part_of
from lucency.classifier.onnx.validate import INPUT
from lucency.classifier.stored_files import ONNX

if TYPE_CHECKING:
    from benchmarks.load import Terms

SECONDS = 2.0  # of one measurement


def threads(terms: Terms) -> list[Figure]:
    rounds = 2 if terms.quick else 7
    found = _compared(terms.run, "quick", rounds)
    return found if terms.heavy == terms.run else found + _compared(terms.heavy, "article", rounds)


def _compared(run: Path, name: str, rounds: int) -> list[Figure]:
    spec = Classifier.load(run).spec
    shared, own = _session(run, 0), _session(run, 1)
    shape = (batch_of(spec), *spec.size, spec.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch, part, one = pixels, pixels[: part_of(spec)], pixels[:1]
    ways: dict[str, Callable[[], float]] = {
        "a batch, shared": lambda: _rate(shared, batch, 1),
        "a part of it in each thread": lambda: _rate(own, part, PROCESSORS),
        "one after the other, shared": lambda: _rate(shared, one, 1),
        "one in each thread": lambda: _rate(own, one, PROCESSORS),
        "one after the other in one thread": lambda: _rate(own, one, 1),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(rounds):
        for way in [*ways][:: 1 if i % 2 else -1]:
            rates[way].append(ways[way]())
    figures = [
        Figure(f"{name}: {way}", "images/s", rates[way], int(SECONDS * min(rates[way])))
        for way in ways
    ]
    whole, parts, lone, each, single = figures
    return [
        *figures,
        ratio(f"{name}: batches, a thread each / shared", parts, whole),
        ratio(f"{name}: images, a thread each / shared", each, lone),
        ratio(f"{name}: time of a lone image, one thread / shared", lone, single),
    ]


def _session(run: Path, threads: int) -> Any:
    """Return a network whose images are computed by so many threads; 0 is all processors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(run / ONNX, options, providers=["CPUExecutionProvider"])


def _rate(session: Any, pixels: Any, streams: int) -> float:
    """Return how many images a second go through, with so many calls at a time."""
    start = time.perf_counter()

    def calls(_: int) -> int:
        done = 0
        while time.perf_counter() < start + SECONDS:
            session.run(["probabilities"], {INPUT: pixels})
            done += len(pixels)
        return done

    with ThreadPoolExecutor(streams) as pool:
        return sum(pool.map(calls, range(streams))) / (time.perf_counter() - start)
