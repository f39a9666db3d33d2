"""The header of a GIF file, and the same file with its first frame only (GIF89a)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from lucency.errors import ImageError
from lucency.imaging.headers.header import DAMAGED, Header

GIF_STARTS = (b"GIF87a", b"GIF89a")
_MOST_BLOCKS = 2**10  # before the second frame: comments and the like
_MOST_BLOCKS_COUNTED = 2**15
_HEAD = -1
_CONTROL, _IMAGE, _EXTENSION, _TRAILER = 0xF9, 0x2C, 0x21, 0x3B


def read_gif(data: bytes) -> Header:
    """Iterate over the blocks up to the second frame.

    Raises:
        ImageError: It is truncated, damaged or empty.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + _table(flags)
    kept, image = [data[:place]], b""
    for _ in range(_MOST_BLOCKS):
        kind = data[place]
        if kind == _EXTENSION:
            end = _end(data, place + 2)
            if data[place + 1] == _CONTROL and not image:
                kept.append(data[place:end])  # says which colour is transparent
        elif kind == _IMAGE and not image:
            left, top, columns, rows, flags = struct.unpack_from("<4HB", data, place + 1)
            end = _end(data, place + 11 + _table(flags))
            # Some frames are larger than the file says.
            width, height = max(width, left + columns), max(height, top + rows)
            image = data[place:end]
        elif kind in (_IMAGE, _TRAILER) and image:
            stream = b"".join((*kept, image, bytes([_TRAILER])))
            return Header("GIF", height, width, 1, 2 if kind == _IMAGE else 1, stream)
        else:
            raise ImageError(DAMAGED.format("an unknown block, or no image"))
        place = end
    raise ImageError(DAMAGED.format("too many blocks"))


def read_gif_frame(data: bytes, frame: int) -> Header:
    """Read the file up to a frame, which is drawn over those before it.

    Args:
        data: The content of the file.
        frame: Its number, from 1.

    Raises:
        ImageError: It is damaged, or has fewer frames.
    """
    width, height, kept, frames = 0, 0, [], 0
    for kind, block, size in _blocks(data):
        if frames < frame:
            kept.append(block)
            width, height = max(width, size[0]), max(height, size[1])
        frames += kind == _IMAGE
    if frame > frames:
        raise ImageError(f"frame {frame:,} of {frames:,}; expected one that there is")
    stream = b"".join((*kept, bytes([_TRAILER])))
    return Header("GIF", height, width, 1, 1, stream, skipped=frame - 1)


def count_gif_frames(data: bytes) -> int:
    """Return the number of frames.

    Raises:
        ImageError: The file is damaged.
    """
    return sum(kind == _IMAGE for kind, _, _ in _blocks(data))


def _blocks(data: bytes) -> Iterator[tuple[int, bytes, tuple[int, int]]]:
    """Yield kind and bytes of the blocks that an image depends on, and width and height for it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + _table(flags)
    yield _HEAD, data[:place], (width, height)
    for _ in range(_MOST_BLOCKS_COUNTED):
        kind = data[place]
        if kind == _TRAILER:
            return
        if kind == _EXTENSION:
            end = _end(data, place + 2)
            if data[place + 1] == _CONTROL:
                yield kind, data[place:end], (0, 0)
        elif kind == _IMAGE:
            left, top, columns, rows, flags = struct.unpack_from("<4HB", data, place + 1)
            end = _end(data, place + 11 + _table(flags))
            yield kind, data[place:end], (left + columns, top + rows)
        else:
            raise ImageError(DAMAGED.format("an unknown block, or no image"))
        place = end
    raise ImageError(DAMAGED.format("too many blocks"))


def _table(flags: int) -> int:
    """Return the bytes of the colour table that follows."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _end(data: bytes, place: int) -> int:
    """Return where a sequence of blocks, each with its length in front, ends."""
    while length := data[place]:
        place += length + 1
    return place + 1
