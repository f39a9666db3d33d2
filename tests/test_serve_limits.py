"""Admission control, batching, deadlines, and forms."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from lucency.serve.api.multipart import files_in
from lucency.serve.inference.admission import Admission
from lucency.serve.inference.batching import Batcher
from lucency.serve.inference.errors import RequestError
from serving import Reply, form, slow
from test_serve import IMAGES

ORDINARY = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"


# Admission


def test_admission_rejects_what_would_be_late() -> None:
    admission = Admission(max_images=10, max_bytes=100)
    admission.check(left=0.1, more=50)  # no time is known yet, and the service is empty
    with admission.hold_images(4):
        admission.record(4, time.monotonic() - 2)  # half a second each
        assert admission.expected_wait() == pytest.approx(2.5, rel=0.05)
        admission.check(left=3)
        with pytest.raises(RequestError, match=r"about 2\.5 s") as error:
            admission.check(left=1)
        assert error.value.headers["retry-after"] == "2"
        with pytest.raises(RequestError, match="Too many images"):
            admission.check(left=100, more=7)
    assert admission.images == 0


def test_announced_bytes_reserve_nothing() -> None:
    length = 64 * 2**20
    with slow(0) as (served, _):
        head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\nx"
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                held = stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
                held.sendall(head.encode())
            until = time.monotonic() + 5
            while served.service.admission.bytes < 20 and time.monotonic() < until:
                time.sleep(0.01)
            assert served.service.admission.bytes == 20
            assert served.ask("POST", "/v1/predict", IMAGES[0]).status == 200


def test_admission_counts_bytes() -> None:
    admission = Admission(max_images=10, max_bytes=100)
    admission.add_bytes(200)  # accepted, as the service is empty
    with pytest.raises(RequestError, match="bytes"):
        admission.add_bytes(1)
    admission.remove_bytes(200)
    admission.add_bytes(60)
    admission.add_bytes(40)


# Batches


@dataclass(frozen=True)
class Key:
    name: str
    max_size: int = 4


def batches(asked: list[tuple[Key, int]], cancelled: int = -1) -> list[tuple[str, list[int]]]:
    """Return the batches in which items went through."""
    seen: list[tuple[str, list[int]]] = []
    open_gate = threading.Event()

    def work(key: Key, items: Any) -> list[int]:
        open_gate.wait(5)
        seen.append((key.name, [*items]))
        return [-item for item in items]

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(work)
        batcher.start()
        tasks = [asyncio.create_task(batcher.submit(key, item)) for key, item in asked]
        await asyncio.sleep(0.05)
        if cancelled >= 0:
            tasks[cancelled].cancel()
        open_gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for i, (_, item) in enumerate(asked):
            assert i == cancelled or answers[i] == -item
        await batcher.close()

    asyncio.run(main())
    return seen


def test_a_batch_has_a_maximum_size_and_one_key() -> None:
    a, b = Key("a"), Key("b")
    given = [(a, i) for i in range(6)] + [(b, 6), (b, 7), (a, 8)]
    assert batches(given) == [("a", [0, 1, 2, 3]), ("a", [4, 5]), ("b", [6, 7]), ("a", [8])]


def test_a_cancelled_item_is_not_computed() -> None:
    a = Key("a", 1)
    assert batches([(a, i) for i in range(4)], cancelled=2) == [("a", [i]) for i in (0, 1, 3)]


def test_a_failure_is_raised_where_the_item_was_submitted() -> None:
    def work(key: Key, items: Any) -> list[int]:
        raise ZeroDivisionError

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(work)
        batcher.start()
        for _ in range(2):  # it continues after a failure
            with pytest.raises(ZeroDivisionError):
                await batcher.submit(Key("a"), 1)
        await batcher.close()

    asyncio.run(main())


# Load


def test_after_the_deadline_there_is_an_error_and_waiting_images_are_dropped() -> None:
    with slow(0) as (served, classifier):
        assert served.ask("POST", "/v1/predict", IMAGES[0]).status == 200
        classifier.seconds = 1.2

        def ask(_: int) -> Reply:
            return served.ask("POST", "/v1/predict", IMAGES[0], lucency_deadline="0.5")

        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(ask, 0)
            while not classifier.busy:
                time.sleep(0.01)
            replies = [*pool.map(ask, range(3)), first.result()]
        assert {(reply.status, reply.json["code"]) for reply in replies} == {
            (504, "deadline_exceeded")
        }
        while served.service.admission.images:
            time.sleep(0.01)
        while classifier.busy:
            time.sleep(0.01)
        assert classifier.seen == 2
        assert served.service.admission.bytes == 0


def test_what_cannot_be_done_in_time_is_rejected_at_once() -> None:
    with slow(0.2, max_images=2) as (served, _):
        with ThreadPoolExecutor(8) as pool:
            replies = [*pool.map(lambda _: served.ask("POST", "/v1/predict", IMAGES[0]), range(8))]
        statuses = [reply.status for reply in replies]
        assert set(statuses) == {200, 429}
        for reply in replies:
            if reply.status == 429:
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json["code"] == "busy"
        assert served.ask("POST", "/v1/predict", IMAGES[0]).status == 200


def test_a_large_body_is_rejected_before_it_is_read() -> None:
    with slow(0, max_body_bytes=1000) as (served, _):
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
            client.sendall(ORDINARY + b"Content-Length: 99999999\r\n\r\n")
            assert b" 413 " in client.recv(1000)
        assert time.monotonic() - start < 10  # the time limit of the connection
        chunks = b"190\r\n" + bytes(400) + b"\r\n"
        head = ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n"
        assert b" 413 " in served.raw(head + chunks * 20)
        assert b" 400 " in served.raw(ORDINARY + b"Content-Length: -1\r\n\r\n")


def test_a_form_with_too_much_in_it() -> None:
    body, kind = form(*[b"x"] * 5)
    assert files_in(body, kind, 5) == [b"x"] * 5
    with pytest.raises(RequestError, match="At most 4"):
        files_in(body, kind, 4)
    fields = b"".join([b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n'] * 20)
    with pytest.raises(RequestError, match="At most"):
        files_in(fields + b"--b--\r\n", "multipart/form-data; boundary=b", 4)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: x; filename="a"\r\n\r\nx',
            "multipart/form-data; boundary=b",
        ),
        (b"--b\r\n" + b"a" * 9000 + b"\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data"),
        (b"", "multipart/mixed; boundary=b"),
        (b"", "multipart/form-data; boundary=" + "b" * 71),
    ],
)
def test_other_forms_are_rejected(body: bytes, kind: str) -> None:
    with pytest.raises(RequestError) as error:
        files_in(body, kind, 4)
    assert error.value.code == "bad_request"
