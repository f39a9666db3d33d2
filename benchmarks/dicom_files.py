"""DICOM files written with pydicom: valid ones of every kind, and malicious ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from benchmarks.file_structure import saved

_STORAGE = "1.2.840.10008.5.1.4.1.1."
CR, DX, DX_RAW, CT, MR = (_STORAGE + n for n in ("1", "1.1", "1.1.1", "2", "4"))
CAPTURE, ULTRASOUND, PHOTO = (_STORAGE + n for n in ("7", "6.1", "77.1.4"))
IMPLICIT, EXPLICIT, BIG = ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian
DEFLATED, RLE, JPEG = DeflatedExplicitVRLittleEndian, RLELossless, JPEGBaseline8Bit
JPEG_LS, JPEG_2000 = JPEGLSLossless, JPEG2000Lossless
_NATIVE = (IMPLICIT, EXPLICIT, BIG, DEFLATED)


def dicom(
    pixels: NDArray[Any], *, syntax: str = EXPLICIT, kind: str = DX, **elements: Any
) -> bytes:
    """Return a DICOM file.

    Args:
        pixels: (rows, columns) or (rows, columns, 3) integers of 8 or 16 bits.
        syntax: Transfer syntax.
        kind: SOPClassUID.
        elements: Elements by keyword; they override the defaults, and ``None`` omits one.
    """
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax if syntax in _NATIVE else EXPLICIT
    file.file_meta.MediaStorageSOPClassUID = kind
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "1.2.3.4"
    bits = 8 * pixels.dtype.itemsize
    colour = pixels.ndim == 3
    described = {
        "SOPClassUID": kind,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if colour else None,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **elements,
    }
    described.setdefault("HighBit", described["BitsStored"] - 1)
    for name, value in described.items():
        if value is not None:
            setattr(file, name, value)
    order = ">" if syntax == BIG else "<"
    raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    file.PixelData = raw + bytes(len(raw) % 2)
    file["PixelData"].VR = "OB" if bits == 8 else "OW"
    if syntax == JPEG:
        file.PixelData = encapsulate([saved(pixels, "JPEG", quality=95)])
        file["PixelData"].is_undefined_length = True
        file.file_meta.TransferSyntaxUID = JPEG
    elif syntax not in _NATIVE:
        file.compress(syntax, generate_instance_uid=False)
    return written(file)


def written(file: Dataset) -> bytes:
    """Return a data set as a file."""
    stream = io.BytesIO()
    dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


def table(first: int, entries: NDArray[np.uint16], bits: int) -> Sequence:
    """Return a modality or VOI LUT sequence of one table."""
    item = Dataset()
    item.add_new(0x00283002, "US" if first >= 0 else "SS", [len(entries), first, bits])
    item.add_new(0x00283006, "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """Return an element in explicit little endian; ``length`` may be wrong on purpose."""
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    return head + (struct.pack("<HI", 0, length) if long else struct.pack("<H", length)) + value


def raw_file(*elements: bytes, syntax: str = EXPLICIT) -> bytes:
    """Return a file with these elements after those that every file has."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    body = element(0x00080016, b"UI", CR.encode() + b"\0" * (len(CR) % 2)) + b"".join(elements)
    if syntax == DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return bytes(128) + b"DICM" + element(0x00020010, b"UI", uid) + body


def description(rows: int, columns: int, bits: int = 16) -> bytes:
    """Return the elements that describe a grey image."""
    numbers = ((0x00280100, bits), (0x00280101, bits), (0x00280102, bits - 1), (0x00280103, 0))
    sides = ((0x00280010, rows), (0x00280011, columns))
    return b"".join(
        [
            element(0x00280002, b"US", struct.pack("<H", 1)),
            element(0x00280004, b"CS", b"MONOCHROME2 "),
            *(element(tag, b"US", struct.pack("<H", n)) for tag, n in (*sides, *numbers)),
        ]
    )


def bombs() -> dict[str, bytes]:
    """Return small files that would exhaust memory or time if their headers were trusted."""
    sequence = element(0x00081140, b"SQ", b"", 0xFFFFFFFF)
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    pixel, small = element(0x7FE00010, b"OW", bytes(2)), description(64, 64)
    endless = b"\xfe\xff\x00\xe0" + struct.pack("<I", 2**32 - 2)
    j2k = dicom(np.zeros((256, 256), np.uint16), syntax=JPEG_2000)
    jls = dicom(np.zeros((64, 64), np.uint8), syntax=JPEG_LS)
    siz, sof = j2k.index(b"\xff\x4f\xff\x51") + 8, jls.index(b"\xff\xf7") + 5
    jpeg = dicom(np.zeros((64, 64), np.uint8), syntax=JPEG)
    frame = jpeg.index(b"\xff\xc0") + 5
    rle = element(0x7FE00010, b"OB", b"\xfe\xff\x00\xe0" + bytes(4), 0xFFFFFFFF)
    runs = struct.pack("<16I", 2, 64, 2**20, *([0] * 13)) + b"\x81\0" * 2**20
    return {
        "zeros deflated": raw_file(bytes(2**28), syntax=DEFLATED),
        "an image of zeros deflated": raw_file(
            description(7000, 7000), element(0x7FE00010, b"OW", bytes(98_000_000)), syntax=DEFLATED
        ),
        "65,535 rows and columns": raw_file(description(65535, 65535), pixel),
        "more rows than bytes": raw_file(
            description(7000, 7000), element(0x7FE00010, b"OW", bytes(2), 98_000_000)
        ),
        "a length past the end": raw_file(small, element(0x00204000, b"UT", b"", 2**32 - 2)),
        "sequences in sequences": raw_file((sequence + item) * 100_000),
        "sequences of known length": raw_file(element(0x00081140, b"SQ", endless * 100_000)),
        "a million elements": raw_file(element(0x00090010, b"LO", b"") * 1_000_000),
        "a million items": raw_file(sequence, b"\xfe\xff\x00\xe0\0\0\0\0" * 1_000_000),
        "fragments past the end": raw_file(
            small, element(0x7FE00010, b"OW", endless, 0xFFFFFFFF), syntax=JPEG_2000
        ),
        "JPEG 2000 of 30,000 x 30,000": j2k[:siz]
        + struct.pack(">8I", *(30_000, 30_000, 0, 0) * 2) + j2k[siz + 32 :],
        "JPEG 2000 in 65,536 tiles": j2k[: siz + 16] + struct.pack(">II", 1, 1) + j2k[siz + 24 :],
        "JPEG-LS of 60,000 x 60,000": jls[:sof] + struct.pack(">HH", 60_000, 60_000)
        + jls[sof + 4 :],
        "JPEG of 60,000 x 60,000": jpeg[:frame] + struct.pack(">HH", 60_000, 60_000)
        + jpeg[frame + 4 :],
        "run lengths without end": raw_file(
            description(64, 64), rle, b"\xfe\xff\x00\xe0" + struct.pack("<I", len(runs)), runs,
            b"\xfe\xff\xdd\xe0\0\0\0\0", syntax=RLE,
        ),
        "a pixel 100 m high": raw_file(
            element(0x00180000 + 0x1164, b"DS", b"100000\\1 "), description(7000, 7000), pixel
        ),
    }  # fmt: skip
