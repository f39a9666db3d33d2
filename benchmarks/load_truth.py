"""Answers for images of which everybody knows what is to be said: each for its own."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.load_client import Answer, Load, Request, play, post
from benchmarks.load_server import TINY, Served, write_tiny
from benchmarks.results import Figure

if TYPE_CHECKING:
    from benchmarks.load import Terms

_AREA = TINY * TINY
_LEVELS = 255 * _AREA + 1  # different means of 8 x 8 pixels
_PATH = "/v2/models/tiny/infer"
SLOPE = 8.0


def expected(level: int, slope: float = SLOPE) -> float:
    """Return the probability of "light" where the pixels sum to ``level``."""
    return 1 / (1 + math.exp(-slope * (level / _AREA / 255 - 0.5)))


def tensor_request(levels: tuple[int, ...], path: str = _PATH) -> Request:
    """Return a request for images whose pixels sum to these; its key is what they sum to."""
    pixels = np.empty((len(levels), _AREA), np.uint8)
    for row, level in zip(pixels, levels, strict=True):
        row[:] = level // _AREA
        row[: level % _AREA] += 1
    given = {
        "name": "pixels", "shape": [len(levels), TINY, TINY, 1], "datatype": "UINT8",
        "parameters": {"binary_data_size": pixels.nbytes},
    }  # fmt: skip
    wanted = {"name": "probabilities", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [given], "outputs": [wanted]}).encode()
    length = f"inference-header-content-length: {len(head)}"
    return post(levels, head + pixels.tobytes(), path, length)


def answers(terms: Terms) -> list[Figure]:
    wanted = 20_000 if terms.quick else 1_000_000
    run = write_tiny(terms.folder / "tiny", SLOPE)
    seen = _Seen()
    with Served(run) as service:
        play(Load(service.port, seen).closed(_requests(wanted // 10, 1), 16))  # it is warm
        before, files, threads = service.rss, service.files, service.threads
        load = Load(service.port, seen)
        play(load.closed(_requests(wanted - seen.count, 2), 16))
        time.sleep(1)  # until it has let go of the connections that were closed just now
        after, more_files, more_threads = service.rss, service.files, service.threads
    return [
        Figure("answers", "images", [seen.count], seen.count, least=wanted),
        Figure("for another image", "answers", [seen.wrong], seen.count, most=0),
        Figure("largest difference of a probability", "", [seen.apart], seen.count, most=1e-5),
        Figure("requests without an answer", "", [load.lost], seen.count, most=0),
        Figure("answers per second", "images/s", [seen.count / load.took], seen.count),
        Figure("growth of memory after the first tenth", "%", [100 * (after / before - 1)],
               seen.count, most=5),
        Figure("more open files", "", [more_files - files], seen.count, most=2),
        Figure("more threads", "", [more_threads - threads], seen.count, most=4),
    ]  # fmt: skip


def _requests(count: int, seed: int) -> Iterator[Request]:
    """Yield requests with 1 to 32 images each, ``count`` images in all."""
    chance = random.Random(seed)
    while count > 0:
        many = min(count, chance.choice((1, 1, 2, 16, 32)))
        yield tensor_request(tuple(chance.randrange(_LEVELS) for _ in range(many)))
        count -= many


class _Seen:
    """Compares answers with what is known; nearer to another image's is a mix-up."""

    def __init__(self) -> None:
        self.count = self.wrong = 0
        self.apart = 0.0

    def __call__(self, answer: Answer) -> None:
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {answer.body[:200]!r}")
        found = np.frombuffer(answer.body[-8 * len(answer.key) :], "<f4").reshape(-1, 2)[:, 1]
        known = np.array([expected(level) for level in answer.key])
        apart = np.abs(found - known)
        self.count += len(known)
        self.wrong += int((apart > 1e-5).sum())  # neighbouring levels at the middle: 1.2e-4
        self.apart = max(self.apart, float(apart.max()))
