"""The header of an AVIF file (ISO/IEC 23008-12 and 23000-22)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from lucency.errors import ImageError
from lucency.imaging.headers.boxes import Box, boxes
from lucency.imaging.headers.header import DAMAGED, Header

_BRANDS = (b"avif", b"avis")
# Quarter turns against the clock, then mirroring: None, top-bottom (0) or left-right (1).
_ORIENTATIONS: Mapping[tuple[int, int | None], int] = {
    (0, None): 1,
    (1, None): 8,
    (2, None): 3,
    (3, None): 6,
    (0, 0): 4,
    (1, 0): 5,
    (2, 0): 2,
    (3, 0): 7,
    (0, 1): 2,
    (1, 1): 7,
    (2, 1): 4,
    (3, 1): 5,
}


def is_avif(data: bytes) -> bool:
    """Tell whether this is the start of an AVIF file, whose brands include one of ours."""
    if data[4:8] != b"ftyp":
        return False
    (length,) = struct.unpack_from(">I", data)
    return any(data[i : i + 4] in _BRANDS for i in range(8, min(length, len(data), 128), 4))


def read_avif(data: bytes) -> Header:
    """Read size and orientation of the primary image.

    Raises:
        ImageError: It is truncated or damaged.
    """
    outer = {box.name: box for box in boxes(data, 0, len(data))}
    if b"meta" not in outer:
        raise ImageError(DAMAGED.format("it has no primary image"))
    size, turns, mirrored = (0, 0), 0, None
    for box in _properties(data, outer[b"meta"]):
        if box.name == b"ispe":
            width, height = struct.unpack_from(">II", data, box.start + 4)
            size = height, width
        elif box.name == b"irot":
            turns = data[box.start] & 3
        elif box.name == b"imir":
            mirrored = data[box.start] & 1
    if not any(size):
        raise ImageError(DAMAGED.format("its size is missing"))
    frames = 2 if b"moov" in outer else 1
    return Header("AVIF", *size, _ORIENTATIONS[turns, mirrored], frames, data)


def _properties(data: bytes, meta: Box) -> list[Box]:
    """Return the properties of the primary item."""
    inner = {box.name: box for box in boxes(data, meta.start + 4, meta.end)}
    if not {b"pitm", b"iprp"} <= inner.keys():
        raise ImageError(DAMAGED.format("it has no primary image"))
    place = inner[b"pitm"].start
    (primary,) = struct.unpack_from(">I" if data[place] else ">H", data, place + 4)
    parts = {box.name: box for box in boxes(data, inner[b"iprp"].start, inner[b"iprp"].end)}
    if not {b"ipco", b"ipma"} <= parts.keys():
        raise ImageError(DAMAGED.format("its size is missing"))
    found = [*boxes(data, parts[b"ipco"].start, parts[b"ipco"].end)]
    numbers = _associated(data, parts[b"ipma"], primary)
    return [found[number - 1] for number in numbers if 0 < number <= len(found)]


def _associated(data: bytes, box: Box, item: int) -> list[int]:
    """Return the numbers of an item's properties, from 1 (ISO/IEC 23008-12, section 9.3)."""
    version, wide = data[box.start], data[box.start + 3] & 1
    (count,) = struct.unpack_from(">I", data, box.start + 4)
    place, head = box.start + 8, struct.Struct(">IB" if version else ">HB")
    for _ in range(min(count, box.end - place)):
        number, properties = head.unpack_from(data, place)
        place += head.size
        end = place + properties * (2 if wide else 1)
        if number == item:
            values = struct.unpack_from(f">{properties}{'H' if wide else 'B'}", data, place)
            return [value & (0x7FFF if wide else 0x7F) for value in values]
        place = end
    return []
