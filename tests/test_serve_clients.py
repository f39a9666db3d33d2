"""Clients that are slow, do not send HTTP, or lack permission; and what is kept of a request."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lucency.errors import ConfigError
from lucency.serve import Settings
from lucency.serve.http import connection
from lucency.serve.inference.service import Service
from serving import QUICK, Running, form, running, save_classifier, slow
from test_serve import IMAGES

ONCE = b"GET / HTTP/1.1\r\nConnection: close\r\n"
ORDINARY = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"


# Connections


@pytest.fixture(scope="module")
def impatient() -> Iterator[Running]:
    """A service with a short timeout."""
    with slow(0, receive_timeout=0.5, max_connections=30) as (served, _):
        yield served


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/predict HT",
        ORDINARY + b"X: ",
        ORDINARY + b"Content-Length: 100\r\n\r\nabc",
        ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_client_that_stops_sending_is_disconnected(impatient: Running, sent: bytes) -> None:
    start = time.monotonic()
    answer = impatient.raw(sent)
    assert 0.3 < time.monotonic() - start < 25
    assert not sent or b" 408 " in answer


def test_a_client_that_sends_single_bytes_is_disconnected(impatient: Running) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=5) as client:
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in ORDINARY * 20:
                client.sendall(bytes([byte]))
                time.sleep(0.05)
                if time.monotonic() - start > 25:
                    break
        assert time.monotonic() - start < 20  # 2.5 s on an idle machine


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 421),
        (ONCE + b"Host: localhost\r\nHost: localhost\r\n\r\n", 421),
        (ONCE + b"\r\n", 421),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000, 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 150 + b"\r\n", 431),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (ORDINARY + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (ORDINARY + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (ORDINARY + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\n\r\n",
            400,
        ),
    ],
)
def test_what_is_not_http_gets_an_error_of_the_same_form(
    impatient: Running, sent: bytes, status: int
) -> None:
    answer = impatient.raw(sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    if status:
        assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert json.loads(body.partition(b"HTTP/1.1")[0]).keys() == {"error", "code"}
    assert impatient.ask("GET", "/health/live").status == 200


def test_connections_are_limited(impatient: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", impatient.port)))
        time.sleep(0.2)
        assert b" 503 " in impatient.raw(b"")
    time.sleep(0.2)
    assert impatient.ask("GET", "/health/live").status == 200


def test_one_connection_takes_many_requests(impatient: Running) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", impatient.port)) as client:
        for i in range(5):
            client.request("POST", "/v1/predict", IMAGES[i % 4] if i != 2 else b"bad")
            answer = client.getresponse()
            assert answer.status == (422 if i == 2 else 200)
            answer.read()
    pipelined = (ORDINARY + b"Content-Length: 3\r\n\r\nabc") * 3
    assert impatient.raw(pipelined + ONCE + b"Host: localhost\r\n\r\n").count(b" 422 ") == 3


def read_slowly(port: int, size: int, seconds: float) -> int:
    """Request the report, and return how many bytes of it arrive if read evenly over a time."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        client.sendall(b"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n")
        count, start = 0, time.monotonic()
        with contextlib.suppress(ConnectionError):
            while count < size and (data := client.recv(2**14)):
                count += len(data)
                time.sleep(max(0, start + seconds * count / size - time.monotonic()))
        return count


def test_a_client_that_reads_slowly_gets_everything_and_one_that_stops_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_UNREAD", 1.5)
    run, size = save_classifier(tmp_path / "run"), 6 * 2**20
    (run / "report.html").write_bytes(bytes(size))
    with running(Service(run, QUICK)) as served:
        assert read_slowly(served.port, size, seconds=6) >= size
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
            client.sendall(b"GET /report HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(4)
            with contextlib.suppress(ConnectionError):
                assert len(b"".join(iter(lambda: client.recv(2**16), b""))) < size


# Permission


def test_a_token_is_required() -> None:
    token = "0123456789abcdef"  # noqa: S105 - of this test
    with slow(0, token=token) as (served, _):
        assert served.ask("GET", "/health/ready").status == 200
        for wrong in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic !"}):
            reply = served.ask("POST", "/v1/predict", IMAGES[0], **wrong)
            assert (reply.status, reply.json["code"]) == (401, "unauthorized")
            assert reply.headers["www-authenticate"].startswith("Basic")
        basic = base64.b64encode(f"anybody:{token}".encode()).decode()
        for right in (f"Bearer {token}", f"Basic {basic}"):
            reply = served.ask("POST", "/v1/predict", IMAGES[0], authorization=right)
            assert reply.status == 200


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"host": "0.0.0.0"}, "--insecure"),  # noqa: S104
        ({"host": "192.0.2.1"}, "--token"),
        ({"token": "short"}, "16 ASCII characters"),
        ({"port": 70_000}, "65535"),
        ({"deadline": 0.0}, "0.01 to 600"),
    ],
)
def test_invalid_settings_are_rejected(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings(**given).checked()


def test_names_of_the_service() -> None:
    near = Settings(names=("radiographs.example",))
    assert all(map(near.has_name, ("localhost", "127.0.0.1", "::1", "RADIOGRAPHS.example")))
    assert not any(map(near.has_name, ("", "192.0.2.1", "evil.example")))
    far = Settings(host="0.0.0.0", insecure=True).checked()  # noqa: S104
    assert far.has_name("192.0.2.1")  # an IP address cannot be pointed elsewhere
    assert not far.has_name("evil.example")


def test_nothing_that_was_sent_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    secret = "CANARY4711"  # noqa: S105 - a word to look for
    with slow(0, log=True) as (served, _):
        log = logging.getLogger("lucency.serve")
        log.addHandler(caplog.handler)
        log.setLevel(logging.INFO)
        body, kind = form(IMAGES[0], secret.encode(), name=secret)
        replies = [
            served.ask("POST", f"/v1/predict?{secret}=1", secret.encode()),
            served.ask("POST", "/v1/predict", body, content_type=kind, x_patient=secret),
            served.ask("GET", f"/{secret}", None, referer=secret, user_agent=secret),
            served.ask("GET", f"/v2/models/{secret}", authorization=f"Bearer {secret}"),
            served.ask("POST", "/v1/predict", b"", host=secret),
            served.ask("GET", "/metrics"),
        ]
        served.raw(f"{secret} {secret}\r\n\r\n".encode())
        log.removeHandler(caplog.handler)
    assert secret not in caplog.text
    assert "POST /v1/predict 400" in caplog.text
    assert not any(secret.encode() in reply.body for reply in replies)


def test_an_internal_error_is_logged_without_its_message(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow(0) as (served, classifier):

        def broken(pixels: Any, maps: bool) -> Any:
            raise ValueError("CANARY4711")

        log = logging.getLogger("lucency.serve")
        log.addHandler(caplog.handler)
        monkeypatch.setattr(classifier, "infer", broken)
        reply = served.ask("POST", "/v1/predict", IMAGES[0])
        log.removeHandler(caplog.handler)
        assert (reply.status, reply.json["code"]) == (500, "internal_error")
        assert "ValueError in broken" in caplog.text
        assert "CANARY" not in caplog.text
