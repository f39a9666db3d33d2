"""What a PNG or JPEG file says about itself, and the same file without its metadata.

Pillow is only ever given the parts that pixels are made of. Comments, colour profiles, thumbnails,
EXIF and compressed text never reach a parser other than the few lines below, so they can neither
fail, nor unpack to gigabytes, nor print a warning.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from lucency.errors import PictureError

_JPEG_START, _PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_LITTLE, _BIG = b"II*\0", b"MM\0*"  # both begin a TIFF file and EXIF data
_FOREIGN = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (_LITTLE, "TIFF"),
    (_BIG, "TIFF"),
    (b"RIFF", "WebP"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
)
_MOST_PARTS = 2**20  # chunks or segments; a file of nothing else would take minutes
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xD9)}
_DROPPED = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # APP0 and APP14 tell how colours are coded
_EXIF = b"Exif\0\0"

ENDS_EARLY = "the file ends early: it was cut off, or copied or downloaded in part; get it again"
_DAMAGED = "the file is damaged ({}); get it again"


class Header(NamedTuple):
    """A PNG or JPEG file that has not been decoded.

    Attributes:
        kind: ``PNG`` or ``JPEG``.
        height: In pixels, as stored.
        width: In pixels, as stored.
        orientation: How to turn the stored picture upright, as EXIF numbers it: 1 (not) to 8.
        frames: More than one for an animation.
        stream: The file without its metadata.
    """

    kind: str
    height: int
    width: int
    orientation: int
    frames: int
    stream: bytes


def read_header(data: bytes) -> Header:
    """Read the header of a PNG or JPEG file and drop its metadata; nothing is decoded.

    Args:
        data: The content of the file.

    Raises:
        PictureError: It is empty, ends early, is damaged or is another kind of file.
    """
    try:
        if data.startswith(_PNG_START):
            return _read_png(data)
        if data.startswith(_JPEG_START):
            return _read_jpeg(data)
    except (struct.error, IndexError, ValueError) as error:  # all mean: looked past the end
        raise PictureError(ENDS_EARLY) from error
    raise PictureError(_what_it_is(data))


def _what_it_is(data: bytes) -> str:
    if not data:
        return "the file is empty (0 bytes); get it again"
    if data[128:132] == b"DICM":
        return "a DICOM file; expected PNG or JPEG: export its picture as PNG"
    for start, kind in _FOREIGN:
        if data.startswith(start):
            return f"a {kind} file; expected PNG or JPEG: convert it to PNG"
    return "not an image, whatever its name says: its content is neither PNG nor JPEG"


def _read_png(data: bytes) -> Header:
    """Walk over the chunks: length, name, content, checksum (PNG 3rd edition, section 5)."""
    kept, place = [_PNG_START], len(_PNG_START)
    height, width, orientation, frames = 0, 0, 1, 1
    for number in range(_MOST_PARTS):
        length, name = struct.unpack_from(">I4s", data, place)
        content, end = memoryview(data)[place + 8 : place + 8 + length], place + 12 + length
        if end > len(data):
            raise PictureError(ENDS_EARLY)
        # A second IHDR would let a picture of any size past the check of the first.
        if (number == 0) != (name == b"IHDR"):
            raise PictureError(_DAMAGED.format("its header is not in its place"))
        if name in _PNG_PIXELS:
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(content, zlib.crc32(name)) != checksum:
                raise PictureError(_DAMAGED.format("a checksum is wrong"))
            kept.append(data[place:end])
        if name == b"IHDR":
            width, height = struct.unpack_from(">II", content)
        elif name == b"acTL":
            (frames,) = struct.unpack_from(">I", content)
        elif name == b"eXIf":
            orientation = _orientation(bytes(content))
        elif name == b"IEND":
            return Header("PNG", height, width, orientation, frames, b"".join(kept))
        place = end
    raise PictureError(_DAMAGED.format("too many chunks"))


def _read_jpeg(data: bytes) -> Header:
    """Walk over the segments up to the first scan: FF, marker, length, content (ITU T.81, B.1)."""
    kept, place = [data[:2]], 2
    height, width, orientation = 0, 0, 0
    for _ in range(_MOST_PARTS):
        place = data.index(b"\xff", place)
        marker = data[place + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            place += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        start, end = place + 4, place + 2 + length
        if marker == 0xDA:  # start of scan
            if data.rfind(b"\xff\xd9", start) < 0:  # the end marker cannot occur inside a scan
                raise PictureError(ENDS_EARLY)
            kept.append(data[place:])
            return Header("JPEG", height, width, orientation or 1, 1, b"".join(kept))
        if marker in _START_OF_FRAME:
            if height or width:  # see IHDR above
                raise PictureError(_DAMAGED.format("it has two headers"))
            height, width = struct.unpack_from(">HH", data, start + 1)
        elif marker == 0xE1 and not orientation and data.startswith(_EXIF, start):
            orientation = _orientation(data[start + len(_EXIF) : end])
        if marker not in _DROPPED:
            kept.append(data[place:end])
        place = end
    raise PictureError(_DAMAGED.format("too many segments"))


def _orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory (TIFF 6.0, section 2); 1 if damaged or absent."""
    order = {_LITTLE: "<", _BIG: ">"}.get(exif[:4])
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
