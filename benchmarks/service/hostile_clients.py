"""Slow clients, malformed requests, and words that must not be logged or stored."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress

from benchmarks.results import Figure
from benchmarks.sample_images import CHEST_XRAY, images
from benchmarks.service.client import HOST, Load, Request, form, post, run_async, send
from benchmarks.service.server import Server, write_tiny
from benchmarks.service.setup import Setup

_HEAD = b"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\n"


def slow_clients(setup: Setup) -> list[Figure]:
    """Keep 500 connections, which are slow in four ways."""
    many = 50 if setup.quick else 500
    requests = [
        post(i, file.read_bytes()) for i, file in enumerate(images(CHEST_XRAY / "train", 500))
    ]
    with Server(setup.run) as service:
        run_async(Load(service.port).closed(requests, 4))
        before, during, open_for = run_async(_beside(service.port, requests, many))
        files = service.files
    n = len(requests)
    return [
        Figure("slow clients", "", [len(open_for)], many, least=many),
        Figure("a normal client before, 99th percentile", "ms", [before], n),
        Figure("a normal client beside them, 99th percentile", "ms", [during], n),
        Figure("beside them / before", "x", [during / before], n, most=2),
        Figure("until a slow client is disconnected", "s", open_for, many, most=15),
        Figure("open files afterwards", "", [files], many, most=60),
    ]


async def _beside(
    port: int, requests: list[Request], many: int
) -> tuple[float, float, list[float]]:
    alone = Load(port)
    await alone.closed(requests, 1)
    crowd = [asyncio.create_task(_dawdle(port, k)) for k in range(many)]
    await asyncio.sleep(1)
    beside = Load(port)
    await beside.closed(requests, 1)
    return alone.quantile(0.99), beside.quantile(0.99), [*await asyncio.gather(*crowd)]


async def _dawdle(port: int, k: int) -> float:
    """Send a byte per second until the service disconnects; return how long that took."""
    reader, writer = await asyncio.open_connection(HOST, port)
    start = time.monotonic()
    beginning = (b"", b"POST /v1", _HEAD, _HEAD + b"content-length: 9999\r\n\r\nabc")[k % 4]
    writer.write(beginning)

    async def drip() -> None:
        while k % 4:
            await asyncio.sleep(1)
            writer.write(b"a")
            await writer.drain()

    dripping = asyncio.create_task(drip())
    with suppress(OSError):
        while await asyncio.wait_for(reader.read(1000), 60):
            pass
    dripping.cancel()
    with suppress(OSError, asyncio.CancelledError):
        await dripping
    writer.close()
    return time.monotonic() - start


def malformed_requests(setup: Setup) -> list[Figure]:
    """Send requests with bytes changed, removed, repeated or truncated."""
    count = 500 if setup.quick else 10_000
    run = write_tiny(setup.folder / "tiny")
    image = next(iter(images(CHEST_XRAY / "train", 1))).read_bytes()
    seeds = [
        post(0, image).data,
        form(0, [image, b"x"]).data,
        b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n",
        _HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60\r\n\r\n"
        b'{"inputs":[{"name":"pixels","shape":[1],"datatype":"UINT8"}]}',
    ]
    with Server(run) as service:
        heads = run_async(_send_mutations(service.port, seeds, count))
        alive = send(service.port, "GET", "/health/ready")[0]
        errors = service.errors()
    replied = sum(map(bool, heads))
    statuses = [int(head[9:12]) for head in heads if head.startswith(b"HTTP/1.1 ")]
    return [
        Figure("malformed requests", "", [count], count),
        Figure("responses", "", [len(statuses)], count),
        Figure("responses with 500", "", [statuses.count(500)], count, most=0),
        Figure("responses that are not HTTP", "", [replied - len(statuses)], count, most=0),
        Figure("lines of tracebacks", "", [errors.count("Traceback")], count, most=0),
        Figure("ready afterwards", "", [float(alive == 200)], count, least=1),
    ]  # fmt: skip


async def _send_mutations(port: int, seeds: list[bytes], count: int) -> list[bytes]:
    room = asyncio.Semaphore(64)

    async def one(k: int) -> bytes:
        async with room:
            data = _mutated(random.Random(k), seeds[k % len(seeds)])
            reader, writer = await asyncio.open_connection(HOST, port)
            with suppress(OSError):
                writer.write(data)
                if writer.can_write_eof():
                    writer.write_eof()
            reply = b""
            with suppress(OSError, TimeoutError):
                reply = await asyncio.wait_for(reader.read(2000), 30)
            writer.close()
            return reply

    return [*await asyncio.gather(*map(one, range(count)))]


def _mutated(chance: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    head = data.find(b"\r\n\r\n") + 4
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(head if chance.random() < 0.8 else len(data))
        match chance.randrange(5):
            case 0:
                data[place] = chance.randrange(256)
            case 1:
                del data[place : place + chance.randint(1, 9)]
            case 2:
                data[place:place] = chance.randbytes(chance.randint(1, 9))
            case 3:
                data[place:place] = data[place : place + chance.randint(1, 99)]
            case _:
                words = (b"\r\n", b"\x00", b": ", b"chunked", b"18446744073709551616", b"%", b"\r")
                data[place:place] = chance.choice(words)
        if not data:
            return b"\r\n"
        head = min(head, len(data))
    return bytes(data[: chance.randrange(len(data)) + 1] if chance.random() < 0.2 else data)


def canaries(setup: Setup) -> list[Figure]:
    """Send 30 words wherever a client can put one; they must not be logged or stored."""
    words = [f"CANARY{k:02d}{random.Random(k).randrange(10**6):06d}" for k in range(30)]
    run = write_tiny(setup.folder / "tiny")
    kept = setup.folder / "temporary"
    kept.mkdir()
    with Server(run, "--access-log", temporary=kept) as service:
        replies = [
            reply for k, word in enumerate(words) for reply in _send_word(service.port, word, k)
        ]
        metrics = send(service.port, "GET", "/metrics")[1]
        errors = service.errors()
        left = [path.read_bytes() for path in kept.rglob("*") if path.is_file()]
    found = {
        "the log": sum(word in errors for word in words),
        "metrics": sum(word.encode() in metrics for word in words),
        "responses": sum(word.encode() in reply for word in words for reply in replies),
        "temporary files": sum(word.encode() in data for word in words for data in left),
    }
    requests = len(replies)
    lines = Figure("lines of the log", "", [len(errors.splitlines())], requests, least=requests)
    return [lines, *(Figure(f"words in {k}", "", [v], requests, most=0) for k, v in found.items())]


def _send_word(port: int, word: str, k: int) -> list[bytes]:
    big = word.encode() * 150_000  # larger than a spooled upload in memory
    head = f'--b\r\ncontent-disposition: form-data; name="{word}"; filename="{word}.dcm"\r\n\r\n'
    body = head.encode() + (big if k % 10 == 0 else word.encode()) + b"\r\n--b--\r\n"
    named = {"x-patient": word, "user-agent": word, "cookie": word, "referer": word}
    kind = {"content-type": "multipart/form-data; boundary=b"}
    requests = [
        ("POST", "/v1/predict", body, kind | named),
        ("POST", f"/v1/predict?map={word}&{word}=1", word.encode(), named),
        ("GET", f"/{word}/{word}", None, named),
        ("POST", f"/v2/models/{word}/infer", word.encode(), {"authorization": word}),
        ("POST", "/v2/models/tiny/infer", f'{{"inputs": "{word}"}}'.encode(), {"origin": word}),
        ("GET", "/health/live", None, {"host": word}),
        (word, "/", None, {}),
    ]
    return [send(port, *each)[1] for each in requests]
