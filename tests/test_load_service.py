"""Parts of the service benchmarks: known predictions, and a client that counts responses."""

from __future__ import annotations

import csv
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import save_service
from benchmarks.reliability.hostile.sample_run import SIDE
from benchmarks.results import Figure
from benchmarks.service.client import Load, post, run_async
from benchmarks.service.hostile_clients import _mutated
from benchmarks.service.known_predictions import Checker, expected, tensor_request
from benchmarks.service.server import write_tiny

from lucency.classifier import Classifier
from lucency.serve.inference.service import Service
from serving import QUICK, running, save_classifier


@pytest.mark.parametrize("slope", [8.0, 4.0])
def test_predictions_of_the_tiny_network_are_known(tmp_path: Path, slope: float) -> None:
    classifier = Classifier.load(write_tiny(tmp_path / "tiny", slope))
    levels = (0, 1, 4_000, 8_159, 8_160, 16_320)
    data = tensor_request(levels).data
    pixels = np.frombuffer(data[-len(levels) * SIDE * SIDE :], np.uint8)
    assert pixels.reshape(len(levels), -1).sum(axis=1).tolist() == [*levels]
    probabilities = classifier.predict_pixels(pixels.reshape(-1, SIDE, SIDE, 1))[:, 1]
    assert probabilities == pytest.approx([expected(level, slope) for level in levels], abs=1e-6)


def test_the_client_counts_and_detects_a_wrong_response(tmp_path: Path) -> None:
    run = write_tiny(tmp_path / "tiny")
    with running(Service(run, QUICK)) as served:
        checker = Checker()
        client = Load(served.port, checker)
        requests = [tensor_request((level, level + 1)) for level in range(0, 16_000, 400)]
        run_async(client.closed(requests, 4))
        assert (checker.count, checker.wrong, client.lost) == (80, 0, 0)
        assert client.statuses == {200: 40}
        swapped = [a._replace(key=b.key) for a, b in itertools.pairwise(requests)]
        run_async(Load(served.port, checker).closed(swapped, 4))
        assert checker.wrong > 70


def test_the_client_counts_requests_without_response(tmp_path: Path) -> None:
    with running(Service(save_classifier(tmp_path / "run"), QUICK)) as served:
        client = Load(served.port)
        half = post(0, b"x" * 10)
        cut = half._replace(data=half.data.replace(b"content-length: 10", b"content-length: -1"))
        run_async(client.closed([cut], 1))
        assert client.statuses == {400: 1}
    dead = Load(served.port)
    run_async(dead.closed([half], 3))
    assert dead.refused == 3


def test_rows_of_a_benchmark_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "service.csv"
    for name, value in (("shutdown", 1.0), ("latency", 2.0), ("shutdown", 3.0)):
        save_service(file, name, [Figure("x", "s", [value], 1)])
    with file.open(newline="") as text:
        found = [(row["figure"], row["median"]) for row in csv.DictReader(text)]
    assert found == [("latency: x", "2"), ("shutdown: x", "3")]


def test_mutations_differ_and_are_reproducible() -> None:
    seed = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    made, again = (
        [_mutated(random.Random(k), seed) for k in range(200)]  # noqa: S311 - a test
        for _ in range(2)
    )
    assert made == again
    assert len(set(made)) > 190
