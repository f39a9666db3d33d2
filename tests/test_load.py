"""What the benchmark of the service relies on: answers that are known, and a client that counts."""

from __future__ import annotations

import csv
import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from benchmarks import load
from benchmarks.load_client import Load, play, post
from benchmarks.load_hostile import _mutated
from benchmarks.load_server import TINY, write_tiny
from benchmarks.load_truth import _Seen, expected, tensor_request
from benchmarks.results import Figure

from lucency.classifier import Classifier
from lucency.serve.inference.service import Service
from serving import QUICK, running, save_classifier


@pytest.mark.parametrize("slope", [8.0, 4.0])
def test_what_the_tiny_network_says_is_known(tmp_path: Path, slope: float) -> None:
    classifier = Classifier.load(write_tiny(tmp_path / "tiny", slope))
    levels = (0, 1, 4_000, 8_159, 8_160, 16_320)
    data = tensor_request(levels).data
    pixels = np.frombuffer(data[-len(levels) * TINY * TINY :], np.uint8)
    assert pixels.reshape(len(levels), -1).sum(axis=1).tolist() == [*levels]
    said = classifier.predict_pixels(pixels.reshape(-1, TINY, TINY, 1))[:, 1]
    assert said == pytest.approx([expected(level, slope) for level in levels], abs=1e-6)


def test_the_client_counts_and_notices_a_wrong_answer(tmp_path: Path) -> None:
    run = write_tiny(tmp_path / "tiny")
    with running(Service(run, QUICK)) as served:
        seen = _Seen()
        client = Load(served.port, seen)
        requests = [tensor_request((level, level + 1)) for level in range(0, 16_000, 400)]
        play(client.closed(requests, 4))
        assert (seen.count, seen.wrong, client.lost) == (80, 0, 0)
        assert client.statuses == {200: 40}
        swapped = [a._replace(key=b.key) for a, b in itertools.pairwise(requests)]
        play(Load(served.port, seen).closed(swapped, 4))
        assert seen.wrong > 70


def test_the_client_counts_what_got_no_answer(tmp_path: Path) -> None:
    with running(Service(save_classifier(tmp_path / "run"), QUICK)) as served:
        client = Load(served.port)
        half = post(0, b"x" * 10)
        cut = half._replace(data=half.data.replace(b"content-length: 10", b"content-length: -1"))
        play(client.closed([cut], 1))
        assert client.statuses == {400: 1}
    dead = Load(served.port)
    play(dead.closed([half], 3))
    assert dead.refused == 3


def test_rows_of_a_part_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "load.csv"
    for part, value in (("drains", 1.0), ("latency", 2.0), ("drains", 3.0)):
        load._keep(file, part, [Figure("x", "s", [value], 1)])
    with file.open(newline="") as text:
        found = [(row["figure"], row["median"]) for row in csv.DictReader(text)]
    assert found == [("latency: x", "2"), ("drains: x", "3")]


def test_mutations_differ_and_can_be_repeated() -> None:
    seed = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    made, again = (
        [_mutated(random.Random(k), seed) for k in range(200)]  # noqa: S311 - a test
        for _ in range(2)
    )
    assert made == again
    assert len(set(made)) > 190
