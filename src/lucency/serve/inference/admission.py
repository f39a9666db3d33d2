"""Who may come in: images and bytes that are in the service at a time, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lucency.serve.inference.errors import RequestError

_WEIGHT = 0.1  # of the newest batch in the mean time per image


class Admission:
    """Counts what is in the service; used by its event loop alone.

    A request is refused at once where it would have to wait longer than its deadline allows:
    what is accepted is answered, and what cannot be costs next to nothing.

    Attributes:
        images: In the service now.
        bytes: Of bodies in the service now.
        seconds: Mean time between two images' answers while there was work; 0 while unknown.
    """

    def __init__(self, most_images: int, most_bytes: int) -> None:
        self.images = self.bytes = 0
        self.seconds = 0.0
        self._most_images, self._most_bytes = most_images, most_bytes
        self._last = 0.0

    def wait(self, more: int = 1) -> float:
        """Predict in how many seconds ``more`` images would be answered."""
        return (self.images + more) * self.seconds

    def check(self, left: float, more: int = 1) -> None:
        """Refuse images that would be late.

        Args:
            left: Seconds until they have to be answered.
            more: How many they are; more than there is room for come in where nothing else is.

        Raises:
            Refused: They would; it says when to try again.
        """
        wait = self.wait(more)
        if self.images and self.images + more > self._most_images:
            raise RequestError("busy", "Too many images are waiting; try again later.", wait)
        if wait > left and self.images:
            raise RequestError(
                "busy", f"The answer would take about {wait:.1f} s; try again later.", wait - left
            )

    @contextmanager
    def inside(self, images: int) -> Iterator[None]:
        """Count images as long as the block runs."""
        self.images += images
        try:
            yield
        finally:
            self.images -= images

    def take(self, count: int) -> None:
        """Count bytes of a body; ``give`` them back.

        Raises:
            Refused: There are too many already.
        """
        if self.bytes and self.bytes + count > self._most_bytes:
            raise RequestError("busy", "Too many bytes are waiting; try again later.", self.wait())
        self.bytes += count

    def give(self, count: int) -> None:
        """Count bytes no longer."""
        self.bytes -= count

    def answered(self, count: int, since: float) -> None:
        """Learn from a batch how long an image takes.

        Args:
            count: Images in it.
            since: ``time.monotonic()`` when the first of them came in.
        """
        now = time.monotonic()
        took = (now - max(since, self._last)) / count
        self._last = now
        self.seconds = took if not self.seconds else self.seconds + _WEIGHT * (took - self.seconds)
