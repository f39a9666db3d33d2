"""Read what was sent: never more than the limit, and counted as long as it is held."""

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


def seconds_of(request: Request, most: float) -> float:
    """Return in how many seconds the client wants its answer: its header, or else the setting.

    Raises:
        Refused: The header is no number of seconds.
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
async def answering(service: Service, request: Request) -> AsyncIterator[bytes]:
    """Read the body, and hold it as long as the block runs, which the deadline ends.

    Raises:
        Refused: The service is not ready, has too much to do, the body is too large or the
            deadline has passed.
    """
    if not service.working:
        raise RequestError("not_ready", "The service is starting or ending.")
    seconds = seconds_of(request, service.settings.deadline)
    service.admission.check(seconds)
    held = _Held(service)
    try:
        async with asyncio.timeout(seconds):
            yield await held.read(request)
    except TimeoutError as error:
        raise RequestError("late", f"There was no answer within {seconds:g} s.") from error
    finally:
        held.release()


class _Held:
    """Bytes of a body that count as being in the service."""

    def __init__(self, service: Service) -> None:
        self._admission, self._most = service.admission, service.settings.most_bytes
        self._taken = 0

    async def read(self, request: Request) -> bytes:
        declared: int | None = request.scope.get(LENGTH)
        self._take(declared or 0)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > self._most:
                    raise RequestError(
                        "too_large", f"The body is larger than {self._most:,} bytes."
                    )
                self._take(max(0, size - self._taken))
                parts.append(part)
        except ClientDisconnect:
            raise asyncio.CancelledError from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, count: int) -> None:
        if count:
            self._admission.take(count)
            self._taken += count

    def release(self) -> None:
        self._admission.give(self._taken)
        self._taken = 0
