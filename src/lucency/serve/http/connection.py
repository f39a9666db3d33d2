"""One connection: limits on what arrives, and an error response for what is not HTTP.

uvicorn waits without limit for the end of a request and for a client to read its response, and its
parser keeps a header of any length. ``Connection`` therefore stands between the socket and
uvicorn's protocol. It is the protocol of the socket's transport and the transport of uvicorn's
protocol, and uses nothing of either but what asyncio documents. The application reports when it
takes a request and when it has sent the response.
"""

from __future__ import annotations

import asyncio
import http
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from lucency.serve.http.overload import prediction_route
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service

LOG = logging.getLogger("lucency.serve")
STATE = "connection"  # key of the connection in the state of a request's ASGI scope
LONGEST_HEAD = 32 * 2**10  # bytes of request line and headers
_MOST_AHEAD = 2**20  # bytes that may arrive before the application asks for them
_LINGER = 2.0  # seconds for which a client may go on sending after the last response
_LINGER_BYTES = 2**20
_UNREAD = 15.0  # seconds without progress after which a client that does not read is dropped
_TICK = 0.5  # seconds between two checks
# Bytes of a response that the system holds. With the megabytes that Linux allows, a client that
# reads 64 kB a second would seem to stand still for longer than ``_UNREAD``.
_SEND_BUFFER = 256 * 2**10


