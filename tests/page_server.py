"""A server for the page's tests: serves its files, and has a function predict images."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from lucency.serve.web import POLICY, static_files

Reply = tuple[int, Mapping[str, str], Any]
Predict = Callable[[bytes], Reply]


def predicted(prediction: Mapping[str, Any]) -> Reply:
    """Return the response with one prediction, as the service sends it."""
    return 200, {}, {"classifier": {}, "predictions": [prediction]}


def failed(text: str, status: int = 422, **headers: str) -> Reply:
    """Return an error response."""
    return status, headers, {"error": text, "code": "failed"}


@dataclass
class Service:
    """What the server responds, and which requests it got.

    Attributes:
        about: The document of ``/v1/classifier``.
        predict: The body of a request to a response.
        token: What clients have to present; empty for none.
        paths: The path of every request.
    """

    about: Mapping[str, Any]
    predict: Predict
    token: str = ""
    report: str = "<p>report</p>"
    paths: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Responds for the service of the server."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        service, files = self.server.service, self.server.files
        path = urlsplit(self.path).path
        service.paths.append(self.path)
        name = "index.html" if path == "/" else path.removeprefix("/page/")
        if name in files:
            self._send(200, *files[name])
        elif not self._authorized():
            self._json(*failed("Give a token.", 401))
        elif path == "/v1/classifier":
            self._json(200, {}, service.about)
        elif path == "/report":
            self._send(200, service.report.encode(), "text/html")
        else:
            self._json(*failed("Not here.", 404))

    def do_POST(self) -> None:
        self.server.service.paths.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        authorized = self._authorized()
        self._json(*(self.server.service.predict(body) if authorized else failed("No token.", 401)))

    def _authorized(self) -> bool:
        token = self.server.service.token
        return not token or self.headers.get("Authorization") == f"Bearer {token}"

    def _json(self, status: int, headers: Mapping[str, str], document: Any) -> None:
        self._send(status, json.dumps(document).encode(), "application/json", headers)

    def _send(
        self, status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        more = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
        for name, value in (more | {"Content-Security-Policy": POLICY}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Holds the service; a browser that disconnects is not an error."""

    daemon_threads = True

    def __init__(self, service: Service, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.service = service
        self.files = static_files()
        self.files["engine.js"] = self.files["server.js"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running(service: Service, port: int = 0) -> Iterator[str]:
    """Serve until the end of the block; yields the address of the page."""
    server = Server(service, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
