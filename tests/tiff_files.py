"""TIFF files with any samples and tags, which few encoders would write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tags = Mapping[int, tuple[int, Sequence[int]]]  # number -> type (3: short, 4: long) and values


def tiff(
    samples: NDArray[Any],
    *,
    order: str = "<",
    packed: bool = False,
    more: Tags | None = None,
    following: bytes = b"",
) -> bytes:
    """Write a TIFF file of one strip.

    Args:
        samples: (height, width) or (height, width, samples).
        order: ``<`` for little endian, ``>`` for big endian.
        packed: Whether to deflate.
        more: Tags to add or to replace.
        following: A file, not packed, whose first page becomes the second.
    """
    array = np.atleast_3d(samples)
    height, width, n = array.shape
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if packed else data
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * array.dtype.itemsize] * n),
        259: (3, [8 if packed else 1]),
        262: (3, [2 if n > 2 else 1]),
        273: (4, [8]),
        277: (3, [n]),
        278: (4, [height]),
        279: (4, [len(data)]),
        **(more or {}),
    }
    place = 8 + len(data) + len(data) % 2
    directory, values = _directory(tags, order, place)
    body = data + bytes(len(data) % 2)
    end = place + len(directory) + 4 + len(values)
    pointer, second = 0, b""
    if following:
        second, pointer = _moved(following, end)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place)
    return start + body + directory + struct.pack(order + "I", pointer) + values + second


def _directory(tags: Tags, order: str, place: int) -> tuple[bytes, bytes]:
    """Return a directory without the place of the next one, and the values that lie behind both."""
    entries, values = struct.pack(order + "H", len(tags)), b""
    behind = place + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        entries += struct.pack(order + "HHI", tag, kind, len(numbers))
        if len(content) > 4:
            entries += struct.pack(order + "I", behind + len(values))
            values += content
        else:
            entries += content.ljust(4, b"\0")
    return entries, values


def _moved(data: bytes, place: int) -> tuple[bytes, int]:
    """Return a little-endian file of ours behind another one, and where its directory then is.

    Its strip is not moved: nothing decodes it.
    """
    (directory,) = struct.unpack_from("<I", data, 4)
    return data, place + directory
