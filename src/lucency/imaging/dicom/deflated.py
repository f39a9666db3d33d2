"""Inflate a deflated data set (PS3.5, annex A.5) within bounds."""

from __future__ import annotations

import zlib

from lucency.errors import ImageError
from lucency.imaging.dicom.elements import DAMAGED
from lucency.imaging.headers import ENDS_EARLY

# Compression ratios: 1,000 for rows of one value, 2 to 3 for radiographs, up to 60 for drawings.
_MOST_TIMES = 250
_ALLOWANCE = 2**16  # bytes, for small files
_FIRST = 4 * 2**20  # bytes within which the pixels must begin


class Deflated:
    """A compressed data set that is inflated as far as requested."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._most = _MOST_TIMES * len(data) + _ALLOWANCE

    def beginning(self) -> memoryview:
        """Return the first bytes, enough for everything before the pixels.

        Raises:
            ImageError: It is damaged.
        """
        return self._unpacked(min(_FIRST, self._most))

    def up_to(self, length: int) -> memoryview:
        """Return the first ``length`` bytes, or all if there are fewer.

        Raises:
            ImageError: It is damaged, or its compression ratio is implausible.
        """
        if length > self._most:
            raise ImageError(
                f"unpacks to more than {_MOST_TIMES} times its size, as decompression bombs do; "
                "export its image as PNG if it is genuine"
            )
        return self._unpacked(length)

    def _unpacked(self, length: int) -> memoryview:
        try:
            return memoryview(zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._data, length))
        except zlib.error as error:
            reason = ENDS_EARLY if "incomplete" in str(error) else DAMAGED.format("not deflated")
            raise ImageError(reason) from error
