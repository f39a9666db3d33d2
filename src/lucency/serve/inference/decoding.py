"""Bytes to pixels in the processes of ``lucency.imaging.decoder``, for an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from lucency.errors import RunError
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.serve.inference.errors import RequestError


class Decoders:
    """Decoding processes, used from an event loop.

    Args:
        workers: Most processes; 0 for one per processor.
        timeout: Seconds that decoding an image may take.
        on_decoded: Called with the seconds that each image took, waiting for a process included.
    """

    def __init__(self, workers: int, timeout: float, on_decoded: Callable[[float], None]) -> None:
        self._pool = DecoderPool(workers, deadline=timeout, preload=True)
        self._on_decoded = on_decoded

    @property
    def lost(self) -> int:
        """How many processes had to be replaced."""
        return self._pool.lost

    @property
    def processes(self) -> list[int]:
        """The process IDs."""
        return self._pool.processes

    def start(self) -> None:
        """Start all processes, so that they are ready for the first images.

        Raises:
            RunError: They cannot be started.
        """
        self._pool.start(self._pool.workers)

    def close(self) -> None:
        """End all processes."""
        self._pool.close()

    async def decode(self, request: Request) -> Decoded:
        """Return an image's pixels. Cancelling the call removes the image from the queue.

        Raises:
            RequestError: It is not an image, or its process was lost for another reason.
        """
        start = time.monotonic()
        try:
            decoded = await asyncio.wrap_future(self._pool.submit(request))
        except RunError as error:
            raise RequestError("decoder_lost", str(error)) from error
        self._on_decoded(time.monotonic() - start)
        if decoded.pixels is None:
            code = "decoder_lost" if decoded.transient and not decoded.fatal else "not_an_image"
            raise RequestError(code, f"The image could not be read: {decoded.reason}.")
        return decoded
