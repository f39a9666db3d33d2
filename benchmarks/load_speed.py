"""How many images a second, how soon, and what is left of that under ten times the load."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.child import answer
from benchmarks.load_client import Answer, Load, Request, form, play, post
from benchmarks.load_server import Served
from benchmarks.results import Figure, ratio
from benchmarks.sample import images

if TYPE_CHECKING:
    from benchmarks.load import Terms

CLIENTS = 64
IN_FORM = 16  # images in a form


def throughput(terms: Terms) -> list[Figure]:
    rounds = 1 if terms.quick else 3
    radiographs = _compared(
        terms.run, terms.radiographs, "radiographs of 224 px", 100 if terms.quick else 1300, rounds
    )
    native = _compared(
        terms.run, terms.native, "radiographs as taken", 20 if terms.quick else 100, rounds
    )
    return radiographs + native


def _compared(run: Path, folder: Path, name: str, most: int, rounds: int) -> list[Figure]:
    """Compare one by one, in forms, offline and a naive handler, in turns."""
    files = [file.read_bytes() for file in images(folder, most)]
    ones = [post(i, file) for i, file in enumerate(files)]
    cut = range(0, len(files), IN_FORM)
    forms = [form(i, files[i : i + IN_FORM]) for i in cut]
    rates: dict[str, list[float]] = {
        key: [] for key in ("offline", "one", "form", "naive", "threads")
    }
    client: list[float] = []
    apart = 0.0
    other = "benchmarks.load_naive"
    with (
        Served(run) as service,
        Served(run, module=other) as naive,
        Served(run, "threads", module=other) as threads,
    ):
        for _ in range(rounds):
            offline = answer("load_offline", run, folder, most)
            rates["offline"].append(offline["rate"])
            for key, requests, clients in (("one", ones, CLIENTS), ("form", forms, 8)):
                known = _Known(offline["answers"])
                load = Load(service.port, known)
                play(load.closed(requests, clients))
                rates[key].append(known.seen / load.took)
                apart = max(apart, known.apart)
                if key == "one":
                    client.append(100 * load.client)
            for key, handler in (("naive", naive), ("threads", threads)):
                load = Load(handler.port)
                play(load.closed(ones, CLIENTS))
                rates[key].append(load.rate)
    n = len(files)
    offline_, one, many, naive_, threads_ = (
        Figure(f"{name}: {label}", "images/s", rates[key], n)
        for key, label in (
            ("offline", "predicted at once"),
            ("one", f"one a request, {CLIENTS} clients"),
            ("form", f"{IN_FORM} a request, 8 clients"),
            ("naive", f"naive handler, {CLIENTS} clients"),
            ("threads", f"naive handler in threads, {CLIENTS} clients"),
        )
    )
    return [
        offline_, one, many, naive_, threads_,
        ratio(f"{name}: one a request / predicted at once", one, offline_, least=0.9),
        ratio(f"{name}: {IN_FORM} a request / predicted at once", many, offline_, least=0.9),
        ratio(f"{name}: one a request / naive handler", one, naive_, least=3),
        ratio(f"{name}: one a request / naive handler in threads", one, threads_),
        Figure(f"{name}: the client's share of a processor", "%", client, n),
        Figure(f"{name}: largest difference of a probability", "", [apart], n, most=1e-6),
    ]  # fmt: skip


class _Known:
    """Compares answers with those that are known."""

    def __init__(self, answers: Sequence[Sequence[float]]) -> None:
        self._answers = answers
        self.apart, self.seen = 0.0, 0

    def __call__(self, answer: Answer) -> None:
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {answer.body[:200]!r}")
        for i, found in enumerate(json.loads(answer.body)["predictions"], answer.key):
            said: list[float] = [*found["probabilities"].values()]
            pairs = zip(said, self._answers[i], strict=True)
            self.apart = max(self.apart, *(abs(a - b) for a, b in pairs))
            self.seen += 1


def latency(terms: Terms) -> list[Figure]:
    files = [file.read_bytes() for file in images(terms.radiographs, 500)]
    requests = [post(i, file) for i, file in enumerate(files)]
    alone, middle, loaded, ratios, shares = [], [], [], [], []
    with Served(terms.run) as service:
        for _ in range(1 if terms.quick else 5):
            peak = Load(service.port)
            play(peak.closed(itertools.islice(itertools.cycle(requests), 2000), CLIENTS))
            one = Load(service.port)
            play(one.closed(requests[:300], 1))
            busy = Load(service.port)
            play(busy.open(itertools.cycle(requests), 0.8 * peak.rate, 3 if terms.quick else 10))
            alone.append(one.quantile(0.5))
            middle.append(busy.quantile(0.5))
            loaded.append(busy.quantile(0.99))
            ratios.append(loaded[-1] / alone[-1])
            shares.append(100 * busy.client)
    return [
        Figure("one client, median", "ms", alone, 300),
        Figure("80 % of the peak, median", "ms", middle, len(busy.seconds)),
        Figure("80 % of the peak, 99th percentile", "ms", loaded, len(busy.seconds)),
        Figure("99th percentile at 80 % / median alone", "x", ratios, len(busy.seconds), most=3),
        Figure("the client's share of a processor at 80 %", "%", shares, len(busy.seconds)),
    ]


def overload(terms: Terms) -> list[Figure]:
    seconds = 15 if terms.quick else 180
    files = [file.read_bytes() for file in images(terms.radiographs, 200)]
    requests = [post(i, file) for i, file in enumerate(files)]
    with Served(terms.heavy) as service:
        peak = Load(service.port)
        play(peak.closed(itertools.islice(itertools.cycle(requests), 2000), CLIENTS))
        before = service.rss
        load, memory = play(_overloaded(service, requests, 10 * peak.rate, seconds))
        missed = load.missed
        again = Load(service.port)
        play(again.closed(itertools.islice(itertools.cycle(requests), 2000), CLIENTS))
    sent = sum(load.statuses.values())
    late = memory[len(memory) // 2 :]
    others = sum(count for status, count in load.statuses.items() if status not in (200, 429))
    return [
        Figure("peak before, 64 clients", "images/s", [peak.rate], 2000),
        Figure("peak after, 64 clients", "images/s", [again.rate], 2000),
        Figure("offered / peak before", "x", [sent / seconds / peak.rate], sent),
        Figure("could not be sent by the client", "requests", [missed], sent + missed),
        Figure("answered in time / peak before", "x", [load.rate / peak.rate], sent, least=0.9),
        Figure("told to come later (429)", "%", [100 * load.statuses[429] / sent], sent),
        Figure("other answers", "", [others], sent, most=0),
        Figure("sent and not answered", "requests", [load.lost], sent, most=0),
        Figure("accepted, 99th percentile", "ms", [load.quantile(0.99)], sent, most=10_000),
        Figure("memory before", "MiB", [before], 1),
        Figure("memory in the first half", "MiB", memory[: len(memory) // 2], sent),
        Figure("memory in the second half", "MiB", late, sent),
        Figure("growth from half to half", "%",
               [100 * (max(late) / max(memory[: len(memory) // 2]) - 1)], sent, most=5),
        Figure("the client's share of a processor", "%", [100 * load.client], sent),
    ]  # fmt: skip


class _Overload(Load):
    missed = 0


async def _overloaded(
    service: Served, requests: Sequence[Request], rate: float, seconds: float
) -> tuple[_Overload, list[float]]:
    load, memory = _Overload(service.port), [service.rss]

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.5)
            memory.append(service.rss)

    watching = asyncio.create_task(watch())
    load.missed = await load.open(itertools.cycle(requests), rate, seconds)
    watching.cancel()
    return load, memory[1:]


def forever(requests: Sequence[Request], until: float) -> Iterator[Request]:
    """Yield requests again and again until ``time.monotonic()`` is that."""
    for each in itertools.cycle(requests):
        if time.monotonic() >= until:
            return
        yield each
