"""Image files changed at random, with valid checksums, to reach the decoders."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from benchmarks.file_structure import PNG, chunks_of, interlaced, jpeg, png, saved, segments_of
from benchmarks.reliability.corrupt_files import drawn
from benchmarks.reliability.dicom_mutations import (
    dicom_head,
    dicom_order,
    dicom_seeds,
    dicom_syntax,
    dicom_value,
)
from benchmarks.reliability.format_mutations import ways_of

_PNG_NAMES = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf", b"acTL", b"fcTL", b"iCCP")
# Lengths, sizes and table indices at which decoders have had errors.
_EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 63, 64, 127, 128, 254, 255)


def seeds() -> list[bytes]:
    """Return small valid PNG, JPEG and DICOM files, 40 x 56 and 48 x 48 pixels."""
    grey = Image.fromarray(drawn(1)[:40]).resize((56, 40))
    colour, clear = (Image.fromarray(drawn(2, n)) for n in (3, 4))
    deep = (drawn(3).astype(np.uint16) << 8) + drawn(4)
    exif = Image.Exif()
    exif[0x0112] = 6
    pngs = [
        saved(grey),
        saved(colour),
        saved(clear),
        saved(clear.convert("LA")),
        saved(colour.quantize(16), transparency=bytes(range(0, 256, 16))),
        saved(colour.quantize(200)),
        saved(grey.convert("1")),
        saved(deep),
        interlaced(drawn(5)),
        saved(grey, exif=exif),
    ]
    jpegs = [
        saved(grey, "JPEG"),
        saved(grey, "JPEG", progressive=True),
        saved(colour, "JPEG", subsampling="4:2:0"),
        saved(colour, "JPEG", subsampling="4:4:4", progressive=True),
        saved(colour, "JPEG", subsampling="4:2:2", restart_marker_blocks=2),
        saved(Image.fromarray(drawn(6, 4), "CMYK"), "JPEG"),
        saved(Image.fromarray(drawn(7, 4), "CMYK"), "JPEG", progressive=True),
        saved(grey, "JPEG", exif=exif, quality=10),
        saved(colour, "JPEG", optimize=True, keep_rgb=True),
    ]
    return pngs + jpegs + dicom_seeds()


def mutated(valid: Sequence[bytes], number: int) -> bytes:
    """Return the mutation of this number, which is always the same.

    Args:
        valid: Files to start from, such as those of ``seeds``.
        number: The number of the mutation.
    """
    draw = random.Random(number)
    data, other = draw.choice(valid), draw.choice(valid)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        ways = _RAW if draw.random() < 0.15 else _ways(data)
        try:
            data = draw.choice(ways)(draw, data, other)
        except (ValueError, IndexError, zlib.error, EOFError, KeyError):
            data = _noise(draw, data, other)  # it cannot be parsed any more
        except Exception as error:
            if type(error).__name__ != "error":  # struct's
                raise
            data = _noise(draw, data, other)
    return data


def _ways(data: bytes) -> tuple[_Way, ...]:
    if data[128:132] == b"DICM":
        return _DICOM
    if data.startswith(PNG):
        return _PNG
    return _JPEG if data.startswith(b"\xff\xd8") else ways_of(data)


def _altered(draw: random.Random, data: bytes, most: int = 4) -> bytes:
    """Change a few bytes: one bit, an edge value, or any value."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, most) if changed else 0):
        place = draw.randrange(len(changed))
        changed[place] = draw.choice(
            (changed[place] ^ 1 << draw.randrange(8), draw.choice(_EDGES), draw.randrange(256))
        )
    return bytes(changed)


def _noise(draw: random.Random, data: bytes, _: bytes) -> bytes:
    return _altered(draw, data, 10)


def _cut(draw: random.Random, data: bytes, _: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _spliced(draw: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)] + other[draw.randrange(len(other) + 1) :]


def _doubled(draw: random.Random, data: bytes, _: bytes) -> bytes:
    start, length = draw.randrange(len(data)), draw.choice((1, 4, 64, 4096))
    return data[:start] + data[start : start + length] * 2 + data[start + length :]


