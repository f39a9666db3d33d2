"""Undo the compression of a whole data set (PS3.5, annex A.5), no further than is sensible."""

from __future__ import annotations

import zlib

from lucency.errors import ImageError
from lucency.imaging.dicom.elements import DAMAGED
from lucency.imaging.headers import ENDS_EARLY

# Rows of one value deflate 1,000 times, radiographs 2 to 3 times, drawings up to 60.
_MOST_TIMES = 250
_ALLOWANCE = 2**16  # bytes, for small files
_FIRST = 4 * 2**20  # bytes within which the image has to begin


class Deflated:
    """A compressed data set that unpacks as far as is asked for."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._most = _MOST_TIMES * len(data) + _ALLOWANCE

    def beginning(self) -> memoryview:
        """Return the first bytes, enough for all that comes before the pixels.

        Raises:
            ImageError: It is damaged.
        """
        return self._unpacked(min(_FIRST, self._most))

    def up_to(self, length: int) -> memoryview:
        """Return the first ``length`` bytes, or all if there are fewer.

        Raises:
            ImageError: It is damaged, or unpacks to more than its size warrants.
        """
        if length > self._most:
            raise ImageError(
                f"unpacks to more than {_MOST_TIMES} times its size, as files that are to fill "
                "memory; export its image as PNG if it is real"
            )
        return self._unpacked(length)

    def _unpacked(self, length: int) -> memoryview:
        try:
            return memoryview(zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._data, length))
        except zlib.error as error:
            why = ENDS_EARLY if "incomplete" in str(error) else DAMAGED.format("not deflated")
            raise ImageError(why) from error
