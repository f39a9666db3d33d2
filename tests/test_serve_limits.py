"""What the service does under load, with slow or hostile clients, and when it is to end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lucency.errors import ConfigError
from lucency.serve import Settings
from lucency.serve.admission import Admission
from lucency.serve.batching import Batcher
from lucency.serve.multipart import files_in
from lucency.serve.refusals import Refused
from lucency.serve.service import Service
from lucency.serve.versions import Version
from serving import QUICK, Reply, Running, form, running, save_classifier, slow_version
from test_serve import PICTURES

ONCE = b"GET / HTTP/1.1\r\nConnection: close\r\n"
ORDINARY = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"


@contextlib.contextmanager
def slow(seconds: float, **settings: Any) -> Iterator[tuple[Running, Any]]:
    version = slow_version(seconds)
    with running(Service(Path("slow"), replace(QUICK, **settings), lambda _: version)) as found:
        yield found, version.classifier


# Who may come in


def test_admission_refuses_what_would_be_late() -> None:
    admission = Admission(most_pictures=10, most_bytes=100)
    admission.check(left=0.1, more=50)  # nothing is known yet, and nothing else there
    with admission.inside(4):
        admission.answered(4, time.monotonic() - 2)  # half a second each
        assert admission.wait() == pytest.approx(2.5, rel=0.05)
        admission.check(left=3)
        with pytest.raises(Refused, match=r"about 2\.5 s") as refused:
            admission.check(left=1)
        assert refused.value.headers["retry-after"] == "2"
        with pytest.raises(Refused, match="Too many pictures"):
            admission.check(left=100, more=7)
    assert admission.pictures == 0


def test_admission_counts_bytes() -> None:
    admission = Admission(most_pictures=10, most_bytes=100)
    admission.take(200)  # alone, as nothing else is there
    with pytest.raises(Refused, match="bytes"):
        admission.take(1)
    admission.give(200)
    admission.take(60)
    admission.take(40)


# Batches


@dataclass(frozen=True)
class Kind:
    name: str
    most: int = 4


def batches(asked: list[tuple[Kind, int]], cancelled: int = -1) -> list[tuple[str, list[int]]]:
    """Return the batches in which items went through."""
    seen: list[tuple[str, list[int]]] = []
    open_gate = threading.Event()

    def work(kind: Kind, items: Any) -> list[int]:
        open_gate.wait(5)
        seen.append((kind.name, [*items]))
        return [-item for item in items]

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(work, 0.01, lambda: 1)
        batcher.start()
        tasks = [asyncio.create_task(batcher.ask(kind, item)) for kind, item in asked]
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


def test_items_go_together_up_to_the_most_and_never_of_two_kinds() -> None:
    a, b = Kind("a"), Kind("b")
    given = [(a, i) for i in range(6)] + [(b, 6), (b, 7), (a, 8)]
    assert batches(given) == [("a", [0, 1, 2, 3]), ("a", [4, 5]), ("b", [6, 7]), ("a", [8])]


def test_what_nobody_waits_for_any_more_is_not_computed() -> None:
    a = Kind("a", 1)
    assert batches([(a, i) for i in range(4)], cancelled=2) == [("a", [i]) for i in (0, 1, 3)]


def test_whoever_asked_hears_of_a_failure() -> None:
    def work(kind: Kind, items: Any) -> list[int]:
        raise ZeroDivisionError

    async def main() -> None:
        batcher: Batcher[int, int] = Batcher(work, 0.01)
        batcher.start()
        for _ in range(2):  # it goes on
            with pytest.raises(ZeroDivisionError):
                await batcher.ask(Kind("a"), 1)
        await batcher.close()

    asyncio.run(main())


# Load


def test_a_late_answer_is_none_and_what_waited_is_dropped() -> None:
    with slow(0.6) as (served, classifier):

        def ask(_: int) -> Reply:
            return served.ask("POST", "/v1/predict", PICTURES[0], lucency_deadline="0.3")

        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(ask, 0)
            time.sleep(0.15)  # the network is at work on it
            replies = [*pool.map(ask, range(3)), first.result()]
        assert {(reply.status, reply.json["code"]) for reply in replies} == {(504, "late")}
        while served.service.admission.pictures:
            time.sleep(0.01)
        assert served.ask("POST", "/v1/predict", PICTURES[0]).status == 200
        assert classifier.seen == 2
        assert served.service.admission.bytes == 0


def test_what_cannot_be_answered_in_time_is_refused_at_once() -> None:
    with slow(0.2, most_waiting=2) as (served, _):
        with ThreadPoolExecutor(8) as pool:
            replies = [
                *pool.map(lambda _: served.ask("POST", "/v1/predict", PICTURES[0]), range(8))
            ]
        statuses = [reply.status for reply in replies]
        assert set(statuses) == {200, 429}
        for reply in replies:
            if reply.status == 429:
                assert int(reply.headers["retry-after"]) >= 1
                assert reply.json["code"] == "busy"
        assert served.ask("POST", "/v1/predict", PICTURES[0]).status == 200


def test_a_large_body_is_refused_before_it_is_read() -> None:
    with slow(0, most_bytes=1000) as (served, _):
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
            client.sendall(ORDINARY + b"Content-Length: 99999999\r\n\r\n")
            assert b" 413 " in client.recv(1000)
        assert time.monotonic() - start < 2
        chunks = b"190\r\n" + bytes(400) + b"\r\n"
        head = ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n"
        assert b" 413 " in served.raw(head + chunks * 20)
        assert b" 400 " in served.raw(ORDINARY + b"Content-Length: -1\r\n\r\n")


def test_a_form_with_too_much_in_it() -> None:
    body, kind = form(*[b"x"] * 5)
    assert files_in(body, kind, 5) == [b"x"] * 5
    with pytest.raises(Refused, match="At most 4"):
        files_in(body, kind, 4)
    fields = b"".join([b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n'] * 20)
    with pytest.raises(Refused, match="At most"):
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
def test_what_is_no_form_with_files(body: bytes, kind: str) -> None:
    with pytest.raises(Refused) as refused:
        files_in(body, kind, 4)
    assert refused.value.code == "bad_request"


# Connections


@pytest.fixture(scope="module")
def hasty() -> Iterator[Running]:
    """A service that does not wait long for slow clients."""
    with slow(0, receive_deadline=0.5, most_connections=30) as (served, _):
        yield served


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"POST /v1/predict HT",
        ORDINARY + b"X: ",
        ORDINARY + b"Content-Length: 100\r\n\r\nabc",
        ORDINARY + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
def test_a_client_that_does_not_go_on_is_let_go(hasty: Running, said: bytes) -> None:
    start = time.monotonic()
    answer = hasty.raw(said)
    assert 0.3 < time.monotonic() - start < 3
    assert not said or b" 408 " in answer


def test_a_client_that_sends_a_byte_now_and_then_is_let_go(hasty: Running) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=5) as client:
        start = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in ORDINARY * 5:
                client.sendall(bytes([byte]))
                time.sleep(0.05)
                if time.monotonic() - start > 6:
                    break
        assert time.monotonic() - start < 5  # of which 2 for a client that wants to hear why


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
def test_what_is_no_http_is_answered_in_the_same_form(
    hasty: Running, sent: bytes, status: int
) -> None:
    answer = hasty.raw(sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    if status:
        assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert json.loads(body.partition(b"HTTP/1.1")[0]).keys() == {"error", "code"}
    assert hasty.ask("GET", "/health/live").status == 200


def test_there_is_a_most_of_connections(hasty: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection(("127.0.0.1", hasty.port)))
        time.sleep(0.2)
        assert b" 503 " in hasty.raw(b"")
    time.sleep(0.2)
    assert hasty.ask("GET", "/health/live").status == 200


def test_one_connection_takes_many_requests(hasty: Running) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", hasty.port)) as client:
        for i in range(5):
            client.request("POST", "/v1/predict", PICTURES[i % 4] if i != 2 else b"bad")
            answer = client.getresponse()
            assert answer.status == (422 if i == 2 else 200)
            answer.read()
    pipelined = (ORDINARY + b"Content-Length: 3\r\n\r\nabc") * 3
    assert hasty.raw(pipelined + ONCE + b"Host: localhost\r\n\r\n").count(b" 422 ") == 3


# Who may ask


def test_a_token_is_asked_for() -> None:
    token = "0123456789abcdef"  # noqa: S105 - of this test
    with slow(0, token=token) as (served, _):
        assert served.ask("GET", "/health/ready").status == 200
        for wrong in ({}, {"authorization": "Bearer x"}, {"authorization": "Basic !"}):
            reply = served.ask("POST", "/v1/predict", PICTURES[0], **wrong)
            assert (reply.status, reply.json["code"]) == (401, "no_token")
            assert reply.headers["www-authenticate"].startswith("Basic")
        basic = base64.b64encode(f"anybody:{token}".encode()).decode()
        for right in (f"Bearer {token}", f"Basic {basic}"):
            reply = served.ask("POST", "/v1/predict", PICTURES[0], authorization=right)
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
def test_settings_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings(**given).checked()


def test_names_of_the_service() -> None:
    near = Settings(names=("films.example",))
    assert all(map(near.knows, ("localhost", "127.0.0.1", "::1", "FILMS.example")))
    assert not any(map(near.knows, ("", "192.0.2.1", "evil.example")))
    far = Settings(host="0.0.0.0", insecure=True).checked()  # noqa: S104
    assert far.knows("192.0.2.1")  # an address cannot be made to point elsewhere
    assert not far.knows("evil.example")


def test_what_was_sent_is_nowhere_to_be_found(caplog: pytest.LogCaptureFixture) -> None:
    secret = "CANARY4711"  # noqa: S105 - a word to look for
    with slow(0, log=True) as (served, _):
        log = logging.getLogger("lucency.serve")
        log.addHandler(caplog.handler)
        log.setLevel(logging.INFO)
        body, kind = form(PICTURES[0], secret.encode(), name=secret)
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


def test_a_fault_is_answered_and_logged_without_its_words(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow(0) as (served, classifier):

        def broken(pixels: Any) -> Any:
            raise ValueError("CANARY4711")

        log = logging.getLogger("lucency.serve")
        log.addHandler(caplog.handler)
        monkeypatch.setattr(classifier, "answer_pixels", broken)
        reply = served.ask("POST", "/v1/predict", PICTURES[0])
        log.removeHandler(caplog.handler)
        assert (reply.status, reply.json["code"]) == (500, "internal")
        assert "ValueError in broken" in caplog.text
        assert "CANARY" not in caplog.text


# Change and end


def test_a_sound_classifier_takes_over_and_a_bad_one_does_not(tmp_path: Path) -> None:
    first = save_classifier(tmp_path / "one", seed=1)
    second = save_classifier(tmp_path / "two", seed=2)
    bad = save_classifier(tmp_path / "bad", seed=3, broken=True)
    link = tmp_path / "current"
    link.symlink_to(first)
    with running(Service(link, QUICK)) as served:

        def pointed_at(run: Path) -> Any:
            link.unlink()
            link.symlink_to(run)
            return served.ask("POST", "/v1/reload", b"")

        before = served.ask("POST", "/v1/predict", PICTURES[0]).json["classifier"]
        assert before["name"] == "one"
        refused = pointed_at(bad)
        assert (refused.status, refused.json["code"]) == (422, "refused_classifier")
        assert "golden pictures" in refused.json["error"]
        (second / "model.onnx").write_bytes(b"damaged")
        assert "sha256 differs" in pointed_at(second).json["error"]
        still = served.ask("POST", "/v1/predict", PICTURES[0]).json["classifier"]
        assert still == before
        save_classifier(second, seed=2)
        assert pointed_at(second).status == 200
        after = served.ask("POST", "/v1/predict", PICTURES[0]).json["classifier"]
        assert after["name"] == "two"
        assert after["sha256"] != before["sha256"]
        assert served.ask("GET", "/v2/models/current/ready").status == 200
        assert served.service.retired == []


def test_a_request_is_answered_by_the_version_that_it_came_to() -> None:
    versions = [slow_version(0.3), slow_version(0)]
    versions[1].about["sha256"] = "1" * 64
    coming: Iterator[Version] = iter(versions)
    with running(Service(Path("slow"), QUICK, lambda _: next(coming))) as served:
        with ThreadPoolExecutor(1) as pool:
            early = pool.submit(served.ask, "POST", "/v1/predict", PICTURES[0])
            while not served.service.version.users:
                time.sleep(0.01)
            assert served.ask("POST", "/v1/reload", b"").status == 200
            assert served.service.retired == [versions[0]]
            late = served.ask("POST", "/v1/predict", PICTURES[0])
            assert early.result().json["classifier"]["sha256"] == "0" * 64
        assert late.json["classifier"]["sha256"] == "1" * 64
        assert served.service.retired == []


def test_what_was_accepted_is_answered_before_the_end() -> None:
    with slow(0.6) as (served, _):
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(served.ask, "POST", "/v1/predict", PICTURES[0]) for _ in range(4)]
            while served.service.admission.pictures < 4:
                time.sleep(0.01)
            served.server.should_exit = True
            while not served.service.draining:
                time.sleep(0.01)
            assert served.ask("GET", "/health/ready").status == 503
            replies = [each.result() for each in asked]
        assert [reply.status for reply in replies] == [200] * 4
        assert all(reply.headers["connection"] == "close" for reply in replies)


def test_a_lost_decoder_is_replaced(tmp_path: Path) -> None:
    with running(Service(save_classifier(tmp_path / "run"), QUICK)) as served:
        for _ in range(3):
            assert served.ask("POST", "/v1/predict", PICTURES[0]).status == 200
            for child in served.service.decoder_processes():
                os.kill(child, signal.SIGKILL)
            start = time.monotonic()
            while served.ask("POST", "/v1/predict", PICTURES[0]).status != 200:
                assert time.monotonic() - start < 5
        assert b"lucency_decoders_lost 0.0" not in served.ask("GET", "/metrics").body


# The command


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from lucency.cli import main; main()", "serve", *arguments]


def test_the_command_serves_reloads_and_ends(tmp_path: Path) -> None:
    run = save_classifier(tmp_path / "run")
    with subprocess.Popen(
        command(str(run), "--port", "0", "--workers", "1", "--log"),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr
        address = process.stderr.readline()
        assert address.startswith("run answers on http://127.0.0.1:")
        port = int(address.rpartition(":")[2].strip("/\n"))
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            client.request("POST", "/v1/predict", PICTURES[0])
            assert client.getresponse().read()
        process.send_signal(signal.SIGHUP)
        assert any("Loaded again" in process.stderr.readline() for _ in range(3))
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output == ""
    assert errors.rstrip().endswith("Ended")


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    run = save_classifier(tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            ((str(run), "--host", "0.0.0.0"), "--insecure"),  # noqa: S104
            ((str(tmp_path),), "No classifier here"),
            ((str(run), "--port", port), "Cannot listen"),
        ):
            done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
            assert done.returncode == 2, done
            assert len(done.stderr.splitlines()) == 1
            assert words in done.stderr


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    run = save_classifier(tmp_path / "run")
    script = "import sys; sys.modules['uvicorn'] = None; from lucency.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", str(run)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "lucency: Serving needs a library that is missing (uvicorn). Install it: pip install "
        '"lucency[serve]"'
    ]
