"""A million images whose predictions are known: each response must be for its own image."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.reliability.hostile.sample_run import SIDE
from benchmarks.results import Figure
from benchmarks.service.client import Load, Request, Response, post, run_async
from benchmarks.service.server import Server, write_tiny
from benchmarks.service.setup import Setup

_AREA = SIDE * SIDE
_LEVELS = 255 * _AREA + 1  # different means of 8 x 8 pixels
_PATH = "/v2/models/tiny/infer"
SLOPE = 8.0


def expected(level: int, slope: float = SLOPE) -> float:
    """Return the probability of "light" if the pixels sum to ``level``."""
    return 1 / (1 + math.exp(-slope * (level / _AREA / 255 - 0.5)))


def tensor_request(levels: tuple[int, ...], path: str = _PATH) -> Request:
    """Return a request for images whose pixels have these sums; the sums are its key."""
    pixels = np.empty((len(levels), _AREA), np.uint8)
    for row, level in zip(pixels, levels, strict=True):
        row[:] = level // _AREA
        row[: level % _AREA] += 1
    given = {
        "name": "pixels", "shape": [len(levels), SIDE, SIDE, 1], "datatype": "UINT8",
        "parameters": {"binary_data_size": pixels.nbytes},
    }  # fmt: skip
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [given], "outputs": [output]}).encode()
    length = f"inference-header-content-length: {len(head)}"
    return post(levels, head + pixels.tobytes(), path, length)


def known_predictions(setup: Setup) -> list[Figure]:
    count = 20_000 if setup.quick else 1_000_000
    run = write_tiny(setup.folder / "tiny", SLOPE)
    checker = Checker()
    with Server(run) as service:
        run_async(Load(service.port, checker).closed(_requests(count // 10, 1), 16))  # warms it up
        before, files, threads = service.rss, service.files, service.threads
        load = Load(service.port, checker)
        run_async(load.closed(_requests(count - checker.count, 2), 16))
        time.sleep(1)  # until it has closed the connections of the clients
        after, more_files, more_threads = service.rss, service.files, service.threads
    return [
        Figure("predictions", "images", [checker.count], checker.count, least=count),
        Figure("for another image", "predictions", [checker.wrong], checker.count, most=0),
        Figure("largest difference of a probability", "", [checker.apart], checker.count,
               most=1e-5),
        Figure("requests without response", "", [load.lost], checker.count, most=0),
        Figure("predictions per second", "images/s", [checker.count / load.took], checker.count),
        Figure("growth of memory after the first tenth", "%", [100 * (after / before - 1)],
               checker.count, most=5),
        Figure("additional open files", "", [more_files - files], checker.count, most=2),
        Figure("additional threads", "", [more_threads - threads], checker.count, most=4),
    ]  # fmt: skip


def _requests(count: int, seed: int) -> Iterator[Request]:
    """Yield requests with 1 to 32 images each, ``count`` images in total."""
    chance = random.Random(seed)
    while count > 0:
        many = min(count, chance.choice((1, 1, 2, 16, 32)))
        yield tensor_request(tuple(chance.randrange(_LEVELS) for _ in range(many)))
        count -= many


class Checker:
    """Compares responses with the known predictions; a difference is a mix-up of images."""

    def __init__(self) -> None:
        self.count = self.wrong = 0
        self.apart = 0.0

    def __call__(self, response: Response) -> None:
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.body[:200]!r}")
        found = np.frombuffer(response.body[-8 * len(response.key) :], "<f4").reshape(-1, 2)[:, 1]
        known = np.array([expected(level) for level in response.key])
        apart = np.abs(found - known)
        self.count += len(known)
        # Neighbouring levels differ by 1.2e-4 in the middle.
        self.wrong += int((apart > 1e-5).sum())
        self.apart = max(self.apart, float(apart.max()))