class Connection(asyncio.Protocol, asyncio.Transport):
    """The limits of one connection; uvicorn makes it where it would make its own protocol.

    Args:
        service: Whose settings and metrics apply.
        connections: All open connections, this one added while it is open.
        config: Of uvicorn.
        server_state: Of uvicorn.
        app_state: Of the application's lifespan.

    Attributes:
        begun: Time of the event loop when the present request began to arrive.
    """

    def __init__(
        self,
        service: Service,
        connections: set[Connection],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__()
        self._service, self._connections = service, connections
        self._loop = _loop or asyncio.get_running_loop()
        self._uvicorn = HttpToolsProtocol(config, server_state, {**app_state, STATE: self}, _loop)
        self.begun = self._progress = self._lingers_since = self._loop.time()
        self._arrived = self._written = self._taken = 0  # bytes
        self._first, self._lingers, self._parses, self._responds = True, False, False, False
        self._task: asyncio.Task[Any] | None = None

    # What the application reports

    @contextmanager
    def request(self) -> Iterator[None]:
        """Mark a request as being answered by the current task while the block runs."""
        self._task, self._arrived = asyncio.current_task(), 0
        self._first = self._responds = False
        try:
            yield
        finally:
            self._task, self.begun = None, self._loop.time()

    def received(self) -> None:
        """Note that the application has taken what arrived of the body."""
        self._arrived = 0

    @property
    def receiving(self) -> bool:
        """Whether a request has begun to arrive that the application has not been given yet."""
        return self._task is None and self._arrived > 0 and not self._lingers

    # The protocol of the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, if there are not too many."""
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._connections.add(self)
        self._uvicorn.connection_made(self)
        self._timer = self._loop.call_later(_TICK, self._check)
        if len(self._connections) > self._service.settings.max_connections:
            self._reject(RequestError("too_many_connections", "All connections are taken."))
            self._transport.close()  # at once: there is no room to linger in

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop working for a client that has gone."""
        self._timer.cancel()
        self._connections.discard(self)
        self._uvicorn.connection_lost(exc)
        if self._task:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on to uvicorn, which calls the application once the head is complete."""
        if self._task is None and not self._arrived and not self._lingers:
            self.begun = self._loop.time()
            if self._reject_under_overload(data):
                return
        self._arrived += len(data)
        if self._lingers:
            if self._arrived > _LINGER_BYTES:
                self._transport.close()
            return
        self._parses = True
        self._uvicorn.data_received(data)
        self._parses = False
        if self._arrived > LONGEST_HEAD:
            self._loop.call_soon(self._check_size)  # after the application was called

    def eof_received(self) -> bool | None:
        """Close the connection: a client that sends no more gets no more."""
        return None

    def pause_writing(self) -> None:
        """Pass on that the write buffer is full."""
        self._uvicorn.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the write buffer has room."""
        self._uvicorn.resume_writing()

    # The transport of uvicorn's protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Return whether nothing more can be written."""
        return self._lingers or self._transport.is_closing()

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Let the client go on."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a part of a response; uvicorn's own, to what is not HTTP, becomes ours."""
        if self.is_closing():
            return
        if self._parses:
            # An address beyond 64 KiB is not HTTP to the parser.
            bad = RequestError("bad_request", "This is not HTTP.")
            self._reject(large_head() if self._arrived > LONGEST_HEAD else bad)
            return
        self._responds = True
        self._write(data)

    def close(self) -> None:
        """Close the connection, after a response only once the client had time to read it."""
        if self._task is None:
            self._transport.close()
        else:
            self._linger()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # Limits

    def _check(self) -> None:
        """End the connection if its client is too slow."""
        self._timer = self._loop.call_later(_TICK, self._check)
        now, left = self._loop.time(), self._transport.get_write_buffer_size()
        if not left or self._written - left != self._taken:
            self._taken, self._progress = self._written - left, now
        if left:
            self._lingers_since = now
        if now - self._progress > _UNREAD:
            self._transport.abort()
        elif self._lingers and now - self._lingers_since > _LINGER:
            self._transport.close()
        elif self._task is None and not self._lingers:
            self._check_time(now)

    def _check_time(self, now: float) -> None:
        """End the connection if it has brought no request, or only a part of one, for too long."""
        settings, between = self._service.settings, not self._arrived and not self._first
        if now - self.begun <= (settings.keep_alive if between else settings.receive_timeout):
            return
        if self._arrived:
            self._reject(RequestError("request_timeout", "The request did not arrive in time."))
        else:
            self._transport.close()

    def _check_size(self) -> None:
        """End the connection if it sends a head that does not end, or trailers that do not."""
        if self._arrived > (LONGEST_HEAD if self._task is None else _MOST_AHEAD):
            self._reject(large_head())

    def _reject_under_overload(self, data: bytes) -> bool:
        """Reject a request for predictions if the service is busy; return whether it was."""
        service = self._service
        try:
            service.admission.check(service.settings.deadline)
        except RequestError as error:
            if service.ready and (route := prediction_route(data)):
                self._first = False
                service.metrics.errors.labels(error.code).inc()
                service.metrics.count_response(route, "POST", error.status)
                self._write(_packed(error, "keep-alive"))
                return True
        return False

    def _reject(self, error: RequestError) -> None:
        """Answer with an error, unless a response is on its way already, and close soon."""
        if self.is_closing():
            return
        self._service.metrics.errors.labels(error.code).inc()
        if self._service.settings.log:
            LOG.info("no request %d", error.status)
        if self._task is None or not self._responds:
            self._write(_packed(error))
        self._linger()
        if self._task:
            self._task.cancel()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._written += len(data)
        self._transport.write(data)

    def _linger(self) -> None:
        """Write no more, and drop what still comes.

        Closed at once, what the client is still sending would take the response away from it.
        """
        if self.is_closing():
            return
        self._lingers, self._lingers_since, self._arrived = True, self._loop.time(), 0
        self._transport.write_eof()
        self._transport.resume_reading()


def large_head() -> RequestError:
    """Return the error for a request line and headers that are too long."""
    return RequestError(
        "headers_too_large", f"Request line and headers exceed {LONGEST_HEAD:,} bytes."
    )


def _packed(error: RequestError, connection: str = "close") -> bytes:
    """Return an error as a whole response."""
    status = http.HTTPStatus(error.status)
    headers = error.headers | {"content-length": str(len(error.body)), "connection": connection}
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + error.body
