"""Start, answer, drain and reload: uvicorn with our connections and our way to end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from lucency.errors import ConfigError, RunError
from lucency.serve.app import create_app
from lucency.serve.http.connection import Connection
from lucency.serve.http.middleware import LOG
from lucency.serve.http.settings import Settings
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service

_CLOSING = 0.05  # seconds
_SPARE_FILES = 100  # descriptors that are not connections


class Server(uvicorn.Server):
    """A server of one service, which ends without dropping what it has accepted.

    Args:
        service: What answers.
        ready: Is called when it listens.
    """

    def __init__(self, service: Service, ready: Callable[[], None] = lambda: None) -> None:
        self.service, self._ready = service, ready
        settings = service.settings
        config = uvicorn.Config(
            create_app(service),
            http=type("_Connection", (Connection,), {
                "settings": settings, "draining": staticmethod(lambda: service.draining),
                "seen": staticmethod(self._refused),
                "turned_away": staticmethod(service.rejected),
            }),
            ws="none", lifespan="on", log_config=None, log_level="critical", access_log=False,
            server_header=False, proxy_headers=False,
            timeout_keep_alive=round(settings.idle),
            timeout_graceful_shutdown=round(settings.drain),
            backlog=min(2048, settings.most_connections),
        )  # fmt: skip
        super().__init__(config)
        self._reloading: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have SIGTERM and Ctrl-C drain, and SIGHUP reload, as long as the block runs."""
        with contextlib.ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                for number, handler in self._handlers().items():
                    before = signal.signal(number, handler)
                    stack.callback(signal.signal, number, before)
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the service and listen."""
        await super().startup(sockets)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections twice a second."""
        if counter % 5 == 0:
            self._look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: tell clients, take whoever has come, answer them all, stop."""
        self.service.draining = True
        LOG.info("Ending: %d requests to be answered", len(self.server_state.tasks))
        await asyncio.sleep(self.service.settings.notice)
        await self._last_ones(sockets or [])
        watch = asyncio.create_task(self._looking())
        await super().shutdown([])
        watch.cancel()
        LOG.info("Ended")

    async def _last_ones(self, sockets: list[socket.socket]) -> None:
        """Stop to listen, and take the connections that were made before."""
        kept = [each.dup() for each in sockets]
        for server in self.servers:
            server.close()
        await asyncio.sleep(_CLOSING)  # until when the event loop has let go of them
        for each in sockets:
            each.close()
        # Now nobody listens any more but us: who comes between the last of these and the end of
        # the block, some microseconds, is told by the system that there is no service.
        loop = asyncio.get_running_loop()
        for each in kept:
            each.setblocking(False)
            come = []
            with each, contextlib.suppress(BlockingIOError):
                while True:
                    come.append(each.accept()[0])
            for client in come:
                await loop.connect_accepted_socket(self._connection, client)

    def _connection(self) -> asyncio.Protocol:
        made: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def _looking(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(0.5)

    def _refused(self, error: RequestError) -> None:
        """Note what was refused before it was a request."""
        self.service.metrics.error.labels(error.code).inc()
        if self.service.settings.log:
            LOG.info("no request %d", error.status)

    def _look(self) -> None:
        now = time.monotonic()
        for each in [*self.server_state.connections]:
            if isinstance(each, Connection):
                each.check(now)

    def _handlers(self) -> dict[int, Callable[[int, Any], None]]:
        def end(_: int, __: Any) -> None:
            if self.should_exit:
                self.force_exit = True
            self.should_exit = True

        def reload(_: int, __: Any) -> None:
            loop.call_soon_threadsafe(self._reload)

        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[[int, Any], None]] = {signal.SIGINT: end, signal.SIGTERM: end}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = reload
        return handlers

    def _reload(self) -> None:
        self._reloading = asyncio.create_task(reload_and_say(self.service))


async def reload_and_say(service: Service) -> None:
    """Load the run folder again, and log what came of it."""
    try:
        version = await service.reload()
    except RequestError as error:
        LOG.warning("%s The old one goes on.", error.message)
    else:
        LOG.info("Loaded again: %s", version.about["sha256"][:12])


def serve(run: Path, settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve a run folder until SIGTERM or Ctrl-C.

    Args:
        run: The run folder.
        settings: Checked ones.
        ready: Hears the address when the service answers.

    Raises:
        ClassifierError: The folder holds no classifier that can be served.
        ConfigError: The address is taken or not of this computer.
        RunError: The processes that decode cannot be started.
    """
    from threadpoolctl import threadpool_limits

    _log()
    listener = listening(settings)
    with listener, threadpool_limits(1, "blas"):  # its threads would take turns with the network's
        service = Service(run, _with_room(settings))
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        try:
            Server(service, lambda: ready(address)).run([listener])
        except SystemExit:  # how uvicorn says that the service could not start
            raise service.failure or RunError("The service could not start.") from None


def listening(settings: Settings) -> socket.socket:
    """Return a socket that is bound, so that a taken address is known before all else.

    Raises:
        ConfigError: It is taken, or not of this computer.
    """
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror or error}). "
            "Choose another with --host and --port."
        ) from error
    return listener


def _with_room(settings: Settings) -> Settings:
    """Have the system allow as many open files as connections need, or take fewer of these."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return settings
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.most_connections + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return dataclasses.replace(settings, most_connections=max(1, wanted - _SPARE_FILES))


def _log() -> None:
    """Have our own log lines, and no others, on standard error."""
    if not LOG.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        LOG.addHandler(handler)
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
