"""Bytes to pixels in the processes of ``lucency.imaging.decoder``, for an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from lucency.errors import RunError
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.serve.inference.errors import RequestError


class Decoders:
    """Decoding processes, asked from an event loop.

    Args:
        workers: Most processes; 0 for one per processor.
        deadline: Seconds that an image may take.
        seen: Hears how many seconds each image took, waiting for a process included.
    """

    def __init__(self, workers: int, deadline: float, seen: Callable[[float], None]) -> None:
        self._pool = DecoderPool(workers, deadline=deadline)
        self._seen = seen

    @property
    def lost(self) -> int:
        """Processes that had to be replaced."""
        return self._pool.lost

    @property
    def processes(self) -> list[int]:
        """Their numbers."""
        return self._pool.processes

    def start(self) -> None:
        """Start all processes, to be ready when the first images come.

        Raises:
            RunError: They cannot be started.
        """
        self._pool.start(self._pool.workers)

    def close(self) -> None:
        """End all processes."""
        self._pool.close()

    async def decode(self, data: bytes, size: tuple[int, int], colour: bool) -> Decoded:
        """Return an image's pixels. Whoever stops waiting takes it out of the queue.

        Args:
            data: Content of a file.
            size: Height and width to return.
            colour: Three channels if true, else one.

        Raises:
            Refused: It is no image, or its process was lost through no fault of it.
        """
        start = time.monotonic()
        try:
            future = self._pool.submit(Request(data, size, colour))
            decoded = await asyncio.wrap_future(future)
        except RunError as error:
            raise RequestError("decoder_lost", str(error)) from error
        self._seen(time.monotonic() - start)
        if decoded.pixels is None:
            code = "decoder_lost" if decoded.passing and not decoded.fatal else "not_an_image"
            raise RequestError(code, f"No image could be read: {decoded.reason}.")
        return decoded
