"""What the header of an image file says, and the limits that it must keep."""

from __future__ import annotations

import struct
from typing import NamedTuple

from lucency.errors import ImageError

LITTLE, BIG = b"II*\0", b"MM\0*"  # byte orders of a TIFF file and of EXIF data
EXIF = b"Exif\0\0"

MOST_PIXELS = 8192 * 6144  # a photograph of a 50-megapixel phone
_LEAST_SIDE = 8
ENDS_EARLY = "the file ends early: it was cut off, or copied or downloaded in part; get it again"
DAMAGED = "the file is damaged ({}); get it again"


class Header(NamedTuple):
    """An image file that has not been decoded.

    Attributes:
        kind: ``PNG``, ``JPEG``, ``TIFF``, ``WEBP``, ``GIF``, ``BMP``, ``PPM``, ``JPEG2000`` or
            ``AVIF``.
        height: In pixels, as stored.
        width: In pixels, as stored.
        orientation: EXIF orientation of the stored image, 1 (upright) to 8.
        frames: Frames of an animation or pages of a document; 2 where there are several.
        stream: The file without its metadata, and without frames or pages after the first.
        bits: Bits of a sample, as declared.
        inverted: Whether 0 is white.
        skipped: Frames of the stream before the image, which it is drawn over.
    """

    kind: str
    height: int
    width: int
    orientation: int
    frames: int
    stream: bytes
    bits: int = 8
    inverted: bool = False
    skipped: int = 0


def check_sides(height: int, width: int) -> None:
    """Check that an image is neither too large to be decoded nor too small to show anything.

    Raises:
        ImageError: It is too large or too small.
    """
    shape = f"{width:,} x {height:,} pixels"
    if height * width > MOST_PIXELS:
        raise ImageError(f"{shape} are too many; at most {MOST_PIXELS:,} are decoded: shrink it")
    if min(height, width) < _LEAST_SIDE:
        raise ImageError(f"{shape} are too few; expected at least {_LEAST_SIDE} on each side")


def rare(kind: str, why: str) -> ImageError:
    """Return the error about a valid file of a kind that is not decoded.

    Args:
        kind: Name of the format, with its article.
        why: What is rare about it.
    """
    return ImageError(f"{kind} of a rare kind ({why}); save it as PNG")


def exif_orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory (TIFF 6.0, section 2); 1 if damaged or absent."""
    order = {LITTLE: "<", BIG: ">"}.get(exif[:4])
    if not order:
        return 1
    try:
        (place,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, place)
        for entry in range(place + 2, place + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if (tag, kind) == (0x0112, 3):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
