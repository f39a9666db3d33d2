"""TIFF, WebP, GIF, BMP, JPEG 2000, AVIF and Netpbm files changed at random.

Besides bytes at any place, the fields that decoders trust are changed: tags, sizes and counts.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from benchmarks.file_structure import saved
from benchmarks.reliability.corrupt_files import drawn

Way = Callable[[random.Random, bytes, bytes], bytes]

# Sizes, counts and offsets at which decoders have had errors.
_NUMBERS = (0, 1, 2, 7, 8, 9, 255, 256, 2**15, 2**16 - 1, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_TYPES = (1, 2, 3, 4, 5, 7, 11, 12, 13, 16)
_HEAD = 64  # bytes, in which most headers state what follows


def format_seeds() -> Mapping[str, list[bytes]]:
    """Return small valid files of 48 x 48 pixels by format."""
    grey, colour, clear = (Image.fromarray(drawn(n, n)) for n in (1, 3, 4))
    deep = (drawn(8).astype(np.uint16) << 4) + drawn(9)
    floats = drawn(10).astype(np.float32) / 255
    exif = Image.Exif()
    exif[0x0112] = 6
    several = {"save_all": True, "append_images": [grey.rotate(90)]}
    packings = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd")
    return {
        "TIFF": [
            *(saved(colour, "TIFF", compression=packing) for packing in packings),
            *(saved(each, "TIFF") for each in (grey, colour, clear, deep, floats)),
            saved(grey.convert("1"), "TIFF", compression="group4"),
            saved(deep, "TIFF", compression="tiff_lzw"),
            saved(colour.convert("CMYK"), "TIFF"),
            saved(colour.quantize(16), "TIFF"),
            saved(deep.astype(np.int32), "TIFF", compression="tiff_adobe_deflate"),
            saved(colour, "TIFF", big_tiff=True),
            saved(grey, "TIFF", exif=exif, **several),
        ],
        "WebP": [
            saved(colour, "WEBP", quality=80),
            saved(clear, "WEBP", quality=80, exif=exif),
            saved(colour, "WEBP", lossless=True),
            saved(clear, "WEBP", lossless=True),
            saved(grey, "WEBP", **several),
        ],
        "GIF": [
            saved(grey, "GIF"),
            saved(colour.quantize(16), "GIF", transparency=3),
            saved(grey, "GIF", interlace=False),
            saved(grey, "GIF", **several),
        ],
        "BMP": [
            *(saved(each, "BMP") for each in (grey, colour, clear)),
            saved(grey.convert("1"), "BMP"),
            saved(grey.quantize(8), "BMP"),
        ],
        "JPEG 2000": [
            saved(grey, "JPEG2000"),
            saved(colour, "JPEG2000"),
            saved(clear, "JPEG2000", irreversible=True),
            saved(deep, "JPEG2000"),
            saved(colour, "JPEG2000", no_jp2=True, tile_size=(16, 16)),
        ],
        "AVIF": [
            saved(grey, "AVIF"),
            saved(colour, "AVIF", subsampling="4:2:0"),
            saved(clear, "AVIF", exif=exif),
            saved(grey, "AVIF", **several),
        ],
        "PBM, PGM and PPM": [
            *(saved(each, "PPM") for each in (grey, colour, grey.convert("1"), deep)),
            b"P2 48 48 15\n" + b" ".join(str(k % 16).encode() for k in range(2304)),
            b"P3 16 16 255\n" + b" ".join(str(k % 256).encode() for k in range(768)),
            b"P1 16 16\n" + b"01" * 128,
            b"P6 48 48 4095\n" + drawn(11, 3).tobytes() + drawn(12, 3).tobytes(),
        ],
    }  # fmt: skip


def ways_of(data: bytes) -> tuple[Way, ...]:
    """Return how to change the fields of a file that Pillow can read."""
    if data[:2] in (b"II", b"MM"):
        return (_tag, _tag, _tag, _number, _head)
    if data[:4] == b"RIFF":
        return (_chunk, _chunk, _number, _head)
    if data[:4] == b"GIF8":
        return (_head, _head, _number, _block)
    if data[:1] == b"P":
        return (_text, _text, _head)
    if data[:2] == b"BM":
        return (_head, _head, _number)
    return (_marker, _marker, _number, _head)


def _placed(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def _number(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Put a number of two or four bytes anywhere."""
    form = draw.choice(("<H", ">H", "<I", ">I"))
    value = draw.choice(_NUMBERS) % 256 ** struct.calcsize(form)
    return _placed(data, draw.randrange(len(data)), struct.pack(form, value))


def _head(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Change a number or a byte among the first."""
    place = draw.randrange(min(_HEAD, len(data)))
    if draw.random() < 0.5:
        return _placed(data, place, bytes([draw.randrange(256)]))
    return _placed(data, place, struct.pack("<H", draw.choice(_NUMBERS) % 2**16))


def _tag(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Change number, type, count or value of a tag of a TIFF file, or the place of a directory."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        return _number(draw, data, b"")
    (place,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, place)
    entry = place + 2 + 12 * draw.randrange(count + 1)
    field = draw.randrange(5)
    if field == 0:
        return _placed(data, entry, struct.pack(order + "H", draw.randrange(254, 345)))
    if field == 1:
        return _placed(data, entry + 2, struct.pack(order + "H", draw.choice(_TYPES)))
    value = draw.choice((*_NUMBERS, draw.randrange(len(data))))
    if field == 2:
        return _placed(data, entry + 4, struct.pack(order + "I", value))
    short = struct.pack(order + "H", value % 2**16)
    return _placed(data, entry + 8, short if field == 3 else struct.pack(order + "I", value))


def _chunk(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Change, drop, double or insert a chunk of a WebP file; its length stays right."""
    chunks, place = [], 12
    while place + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        end = place + 8 + length + length % 2
        chunks.append(data[place:end])
        place = end
    k = draw.randrange(len(chunks))
    way = draw.randrange(4)
    if way == 0:
        chunks[k] = chunks[k][:8] + _number(draw, chunks[k][8:] or b"\0", b"")[: len(chunks[k]) - 8]
    elif way == 1:
        del chunks[k]
    elif way == 2:
        chunks.insert(draw.randrange(len(chunks) + 1), chunks[k])
    else:
        chunks.insert(k, other[12 : 12 + draw.randrange(2, 40)])
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _block(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Change a field of an image descriptor or an extension of a GIF file."""
    places = [m.start() for m in re.finditer(rb"[\x2c\x21]", data)]
    place = draw.choice(places) + draw.randrange(12)
    return _placed(data, place, bytes([draw.choice((0, 1, 2, 8, 12, 127, 128, 255))]))


def _text(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Change a number in the header of a Netpbm file, or its kind."""
    numbers = [*re.finditer(rb"\d+", data[:40])]
    found = draw.choice(numbers)
    new = draw.choice(
        (b"0", b"1", b"7", b"48", b"255", b"256", b"65535", b"65536", b"99999999", b"-1")
    )
    if found is numbers[0]:
        new = draw.choice(b"1 2 3 4 5 6 7".split())
    return data[: found.start()] + new + data[found.end() :]


def _marker(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Change a byte behind a marker or the name of a box, of JPEG 2000 and AVIF."""
    places = [m.end() for m in re.finditer(rb"\xff[\x4f-\x93]|[a-z][A-Za-z0-9]{3}", data)]
    place = draw.choice(places or [0]) + draw.randrange(24)
    return _placed(data, min(place, len(data) - 1), bytes([draw.randrange(256)]))
