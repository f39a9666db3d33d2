"""PNG files as chunks and JPEG files as segments: split a file, and assemble one."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))

Chunks = list[tuple[bytes, bytes]]  # name, content
Segments = list[tuple[int, bytes, bytes]]  # marker, content, scan data that follows


def saved(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    """Return the content of a file that Pillow writes."""
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes = b"") -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def header(width: int, height: int, bits: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    """Return the content of an IHDR chunk."""
    return struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of these chunks, with correct checksums."""
    return PNG + b"".join(chunk(name, content) for name, content in chunks)


def chunks_of(data: bytes) -> Chunks:
    """Return the chunks of a valid PNG file."""
    found, place = [], len(PNG)
    while place < len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        found.append((name, data[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def rows_of(pixels: NDArray[np.uint8]) -> bytes:
    """Return (height, width) pixels as PNG rows, each after a byte for "no filter"."""
    return np.pad(pixels, ((0, 0), (1, 0))).tobytes()


def interlaced(pixels: NDArray[np.uint8]) -> bytes:
    """Return a grey image as an interlaced PNG, which Pillow can read but not write."""
    height, width = pixels.shape
    passes = [pixels[y::down, x::right] for y, x, down, right in (*_ADAM7, (1, 0, 2, 1))]
    rows = b"".join(rows_of(each) for each in passes if each.size)
    return png(
        (b"IHDR", header(width, height, interlace=1)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def segments_of(data: bytes) -> Segments:
    """Return the segments of a valid JPEG file; those of scans include the data that follows."""
    found, place = [], 2
    while data[place + 1] != 0xD9:
        (length,) = struct.unpack_from(">H", data, place + 2)
        marker, end = data[place + 1], place + 2 + length
        after = end
        while marker == 0xDA and (
            data[after] != 0xFF or data[after + 1] in (0, *range(0xD0, 0xD8))
        ):
            after += 1
        found.append((marker, data[place + 4 : end], data[end:after]))
        place = after
    return found


def jpeg(*segments: tuple[int, bytes, bytes]) -> bytes:
    """Return a JPEG file of these segments."""
    parts = (segment(marker, content) + scan for marker, content, scan in segments)
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xd9"
