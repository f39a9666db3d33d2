"""The header of a WebP file, and the same file without its metadata (RFC 9649)."""

from __future__ import annotations

import struct

from lucency.errors import ImageError
from lucency.imaging.headers.header import (
    DAMAGED,
    ENDS_EARLY,
    EXIF,
    Header,
    exif_orientation,
)

_MOST_CHUNKS = 2**14
_ALPHA, _ANIMATION = 0x10, 0x02  # flags of VP8X that are kept
_PIXELS = {b"VP8X", b"ANIM", b"ALPH", b"VP8 ", b"VP8L", b"ANMF"}


def is_webp(data: bytes) -> bool:
    """Tell whether this is the start of a WebP file."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def read_webp(data: bytes) -> Header:
    """Iterate over the chunks; keep those of the first frame.

    Raises:
        ImageError: It is truncated or damaged.
    """
    (length,) = struct.unpack_from("<I", data, 4)
    end, place = length + 8, 12
    if end > len(data):
        raise ImageError(ENDS_EARLY)
    kept: list[bytes] = []
    size, frames, orientation = (0, 0), 0, 1
    for _ in range(_MOST_CHUNKS):
        if place + 8 > end:
            break
        name, length = struct.unpack_from("<4sI", data, place)
        content = data[place + 8 : place + 8 + length]
        if place + 8 + length > end:
            raise ImageError(DAMAGED.format("a chunk is longer than the file"))
        frames += name in (b"ANMF", b"VP8 ", b"VP8L")
        size = size if any(size) else _size(name, content)
        if name in _PIXELS and frames <= 1:
            kept.append(_chunk(name, _without_metadata(name, content)))
        elif name == b"EXIF":
            orientation = exif_orientation(content.removeprefix(EXIF))
        place += 8 + length + length % 2
    else:
        raise ImageError(DAMAGED.format("too many chunks"))
    if not any(size) or not frames:
        raise ImageError(DAMAGED.format("its pixels are missing"))
    body = b"WEBP" + b"".join(kept)
    stream = b"RIFF" + struct.pack("<I", len(body)) + body
    return Header("WEBP", *size, orientation, min(frames, 2), stream)


def _size(name: bytes, content: bytes) -> tuple[int, int]:
    """Return height and width as a chunk states them; zeros where it does not."""
    if name == b"VP8X":
        return tuple(  # type: ignore[return-value]
            int.from_bytes(content[place : place + 3], "little") + 1 for place in (7, 4)
        )
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 6)
        return height & 0x3FFF, width & 0x3FFF
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 1)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    return 0, 0


def _without_metadata(name: bytes, content: bytes) -> bytes:
    """Return a chunk; the flags of VP8X announce no metadata any more."""
    if name != b"VP8X" or not content:
        return content
    return bytes([content[0] & (_ALPHA | _ANIMATION)]) + content[1:]


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
