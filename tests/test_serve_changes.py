"""Reload, shutdown, lost decoders, and the command."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from benchmarks.reliability import faulty_decoder

from lucency.serve.inference.service import Service
from lucency.serve.inference.versions import Version
from serving import QUICK, running, save_classifier, slow, slow_version
from test_serve import IMAGES

# Reload and shutdown


def test_a_valid_classifier_replaces_the_previous_one(tmp_path: Path) -> None:
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

        before = served.ask("POST", "/v1/predict", IMAGES[0]).json["classifier"]
        assert before["name"] == "one"
        error = pointed_at(bad)
        assert (error.status, error.json["code"]) == (422, "invalid_classifier")
        assert "reference images" in error.json["error"]
        (second / "model.onnx").write_bytes(b"damaged")
        assert "sha256 differs" in pointed_at(second).json["error"]
        still = served.ask("POST", "/v1/predict", IMAGES[0]).json["classifier"]
        assert still == before
        save_classifier(second, seed=2)
        assert pointed_at(second).status == 200
        after = served.ask("POST", "/v1/predict", IMAGES[0]).json["classifier"]
        assert after["name"] == "two"
        assert after["sha256"] != before["sha256"]
        assert served.ask("GET", "/v2/models/current/ready").status == 200
        assert served.service.retired == []


def test_a_request_keeps_its_version() -> None:
    versions = [slow_version(0.3), slow_version(0)]
    versions[1].about["sha256"] = "1" * 64
    coming: Iterator[Version] = iter(versions)
    with running(Service(Path("slow"), QUICK, lambda _: next(coming))) as served:
        with ThreadPoolExecutor(1) as pool:
            early = pool.submit(served.ask, "POST", "/v1/predict", IMAGES[0])
            while not served.service.version.users:
                time.sleep(0.01)
            assert served.ask("POST", "/v1/reload", b"").status == 200
            assert served.service.retired == [versions[0]]
            late = served.ask("POST", "/v1/predict", IMAGES[0])
            assert early.result().json["classifier"]["sha256"] == "0" * 64
        assert late.json["classifier"]["sha256"] == "1" * 64
        assert served.service.retired == []


def test_accepted_requests_are_completed_before_the_shutdown() -> None:
    with slow(2) as (served, _):
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(served.ask, "POST", "/v1/predict", IMAGES[0]) for _ in range(4)]
            while served.service.admission.images < 4:
                time.sleep(0.01)
            served.server.stop()
            while not served.service.draining:
                time.sleep(0.01)
            assert served.ask("GET", "/health/ready").status == 503
            replies = [each.result() for each in asked]
        assert [reply.status for reply in replies] == [200] * 4
        assert all(reply.headers["connection"] == "close" for reply in replies)


def test_a_lost_decoder_is_replaced(tmp_path: Path) -> None:
    with running(Service(save_classifier(tmp_path / "run"), QUICK)) as served:
        for _ in range(3):
            assert served.ask("POST", "/v1/predict", IMAGES[0]).status == 200
            for child in served.service.decoder_processes():
                os.kill(child, signal.SIGKILL)
            start = time.monotonic()
            while served.ask("POST", "/v1/predict", IMAGES[0]).status != 200:
                assert time.monotonic() - start < 20
        assert b"lucency_decoders_lost 0.0" not in served.ask("GET", "/metrics").body


def test_an_image_that_crashes_its_decoder_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucency.imaging.decoder.pool.child_command", faulty_decoder.command)
    with running(Service(save_classifier(tmp_path / "run"), QUICK)) as served:
        for bad in (b"segfault", b"abort", b"exit", b"segfault"):
            reply = served.ask("POST", "/v1/predict", bad)
            assert reply.status == 422
            assert reply.json["code"] == "not_an_image"
            assert "its decoder" in reply.json["error"]
            assert served.ask("POST", "/v1/predict", IMAGES[0]).status == 200


# The command


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from lucency.cli import main; main()", "serve", *arguments]


def test_the_command_serves_reloads_and_shuts_down(tmp_path: Path) -> None:
    run = save_classifier(tmp_path / "run")
    with subprocess.Popen(
        command(str(run), "--port", "0", "--workers", "1", "--access-log"),
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr
        address = process.stderr.readline()
        assert address.startswith("Serving run on http://127.0.0.1:")
        port = int(address.rpartition(":")[2].strip("/\n"))
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client:
            client.request("POST", "/v1/predict", IMAGES[0])
            assert client.getresponse().read()
        process.send_signal(signal.SIGHUP)
        assert any("Reloaded" in process.stderr.readline() for _ in range(3))
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert output == ""
    assert errors.rstrip().endswith("Shut down")


def test_the_command_reports_errors_in_one_line(tmp_path: Path) -> None:
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
