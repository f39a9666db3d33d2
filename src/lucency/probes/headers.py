"""Features of the file header, without decoding any pixel: camera and encoder, not content."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lucency.imaging.dicom import is_dicom
from lucency.imaging.dicom.header import DicomHeader, read_dicom
from lucency.imaging.headers import Header, read_header
from lucency.imaging.source import read_unchanged

# The more specific first: among equally strong features, the first are named.
NAMES = (
    "format",
    "progressive",
    "colour channels",
    "chroma subsampling",
    "metadata",
    "JPEG quantisation",
    "JPEG fine quantisation",
    "aspect ratio",
    "width",
    "height",
    "bytes per pixel",
    "file size",
)

_OTHERS = ("TIFF", "WEBP", "GIF", "BMP", "PPM", "16-bit PGM", "16-bit PPM", "JPEG2000", "AVIF")


def headers(files: Sequence[Path], sha256: Sequence[str], workers: int) -> NDArray[np.float64]:
    """Return features of the headers of image files that were decoded before.

    Args:
        files: n readable images.
        sha256: Of the bytes of each.
        workers: Number of threads.

    Returns:
        (n, 12) float64, in the order of ``NAMES``; sizes as logarithms.

    Raises:
        DataError: A file has vanished or changed since it was decoded.
    """
    with ThreadPoolExecutor(workers) as pool:
        return np.array([*pool.map(_header, files, sha256)], np.float64)


def _header(file: Path, sha256: str) -> list[float]:
    data = read_unchanged(file, sha256)
    return _dicom(read_dicom(data), len(data)) if is_dicom(data) else _encoded(data)


def _encoded(data: bytes) -> list[float]:
    """Return the features of a file of any other format."""
    header = read_header(data)
    if header.kind not in ("PNG", "JPEG"):
        unknown = [0.0] * 6  # of the encoder
        return [3.0 + _OTHERS.index(header.kind), *unknown, *_shape(header, len(data))]
    # Opening reads no pixel, and the stream has no metadata that could do harm.
    with Image.open(io.BytesIO(header.stream), formats=("PNG", "JPEG")) as image:
        tables = list((getattr(image, "quantization", None) or {0: [0]}).values())
        sampling = [layer[1] for layer in getattr(image, "layer", ())]
        return [
            float(image.format == "PNG"),
            float(bool(image.info.get("progressive") or image.info.get("interlace"))),
            float(len(image.getbands())),
            float(sampling[0]) if sampling else 0.0,
            np.log1p(len(data) - len(header.stream)),
            np.log1p(np.mean([np.mean(table) for table in tables])),
            np.log1p(np.mean([table[0] for table in tables])),
            *_shape(header, len(data)),
        ]


def _shape(header: Header, length: int) -> list[float]:
    return [
        np.log(header.width / header.height),
        np.log(header.width),
        np.log(header.height),
        np.log(length / (header.width * header.height)),
        np.log(length),
    ]


def _dicom(header: DicomHeader, length: int) -> list[float]:
    """Return the features of DICOM; everything but the pixels counts as metadata."""
    height, width = header.rows, header.columns
    return [
        2.0,
        0.0,
        float(header.samples),
        0.0,
        np.log1p(length - len(header.pixels.value)),
        0.0,
        0.0,
        np.log(width / height),
        np.log(width),
        np.log(height),
        np.log(length / (width * height)),
        np.log(length),
    ]