def _png_chunk(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Alter the content of one chunk, with a valid checksum."""
    chunks = chunks_of(data)
    place = draw.randrange(len(chunks))
    name, content = chunks[place]
    chunks[place] = (name, _altered(draw, content))
    return png(*chunks)


def _png_header(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Alter depth, colours, interlacing or the low bytes of width and height."""
    (name, content), *rest = chunks_of(data)
    changed = bytearray(content)
    place = draw.choice((2, 3, 6, 7, 8, 8, 9, 9, 12))
    usual = {8: (1, 2, 4, 8, 16), 9: (0, 2, 3, 4, 6), 12: (0, 1)}
    changed[place] = draw.choice(usual.get(place, _EDGES))
    return png((name, bytes(changed)), *rest)


def _png_rows(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Alter filters and pixels, or write too few or too many, and compress them again."""
    chunks = chunks_of(data)
    rows = bytearray(
        zlib.decompress(b"".join(content for name, content in chunks if name == b"IDAT"))
    )
    for _ in range(draw.randint(1, 8)):
        rows[draw.randrange(len(rows))] = draw.choice((0, 1, 2, 3, 4, 5, draw.randrange(256)))
    keep = draw.choice((len(rows), len(rows), draw.randrange(len(rows)), 3 * len(rows)))
    stream = zlib.compress((bytes(rows) * 3)[:keep], draw.choice((0, 1, 9)))
    place = next(i for i, (name, _) in enumerate(chunks) if name == b"IDAT")
    rest = [each for each in chunks[place:] if each[0] != b"IDAT"]
    cut = draw.randrange(len(stream) + 1)
    parts = (
        [(b"IDAT", stream)]
        if draw.random() < 0.5
        else [(b"IDAT", stream[:cut]), (b"IDAT", stream[cut:])]
    )
    return png(*chunks[:place], *parts, *rest)


def _png_order(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Drop, double, move or rename chunks, or take one from another file."""
    chunks = chunks_of(data)
    place = draw.randrange(len(chunks))
    foreign = (
        draw.choice(chunks_of(other)) if other.startswith(PNG) else (b"tRNS", draw.randbytes(6))
    )
    way = draw.randrange(5)
    if way == 0:
        del chunks[place]
    elif way == 1:
        chunks.insert(place, chunks[place])
    elif way == 2:
        chunks.insert(draw.randrange(len(chunks)), chunks.pop(place))
    elif way == 3:
        chunks[place] = (draw.choice(_PNG_NAMES), chunks[place][1])
    else:
        chunks.insert(draw.randrange(1, len(chunks)), foreign)
    return png(*chunks)


def _jpeg_segment(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Alter the content of one segment: tables, header, scan header."""
    segments = segments_of(data)
    place = draw.randrange(len(segments))
    marker, content, scan = segments[place]
    segments[place] = (marker, _altered(draw, content), scan)
    return jpeg(*segments)


def _jpeg_frame(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Alter the size, the sampling, the table numbers or the type of the frame."""
    changed = []
    for marker, content, scan in segments_of(data):
        if marker in (0xC0, 0xC1, 0xC2):
            frame = bytearray(content)
            frame[draw.choice((2, 4, *range(5, len(frame))))] = draw.choice(
                (*_EDGES, 0x11, 0x12, 0x21, 0x22, 0x14, 0x41, 0x44)
            )
            kind = draw.choice((marker, marker, marker, 0xC0, 0xC1, 0xC2))
            changed.append((kind, bytes(frame), scan))
        else:
            changed.append((marker, content, scan))
    return jpeg(*changed)


def _jpeg_scan(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Alter the coded pixels without creating markers, or truncate them."""
    segments = segments_of(data)
    scans = [i for i, (marker, _, _) in enumerate(segments) if marker == 0xDA]
    place = draw.choice(scans)
    marker, content, scan = segments[place]
    altered = (
        _altered(draw, scan, 12).replace(b"\xff", b"\xff\x00").replace(b"\xff\x00\x00", b"\xff\x00")
    )
    segments[place] = (
        marker,
        content,
        altered[: draw.choice((None, draw.randrange(len(scan) + 1)))],
    )
    return jpeg(*segments)


def _jpeg_order(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Drop, double or move segments, or take one from another file."""
    segments = segments_of(data)
    place = draw.randrange(len(segments))
    way = draw.randrange(4)
    if way == 0:
        del segments[place]
    elif way == 1:
        segments[place:place] = [segments[place]] * draw.choice((1, 1, 20))
    elif way == 2:
        segments.insert(draw.randrange(len(segments)), segments.pop(place))
    elif not other.startswith(PNG):
        segments.insert(draw.randrange(len(segments) + 1), draw.choice(segments_of(other)))
    return jpeg(*segments)


_Way = Callable[[random.Random, bytes, bytes], bytes]
_RAW: tuple[_Way, ...] = (_noise, _cut, _spliced, _doubled)
_PNG: tuple[_Way, ...] = (_png_chunk, _png_header, _png_rows, _png_order)
_JPEG: tuple[_Way, ...] = (_jpeg_segment, _jpeg_frame, _jpeg_scan, _jpeg_order)
_DICOM: tuple[_Way, ...] = (dicom_value, dicom_value, dicom_head, dicom_order, dicom_syntax)
