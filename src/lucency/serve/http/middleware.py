"""Around every request: who may ask, one form of errors, headers, measurements and log lines."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import time
import traceback
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.routing import Router
from starlette.types import Message, Receive, Scope, Send

from lucency.serve.http.bodies import LENGTH
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service

LOG = logging.getLogger("lucency.serve")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_READING = frozenset({"GET", "HEAD"})
# For whoever watches the service and has no token.
_OPEN = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
_ALWAYS = {
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
        service: What they ask.
        templates: Path of a route by its endpoint, for measurements and log lines.

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
        start, sent = time.perf_counter(), _Sent(send)
        scope["app"] = self  # has the router raise what it would otherwise answer in its own form
        self._service.metrics.now += 1
        try:
            self._check(scope)
            await self.router(scope, receive, sent)
        except asyncio.CancelledError:
            sent.status = sent.status or 499  # the client has gone
            raise
        except Exception as error:  # whatever it is, there is an answer
            await self._refuse(_as_refused(error), sent)
        finally:
            self._service.metrics.now -= 1
            self._note(scope, sent.status, time.perf_counter() - start)

    async def _refuse(self, error: RequestError, sent: _Sent) -> None:
        self._service.metrics.error.labels(error.code).inc()
        if sent.status:  # too late for another answer
            raise error
        body = error.body
        headers = error.headers | {"content-length": str(len(body))}
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await sent({"type": "http.response.start", "status": error.status, "headers": raw})
        await sent({"type": "http.response.body", "body": body})

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = self._templates.get(scope.get("endpoint"), "other")
        metrics = self._service.metrics
        metrics.answer(route, method, status)
        if method == "POST":
            metrics.total.observe(seconds)
        if self._settings.log:
            LOG.info("%s %s %d %.1f ms", method, route, status, 1000 * seconds)

    def _check(self, scope: Scope) -> None:
        """Refuse whom we do not serve, before anything of a body is read."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if not self._settings.knows(_name(host)):
            raise RequestError("unknown_host", "The service does not go by the name in Host.")
        if scope["method"] not in _READING:
            _check_origin(headers, host)
        if self._settings.token and scope["path"] not in _OPEN:
            given = _given_token(headers.get(b"authorization", b""))
            if not hmac.compare_digest(_digest(given), self._token):
                raise RequestError("no_token", "A token is needed: Authorization: Bearer TOKEN.")
        if (length := headers.get(b"content-length")) is not None:
            scope[LENGTH] = self._length(length)

    def _length(self, text: bytes) -> int:
        if not text.isdigit() or len(text) > 18:
            raise RequestError("bad_request", "Content-Length is no number.")
        if int(text) > self._settings.most_bytes:
            raise RequestError(
                "too_large", f"The body is larger than {self._settings.most_bytes:,} bytes."
            )
        return int(text)


class _Sent:
    """Passes an answer on, with the headers that all answers have; remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            there = {name for name, _ in headers}
            headers += [(name, value) for name, value in _ALWAYS.items() if name not in there]
        await self._send(message)


def _check_origin(headers: Mapping[bytes, bytes], host: str) -> None:
    """Refuse what a page of another origin has a browser send."""
    origin = headers.get(b"origin")
    site = headers.get(b"sec-fetch-site", b"none")
    foreign = origin is not None and _origin_host(origin) != host
    if foreign or site not in (b"same-origin", b"none"):
        raise RequestError("foreign_origin", "Pages of other origins may not use this service.")


def _origin_host(origin: bytes) -> str:
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Return a Host header without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _given_token(authorization: bytes) -> bytes:
    """Return the token of a bearer, or the password that a browser asked for."""
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


def _as_refused(error: Exception) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "wrong_method"}.get(error.status_code, "bad_request")
        return RequestError(code, f"{error.detail}.")
    # Where, not what: a message may hold something that was sent.
    place = traceback.extract_tb(error.__traceback__)[-1]
    LOG.error("%s in %s, line %s", type(error).__name__, place.name, place.lineno)
    return RequestError("internal", "A fault in the service; its log says where.")
