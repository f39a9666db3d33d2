"""Around every request: access control, one form of errors, headers, metrics and log lines."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from lucency.serve.http.bodies import LENGTH, too_large
from lucency.serve.http.connection import LOG, LONGEST_HEAD, STATE, Connection, large_head
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
# Addresses that monitoring reads without a token.
_OPEN = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
_MOST_HEADERS = 100
_MOST_SKIPPED = 2**20  # bytes of a body that are read only to keep the connection
_SKIPPING = 2.0  # seconds
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}


class Middleware:
    """An ASGI application around the routes.

    Args:
        router: The routes.
        service: What computes the predictions.
        templates: Path of a route by its endpoint, for metrics and log lines.

    Attributes:
        router: The routes.
    """

    def __init__(self, router: Router, service: Service, templates: Mapping[Any, str]) -> None:
        self.router, self._service, self._templates = router, service, templates
        self._settings = service.settings
        self._token = _digest(self._settings.token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.router(scope, receive, send)
            return
        # A copy, to which uvicorn does not add the trailers that come behind a body.
        scope["headers"] = [*scope["headers"]]
        scope["app"] = self  # has the router raise what it would otherwise answer in its own form
        with scope["state"][STATE].request():
            await self._answer(scope, _Exchange(scope, receive, send, self._service))

    async def _answer(self, scope: Scope, exchange: _Exchange) -> None:
        start = time.perf_counter()
        self._service.metrics.requests_in_flight += 1
        try:
            self._check(scope)
            exchange.accepted = True
            await self.router(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.status = exchange.status or 499  # the client has gone
            raise
        except Exception as error:  # whatever it is, there is a response
            await self._send_error(_as_request_error(error), exchange)
        finally:
            self._service.metrics.requests_in_flight -= 1
            self._record(scope, exchange.status, time.perf_counter() - start)

    async def _send_error(self, error: RequestError, exchange: _Exchange) -> None:
        self._service.metrics.errors.labels(error.code).inc()
        if exchange.status:  # too late for another response
            raise error
        body = error.body
        headers = error.headers | {"content-length": str(len(body))}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await exchange.send({"type": "http.response.start", "status": error.status, "headers": raw})
        await exchange.send({"type": "http.response.body", "body": body})

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = self._templates.get(scope.get("endpoint"), "other")
        metrics = self._service.metrics
        metrics.count_response(route, method, status)
        if method == "POST":
            metrics.request.observe(seconds)
        if self._settings.log:
            LOG.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)

    def _check(self, scope: Scope) -> None:
        """Reject a request by its head, before anything of its body is read."""
        _check_size(scope)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if b"upgrade" in headers:
            raise RequestError("bad_request", "Upgrading the connection is not supported.")
        if not self._settings.has_name(_hostname(host)):
            raise RequestError("unknown_host", "The service does not go by the name in Host.")
        if scope["method"] not in _SAFE_METHODS:
            _check_origin(headers, host)
        if self._settings.token and scope["path"] not in _OPEN:
            given = _given_token(headers.get(b"authorization", b""))
            if not hmac.compare_digest(_digest(given), self._token):
                raise RequestError(
                    "unauthorized", "A token is needed: Authorization: Bearer TOKEN."
                )
        if (length := headers.get(b"content-length")) is not None:
            scope[LENGTH] = self._length(length)

    def _length(self, text: bytes) -> int:
        if not text.isdigit() or len(text) > 18:
            raise RequestError("bad_request", "Content-Length is not a number.")
        if int(text) > self._settings.max_body_bytes:
            raise too_large(self._settings.max_body_bytes)
        return int(text)


class _Exchange:
    """A request and its response.

    Attributes:
        status: Of the response; 0 while there is none.
        accepted: Whether the head of the request was found good; if not, the connection ends.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        self.status = 0
        self.accepted = False
        self._receive, self._send, self._service = receive, send, service
        self._connection: Connection = scope["state"][STATE]
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        self._complete = length == b"0" and b"transfer-encoding" not in headers
        self._short = (
            length.isdigit() and int(length) <= _MOST_SKIPPED
            and not {b"transfer-encoding", b"expect"} & headers.keys()
        )  # fmt: skip

    async def receive(self) -> Message:
        """Return the next part of the request."""
        message = await self._receive()
        self._connection.received()
        self._complete = message["type"] == "http.request" and not message.get("more_body", False)
        self._short = False
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the response, with the headers that all responses have."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            there = {name for name, _ in headers}
            headers += [(name, value) for name, value in _HEADERS.items() if name not in there]
            keep = self.accepted and await self._skip_body()
            if not keep or self._service.draining:
                headers.append((b"connection", b"close"))
        await self._send(message)

    async def _skip_body(self) -> bool:
        """Drop a short body that was not read, so that the next request can follow it."""
        if self._short and not self._complete:
            try:
                async with asyncio.timeout(_SKIPPING):
                    while (await self.receive())["type"] == "http.request" and not self._complete:
                        pass
            except TimeoutError:
                return False
        return self._complete


def _check_size(scope: Scope) -> None:
    headers = scope["headers"]
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in headers)
    if len(headers) > _MOST_HEADERS or size > LONGEST_HEAD:
        raise large_head()


def _check_origin(headers: Mapping[bytes, bytes], host: str) -> None:
    """Reject what a page of another origin has a browser send."""
    origin = headers.get(b"origin")
    site = headers.get(b"sec-fetch-site", b"none")
    # Behind a proxy the page is at https://, which only a browser that knows its origin may say.
    schemes = ("http", "https") if site == b"same-origin" else ("http",)
    foreign = origin is not None and _origin(origin) not in [(each, host) for each in schemes]
    if foreign or site not in (b"same-origin", b"none"):
        raise RequestError("cross_origin", "Pages of other origins may not use this service.")


def _origin(origin: bytes) -> tuple[str, str]:
    """Return scheme and host with port; empty where it is no origin."""
    try:
        found = urlsplit(origin.decode("latin-1"))
    except ValueError:
        return "", ""
    return found.scheme, found.netloc.lower()


def _hostname(host: str) -> str:
    """Return a Host header without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _given_token(authorization: bytes) -> bytes:
    """Return a bearer token, or the password that a browser asked for."""
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()  # so that not even the length shows in the time


def _as_request_error(error: Exception) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        return RequestError(code, f"{error.detail}.")
    # Where, not what: a message may hold something that was sent.
    place = traceback.extract_tb(error.__traceback__)[-1]
    LOG.error("%s in %s, line %s", type(error).__name__, place.name, place.lineno)
    return RequestError("internal_error", "An error in the service; its log names the place.")
