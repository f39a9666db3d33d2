"""The header of a PNG or JPEG file, and the same file without its metadata.

Pillow only receives the segments that encode pixels. Comments, colour profiles, thumbnails, EXIF
and compressed text never reach a parser other than the few lines below, so they can neither fail,
nor unpack to gigabytes, nor print a warning.
"""

from __future__ import annotations

import re
import struct
import zlib

from lucency.errors import ImageError
from lucency.imaging.headers.header import DAMAGED, ENDS_EARLY, EXIF, Header, exif_orientation

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
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


def read_png(data: bytes) -> Header:
    """Iterate over the chunks: length, name, content, checksum (PNG 3rd edition, section 5)."""
    kept, place = [PNG_START], len(PNG_START)
    height, width, bits, orientation, frames = 0, 0, 8, 0, 1
    for number in range(_MOST_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, place)
        content, end = memoryview(data)[place + 8 : place + 8 + length], place + 12 + length
        if end > len(data):
            raise ImageError(ENDS_EARLY)
        # A second IHDR would bypass the size check of the first.
        if (number == 0) != (name == b"IHDR"):
            raise ImageError(DAMAGED.format("its header is misplaced"))
        if name in _PNG_PIXELS:
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            if zlib.crc32(content, zlib.crc32(name)) != checksum:
                raise ImageError(DAMAGED.format("a checksum is wrong"))
            kept.append(data[place:end])
        if name == b"IHDR":
            width, height, bits = struct.unpack_from(">IIB", content)
        elif name == b"acTL":
            (frames,) = struct.unpack_from(">I", content)
        elif name == b"eXIf" and not orientation:
            orientation = exif_orientation(bytes(content))
        elif name == b"IEND":
            stream = b"".join(kept)
            return Header("PNG", height, width, orientation or 1, frames, stream, bits)
        place = end
    raise ImageError(DAMAGED.format("too many chunks"))


def read_jpeg(data: bytes) -> Header:
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
                raise ImageError(DAMAGED.format("it has two headers"))
            height, width = _read_frame(data, marker, start)
        elif marker not in _BETWEEN_SCANS if scans else marker == 0xDA and not height:
            raise ImageError(DAMAGED.format("its segments are out of order"))
        elif marker == 0xDA:  # start of scan
            scans += 1
            end = _end_of_scan(data, end, scans)
        elif marker == 0xE1 and not orientation and data.startswith(EXIF, start):
            orientation = exif_orientation(data[start + len(EXIF) : end])
        if marker not in _DROPPED:
            kept.append(data[place:end])
        place = end
    raise ImageError(DAMAGED.format("too many segments"))


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
