"""Compressed pixels as one codestream, checked against the dimensions in the file's header.

Decoders allocate what the codestream declares, so that a small file could exhaust the memory.
"""

from __future__ import annotations

import struct

from lucency.errors import ImageError
from lucency.imaging.dicom.elements import DAMAGED, fragments
from lucency.imaging.dicom.header import DicomHeader
from lucency.imaging.dicom.transfer_syntaxes import Coding
from lucency.imaging.headers import ENDS_EARLY, read_header

_J2K_START = b"\xff\x4f\xff\x51"
_MOST_TILES = 2**14
# Start of frame: baseline, extended, progressive, lossless and JPEG-LS.
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}
_MOST_SEGMENTS = 2**10
_MISMATCH = DAMAGED.format("its compressed pixels do not match its header")


def codestream(header: DicomHeader) -> tuple[bytes, int]:
    """Return the compressed pixels and the bits of a sample in them.

    Raises:
        ImageError: They are damaged, or do not match the header.
    """
    coding, data = header.syntax.coding, b"".join(fragments(header.pixels))
    if coding is Coding.RLE:
        _check_rle(header, data)
        return data, header.allocated
    if coding is Coding.JPEG_2000:
        start = data.find(_J2K_START)
        if start < 0:
            raise ImageError(_MISMATCH)
        data = data[start:]
        found = _jpeg_2000(data)
    else:
        found = _jpeg(data)
    *shape, bits = found
    if shape != [header.rows, header.columns, header.samples] or not 1 <= bits <= header.allocated:
        raise ImageError(_MISMATCH)
    if coding is Coding.JPEG and bits == 8:
        data = read_header(data).stream  # without metadata, all segments checked
    return data, bits


def _check_rle(header: DicomHeader, data: bytes) -> None:
    """Reject more bytes than RLE ever needs: 1 more in 128, and a header (PS3.5, annex G)."""
    planes = header.samples * header.allocated // 8
    most = header.rows * header.columns * planes * 129 // 128 + (header.rows + 2) * planes + 1024
    if len(data) > most:
        raise ImageError(_MISMATCH)


def _jpeg_2000(data: bytes) -> tuple[int, int, int, int]:
    """Return rows, columns, samples and bits of a codestream (ITU-T T.800, A.5.1)."""
    try:
        numbers = struct.unpack_from(">8IH", data, 8)
        sizes = [struct.unpack_from(">3B", data, 42 + 3 * k) for k in range(min(numbers[8], 4))]
    except struct.error as error:
        raise ImageError(ENDS_EARLY) from error
    width, height, left, top, tile_width, tile_height, _, _, samples = numbers
    bits = {size[0] & 0x7F for size in sizes}
    if not (tile_width and tile_height) or len(bits) != 1 or {s[1:] for s in sizes} != {(1, 1)}:
        raise ImageError(_MISMATCH)
    if -(-width // tile_width) * -(-height // tile_height) > _MOST_TILES:
        raise ImageError(_MISMATCH)
    return height - top, width - left, samples, bits.pop() + 1


def _jpeg(data: bytes) -> tuple[int, int, int, int]:
    """Return rows, columns, samples and bits of the frame (ITU-T T.81, B.2.2; T.87, C.2.2)."""
    place = 2
    try:
        for _ in range(_MOST_SEGMENTS):
            place = data.index(b"\xff", place)
            marker = data[place + 1]
            if marker in _FRAMES:
                bits, height, width, samples = struct.unpack_from(">BHHB", data, place + 4)
                return height, width, samples, bits
            if marker == 0xFF:
                place += 1
                continue
            if marker == 0xDA:
                break
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    except (struct.error, ValueError, IndexError) as error:
        raise ImageError(ENDS_EARLY) from error
    raise ImageError(_MISMATCH)
