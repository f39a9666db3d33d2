"""A network whose threads share each image, beside one thread per image."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.results import Figure, ratio
from benchmarks.service.setup import Setup
from lucency.classifier import Classifier
from lucency.classifier.onnx.session import PROCESSORS, batch_of, batch_per_processor
from lucency.classifier.onnx.validate import INPUT
from lucency.run_folder.files import ONNX

SECONDS = 2.0  # per measurement


def threads(setup: Setup) -> list[Figure]:
    rounds = 2 if setup.quick else 7
    found = _compared(setup.run, "quick", rounds)
    return found if setup.heavy == setup.run else found + _compared(setup.heavy, "article", rounds)


def _compared(run: Path, name: str, rounds: int) -> list[Figure]:
    spec = Classifier.load(run).spec
    shared, own = _session(run, 0), _session(run, 1)
    shape = (batch_of(spec), *spec.size, spec.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    batch, part, one = pixels, pixels[: batch_per_processor(spec)], pixels[:1]
    modes: dict[str, Callable[[], float]] = {
        "a batch, shared": lambda: _rate(shared, batch, 1),
        "a share of it in each thread": lambda: _rate(own, part, PROCESSORS),
        "one after the other, shared": lambda: _rate(shared, one, 1),
        "one in each thread": lambda: _rate(own, one, PROCESSORS),
        "one after the other in one thread": lambda: _rate(own, one, 1),
    }
    rates: dict[str, list[float]] = {mode: [] for mode in modes}
    for i in range(rounds):
        for mode in [*modes][:: 1 if i % 2 else -1]:
            rates[mode].append(modes[mode]())
    figures = [
        Figure(f"{name}: {mode}", "images/s", rates[mode], int(SECONDS * min(rates[mode])))
        for mode in modes
    ]
    batch_shared, batch_split, one_shared, one_each, alone = figures
    return [
        *figures,
        ratio(f"{name}: batches, a thread each / shared", batch_split, batch_shared),
        ratio(f"{name}: images, a thread each / shared", one_each, one_shared),
        ratio(f"{name}: time of a single image, one thread / shared", one_shared, alone),
    ]


def _session(run: Path, threads: int) -> Any:
    """Return a session with this many threads per image; 0 means all processors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(run / ONNX, options, providers=["CPUExecutionProvider"])


def _rate(session: Any, pixels: Any, streams: int) -> float:
    """Return images per second with this many concurrent calls."""
    start = time.perf_counter()

    def calls(_: int) -> int:
        done = 0
        while time.perf_counter() < start + SECONDS:
            session.run(["probabilities"], {INPUT: pixels})
            done += len(pixels)
        return done

    with ThreadPoolExecutor(streams) as pool:
        return sum(pool.map(calls, range(streams))) / (time.perf_counter() - start)
