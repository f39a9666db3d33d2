"""A service on a port of its own, and clients for it: plain sockets, which can send anything."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier, Outputs
from lucency.classifier.reference_images import ReferenceImages
from lucency.serve import Settings
from lucency.serve.http.server import Server, bound_socket
from lucency.serve.inference.service import Service
from lucency.serve.inference.versions import Version
from small_runs import SIDE, brightness_network, spec_of

QUICK = Settings(port=0, workers=1, shutdown_notice=0.05, shutdown_timeout=10)


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Running(NamedTuple):
    """A server in a thread."""

    service: Service
    server: Server
    port: int

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Reply(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
            )

    def raw(self, data: bytes, seconds: float = 10) -> bytes:
        """Send bytes; return all that comes until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as client:
            client.sendall(data)
            return b"".join(iter(lambda: client.recv(65_536), b""))


@contextlib.contextmanager
def running(service: Service) -> Iterator[Running]:
    listener = bound_socket(service.settings)
    started = threading.Event()
    server = Server(service, listener, started.set)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(30)
        yield Running(service, server, listener.getsockname()[1])
    finally:
        server.stop()
        decoders = service._decoders.processes if service._decoders else []
        thread.join(30)
        listener.close()
    assert not thread.is_alive()
    assert not [number for number in decoders if _is_alive(number)]


def _is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


class Slow(Classifier):
    """Takes a while for each batch, and counts the images."""

    seconds = 0.0
    seen = 0
    busy = False

    def infer(self, pixels: NDArray[np.uint8], maps: bool = False) -> Outputs:
        self.busy = True
        time.sleep(self.seconds)
        self.busy = False
        self.seen += len(pixels)
        return super().infer(pixels, maps)


def slow_version(seconds: float) -> Version:
    classifier = Slow(spec_of(), {}, brightness_network())
    classifier.seconds = seconds
    about = {"name": "slow", "sha256": "0" * 64, "calibration": "0" * 16}
    return Version(Path("slow"), classifier, about)


def save_classifier(run: Path, *, seed: int = 0, broken: bool = False) -> Path:
    """Write a run folder with reference images; those of a broken one have other probabilities."""
    spec = spec_of()
    random = np.random.default_rng(seed)
    weights = {"w": random.normal(size=spec.weight_count).astype(np.float32)}
    classifier = Classifier(spec, weights, brightness_network())
    pixels = random.integers(0, 256, (4, SIDE, SIDE, 1), np.uint8)
    found = classifier.predict_pixels(pixels).astype(np.float32)
    classifier.reference_images = ReferenceImages(pixels, 1 - found if broken else found)
    classifier.save(run)
    return run


def form(*files: bytes, name: str = "x.png") -> tuple[bytes, str]:
    """Return the body and the type of a form with files."""
    boundary = "----lucency-4711"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + file
        + b"\r\n"
        for file in files
    ]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), (
        f"multipart/form-data; boundary={boundary}"
    )


@contextlib.contextmanager
def slow(seconds: float, **settings: Any) -> Iterator[tuple[Running, Any]]:
    """Serve a classifier that takes so many seconds for a batch; yield both."""
    version = slow_version(seconds)
    with running(Service(Path("slow"), replace(QUICK, **settings), lambda _: version)) as found:
        yield found, version.classifier
