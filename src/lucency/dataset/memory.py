"""Images that are in memory already, to be read like those on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.dataset.cache import PixelStore


class MemoryStore(PixelStore):
    """Decoded images in memory.

    Args:
        pixels: (n, height, width, 1 or 3) uint8; not copied.
        sizes: (n, 2) int64, height and width that the images had.
    """

    def __init__(self, pixels: NDArray[np.uint8], sizes: NDArray[np.int64]) -> None:
        height, width, channels = pixels.shape[1:]
        self._pixels, self.sizes = pixels, sizes
        self.shape = (height, width, channels)
        self.sha256 = tuple(hashlib.sha256(each.tobytes()).hexdigest() for each in pixels)
        self.reasons: dict[int, str] = {}
        self.decoded = 0

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return rows in the order asked for, (k, height, width, channels) uint8."""
        return self._pixels[np.asarray(rows, np.int64)]

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is no file to be closed."""
