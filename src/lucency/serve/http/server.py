"""Start, shut down without dropping requests, and reload: uvicorn with our connections."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import uvicorn

from lucency.errors import ConfigError, RunError
from lucency.serve.app import create_app
from lucency.serve.http.connection import LOG, Connection
from lucency.serve.http.settings import Settings
from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service
from lucency.signals import REPEAT

_POLL = 0.05  # seconds
_NEVER = 10**6  # seconds
_PARTING = 1.0  # seconds for which an idle connection may still bring a request during shutdown
_SPARE_FILES = 100  # descriptors that are not connections


class Server:
    """A server of one service, which shuts down without dropping what it has accepted.

    Args:
        service: What computes the predictions.
        listener: A bound socket.
        ready: Called when the service accepts requests.
    """

    def __init__(
        self, service: Service, listener: socket.socket, ready: Callable[[], None] = lambda: None
    ) -> None:
        self.service, self._listener, self._ready = service, listener, ready
        self._connections: set[Connection] = set()
        settings = service.settings
        connection = functools.partial(Connection, service, self._connections)
        self._uvicorn = uvicorn.Server(uvicorn.Config(
            create_app(service, self._lifespan),
            http=cast(type[asyncio.Protocol], connection),
            ws="none", lifespan="on", log_config=None, log_level="critical", access_log=False,
            server_header=False, proxy_headers=False,
            timeout_keep_alive=_NEVER,  # idle connections are closed by ours
            timeout_graceful_shutdown=round(settings.shutdown_timeout),
            backlog=min(2048, settings.max_connections),
        ))  # fmt: skip
        self._shutdown: asyncio.Task[None] | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._interrupted = float("inf")  # when the first signal came, in the time of the loop

    def run(self) -> None:
        """Serve until ``stop`` is called or a signal arrives."""
        self._uvicorn.run([self._listener])
        LOG.info("Shut down")

    def stop(self) -> None:
        """Begin to shut down; may be called from any thread, more than once."""
        self._loop.call_soon_threadsafe(self._stop)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        """Run the service, and listen for signals."""
        self._loop = asyncio.get_running_loop()
        with self._signals():
            await self.service.start()
            try:
                self._listener.listen(self._uvicorn.config.backlog)
                self._ready()
                yield
            finally:
                await self.service.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have SIGTERM and Ctrl-C shut down, and SIGHUP reload, while the block runs.

        Set inside the lifespan, they replace uvicorn's own handlers, which would end the process
        by the signal instead of with exit code 0.
        """
        handlers: dict[int, Callable[[], None]] = {
            signal.SIGINT: self._interrupt,
            signal.SIGTERM: self._interrupt,
        }
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._reload
        with contextlib.ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():

                def handle(number: int, _: Any) -> None:
                    self._loop.call_soon_threadsafe(handlers[number])

                for number in handlers:
                    stack.callback(signal.signal, number, signal.signal(number, handle))
            yield

    def _interrupt(self) -> None:
        now = self._loop.time()
        self._interrupted = min(self._interrupted, now)
        if now - self._interrupted > REPEAT:  # a second signal
            self._uvicorn.should_exit = self._uvicorn.force_exit = True
        self._stop()

    def _stop(self) -> None:
        self._shutdown = self._shutdown or asyncio.create_task(self._shut_down())

    async def _shut_down(self) -> None:
        """Tell clients, accept whoever has connected until then, and have uvicorn end the rest."""
        self.service.draining = True
        LOG.info(
            "Shutting down: %d requests to be answered", self.service.metrics.requests_in_flight
        )
        await asyncio.sleep(self.service.settings.shutdown_notice)
        await self._accept_last()
        end = self._loop.time() + _PARTING
        while self._connections and (
            self._loop.time() < end or any(each.receiving for each in self._connections)
        ):
            await asyncio.sleep(_POLL)
        self._uvicorn.should_exit = True

    async def _accept_last(self) -> None:
        """Stop listening, and accept the connections that were made before."""
        kept = self._listener.dup()
        for server in self._uvicorn.servers:
            server.close()
        await asyncio.sleep(_POLL)  # until the event loop has released them
        self._listener.close()
        # Now only `kept` still listens. A client that connects between the last `accept` and the
        # end of the block, some microseconds, gets a refused connection.
        kept.setblocking(False)
        clients = []
        with kept, contextlib.suppress(BlockingIOError):
            while True:
                clients.append(kept.accept()[0])
        config, state = self._uvicorn.config, self._uvicorn.server_state
        make = functools.partial(Connection, self.service, self._connections, config, state, {})
        for client in clients:
            await self._loop.connect_accepted_socket(make, client)

    def _reload(self) -> None:
        self._reloading = asyncio.create_task(reload_and_log(self.service))


async def reload_and_log(service: Service) -> None:
    """Load the run folder again, and log the result."""
    try:
        version = await service.reload()
    except RequestError as error:
        LOG.warning("%s The previous classifier stays.", error.message)
    else:
        LOG.info("Reloaded: %s", version.about["sha256"][:12])


def serve(run: Path, settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve a run folder until SIGTERM or Ctrl-C.

    Args:
        run: The run folder.
        settings: Checked ones.
        ready: Called with the address when the service accepts requests.

    Raises:
        ClassifierError: The folder holds no classifier that can be served.
        ConfigError: The address is taken or not of this computer.
        RunError: The processes that decode cannot be started.
    """
    from threadpoolctl import threadpool_limits

    _log_to_stderr()
    listener = bound_socket(settings)
    with listener, threadpool_limits(1, "blas"):  # its threads would take turns with the network's
        service = Service(run, _fit_to_file_limit(settings))
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        try:
            Server(service, listener, lambda: ready(address)).run()
        except SystemExit:  # raised by uvicorn if the service could not start
            raise service.failure or RunError("The service could not start.") from None


def bound_socket(settings: Settings) -> socket.socket:
    """Return a bound socket, so that a taken address is reported before anything is loaded.

    Raises:
        ConfigError: The address is taken, or not of this computer.
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


def _fit_to_file_limit(settings: Settings) -> Settings:
    """Raise the limit of open files to what the connections need, or allow fewer connections."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return settings
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return dataclasses.replace(settings, max_connections=max(1, wanted - _SPARE_FILES))


def _log_to_stderr() -> None:
    """Write our own log lines, and no others, to standard error."""
    if not LOG.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        LOG.addHandler(handler)
        LOG.setLevel(logging.INFO)
        LOG.propagate = False
