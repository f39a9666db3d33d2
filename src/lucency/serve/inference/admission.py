"""Admission control: how many images and bytes are in the service, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lucency.serve.inference.errors import RequestError

_WEIGHT = 0.1  # of the newest batch in the mean time per image


class Admission:
    """Counts what is in the service; only its event loop uses it.

    A request is rejected at once if it would have to wait longer than its deadline allows. What
    is accepted is completed, and what cannot be completed costs next to nothing.

    Args:
        max_images: In the service at a time.
        max_bytes: Of bodies in the service at a time.

    Attributes:
        images: In the service now.
        bytes: Of bodies in the service now.
        seconds: Mean time between the results of two images under load; 0 while unknown.
    """

    def __init__(self, max_images: int, max_bytes: int) -> None:
        self.images = self.bytes = 0
        self.seconds = 0.0
        self._max_images, self._max_bytes = max_images, max_bytes
        self._last = 0.0

    def expected_wait(self, more: int = 1) -> float:
        """Return in how many seconds ``more`` images are expected to be done."""
        return (self.images + more) * self.seconds

    def check(self, left: float, more: int = 1) -> None:
        """Reject images that would miss their deadline.

        Args:
            left: Seconds until the deadline.
            more: How many images. More than the limit are accepted if the service is empty.

        Raises:
            RequestError: They would; it says when to try again.
        """
        wait = self.expected_wait(more)
        if self.images and self.images + more > self._max_images:
            raise RequestError("busy", "Too many images are waiting; try again later.", wait)
        if wait > left and self.images:
            raise RequestError(
                "busy", f"The response would take about {wait:.1f} s; try again later.", wait - left
            )

    @contextmanager
    def hold_images(self, count: int) -> Iterator[None]:
        """Count images as being in the service while the block runs."""
        self.images += count
        try:
            yield
        finally:
            self.images -= count

    def add_bytes(self, count: int, held: int = 0) -> None:
        """Count bytes of a body that have arrived, until ``remove_bytes``.

        Args:
            count: New bytes.
            held: Bytes of the same body that are counted already.

        Raises:
            RequestError: There are too many already.
        """
        self.check_bytes(count, held)
        self.bytes += count

    def check_bytes(self, count: int, held: int = 0) -> None:
        """Reject a body that would not fit now. Nothing is reserved: announcing costs nothing.

        Raises:
            RequestError: There are too many bytes already.
        """
        if self.bytes > held and self.bytes + count > self._max_bytes:
            wait = self.expected_wait()
            raise RequestError("busy", "Too many bytes are waiting; try again later.", wait)

    def remove_bytes(self, count: int) -> None:
        """Stop counting bytes."""
        self.bytes -= count

    def record(self, count: int, since: float) -> None:
        """Update the mean time per image from a finished batch.

        Args:
            count: Images in it.
            since: ``time.monotonic()`` when the first of them was queued.
        """
        now = time.monotonic()
        took = (now - max(since, self._last)) / count
        self._last = now
        self.seconds = took if not self.seconds else self.seconds + _WEIGHT * (took - self.seconds)
