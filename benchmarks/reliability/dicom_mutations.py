"""DICOM files changed at random; lengths stay consistent unless a length is changed."""

from __future__ import annotations

import random
import struct

import numpy as np

from benchmarks.dicom_files import (
    BIG,
    CAPTURE,
    CR,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    PHOTO,
    RLE,
    dicom,
    table,
)
from benchmarks.reliability.corrupt_files import drawn

_LONG = {b"OB", b"OW", b"SQ", b"UN", b"UT"}
_TYPES = (
    *(b"US", b"SS", b"DS", b"IS", b"CS", b"UI", b"OB", b"OW", b"SQ", b"UN", b"UT", b"ZZ", b"\0\0"),
)
_EDGES = (0, 1, 2, 7, 8, 9, 12, 15, 16, 17, 31, 32, 64, 255, 256, 4095, 0x7FFF, 0x8000, 0xFFFF)
_WORDS = (
    *(b"", b"0", b"1", b"-1", b"1e308", b"-1e308", b"nan", b"inf", b"1\\2", b"0\\0", b"9" * 40),
    *(b"MONOCHROME1", b"MONOCHROME2", b"RGB", b"PALETTE COLOR", b"YBR_FULL", b"YBR_FULL_422"),
    *(b"INVERSE", b"SIGMOID", b"LINEAR_EXACT", b"\\\\\\", b"\xff\xfe"),
)
_SEQUENCE = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"
_ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"

Elements = list[tuple[int, bytes, bytes, int]]  # tag, type, value, length as written


def dicom_seeds() -> list[bytes]:
    """Return small valid files of every transfer syntax and every grey-level transform."""
    grey = drawn(1)[:48, :48].astype(np.uint16) * 12
    eight, colour = drawn(2)[:48, :48], drawn(3, 3)[:48, :48]
    window = {"BitsStored": 12, "WindowCenter": 1500, "WindowWidth": 2500}
    tables = {"BitsStored": 12, "VOILUTSequence": table(10, np.arange(4000, dtype=np.uint16), 12)}
    return [
        *(dicom(grey, syntax=each, kind=CR, **window) for each in (EXPLICIT, IMPLICIT, BIG)),
        *(dicom(grey, syntax=each, **window) for each in (DEFLATED, RLE, JPEG_LS, JPEG_2000)),
        dicom(grey, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0, BitsStored=12),
        dicom(grey, ModalityLUTSequence=tables["VOILUTSequence"], **window),
        dicom(grey, PixelSpacing=[0.2, 0.3], **tables),
        dicom((grey.astype(np.int16) - 2000).astype(np.int16), RescaleSlope=2, **window),
        *(dicom(eight, kind=CAPTURE, syntax=each) for each in (EXPLICIT, JPEG, JPEG_LS)),
        *(dicom(colour, kind=PHOTO, syntax=each) for each in (EXPLICIT, RLE, JPEG_2000)),
        dicom(colour, kind=PHOTO, syntax=JPEG, PhotometricInterpretation="YBR_FULL_422"),
        _with_palette(eight),
    ]


def _with_palette(pixels: np.ndarray) -> bytes:
    shades = (np.arange(256, dtype=np.uint16) * 257).astype("<u2").tobytes()
    elements = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = shades
    return dicom(pixels, kind=CAPTURE, **elements)


def elements_of(data: bytes) -> tuple[bytes, Elements]:
    """Return the preamble and the elements of an explicit little-endian file.

    Raises:
        ValueError: It cannot be parsed.
    """
    place, found = 132, []
    while place + 8 <= len(data):
        group, number, kind = struct.unpack_from("<HH2s", data, place)
        long = kind in _LONG
        length = struct.unpack_from("<I" if long else "<H", data, place + (8 if long else 6))[0]
        start = place + (12 if long else 8)
        end = len(data) if length == 0xFFFFFFFF else start + length
        if end > len(data) or not kind.isalpha():
            raise ValueError("no elements in explicit little endian")
        found.append((group << 16 | number, kind, data[start:end], length))
        place = end
    return data[:132], found


def _joined(head: bytes, elements: Elements) -> bytes:
    parts = [head]
    for tag, kind, value, length in elements:
        written = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, kind)
        written += (
            struct.pack("<HI", 0, length % 2**32)
            if kind in _LONG
            else struct.pack("<H", length % 2**16)
        )
        parts += [written, value]
    return b"".join(parts)


def _valued(tag: int, kind: bytes, value: bytes, undefined: bool) -> tuple[int, bytes, bytes, int]:
    return tag, kind, value, 0xFFFFFFFF if undefined else len(value)


def dicom_value(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Give one element another value: an edge number, a word, or altered bytes."""
    head, elements = elements_of(data)
    place = draw.randrange(len(elements))
    tag, kind, value, length = elements[place]
    if kind == b"US" and draw.random() < 0.8:
        value = struct.pack("<H", draw.choice(_EDGES))
    elif kind in (b"DS", b"IS", b"CS", b"UI") and draw.random() < 0.8:
        value = draw.choice(_WORDS)
    elif value:
        changed = bytearray(value)
        for _ in range(draw.randint(1, 12)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        value = bytes(changed[: draw.choice((None, draw.randrange(len(changed) + 1)))])
    elements[place] = _valued(tag, kind, value, length == 0xFFFFFFFF)
    return _joined(head, elements)


def dicom_head(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Give one element another length, type or tag, with the same value."""
    head, elements = elements_of(data)
    place = draw.randrange(len(elements))
    tag, kind, value, length = elements[place]
    way = draw.randrange(3)
    if way == 0:
        length = draw.choice((0, 1, length + 2, 2 * length, 0xFFFE, 0xFFFFFFFF, 0xFFFFFFFE))
    elif way == 1:
        kind = draw.choice(_TYPES)
    else:
        tag = draw.choice((tag ^ 1 << draw.randrange(32), *(each[0] for each in elements)))
    elements[place] = (tag, kind, value, length)
    return _joined(head, elements)


def dicom_order(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Drop, double or move elements, take one from another file, or insert nested sequences."""
    head, elements = elements_of(data)
    place = draw.randrange(len(elements))
    way = draw.randrange(5)
    if way == 0:
        del elements[place]
    elif way == 1:
        elements.insert(place, elements[place])
    elif way == 2:
        elements.insert(draw.randrange(len(elements)), elements.pop(place))
    elif way == 3:
        elements.insert(place, draw.choice(elements_of(other)[1]))
    else:
        nested = (_SEQUENCE + _ITEM) * draw.choice((1, 3, 40))
        return _joined(head, elements[:place]) + nested + _joined(b"", elements[place:])
    return _joined(head, elements)


def dicom_syntax(draw: random.Random, data: bytes, _: bytes) -> bytes:
    """Declare another transfer syntax than that of the pixels."""
    head, elements = elements_of(data)
    uid = draw.choice((EXPLICIT, IMPLICIT, BIG, DEFLATED, RLE, JPEG, JPEG_LS, JPEG_2000))
    value = uid.encode() + b"\0" * (len(uid) % 2)
    changed = [
        _valued(t, k, value if t == 0x00020010 else v, n == 0xFFFFFFFF) for t, k, v, n in elements
    ]
    return _joined(head, changed)
