"""The headers of BMP and of the Netpbm formats PBM, PGM and PPM."""

from __future__ import annotations

import re
import struct

from lucency.errors import ImageError
from lucency.imaging.headers.header import DAMAGED, ENDS_EARLY, Header, rare

BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_BMP_BITS = (1, 4, 8, 16, 24, 32)
_BMP_RLE, _BMP_UNCOMPRESSED = {1, 2}, {0, 3, 6}
_MOST_COLOURS = 256
_PNM = re.compile(rb"P([1-6])" + rb"(?:\s|#[^\n]*\n)+(\d{1,7})" * 2)
_MAXIMUM = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,5})\s")
_MOST_COMMENT = 2**14  # bytes in which the numbers of a header must be
_BITMAP, _PLAIN = (1, 4), (1, 2, 3)
_SAMPLES = {1: 1, 2: 1, 3: 3, 4: 1, 5: 1, 6: 3}


def is_bmp(data: bytes) -> bool:
    """Tell whether this is the start of a BMP file."""
    return data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in BMP_HEADERS


def is_pnm(data: bytes) -> bool:
    """Tell whether this is the start of a PBM, PGM or PPM file."""
    return bool(_PNM.match(data[:_MOST_COMMENT]))


def read_bmp(data: bytes) -> Header:
    """Read the header.

    Raises:
        ImageError: It is truncated, damaged or of a rare kind.
    """
    start, size = struct.unpack_from("<I", data, 10)[0], struct.unpack_from("<I", data, 14)[0]
    compression, colours = 0, 0
    if size in (12, 16):
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        (colours,) = struct.unpack_from("<I", data, 46)
    height = abs(height)
    if bits not in _BMP_BITS or compression not in _BMP_RLE | _BMP_UNCOMPRESSED:
        raise rare("a BMP", f"{bits} bits, compression {compression}")
    if width <= 0 or (bits <= 8 and colours > _MOST_COLOURS):
        raise ImageError(DAMAGED.format("its width or its colours"))
    if compression in _BMP_UNCOMPRESSED and start + (width * bits + 31) // 32 * 4 * height > len(
        data
    ):
        raise ImageError(ENDS_EARLY)
    return Header("BMP", height, width, 1, 1, data)


def read_pnm(data: bytes) -> Header:
    """Read the header; of samples of two bytes, return only the samples as the stream.

    Raises:
        ImageError: It is truncated, damaged or of a rare kind.
    """
    found = _PNM.match(data[:_MOST_COMMENT])
    if not found:
        raise ImageError(ENDS_EARLY)
    kind, width, height = map(int, found.groups())
    place, most = found.end(), 1
    if kind not in _BITMAP:
        maximum = _MAXIMUM.match(data[: found.end() + _MOST_COMMENT], place)
        if not maximum:
            raise ImageError(DAMAGED.format("its highest value is missing"))
        most, place = int(maximum[1]), maximum.end()
    if not 0 < most < 2**16:
        raise ImageError(DAMAGED.format(f"its highest value is {most}"))
    if kind in _PLAIN:
        if most > 255:
            raise rare("a PGM or PPM", "numbers above 255 as text")
        return Header("PPM", height, width, 1, 1, data)
    row = -(-width // 8) if kind in _BITMAP else width * _SAMPLES[kind] * (2 if most > 255 else 1)
    end = place + row * height + (kind in _BITMAP)
    if end - (kind in _BITMAP) > len(data):
        raise ImageError(ENDS_EARLY)
    frames = 2 if data[end : end + 2] in (b"P4", b"P5", b"P6") else 1
    if most > 255:
        deep = "PGM" if kind == 5 else "PPM"
        return Header(f"16-bit {deep}", height, width, 1, frames, data[place:end], 16)
    return Header("PPM", height, width, 1, frames, data)
