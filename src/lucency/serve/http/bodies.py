"""Read a request body: never more than the limit, and counted from when its bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from lucency.serve.inference.errors import RequestError
from lucency.serve.inference.service import Service

LENGTH = "lucency.length"  # key of the declared length in a request's scope, where there is one
DEADLINE = "lucency-deadline"
_SHORTEST = 0.01  # seconds
_LARGE = 2**20  # bytes


def seconds_of(request: Request, most: float) -> float:
    """Return within how many seconds the client wants its response, at most ``most``.

    Raises:
        RequestError: The header is not a number of seconds.
    """
    text = request.headers.get(DEADLINE)
    if text is None:
        return most
    try:
        seconds = float(text) if len(text) <= 20 else float("nan")
    except ValueError:
        seconds = float("nan")
    if not _SHORTEST <= seconds <= most:
        raise RequestError(
            "bad_request", f"Lucency-Deadline must be from {_SHORTEST:g} to {most:g} seconds."
        )
    return seconds


@asynccontextmanager
async def request_body(service: Service, request: Request) -> AsyncIterator[bytes]:
    """Read the body and hold it while the block runs, which the deadline ends.

    Raises:
        RequestError: The service is not ready or has too much to do, the body is too large or
            arrives too slowly, or the deadline has passed.
    """
    if not service.working:
        raise RequestError("not_ready", "The service is starting or shutting down.")
    seconds = seconds_of(request, service.settings.deadline)
    service.admission.check(seconds)
    held = _Held(service)
    try:
        async with asyncio.timeout(seconds):
            yield await held.read(request)
    except TimeoutError as error:
        raise RequestError(
            "deadline_exceeded", f"There was no response within {seconds:g} s."
        ) from error
    finally:
        held.release()


class _Held:
    """The bytes of one body that have arrived, counted as being in the service."""

    def __init__(self, service: Service) -> None:
        self._admission, self._settings = service.admission, service.settings
        self._taken = 0

    async def read(self, request: Request) -> bytes:
        self._admission.check_bytes(request.scope.get(LENGTH) or 0)
        given, start = (
            self._settings,
            request.state.connection.begun + self._settings.receive_timeout,
        )
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout_at(start) as limit:
                async for part in request.stream():
                    size += len(part)
                    if size > given.max_body_bytes:
                        raise too_large(given.max_body_bytes)
                    limit.reschedule(start + size / given.min_bytes_per_second)
                    self._take(size - self._taken)
                    parts.append(part)
        except TimeoutError as error:
            raise RequestError("request_timeout", "The request did not arrive in time.") from error
        except ClientDisconnect:
            raise asyncio.CancelledError from None
        # Copying megabytes takes long enough to delay others; Python does it without its lock.
        joined = asyncio.to_thread(b"".join, parts) if size > _LARGE else None
        return await joined if joined else b"".join(parts)

    def _take(self, count: int) -> None:
        if count:
            self._admission.add_bytes(count, self._taken)
            self._taken += count

    def release(self) -> None:
        self._admission.remove_bytes(self._taken)
        self._taken = 0


def too_large(most: int) -> RequestError:
    """Return the error for a body of more than ``most`` bytes."""
    return RequestError("content_too_large", f"The body is larger than {most:,} bytes.")
