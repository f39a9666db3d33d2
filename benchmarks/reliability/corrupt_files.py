"""Content of corrupt and foreign image files, and the expected outcome of each."""

from __future__ import annotations

import struct
import zlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.file_structure import (
    PNG,
    Chunks,
    Segments,
    chunk,
    chunks_of,
    header,
    interlaced,
    jpeg,
    png,
    rows_of,
    saved,
    segment,
    segments_of,
)

USED = "used"
CUTS = 20
_SIDE = 48
_END = (b"IEND", b"")


@cache
def drawn(seed: int, channels: int = 1) -> NDArray[np.uint8]:
    """Draw a smooth random image, a different one for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), np.uint8)
    image = Image.fromarray(noise.squeeze())
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))


Files = dict[str, tuple[bytes, str]]


def files() -> Files:
    """Return content and expected outcome (``USED`` or words of the reason) by file name."""
    return {**_cuts(), **_pngs(), **_jpegs(), **_foreign()}


def _cuts() -> Files:
    whole = {"png": saved(drawn(1)), "jpeg": saved(drawn(2), "JPEG")}
    return {
        f"cut at {k} of {CUTS}.{kind}": (data[: len(data) * k // (CUTS + 1)], "ends early")
        for kind, data in whole.items()
        for k in range(1, CUTS + 1)
    }


def _grey_png(seed: int, *before: tuple[bytes, bytes], rows: bytes = b"", **fields: int) -> bytes:
    pixels = zlib.compress(rows or rows_of(drawn(seed)))
    head = header(fields.pop("width", _SIDE), fields.pop("height", _SIDE), **fields)
    return png((b"IHDR", head), *before, (b"IDAT", pixels), _END)


def _zeros(side: int) -> bytes:
    """Return a valid PNG of zeros, a thousand times smaller than its pixels."""
    return png(
        (b"IHDR", header(side, side)), (b"IDAT", zlib.compress(bytes(side * (side + 1)), 9)), _END
    )


def _pngs() -> Files:
    plain = chunks_of(saved(drawn(3)))
    head, pixels = plain[0], [each for each in plain if each[0] == b"IDAT"]
    frames = [Image.fromarray(drawn(seed)) for seed in (4, 5)]
    deep = drawn(6).astype(np.uint16) * 257
    loop = b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    bomb = zlib.compress(bytes(100_000_000), 9)
    raw = rows_of(drawn(7))
    many = [(b"eXIf", loop[:8] + b"\xff\xff" + bytes(9_000))] * 400
    endless = chunk(*head) + struct.pack(">I4s", 2**31, b"IDAT")
    wide = zlib.compress((b"\0" + drawn(8).tobytes()[: 6 * _SIDE]) * _SIDE)
    return {
        "16 bits.png": (saved(deep), USED),
        "16 bits in colour.png": (
            png((b"IHDR", header(_SIDE, _SIDE, 16, 2)), (b"IDAT", wide), _END), USED
        ),
        "transparent.png": (saved(drawn(9, 4)), USED),
        "palette.png": (saved(Image.fromarray(drawn(10, 3)).quantize(16), transparency=3), USED),
        "one bit.png": (saved(Image.fromarray(drawn(11)).convert("1")), USED),
        "interlaced.png": (interlaced(drawn(12)), USED),
        "animated.png": (saved(frames[0], save_all=True, append_images=frames[1:]), "animated"),
        "1 x 1.png": (saved(drawn(13)[:1, :1]), "too few"),
        "narrow.png": (saved(drawn(14)[:, :7]), "too few"),
        "no width.png": (_grey_png(15, width=0), "too few"),
        "20,000 x 20,000.png": (_grey_png(16, width=20_000, height=20_000), "too many"),
        "widest.png": (_grey_png(17, width=2**31 - 1), "too many"),
        "wider than the format.png": (_grey_png(18, width=2**32 - 1), "too many"),
        "bomb behind the rows.png": (_grey_png(19, rows=raw + bytes(200_000_000)), USED),
        "49 megapixels of zeros.png": (_zeros(7000), USED),
        "bomb of text.png": (_grey_png(20, (b"zTXt", b"note\0\0" + bomb)), USED),
        "bomb of colours.png": (_grey_png(21, (b"iCCP", b"sRGB\0\0" + bomb)), USED),
        "recursive exif.png": (_grey_png(22, (b"eXIf", loop)), USED),
        "exif 400 times.png": (_grey_png(23, *many), USED),
        "two headers.png": (png(head, (b"IHDR", header(30_000, 30_000)), *plain[1:]), "damaged"),
        "no header.png": (png(*plain[1:]), "damaged"),
        "short header.png": (png((b"IHDR", head[1][:8]), *plain[1:]), "ends early"),
        "wrong checksum.png": (_flipped(saved(drawn(24)), -20), "checksum"),
        "wrong zlib checksum.png": (
            png(head, (b"IDAT", zlib.compress(raw)[:-4] + b"1234"), _END), "cannot be decoded"
        ),
        "unknown filter.png": (_grey_png(25, rows=b"\x09" + raw[1:]), "cannot be decoded"),
        "3 bits.png": (_grey_png(26, bits=3), "cannot be decoded"),
        "unknown colour type.png": (_grey_png(27, colour=5), "cannot be decoded"),
        "few rows.png": (_grey_png(28, rows=raw[:500]), "ends early"),
        "no pixels.png": (png(head, _END), "cannot be decoded"),
        "empty pixels.png": (png(head, (b"IDAT", b""), _END), "ends early"),
        "not compressed.png": (png(head, (b"IDAT", raw), _END), "cannot be decoded"),
        "no end.png": (png(head, *pixels), "ends early"),
        "endless chunk.png": (PNG + endless, "ends early"),
        "200,000 chunks.png": (
            png(head, *[(b"IDAT", b"")] * 200_000, *pixels, _END), "too many chunks"
        ),
        "pixels one by one.png": (_one_by_one(plain), USED),
        "CgBI of a phone.png": (png((b"CgBI", b"\x50\x00\x20\x06"), *plain), "damaged"),
        "also a zip.png": (saved(drawn(29)) + b"PK\x03\x04" + bytes(500) + b"PK\x05\x06", USED),
        "also a page.png": (_grey_png(30, (b"tEXt", b"a\0<script>alert(1)</script>")), USED),
        "a jpeg by content.png": (saved(drawn(31), "JPEG"), USED),
    }  # fmt: skip


def _flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 0x10
    return bytes(changed)


def _one_by_one(chunks: Chunks) -> bytes:
    """Return the file with one chunk for every byte of its compressed pixels."""
    head, *rest = chunks
    stream = b"".join(content for name, content in rest if name == b"IDAT")
    return png(head, *((b"IDAT", stream[i : i + 1]) for i in range(len(stream))), _END)


def _frame(segments: Segments, marker: int = 0xC0, **fields: int) -> bytes:
    """Return the JPEG with another type of frame, or with other header fields."""
    changed = []
    for number, content, scan in segments:
        if number in (0xC0, 0xC2):
            old = struct.unpack_from(">BHH", content)
            new = [fields.get(k, v) for k, v in zip(("bits", "height", "width"), old, strict=True)]
            changed.append((marker, struct.pack(">BHH", *new) + content[5:], scan))
        else:
            changed.append((number, content, scan))
    return jpeg(*changed)


def _jpegs() -> Files:
    plain, slow = (segments_of(saved(drawn(40), "JPEG", progressive=p)) for p in (False, True))
    cmyk = saved(Image.fromarray(drawn(41, 4), "CMYK"), "JPEG")
    frame = [each for each in plain if each[0] == 0xC0]
    without = {marker: jpeg(*(s for s in plain if s[0] != marker)) for marker in (0xC0, 0xC4, 0xDB)}
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x69\x87\x04\0\x01\0\0\0\x08\0\0\0" * 2000
    scan = plain[-1]
    torn = (scan[0], scan[1], scan[2][:40] + b"\xff\x57" + scan[2][42:])
    noise = (scan[0], scan[1], np.random.default_rng(0).bytes(400).replace(b"\xff", b"\xfe"))
    radiograph = saved(drawn(42), "JPEG")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    return {
        "cmyk.jpg": (cmyk, USED),
        "ycck.jpg": (_ycck(cmyk), USED),
        "progressive.jpg": (saved(drawn(43), "JPEG", progressive=True), USED),
        "restarts.jpg": (saved(drawn(44), "JPEG", restart_marker_blocks=1), USED),
        "a restart is missing.jpg": (
            saved(drawn(45), "JPEG", restart_marker_blocks=2).replace(b"\xff\xd1", b"", 1), USED
        ),
        "rotated.jpg": (saved(drawn(46), "JPEG", exif=rotated), USED),
        "two images.jpg": (
            _with(radiograph, segment(0xE2, b"MPF\0II*\0\x08\0\0\0")) + saved(drawn(47), "JPEG"),
            USED,
        ),
        "recursive exif.jpg": (_with(saved(drawn(48), "JPEG"), segment(0xE1, exif)), USED),
        "script in a comment.jpg": (
            _with(saved(drawn(49), "JPEG"), segment(0xFE, b"<?php ?>")), USED
        ),
        "also a zip.jpg": (saved(drawn(50), "JPEG") + b"PK\x03\x04" + bytes(999), USED),
        "fill bytes.jpg": (_with(saved(drawn(51), "JPEG"), b"\xff" * 1000), USED),
        "a png by content.jpg": (saved(drawn(52)), USED),
        "arithmetic.jpg": (_frame(plain, 0xC9), "rare kind"),
        "lossless.jpg": (_frame(plain, 0xC3), "rare kind"),
        "hierarchical.jpg": (_frame(plain, 0xC5), "rare kind"),
        "12 bits.jpg": (_frame(plain, 0xC1, bits=12), "12-bit"),
        "open height.jpg": (_frame(plain, height=0), "does not state the height"),
        "65,500 x 65,500.jpg": (_frame(plain, height=65_500, width=65_500), "too many"),
        "5,000 scans.jpg": (jpeg(*slow, *[slow[-1]] * 5_000), "scans"),
        "60 scans.jpg": (jpeg(*slow, *[slow[-1]] * 50), USED),
        "two headers.jpg": (jpeg(plain[0], *frame, *plain[1:]), "two headers"),
        "header after the scan.jpg": (jpeg(*plain, *frame), "two headers"),
        "no header.jpg": (without[0xC0], "out of order"),
        "no tables.jpg": (without[0xDB], "cannot be decoded"),
        "standard tables omitted.jpg": (without[0xC4], USED),
        "50,000 tables.jpg": (_with(radiograph, segment(0xFE, b"") * 50_000), "too many segments"),
        "no scan.jpg": (jpeg(*plain[:-1]), "ends early"),
        "no end.jpg": (radiograph[:-2], "ends early"),
        "torn scan.jpg": (jpeg(*plain[:-1], torn), "damaged"),
        "noise as scan.jpg": (jpeg(*plain[:-1], noise), USED),
        "two start markers.jpg": (b"\xff\xd8" + saved(drawn(53), "JPEG"), USED),
        "start marker only.jpg": (b"\xff\xd8\xff", "ends early"),
        "five channels.jpg": (_five(plain), "cannot be decoded"),
    }  # fmt: skip


def _with(data: bytes, more: bytes) -> bytes:
    """Return a JPEG with bytes inserted after its start marker."""
    return data[:2] + more + data[2:]


def _ycck(cmyk: bytes) -> bytes:
    """Declare the colours as YCCK."""
    changed = [
        (marker, content[:-1] + b"\x02" if marker == 0xEE else content, scan)
        for marker, content, scan in segments_of(cmyk)
    ]
    return jpeg(*changed)


def _five(segments: Segments) -> bytes:
    changed = [
        (marker, content[:5] + b"\x05" + b"\x01\x11\x00" * 5 if marker == 0xC0 else content, scan)
        for marker, content, scan in segments
    ]
    return jpeg(*changed)


def _foreign() -> Files:
    frames = [Image.fromarray(drawn(seed)) for seed in (60, 61)]
    box = b"\0\0\0\x18ftyp"
    return {
        "empty.png": (b"", "empty"),
        "one byte.png": (b"\x89", "not an image"),
        "signature.png": (PNG, "ends early"),
        "zeros.png": (bytes(4096), "not an image"),
        "text.png": (b"lorem ipsum\n", "not an image"),
        "page.jpg": (b"\n<!DOCTYPE html><title>404</title>", "web page"),
        "json.png": (b'{"error": 404}', "not an image"),
        "drawing.png": (b"<?xml version='1.0'?><svg></svg>", "not an image"),
        "gif.png": (saved(drawn(62), "GIF"), USED),
        "animated.gif": (saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), USED),
        "bmp.bmp": (saved(drawn(63), "BMP"), USED),
        "tiff.tif": (saved(drawn(64), "TIFF"), USED),
        "tiff with pages.tiff": (
            saved(frames[1], "TIFF", save_all=True, append_images=frames[:1]), USED
        ),
        "webp.jpg": (saved(drawn(65), "WEBP"), USED),
        "jpeg 2000.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), "damaged"),
        "jpeg xl.jxl": (b"\xff\x0a" + bytes(60), "JPEG XL"),
        "phone.heic": (box + b"heic" + bytes(60), "HEIC"),
        "browser.avif": (box + b"avif" + bytes(60), "damaged"),
        "radiograph.png": (box + b"isom" + bytes(60), "not an image"),
        "scan.dcm": (bytes(128) + b"DICM" + bytes(200), "DICOM"),
        "dicom.png": (b"II*\0" + bytes(124) + b"DICM" + bytes(200), "DICOM"),
        "paper.jpg": (b"%PDF-1.7\n", "PDF"),
        "archive.png": (b"PK\x03\x04" + bytes(60), "ZIP"),
        "program.png": (b"\x7fELF" + bytes(60), "not an image"),
        "pickle.png": (b"\x80\x04\x95" + bytes(60), "not an image"),
        "mng.png": (b"\x8aMNG\r\n\x1a\n" + bytes(60), "not an image"),
        "in text mode.png": (saved(drawn(66)).replace(b"\r\n", b"\n"), "not an image"),
    }  # fmt: skip
