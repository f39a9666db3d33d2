"""The boxes of JPEG 2000 and AVIF files (ISO base media file format, ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from lucency.errors import ImageError
from lucency.imaging.headers.header import DAMAGED, ENDS_EARLY

_MOST_BOXES = 2**12  # inside one box


class Box(NamedTuple):
    """A box.

    Attributes:
        name: Four letters.
        start: Where its content starts.
        end: Where it ends.
    """

    name: bytes
    start: int
    end: int


def boxes(data: bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two places.

    Raises:
        ImageError: One is damaged or ends beyond the last place.
    """
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        length, name = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, content)
            content += 8
        stop = end if length == 0 else start + length
        if stop < content:
            raise ImageError(DAMAGED.format("the length of a box"))
        if stop > end:
            raise ImageError(ENDS_EARLY)
        yield Box(name, content, stop)
        start = stop
    raise ImageError(DAMAGED.format("too many boxes"))
