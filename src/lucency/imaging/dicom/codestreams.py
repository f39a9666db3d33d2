"""Compressed pixels as one codestream, checked against the dimensions in the file's header.

Decoders allocate what the codestream declares, so that a small file could exhaust the memory.
"""

from __future__ import annotations

import struct

from lucency.errors import ImageError
from lucency.imaging.dicom.elements import DAMAGED
from lucency.imaging.dicom.header import DicomHeader
from lucency.imaging.dicom.transfer_syntaxes import Coding
from lucency.imaging.headers import ENDS_EARLY, read_header
from lucency.imaging.headers.jpeg_2000 import CODESTREAM_START, read_codestream

# Start of frame: baseline, extended, progressive, lossless and JPEG-LS.
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}
_MOST_SEGMENTS = 2**10
_MISMATCH = DAMAGED.format("its compressed pixels do not match its header")


def codestream(header: DicomHeader) -> tuple[bytes, int]:
    """Return the compressed pixels and the bits of a sample in them.

    Raises:
        ImageError: They are damaged, or do not match the header.
    """
    coding, data = header.syntax.coding, b"".join(header.fragments)
    if coding is Coding.RLE:
        _check_rle(header, data)
        return data, header.allocated
    if coding is Coding.JPEG_2000:
        start = data.find(CODESTREAM_START)
        if start < 0:
            raise ImageError(_MISMATCH)
        data = data[start:]
        found: tuple[int, int, int, int] | None = read_codestream(data)
    else:
        found = _jpeg(data)
    if found is None:
        raise ImageError(_MISMATCH)
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
