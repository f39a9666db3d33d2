"""One connection: what arrives too slowly, is too long or is no HTTP is answered and ended here.

uvicorn waits for ever for the end of a request, and llhttp for the end of a header.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httptools
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from lucency.serve.http.settings import Settings
from lucency.serve.inference.errors import RequestError

_LONGEST_HEAD = 32 * 2**10
_MOST_HEADERS = 100
_LINGER = 2.0  # seconds in which an answered client may go on sending what nobody reads
_LINGER_BYTES = 2**20
_PARTING = 1.0  # seconds that a connection without requests is kept when the service ends
_UNREAD = 15.0  # seconds that an answer waits for a client that does not read it


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with limits; ``check`` is to be called every second or so."""

    settings = Settings()
    draining: Callable[[], bool] = staticmethod(lambda: False)
    seen: Callable[[RequestError], None] = staticmethod(lambda _: None)
    rejected: Callable[[str], RequestError | None] = staticmethod(lambda _: None)

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head = self._received = self._unread = 0
        self._started = self._last = time.monotonic()
        self._blocked = self._answered = self._leaves = float("inf")
        self._inside = self._headed = self._spoke = self._ended = False
        self._asgi: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, if there is room."""
        super().connection_made(transport)
        if len(self.connections) > self.settings.most_connections:
            error = RequestError("too_many_connections", "All connections are taken.")
            self.seen(error)
            transport.write(_packed(error))
            transport.close()  # at once, as there is no room to wait in

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop working for a client that has gone."""
        if self._asgi and self.cycle and not self.cycle.response_complete:
            self._asgi.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the parser, unless there are too many of them."""
        now = time.monotonic()
        if self._ended:
            self._unread += len(data)
            return
        if not self._inside:
            self._begin(now)
        self._last = now
        self._received += len(data)
        if self._answered < float("inf"):
            self._unread += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end(RequestError("bad_request", "Only HTTP is spoken here."))
        except httptools.HttpParserError as error:
            ours = error.__context__  # what a callback of ours raised
            plain = RequestError("bad_request", "This is no HTTP.")
            self._end(ours if isinstance(ours, RequestError) else plain)
        else:
            # What the parser keeps of an unfinished header is nowhere else to be seen.
            self._head += 0 if self._headed else len(data)
            if self._head > _LONGEST_HEAD:
                self._end(_large())

    def on_message_begin(self) -> None:
        """Begin to count the next request."""
        self._begin(time.monotonic())
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        if len(self.headers) >= _MOST_HEADERS:
            raise _large()
        if self._headed:
            return  # a trailer
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer."""
        self._headed, self._head = True, 0
        if self.parser.get_method() == b"POST" and self._reject():
            return
        try:
            super().on_headers_complete()
        except (httptools.HttpParserError, UnicodeDecodeError) as error:
            raise RequestError("bad_request", "The address is none.") from error
        if self.draining():
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that the request is here."""
        super().on_message_complete()
        self._inside = False
        self._answered = float("inf")

    def on_response_complete(self) -> None:
        """Close the connection soon where the client still sends what nobody wants."""
        if self._inside:
            self._answered = time.monotonic()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the client does not read its answer."""
        self._blocked = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it does."""
        self._blocked = float("inf")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in our form."""
        self._end(RequestError("bad_request", msg))

    def shutdown(self) -> None:
        """Close the connection once its answer is out, or if nothing comes for a while.

        A request may be on its way over a connection that has just been made or kept.
        """
        self._leaves = time.monotonic() + _PARTING
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False

    def check(self, now: float) -> None:
        """End the connection if its client is too slow."""
        given = self.settings
        if self.transport.is_closing():
            if now - self._last > _UNREAD:
                self.transport.abort()
        elif now - self._blocked > _UNREAD:
            self.transport.abort()
        elif self._over(now):
            self.transport.close()
        elif self._inside and self._answered == float("inf"):
            allowed = given.receive_deadline + self._received / given.slowest
            if now - self._started > allowed:
                self._end(RequestError("too_slow", "The request did not arrive in time."))
        elif not self._spoke and now - self._started > given.receive_deadline:
            self.transport.close()

    def _over(self, now: float) -> bool:
        """Tell whether nothing is to be waited for: at the end, or behind an early answer."""
        parted = now > self._leaves and not self._inside and self._idle
        return parted or now - self._answered > _LINGER or self._unread > _LINGER_BYTES

    @property
    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _reject(self) -> bool:
        """Refuse a request before anything is made of it, if there is too much to do."""
        before: RequestResponseCycle | None = self.cycle
        if before is not None and not before.response_complete:
            return False
        path = self.url.partition(b"?")[0].decode("latin-1")
        if self.draining() or (error := self.rejected(path)) is None:
            return False
        self.cycle = _Rejected()  # type: ignore[assignment]
        self._answered = time.monotonic()
        self.transport.write(_packed(error, "keep-alive"))
        return True

    def _begin(self, now: float) -> None:
        self._inside, self._headed, self._spoke = True, False, True
        self._started, self._answered = now, float("inf")
        self._head = self._received = self._unread = 0

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > _LONGEST_HEAD:
            raise _large()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        task = self.loop.create_task(cycle.run_asgi(app))  # type: ignore[arg-type]
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)
        self._asgi = task

    def _end(self, error: RequestError) -> None:
        """Answer, unless an answer is on its way already, and close soon.

        Closed at once, what the client is still sending would take the answer away from it.
        """
        if self.transport.is_closing() or self._ended:
            return
        self.seen(error)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_packed(error))
        if self._asgi and cycle and not cycle.response_complete:
            cycle.disconnected = True  # so that nothing is sent behind what was just said
            self._asgi.cancel()
        self.pipeline.clear()
        self._ended, self._answered, self._unread = True, time.monotonic(), 0
        if self.transport.can_write_eof():
            self.transport.write_eof()


class _Rejected:
    """Stands for a request that has its answer already; its body is not kept."""

    response_complete = response_started = True
    disconnected = keep_alive = False
    message_event = asyncio.Event()


def _packed(error: RequestError, connection: str = "close") -> bytes:
    body = error.body
    headers = error.headers | {"content-length": str(len(body)), "connection": connection}
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers.items()]
    return b"".join([STATUS_LINE[error.status], *lines, b"\r\n", body])


def _large() -> RequestError:
    return RequestError("large_head", f"Request line and headers exceed {_LONGEST_HEAD:,} bytes.")
