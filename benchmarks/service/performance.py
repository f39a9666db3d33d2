"""Throughput, latency, and what remains of them under ten times the load."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.command import run_json
from benchmarks.results import Figure, ratio, seconds
from benchmarks.sample_images import CHEST_XRAY, NATIVE, images
from benchmarks.service.client import Load, Request, Response, form, post, run_async
from benchmarks.service.server import Server
from benchmarks.service.setup import Setup
from lucency.classifier import Classifier, Prediction

CLIENTS = 64
IN_FORM = 16  # images per form


def throughput(setup: Setup) -> list[Figure]:
    rounds = 1 if setup.quick else 3
    train, most = CHEST_XRAY / "train", 100 if setup.quick else 1300
    small = _compared(setup.run, train, "radiographs of 224 px", most, rounds)
    native = _compared(setup.run, NATIVE, "native radiographs", 20 if setup.quick else 100, rounds)
    return small + native


def _compared(run_folder: Path, folder: Path, name: str, most: int, rounds: int) -> list[Figure]:
    """Compare single images, forms, offline prediction and naive handlers, in turns."""
    files = [file.read_bytes() for file in images(folder, most)]
    ones = [post(i, file) for i, file in enumerate(files)]
    cut = range(0, len(files), IN_FORM)
    forms = [form(i, files[i : i + IN_FORM]) for i in cut]
    rates: dict[str, list[float]] = {
        key: [] for key in ("offline", "one", "form", "naive", "threads")
    }
    client: list[float] = []
    apart = 0.0
    other = "benchmarks.service.naive_service"
    with (
        Server(run_folder) as service,
        Server(run_folder, module=other) as naive,
        Server(run_folder, "threads", module=other) as threads,
    ):
        for _ in range(rounds):
            offline = run_json(__name__, run_folder, folder, most)
            rates["offline"].append(offline["rate"])
            for key, requests, clients in (("one", ones, CLIENTS), ("form", forms, 8)):
                comparison = _Comparison(offline["probabilities"])
                load = Load(service.port, comparison)
                run_async(load.closed(requests, clients))
                rates[key].append(comparison.count / load.took)
                apart = max(apart, comparison.apart)
                if key == "one":
                    client.append(100 * load.client)
            for key, handler in (("naive", naive), ("threads", threads)):
                load = Load(handler.port)
                run_async(load.closed(ones, CLIENTS))
                rates[key].append(load.rate)
    n = len(files)
    offline_, one, many, naive_, threads_ = (
        Figure(f"{name}: {label}", "images/s", rates[key], n)
        for key, label in (
            ("offline", "offline"),
            ("one", f"one per request, {CLIENTS} clients"),
            ("form", f"{IN_FORM} per request, 8 clients"),
            ("naive", f"naive handler, {CLIENTS} clients"),
            ("threads", f"naive handler in threads, {CLIENTS} clients"),
        )
    )
    return [
        offline_, one, many, naive_, threads_,
        ratio(f"{name}: one per request / offline", one, offline_, least=0.9),
        ratio(f"{name}: {IN_FORM} per request / offline", many, offline_, least=0.9),
        ratio(f"{name}: one per request / naive handler", one, naive_, least=3),
        ratio(f"{name}: one per request / naive handler in threads", one, threads_),
        Figure(f"{name}: the client's share of a processor", "%", client, n),
        Figure(f"{name}: largest difference of a probability", "", [apart], n, most=1e-6),
    ]  # fmt: skip


class _Comparison:
    """Compares served predictions with those from files."""

    def __init__(self, expected: Sequence[Sequence[float]]) -> None:
        self._expected = expected
        self.apart, self.count = 0.0, 0

    def __call__(self, response: Response) -> None:
        if response.status != 200:
            raise RuntimeError(f"status {response.status}: {response.body[:200]!r}")
        for i, found in enumerate(json.loads(response.body)["predictions"], response.key):
            served: list[float] = [*found["probabilities"].values()]
            pairs = zip(served, self._expected[i], strict=True)
            self.apart = max(self.apart, *(abs(a - b) for a, b in pairs))
            self.count += 1


def latency(setup: Setup) -> list[Figure]:
    files = [file.read_bytes() for file in images(CHEST_XRAY / "train", 500)]
    requests = [post(i, file) for i, file in enumerate(files)]
    alone, middle, loaded, ratios, shares = [], [], [], [], []
    with Server(setup.run) as service:
        for _ in range(1 if setup.quick else 5):
            peak = Load(service.port)
            run_async(peak.closed(itertools.islice(itertools.cycle(requests), 2000), CLIENTS))
            one = Load(service.port)
            run_async(one.closed(requests[:300], 1))
            busy = Load(service.port)
            run_async(
                busy.open(itertools.cycle(requests), 0.8 * peak.rate, 3 if setup.quick else 10)
            )
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


def overload(setup: Setup) -> list[Figure]:
    duration = 15 if setup.quick else 180
    files = [file.read_bytes() for file in images(CHEST_XRAY / "train", 200)]
    requests = [post(i, file) for i, file in enumerate(files)]
    with Server(setup.heavy) as service:
        peak = Load(service.port)
        run_async(peak.closed(itertools.islice(itertools.cycle(requests), 2000), CLIENTS))
        before = service.rss
        load, memory = run_async(_overloaded(service, requests, 10 * peak.rate, duration))
        missed = load.missed
        again = Load(service.port)
        run_async(again.closed(itertools.islice(itertools.cycle(requests), 2000), CLIENTS))
    sent = sum(load.statuses.values())
    late = memory[len(memory) // 2 :]
    others = sum(count for status, count in load.statuses.items() if status not in (200, 429))
    return [
        Figure("peak before, 64 clients", "images/s", [peak.rate], 2000),
        Figure("peak after, 64 clients", "images/s", [again.rate], 2000),
        Figure("offered / peak before", "x", [sent / duration / peak.rate], sent),
        Figure("not sent by the client", "requests", [missed], sent + missed),
        Figure("served / peak before", "x", [load.rate / peak.rate], sent, least=0.9),
        Figure("rejected with 429", "%", [100 * load.statuses[429] / sent], sent),
        Figure("other responses", "", [others], sent, most=0),
        Figure("sent without response", "requests", [load.lost], sent, most=0),
        Figure("accepted, 99th percentile", "ms", [load.quantile(0.99)], sent, most=10_000),
        Figure("memory before", "MiB", [before], 1),
        Figure("memory in the first half", "MiB", memory[: len(memory) // 2], sent),
        Figure("memory in the second half", "MiB", late, sent),
        Figure("growth from first to second half", "%",
               [100 * (max(late) / max(memory[: len(memory) // 2]) - 1)], sent, most=5),
        Figure("the client's share of a processor", "%", [100 * load.client], sent),
    ]  # fmt: skip


class _Overload(Load):
    missed = 0


async def _overloaded(
    service: Server, requests: Sequence[Request], rate: float, seconds: float
) -> tuple[_Overload, list[float]]:
    load, memory = _Overload(service.port), [service.rss]

    async def monitor() -> None:
        while True:
            await asyncio.sleep(0.5)
            memory.append(service.rss)

    monitoring = asyncio.create_task(monitor())
    load.missed = await load.open(itertools.cycle(requests), rate, seconds)
    monitoring.cancel()
    return load, memory[1:]


def forever(requests: Sequence[Request], until: float) -> Iterator[Request]:
    """Repeat requests until ``time.monotonic()`` reaches ``until``."""
    for each in itertools.cycle(requests):
        if time.monotonic() >= until:
            return
        yield each


def _offline(run_folder: Path, folder: Path, most: int) -> dict[str, object]:
    """Predict files at once, as ``lucency predict`` does: images per second, probabilities."""
    files = images(folder, most)
    classifier = Classifier.load(run_folder)
    classifier.predict(files[:64])  # loads ONNX Runtime, and the files into the page cache
    found: list[Prediction] = []
    took = seconds(lambda: found.extend(classifier.predict(files)))
    return {"rate": len(files) / took, "probabilities": [each.probabilities for each in found]}


if __name__ == "__main__":
    print(json.dumps(_offline(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
