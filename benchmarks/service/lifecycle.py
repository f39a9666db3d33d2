"""Shutdown, reloads and killed decoders under load."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import Figure
from benchmarks.sample_images import CHEST_XRAY, images
from benchmarks.service.client import Load, Response, post, run_async, send
from benchmarks.service.known_predictions import expected, tensor_request
from benchmarks.service.performance import forever
from benchmarks.service.server import Server, write_tiny
from benchmarks.service.setup import Setup

_CLIENTS = 32


def shutdown(setup: Setup) -> list[Figure]:
    """Stop it 100 times; a request is dropped if it was sent and its connection closed instead."""
    times = 5 if setup.quick else 100
    run = write_tiny(setup.folder / "tiny")
    requests = [tensor_request((level,)) for level in range(0, 16_000, 50)]
    dropped, other, codes, took, answered = 0, 0, 0, [], 0
    for k in range(times):
        with Server(run) as service:
            load = Load(service.port)
            run_async(_stop(load, service, requests, random.Random(k).uniform(0.1, 0.5)))
            start = time.monotonic()
            codes += service.wait(40) != 0
            took.append(time.monotonic() - start)
        dropped += load.lost
        other += sum(count for status, count in load.statuses.items() if status != 200)
        answered += load.statuses[200]
    return [
        Figure("shutdowns under load", "", [times], answered),
        Figure("accepted requests that were dropped", "", [dropped], answered, most=0),
        Figure("responses that are not predictions", "", [other], answered, most=0),
        Figure("exit codes other than 0", "", [codes], times, most=0),
        Figure("from the last response to the exit", "s", took, times, most=30),
    ]


async def _stop(load: Load, service: Server, requests: list[Any], after: float) -> None:
    sending = asyncio.create_task(load.closed(itertools.cycle(requests), _CLIENTS))
    await asyncio.sleep(after)
    service.signal(signal.SIGTERM)
    await asyncio.wait_for(sending, 60)


def reloads(setup: Setup) -> list[Figure]:
    """Switch a link between run folders; every tenth has wrong reference outputs."""
    times = 30 if setup.quick else 1000
    slopes = {"steep": 8.0, "flat": 4.0}
    runs = [write_tiny(setup.folder / name, slope) for name, slope in slopes.items()]
    bad = write_tiny(setup.folder / "bad", 2.0, broken=True)
    link = setup.folder / "current"
    link.symlink_to(runs[1])
    checker = _OneVersion(slopes)
    levels = [tuple(range(k, k + 8_000, 500)) for k in range(0, 8_000, 37)]
    requests = [tensor_request(each, "/v2/models/current/infer") for each in levels]
    with Server(link) as service:
        reloader = _Reloader(service, link, runs, bad)
        load = Load(service.port, checker)
        run_async(reloader.under(load, requests, times))
        memory = service.rss
    return [
        Figure("reloads under load", "", [reloader.loaded], checker.count),
        Figure("bad classifiers rejected", "", [reloader.rejected], checker.count),
        Figure("reloads with another status", "", [reloader.unexpected], times, most=0),
        Figure("responses of mixed or unknown versions", "", [checker.wrong], checker.count,
               most=0),
        Figure("responses that are not predictions", "", [checker.other], checker.count, most=0),
        Figure("requests without response", "", [load.lost], checker.count, most=0),
        Figure("a reload", "s", reloader.seconds, times),
        Figure("memory after the first tenth", "MiB", [reloader.early], times),
        Figure("memory at the end / after the first tenth", "x", [memory / reloader.early], times,
               most=1.2),
    ]  # fmt: skip


class _Reloader:
    """Reloads a service repeatedly, in a thread beside the event loop of the clients."""

    def __init__(self, service: Server, link: Path, runs: list[Path], bad: Path) -> None:
        self._service, self._link, self._runs, self._bad = service, link, runs, bad
        self.loaded = self.rejected = self.unexpected = 0
        self.seconds: list[float] = []
        self.early = 0.0

    async def under(self, load: Load, requests: list[Any], times: int) -> None:
        self._running = True
        sending = asyncio.create_task(load.closed(self._requests(requests), 16))
        await asyncio.to_thread(self._change, times)
        self._running = False
        await asyncio.wait_for(sending, 60)

    def _requests(self, requests: list[Any]) -> Iterator[Any]:
        return itertools.takewhile(lambda _: self._running, itertools.cycle(requests))

    def _change(self, times: int) -> None:
        for k in range(times):
            broken = k % 10 == 9
            new = self._link.with_name("new")
            new.symlink_to(self._bad if broken else self._runs[k % 2])
            new.replace(self._link)
            start = time.monotonic()
            status, _ = send(self._service.port, "POST", "/v1/reload", b"")
            self.seconds.append(time.monotonic() - start)
            self.loaded += status == 200 and not broken
            self.rejected += status == 422 and broken
            self.unexpected += status != (422 if broken else 200)
            if k == times // 10:
                self.early = self._service.rss


class _OneVersion:
    """Checks that all probabilities of a response are those of the version that it names."""

    def __init__(self, slopes: dict[str, float]) -> None:
        self._slopes = slopes
        self.count = self.wrong = self.other = 0

    def __call__(self, response: Response) -> None:
        if response.status != 200:
            self.other += 1
            return
        length = int(
            response.head.partition(b"inference-header-content-length: ")[2].split(b"\r")[0]
        )
        slope = self._slopes.get(json.loads(response.body[:length])["parameters"]["name"], 0.0)
        values = np.frombuffer(response.body[length:], "<f4").reshape(-1, 2)[:, 1]
        known = np.array([expected(level, slope) for level in response.key])
        self.count += 1
        self.wrong += bool((np.abs(values - known) > 1e-5).any())


def decoder_kills(setup: Setup) -> list[Figure]:
    """Kill decoders repeatedly; requests that they were not decoding must succeed."""
    times = 5 if setup.quick else 100
    requests = [
        post(i, file.read_bytes()) for i, file in enumerate(images(CHEST_XRAY / "train", 500))
    ]
    with Server(setup.run) as service:
        load = Load(service.port)
        recovered = run_async(_kill(service, load, requests, times))
    statuses = load.statuses
    count = sum(statuses.values())
    others = count - statuses[200] - statuses[503]
    return [
        Figure("decoders killed under load", "", [len(recovered)], count),
        Figure("responses with 503", "", [statuses[503]], count, most=2 * times),
        Figure("other failures", "", [others], count, most=0),
        Figure("requests without response", "", [load.lost], count, most=0),
        Figure("until all decoders run again", "s", recovered, times, most=5),
    ]


async def _kill(service: Server, load: Load, requests: list[Any], times: int) -> list[float]:
    sending = asyncio.create_task(load.closed(forever(requests, time.monotonic() + 600), _CLIENTS))
    await asyncio.sleep(1)
    took, whole = [], len(service.children)
    for k in range(times):
        children = service.children
        os.kill(random.Random(k).choice(children), signal.SIGKILL)
        start = time.monotonic()
        gone = set(children)
        while len(now := service.children) < whole or set(now) == gone:
            await asyncio.sleep(0.02)
            if time.monotonic() - start > 10:
                break
        took.append(time.monotonic() - start)
        await asyncio.sleep(0.1)
    sending.cancel()
    return took
