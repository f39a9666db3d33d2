"""The service ended, its classifier changed and its decoders killed, while clients ask."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.load_client import HOST, Answer, Load, play, post
from benchmarks.load_server import Served, write_tiny
from benchmarks.load_speed import forever
from benchmarks.load_truth import expected, tensor_request
from benchmarks.results import Figure
from benchmarks.sample import images

if TYPE_CHECKING:
    from benchmarks.load import Terms

_CLIENTS = 32


def drains(terms: Terms) -> list[Figure]:
    """End it 100 times; a request is dropped if it was sent and the connection closed instead."""
    times = 5 if terms.quick else 100
    run = write_tiny(terms.folder / "tiny")
    requests = [tensor_request((level,)) for level in range(0, 16_000, 50)]
    dropped, other, codes, took, answered = 0, 0, 0, [], 0
    for k in range(times):
        with Served(run) as service:
            load = Load(service.port)
            play(_ended_under(load, service, requests, random.Random(k).uniform(0.1, 0.5)))
            start = time.monotonic()
            codes += service.ended(40) != 0
            took.append(time.monotonic() - start)
        dropped += load.lost
        other += sum(count for status, count in load.statuses.items() if status != 200)
        answered += load.statuses[200]
    return [
        Figure("ends under load", "", [times], answered),
        Figure("accepted requests that were dropped", "", [dropped], answered, most=0),
        Figure("answers that are no predictions", "", [other], answered, most=0),
        Figure("exit codes that are not 0", "", [codes], times, most=0),
        Figure("from the last answer to the end", "s", took, times, most=30),
    ]


async def _ended_under(load: Load, service: Served, requests: list[Any], after: float) -> None:
    asking = asyncio.create_task(load.closed(itertools.cycle(requests), _CLIENTS))
    await asyncio.sleep(after)
    service.tell(signal.SIGTERM)
    await asyncio.wait_for(asking, 60)


def reloads(terms: Terms) -> list[Figure]:
    """Point a link at one run folder after the other, every tenth one with other golden answers."""
    times = 30 if terms.quick else 1000
    slopes = {"steep": 8.0, "flat": 4.0}
    runs = [write_tiny(terms.folder / name, slope) for name, slope in slopes.items()]
    bad = write_tiny(terms.folder / "bad", 2.0, broken=True)
    link = terms.folder / "current"
    link.symlink_to(runs[1])
    checked = _OfOneVersion(slopes)
    levels = [tuple(range(k, k + 8_000, 500)) for k in range(0, 8_000, 37)]
    requests = [tensor_request(each, "/v2/models/current/infer") for each in levels]
    with Served(link) as service:
        changing = _Changing(service, link, runs, bad)
        load = Load(service.port, checked)
        play(changing.under(load, requests, times))
        memory = service.rss
    return [
        Figure("reloads under load", "", [changing.loaded], checked.count),
        Figure("bad classifiers refused", "", [changing.refused], checked.count),
        Figure("reloads that went otherwise", "", [changing.otherwise], times, most=0),
        Figure("answers of mixed versions, or of none", "", [checked.wrong], checked.count, most=0),
        Figure("answers that are no predictions", "", [checked.other], checked.count, most=0),
        Figure("requests without an answer", "", [load.lost], checked.count, most=0),
        Figure("a reload", "s", changing.seconds, times),
        Figure("memory after the first tenth", "MiB", [changing.early], times),
        Figure("memory at the end / then", "x", [memory / changing.early], times, most=1.2),
    ]


class _Changing:
    """Reloads a service again and again, in a thread beside the clients' loop."""

    def __init__(self, service: Served, link: Path, runs: list[Path], bad: Path) -> None:
        self._service, self._link, self._runs, self._bad = service, link, runs, bad
        self.loaded = self.refused = self.otherwise = 0
        self.seconds: list[float] = []
        self.early = 0.0

    async def under(self, load: Load, requests: list[Any], times: int) -> None:
        self._going = True
        asking = asyncio.create_task(load.closed(self._asked(requests), 16))
        await asyncio.to_thread(self._change, times)
        self._going = False
        await asyncio.wait_for(asking, 60)

    def _asked(self, requests: list[Any]) -> Iterator[Any]:
        return itertools.takewhile(lambda _: self._going, itertools.cycle(requests))

    def _change(self, times: int) -> None:
        for k in range(times):
            broken = k % 10 == 9
            new = self._link.with_name("new")
            new.symlink_to(self._bad if broken else self._runs[k % 2])
            new.replace(self._link)
            start = time.monotonic()
            status = _post(self._service.port, "/v1/reload")
            self.seconds.append(time.monotonic() - start)
            self.loaded += status == 200 and not broken
            self.refused += status == 422 and broken
            self.otherwise += status != (422 if broken else 200)
            if k == times // 10:
                self.early = self._service.rss


class _OfOneVersion:
    """Checks that all probabilities of an answer are those of the version that it names."""

    def __init__(self, slopes: dict[str, float]) -> None:
        self._slopes = slopes
        self.count = self.wrong = self.other = 0

    def __call__(self, answer: Answer) -> None:
        if answer.status != 200:
            self.other += 1
            return
        length = int(answer.head.partition(b"inference-header-content-length: ")[2].split(b"\r")[0])
        slope = self._slopes.get(json.loads(answer.body[:length])["parameters"]["name"], 0.0)
        values = np.frombuffer(answer.body[length:], "<f4").reshape(-1, 2)[:, 1]
        known = np.array([expected(level, slope) for level in answer.key])
        self.count += 1
        self.wrong += bool((np.abs(values - known) > 1e-5).any())


def kills(terms: Terms) -> list[Figure]:
    """Kill a decoding process again and again; whatever was not in it goes on."""
    times = 5 if terms.quick else 100
    requests = [post(i, file.read_bytes()) for i, file in enumerate(images(terms.radiographs, 500))]
    with Served(terms.run) as service:
        load = Load(service.port)
        recovered = play(_killed(service, load, requests, times))
    statuses = load.statuses
    count = sum(statuses.values())
    others = count - statuses[200] - statuses[503]
    return [
        Figure("decoding processes killed under load", "", [len(recovered)], count),
        Figure("requests answered with 503", "", [statuses[503]], count, most=2 * times),
        Figure("other failures", "", [others], count, most=0),
        Figure("requests without an answer", "", [load.lost], count, most=0),
        Figure("until all processes are there again", "s", recovered, times, most=5),
    ]


async def _killed(service: Served, load: Load, requests: list[Any], times: int) -> list[float]:
    asking = asyncio.create_task(load.closed(forever(requests, time.monotonic() + 600), _CLIENTS))
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
    asking.cancel()
    return took


def _post(port: int, path: str) -> int:
    with closing(http.client.HTTPConnection(HOST, port, timeout=60)) as client:
        client.request("POST", path, b"")
        answer = client.getresponse()
        answer.read()
        return answer.status
