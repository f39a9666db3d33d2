"""The header of a JPEG 2000 file, and the same file without its metadata (ITU-T T.800)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from lucency.errors import ImageError
from lucency.imaging.headers.boxes import boxes
from lucency.imaging.headers.header import DAMAGED, ENDS_EARLY, Header, rare

CODESTREAM_START = b"\xff\x4f\xff\x51"
BOX_START = b"\0\0\0\x0cjP  \r\n\x87\n"
_MOST_TILES = 2**14
_MOST_SAMPLES = 4
_PIXELS = {b"ihdr", b"bpcc", b"pclr", b"cmap", b"cdef"}
_ENUMERATED = 1  # way to state the colours; the other is a profile


class Codestream(NamedTuple):
    """What the start of a codestream says: sides, samples of a pixel, and their bits."""

    height: int
    width: int
    samples: int
    bits: int


def read_codestream(data: bytes) -> Codestream | None:
    """Read the size marker (A.5.1); ``None`` where samples differ or there are too many tiles.

    Raises:
        ImageError: It ends early.
    """
    try:
        numbers = struct.unpack_from(">8IH", data, 8)
        sizes = [struct.unpack_from(">3B", data, 42 + 3 * k) for k in range(min(numbers[8], 4))]
    except struct.error as error:
        raise ImageError(ENDS_EARLY) from error
    width, height, left, top, tile_width, tile_height, _, _, samples = numbers
    bits = {size[0] & 0x7F for size in sizes}
    if not (tile_width and tile_height) or len(bits) != 1 or {s[1:] for s in sizes} != {(1, 1)}:
        return None
    if -(-width // tile_width) * -(-height // tile_height) > _MOST_TILES:
        return None
    return Codestream(height - top, width - left, samples, bits.pop() + 1)


def read_jpeg_2000(data: bytes) -> Header:
    """Read the header of a codestream, alone or in boxes.

    Raises:
        ImageError: It is truncated, damaged or of a rare kind.
    """
    start, stream = (0, data) if data.startswith(CODESTREAM_START) else _boxed(data)
    found = read_codestream(data[start : start + 64])
    if found is None or not 0 < found.samples <= _MOST_SAMPLES:
        raise rare("a JPEG 2000 file", "subsampled or unequal samples, or too many tiles")
    if not data.startswith(CODESTREAM_START, start) or found.bits > 16:
        raise rare("a JPEG 2000 file", f"{found.bits} bits")
    bits = found.bits if found.samples == 1 else 8
    return Header("JPEG2000", found.height, found.width, 1, 1, stream, bits)


def _boxed(data: bytes) -> tuple[int, bytes]:
    """Return where the codestream starts, and the file with the boxes that describe pixels."""
    kept, header = [data[: len(BOX_START)]], b""
    for box in boxes(data, len(BOX_START), len(data)):
        if box.name == b"ftyp":
            kept.append(_box(b"ftyp", data[box.start : box.end]))
        elif box.name == b"jp2h" and not header:
            inner = [
                _box(each.name, data[each.start : each.end])
                for each in boxes(data, box.start, box.end)
                if each.name in _PIXELS
                or (each.name == b"colr" and data[each.start] == _ENUMERATED)
            ]
            header = _box(b"jp2h", b"".join(inner))
        elif box.name == b"jp2c" and header:
            stream = _box(b"jp2c", data[box.start : box.end])
            return box.start, b"".join((*kept, header, stream))
    raise ImageError(DAMAGED.format("its pixels are missing"))


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", len(content) + 8, name) + content
