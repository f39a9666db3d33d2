"""The header of a PNG or JPEG file, and the same file without its metadata.

Pillow only receives the segments that encode pixels. Comments, colour profiles, thumbnails, EXIF
and compressed text never reach a parser other than the few lines below, so they can neither fail,
nor unpack to gigabytes, nor print a warning.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import NamedTuple

from lucency.errors import ImageError

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_LITTLE, _BIG = b"II*\0", b"MM\0*"  # byte orders of a TIFF file and of EXIF data
_OTHER_FORMATS = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (_LITTLE, "TIFF"),
    (_BIG, "TIFF"),
    (b"RIFF", "WebP"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
)
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE)
_MOST_CHUNKS = 2**17  # of a PNG; in the largest file they would have 2 KB each
_MOST_SEGMENTS = 2**14  # of a JPEG; files of 256 MiB with metadata in full segments have 4,096
# Every scan decodes all pixels again, but takes only a few bytes. Encoders write 1 to 20.
_MOST_SCANS = 100
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_START_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Decoders of the other kinds are rarely used, and poorly maintained.
_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive, all with Huffman codes
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xD9)}
_BETWEEN_SCANS = {0xC4, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE}
_SCAN_ENDS = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker that cannot occur inside
_DROPPED = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # APP0 and APP14 define the colour encoding
_EXIF = b"Exif\0\0"

MOST_PIXELS = 50_000_000
_LEAST_SIDE = 8
ENDS_EARLY = "the file ends early: it was cut off, or copied or downloaded in part; get it again"
_DAMAGED = "the file is damaged ({}); get it again"


class Header(NamedTuple):
    """A PNG or JPEG file that has not been decoded.

    Attributes:
        kind: ``PNG`` or ``JPEG``.
        height: In pixels, as stored.
        width: In pixels, as stored.
        orientation: EXIF orientation of the stored image, 1 (upright) to 8.
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
        ImageError: It is empty, truncated, damaged or another kind of file.
    """
    try:
        if data.startswith(PNG_START):
            return _read_png(data)
        if data.startswith(JPEG_START):
            return _read_jpeg(data)
    except (struct.error, IndexError, ValueError) as error:  # all mean: read past the end
        raise ImageError(ENDS_EARLY) from error
    raise ImageError(_other_format(data))


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


def _other_format(data: bytes) -> str:
    if not data:
        return "the file is empty (0 bytes); get it again"
    for start, kind in _OTHER_FORMATS:
        if data.startswith(start):
            return f"a {kind} file; expected PNG, JPEG or DICOM: convert it to PNG"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "a HEIF or AVIF file; expected PNG, JPEG or DICOM: convert it to PNG"
    if _WEB_PAGE.match(data, 0, 1000):
        return "not an image but a web page, saved under its name; get the image itself"
    return "not an image, whatever its name says: its content is neither PNG, JPEG nor DICOM"


def _read_png(data: bytes) -> Header:
    """Iterate over the chunks: length, name, content, checksum (PNG 3rd edition, section 5)."""
    kept, place = [PNG_START], len(PNG_START)
    height, width, orientation, frames = 0, 0, 0, 1
    for number in range(_MOST_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, place)
        content, end = memoryview(data)[place + 8 : place + 8 + length], place + 12 + length
        if end > len(data):
            raise ImageError(ENDS_EARLY)
        # A second IHDR would bypass the size check of the first.
        if (number == 0) != (name == b"IHDR"):
            raise ImageError(_DAMAGED.format("its header is misplaced"))
        if name in _PNG_PIXELS:
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(content, zlib.crc32(name)) != checksum:
                raise ImageError(_DAMAGED.format("a checksum is wrong"))
            kept.append(data[place:end])
        if name == b"IHDR":
            width, height = struct.unpack_from(">II", content)
        elif name == b"acTL":
            (frames,) = struct.unpack_from(">I", content)
        elif name == b"eXIf" and not orientation:
            orientation = _orientation(bytes(content))
        elif name == b"IEND":
            return Header("PNG", height, width, orientation or 1, frames, b"".join(kept))
        place = end
    raise ImageError(_DAMAGED.format("too many chunks"))


def _read_jpeg(data: bytes) -> Header:
    """Iterate over the segments: FF, marker, length, content (ITU T.81, B.1); drop the rest."""
    kept, place = [data[:2]], 2
    height, width, orientation, scans = 0, 0, 0, 0
    for _ in range(_MOST_SEGMENTS):
        place = data.index(b"\xff", place)
        marker = data[place + 1]
        if marker == 0xD9 and scans:  # end of image
            kept.append(data[place : place + 2])
            return Header("JPEG", height, width, orientation or 1, 1, b"".join(kept))
        if not scans and (marker == 0xFF or marker in _WITHOUT_LENGTH):
            place += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        start, end = place + 4, place + 2 + length
        if marker in _START_OF_FRAME:
            if height or width:  # see IHDR above
                raise ImageError(_DAMAGED.format("it has two headers"))
            height, width = _read_frame(data, marker, start)
        elif marker not in _BETWEEN_SCANS if scans else marker == 0xDA and not height:
            raise ImageError(_DAMAGED.format("its segments are out of order"))
        elif marker == 0xDA:  # start of scan
            scans += 1
            end = _end_of_scan(data, end, scans)
        elif marker == 0xE1 and not orientation and data.startswith(_EXIF, start):
            orientation = _orientation(data[start + len(_EXIF) : end])
        if marker not in _DROPPED:
            kept.append(data[place:end])
        place = end
    raise ImageError(_DAMAGED.format("too many segments"))


def _read_frame(data: bytes, marker: int, start: int) -> tuple[int, int]:
    """Return height and width, if it is a supported kind of JPEG."""
    bits, height, width = struct.unpack_from(">BHH", data, start)
    if marker not in _FRAMES or bits != 8:
        kind = f"{bits}-bit" if bits != 8 else "lossless, hierarchical or arithmetic-coded"
        raise ImageError(
            f"a JPEG of a rare kind ({kind}); expected a baseline or progressive one: "
            "save it as PNG"
        )
    if not height:
        raise ImageError(
            "a JPEG of a rare kind (its header does not state the height); save it as PNG"
        )
    return height, width


def _end_of_scan(data: bytes, start: int, scans: int) -> int:
    """Return the position of the next marker."""
    if scans > _MOST_SCANS:
        raise ImageError(
            f"a JPEG of more than {_MOST_SCANS} scans, as in denial-of-service attacks; "
            "save it as PNG if it is genuine"
        )
    if not (found := _SCAN_ENDS.search(data, start)):
        raise ImageError(ENDS_EARLY)
    return found.start()


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
