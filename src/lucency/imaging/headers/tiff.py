"""The header of a TIFF file, and the same file with its first page only (TIFF 6.0, BigTIFF).

Pillow and libtiff only receive the tags that describe pixels: a new directory with them is added at
the end, and the header points to it. Other pages, thumbnails, EXIF, colour profiles and the tags of
microscopes and maps can no longer be reached.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from lucency.errors import ImageError
from lucency.imaging.headers.header import (
    BIG,
    DAMAGED,
    ENDS_EARLY,
    LITTLE,
    MOST_PIXELS,
    Header,
    rare,
)

TIFF_STARTS = (LITTLE, BIG, b"II+\0", b"MM\0+")
_WHAT = "a TIFF"
_MOST_TAGS = 2**12  # of a page
_MOST_PIECES = 2**18  # strips or tiles; 50 megapixels in tiles of 16 x 16 have 196,608
_MOST_PAGES = 64  # that are read, to tell pages from smaller copies of the first one
_MOST_COUNTED = 10_000  # directories that are counted as pages
_MOST_SAMPLES = 8

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS = 254, 256, 257, 258, 259, 262
_STRIPS, _ORIENTATION, _SAMPLES, _STRIP_BYTES, _PLANES = 273, 274, 277, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_KEPT = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _STRIPS, _SAMPLES, _STRIP_BYTES, _PLANES),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SAMPLE_FORMAT),
    # fill order, rows per strip, fax options, predictor, palette, inks, alpha, JPEG tables,
    # chroma subsampling and positions, reference black and white
    *(266, 278, 292, 293, 317, 320, 332, 338, 347, 530, 531, 532),
}
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of numbers that are read here
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
# Not: the first kind of JPEG, JPEG 2000, LZMA and others, whose decoders are rarely used.
_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50000}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_SIGNED, _FLOAT = 2, 3
_REDUCED_OR_MASK = 1 | 4


class _Entry(NamedTuple):
    """One entry of a directory: its bytes, type and number of values, and where they are."""

    raw: bytes
    kind: int
    length: int
    place: int


class _Layout(NamedTuple):
    """How directories are written: byte order, and widths of counts and offsets."""

    order: str
    start: int  # of the offset of the first directory
    number: str  # of the entries of a directory
    offset: str

    @property
    def head(self) -> str:
        return f"{self.order}HH{self.offset}"


def read_tiff(data: bytes, page: int = 0) -> Header:
    """Read the directory of a page.

    Args:
        data: The content of the file.
        page: Its number, from 1; 0 for the first one.

    Raises:
        ImageError: It is truncated, damaged or of a rare kind, or has fewer pages.
    """
    layout, place = _layout(data)
    if page:
        places = _places(data, layout, place)
        if page > len(places):
            raise ImageError(f"page {page:,} of {len(places):,}; expected one that there is")
        place = places[page - 1]
    found, following = _directory(data, layout, place)
    width, height = (_number(data, layout, found, tag) for tag in (_WIDTH, _HEIGHT))
    bits, colours = _check_samples(data, layout, found)
    _check_pieces(data, layout, found)
    orientation = _number(data, layout, found, _ORIENTATION, 1)
    inverted = colours == _WHITE_IS_ZERO and bits > 8
    return Header(
        kind="TIFF",
        height=height,
        width=width,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        frames=2 if not page and _has_pages(data, layout, following) else 1,
        stream=_first_page(data, layout, found, inverted),
        bits=bits if colours <= _RGB else 8,
        inverted=inverted,
    )


def count_pages(data: bytes) -> int:
    """Return the number of pages that are no smaller copies or masks of others, up to 10,000.

    Raises:
        ImageError: A directory is damaged.
    """
    return max(1, len(_places(data, *_layout(data))))


def _layout(data: bytes) -> tuple[_Layout, int]:
    """Return how directories are written, and the place of the first one."""
    order = "<" if data[:2] == b"II" else ">"
    large = data[2:4] in (b"+\0", b"\0+")
    layout = _Layout(order, 8, "Q", "Q") if large else _Layout(order, 4, "H", "I")
    (place,) = struct.unpack_from(order + layout.offset, data, layout.start)
    return layout, place


def _places(data: bytes, layout: _Layout, place: int) -> list[int]:
    """Return the places of the directories of pages; a page that was seen ends them."""
    seen: set[int] = set()
    pages: list[int] = []
    while place and place not in seen and len(seen) < _MOST_COUNTED:
        seen.add(place)
        found, following = _directory(data, layout, place)
        if not pages or not _number(data, layout, found, _SUBFILE, 0) & _REDUCED_OR_MASK:
            pages.append(place)
        place = following
    return pages


def _directory(data: bytes, layout: _Layout, place: int) -> tuple[dict[int, _Entry], int]:
    """Return the entries of a directory and the place of the next one, 0 where there is none."""
    (count,) = struct.unpack_from(layout.order + layout.number, data, place)
    if not 0 < count <= _MOST_TAGS:
        raise ImageError(DAMAGED.format(f"{count:,} tags"))
    place += struct.calcsize("<" + layout.number)
    head, length = struct.calcsize("<HH" + layout.offset), 4 + 2 * struct.calcsize(layout.offset)
    found: dict[int, _Entry] = {}
    for start in range(place, place + count * length, length):
        tag, kind, values = struct.unpack_from(layout.head, data, start)
        if tag in found:  # the second would bypass the checks of the first
            raise ImageError(DAMAGED.format("it has a tag twice"))
        at = start + head
        if _BYTES.get(kind, 1) * values > length - head:
            (at,) = struct.unpack_from(layout.order + layout.offset, data, at)
        if tag in _KEPT and at + _BYTES.get(kind, 1) * values > len(data):
            raise ImageError(ENDS_EARLY)
        found[tag] = _Entry(data[start : start + length], kind, values, at)
    (following,) = struct.unpack_from(layout.order + layout.offset, data, place + count * length)
    return found, following


def _numbers(
    data: bytes, layout: _Layout, found: Mapping[int, _Entry], tag: int
) -> tuple[int, ...]:
    """Return the values of a tag; none where it is absent."""
    if (entry := found.get(tag)) is None:
        return ()
    if entry.kind not in _TYPES or entry.length > _MOST_PIECES:
        raise ImageError(DAMAGED.format("a tag has too many values, or other than numbers"))
    return struct.unpack_from(
        f"{layout.order}{entry.length}{_TYPES[entry.kind]}", data, entry.place
    )


def _number(
    data: bytes, layout: _Layout, found: Mapping[int, _Entry], tag: int, default: int | None = None
) -> int:
    values = _numbers(data, layout, found, tag)
    if not values and default is None:
        raise ImageError(DAMAGED.format("its size or its colours are missing"))
    return int(values[0] if values else default or 0)


def _check_samples(data: bytes, layout: _Layout, found: Mapping[int, _Entry]) -> tuple[int, int]:
    """Check that samples and compression are supported; return the bits and the kind of colours."""
    compression = _number(data, layout, found, _COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise rare(_WHAT, f"compression {compression}")
    samples = _number(data, layout, found, _SAMPLES, 1)
    bits = set(_numbers(data, layout, found, _BITS)) or {1}
    formats = set(_numbers(data, layout, found, _SAMPLE_FORMAT)) or {1}
    colours = _number(data, layout, found, _COLOURS)
    if len(bits) > 1 or len(formats) > 1 or not 0 < samples <= _MOST_SAMPLES:
        raise rare(_WHAT, f"{samples} samples of a pixel, of different kinds")
    (depth,), (kind,) = bits, formats
    if (kind == _FLOAT and depth != 32) or (kind == _SIGNED and depth == 8):
        raise rare(_WHAT, f"{'floats' if kind == _FLOAT else 'signed numbers'} of {depth} bits")
    if depth not in (1, 2, 4, 8, 12, 16, 32) or (depth > 16 and samples > 1):
        raise rare(_WHAT, f"{samples} x {depth} bits")
    if depth > 8 and samples > 1 and _number(data, layout, found, _PLANES, 1) != 1:
        raise rare(_WHAT, f"{samples} planes of {depth} bits")
    return depth, colours


def _check_pieces(data: bytes, layout: _Layout, found: Mapping[int, _Entry]) -> None:
    """Check that strips or tiles lie inside the file, and are neither too many nor too large."""
    tiled = _TILES in found
    places = _numbers(data, layout, found, _TILES if tiled else _STRIPS)
    sizes = _numbers(data, layout, found, _TILE_BYTES if tiled else _STRIP_BYTES)
    if not places or (sizes and len(sizes) != len(places)):
        raise ImageError(DAMAGED.format("its pixels are missing"))
    if any(place + size > len(data) for place, size in zip(places, sizes, strict=False)):
        raise ImageError(ENDS_EARLY)
    if sum(sizes) > 2 * len(data):  # each of them would be decoded again
        raise ImageError(DAMAGED.format("its strips or tiles overlap"))
    sides = (_number(data, layout, found, tag, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    if tiled and not 0 < next(sides) * next(sides) <= MOST_PIXELS:
        raise ImageError(DAMAGED.format("the size of its tiles"))


def _has_pages(data: bytes, layout: _Layout, place: int) -> bool:
    """Tell whether another page follows, and not only smaller copies or masks of the first."""
    for _ in range(_MOST_PAGES):
        if not place:
            return False
        try:
            found, place = _directory(data, layout, place)
            if not _number(data, layout, found, _SUBFILE, 0) & _REDUCED_OR_MASK:
                return True
        except (ImageError, struct.error, OverflowError):
            return True  # whatever it is
    return True


def _first_page(data: bytes, layout: _Layout, found: Mapping[int, _Entry], inverted: bool) -> bytes:
    """Return the file with a single directory, of the tags that describe pixels."""
    raws = {tag: entry.raw for tag, entry in found.items() if tag in _KEPT}
    if inverted:  # done after decoding, as Pillow does not do it for all kinds
        value = struct.pack(layout.order + "H", _BLACK_IS_ZERO)
        head = struct.pack(layout.head, _COLOURS, 3, 1)
        raws[_COLOURS] = (head + value).ljust(len(raws[_COLOURS]), b"\0")
    kept = [raws[tag] for tag in sorted(raws)]
    end = len(data) + len(data) % 2
    offset, count = layout.order + layout.offset, layout.order + layout.number
    start = struct.pack(offset, end)
    return b"".join(
        (
            data[: layout.start],
            start,
            data[layout.start + len(start) :],
            bytes(end - len(data)),
            struct.pack(count, len(kept)),
            *kept,
            struct.pack(offset, 0),
        )
    )
