"""An HTTP client that sends prepared requests over many connections and counts responses."""

from __future__ import annotations

import asyncio
import http.client
import resource
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import uvloop

HOST = "127.0.0.1"


class Request(NamedTuple):
    """The bytes of a request, and a key for the callback."""

    key: Any
    data: bytes


class Response(NamedTuple):
    key: Any
    status: int
    head: bytes
    body: bytes
    seconds: float


def post(key: Any, body: bytes, path: str = "/v1/predict", *headers: str) -> Request:
    lines = [f"POST {path} HTTP/1.1", f"host: {HOST}", f"content-length: {len(body)}", *headers]
    return Request(key, "\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def form(key: Any, files: Sequence[bytes]) -> Request:
    """Return a request with several files."""
    part = b'--limit\r\ncontent-disposition: form-data; name="f"; filename="f"\r\n\r\n%b\r\n'
    body = b"".join([part % file for file in files] + [b"--limit--\r\n"])
    return post(key, body, "/v1/predict", "content-type: multipart/form-data; boundary=limit")


def send(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Send one request; return the status and the body of the response."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=60)) as client:
        client.request(method, path, body, headers or {})
        response = client.getresponse()
        return response.status, response.read()


class Load:
    """Sends requests over many connections, one at a time on each.

    Attributes:
        statuses: The number of responses by status.
        seconds: The time of every response with status 200.
        lost: Requests that were sent and got no response.
        refused: Connections that were refused.
        started: ``time.perf_counter()`` at the start.
        took: Seconds from the start to the last response.
        client: The share of one processor that this client used.
    """

    def __init__(self, port: int, callback: Callable[[Response], None] | None = None) -> None:
        self.port, self.callback = port, callback
        self.statuses: Counter[int] = Counter()
        self.seconds: list[float] = []
        self.lost = self.refused = 0
        self.started = self.took = self.client = 0.0
        self.error: Exception | None = None
        self._requests: Iterator[Request] = iter(())
        self._open = 0
        self._done = asyncio.Event()

    async def closed(self, requests: Iterable[Request], connections: int) -> None:
        """Send all requests; each connection sends the next after a response."""
        self._requests = iter(requests)
        cpu, self.started = _cpu(), time.perf_counter()
        await asyncio.gather(*(self.connect() for _ in range(connections)))
        await self._done.wait()
        if self.error:
            raise self.error
        self.client = (_cpu() - cpu) / max(1e-9, time.perf_counter() - self.started)

    async def open(self, requests: Iterable[Request], rate: float, seconds: float) -> int:
        """Send ``rate`` requests per second; return how many could not be sent."""
        self._requests = iter(())
        waiting = iter(requests)
        cpu, self.started = _cpu(), time.perf_counter()
        idle: list[_Connection] = []
        await asyncio.gather(*(self.connect(idle) for _ in range(900)))
        sent = missed = 0
        while (now := time.perf_counter() - self.started) < seconds:
            while sent + missed < rate * now:
                if not idle:
                    missed += 1
                    continue
                idle.pop().send(next(waiting))
                sent += 1
            await asyncio.sleep(0.002)
        self.client = (_cpu() - cpu) / (time.perf_counter() - self.started)
        for _ in range(400):
            if len(idle) == self._open:
                break
            await asyncio.sleep(0.1)
        for each in [*idle]:
            each.transport.close()
        return missed

    async def connect(self, idle: list[_Connection] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._open += 1
        try:
            await loop.create_connection(lambda: _Connection(self, idle), HOST, self.port)
        except OSError:  # the server has stopped
            self.refused += 1
            self.disconnected()

    def next(self) -> Request | None:
        return next(self._requests, None)

    def received(self, response: Response) -> None:
        self.statuses[response.status] += 1
        self.took = time.perf_counter() - self.started
        if response.status == 200:
            self.seconds.append(response.seconds)
        try:
            if self.callback:
                self.callback(response)
        except Exception as error:  # the event loop would only print it
            self.error = self.error or error

    def disconnected(self) -> None:
        self._open -= 1
        if not self._open:
            self._done.set()

    def quantile(self, share: float) -> float:
        """Return a quantile of the response times in milliseconds."""
        return 1000 * sorted(self.seconds)[int(share * (len(self.seconds) - 1))]

    @property
    def rate(self) -> float:
        """Responses with status 200 per second."""
        return self.statuses[200] / self.took


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, idle: list[_Connection] | None) -> None:
        self._load, self._idle = load, idle
        self._waiting: Request | None = None
        self._buffer, self._size = bytearray(), -1
        self._sent = 0.0
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._free()

    def send(self, request: Request) -> None:
        self._waiting, self._sent = request, time.perf_counter()
        self.transport.write(request.data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._size < 0:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            place = self._buffer.find(b"\r\ncontent-length: ", 0, end) + 18
            length = int(self._buffer[place : self._buffer.find(b"\r", place)])
            self._size, self._head = end + 4 + length, end + 4
        if len(self._buffer) < self._size or self._waiting is None:
            return
        head, body = bytes(self._buffer[: self._head]), bytes(self._buffer[self._head : self._size])
        key, seconds = self._waiting.key, time.perf_counter() - self._sent
        self._waiting, self._size = None, -1
        self._buffer.clear()
        self._load.received(Response(key, int(head[9:12]), head, body, seconds))
        if b"connection: close" in head:
            self.transport.close()
            if self._idle is None:
                task = asyncio.ensure_future(self._load.connect())
                _TASKS.add(task)
                task.add_done_callback(_TASKS.discard)
        else:
            self._free()

    def connection_lost(self, _: Exception | None) -> None:
        self._load.lost += self._waiting is not None
        if self._idle is not None and self in self._idle:
            self._idle.remove(self)
        self._load.disconnected()

    def _free(self) -> None:
        if self._idle is not None:
            self._idle.append(self)
        elif request := self._load.next():
            self.send(request)
        else:
            self.transport.close()


_TASKS: set[asyncio.Future[None]] = set()


def run_async(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine with uvloop."""
    return uvloop.run(coroutine)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
