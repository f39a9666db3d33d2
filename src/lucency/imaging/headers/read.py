"""Recognise an image file by its first bytes, and read its header."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from lucency.errors import ImageError
from lucency.imaging.headers.avif import is_avif, read_avif
from lucency.imaging.headers.bitmaps import is_bmp, is_pnm, read_bmp, read_pnm
from lucency.imaging.headers.gif import (
    GIF_STARTS,
    count_gif_frames,
    read_gif,
    read_gif_frame,
)
from lucency.imaging.headers.header import ENDS_EARLY, Header
from lucency.imaging.headers.jpeg_2000 import BOX_START, CODESTREAM_START, read_jpeg_2000
from lucency.imaging.headers.png_jpeg import JPEG_START, PNG_START, read_jpeg, read_png
from lucency.imaging.headers.tiff import TIFF_STARTS, count_pages, read_tiff
from lucency.imaging.headers.webp import is_webp, read_webp

FORMATS = "PNG, JPEG, TIFF, WebP, GIF, BMP, JPEG 2000, AVIF, PBM, PGM, PPM or DICOM"
_PREFIXES: tuple[tuple[tuple[bytes, ...], Callable[[bytes], Header]], ...] = (
    ((PNG_START,), read_png),
    ((JPEG_START,), read_jpeg),
    (TIFF_STARTS, read_tiff),
    (GIF_STARTS, read_gif),
    ((BOX_START, CODESTREAM_START), read_jpeg_2000),
)
_TESTS = (
    (is_webp, read_webp),
    (is_avif, read_avif),
    (is_bmp, read_bmp),
    (is_pnm, read_pnm),
)
_OTHER_FORMATS = (
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"P7\n", "PAM"),
    (b"Pf", "PFM"),
    (b"PF", "PFM"),
)
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE)


def read_header(data: bytes, frame: int = 0) -> Header:
    """Read the header of an image file and drop its metadata; nothing is decoded.

    Args:
        data: The content of the file.
        frame: Number of the frame of a GIF or page of a TIFF file, from 1; 0 for the first one.

    Raises:
        ImageError: It is empty, truncated, damaged or another kind of file.
    """
    try:
        if frame and (framed := _framed(data)):
            return framed[0](data, frame)
        if reader := _reader(data):
            return reader(data)
    except (
        struct.error,
        IndexError,
        ValueError,
        OverflowError,
    ) as error:  # all mean: read past the end
        raise ImageError(ENDS_EARLY) from error
    raise ImageError(_other_format(data))


def frames_in(data: bytes) -> int:
    """Return how many frames a GIF or pages a TIFF file has; 1 for any other, or a damaged one."""
    framed = _framed(data)
    try:
        return framed[1](data) if framed else 1
    except (struct.error, IndexError, ValueError, OverflowError):
        return 1


def _framed(
    data: bytes,
) -> tuple[Callable[[bytes, int], Header], Callable[[bytes], int]] | None:
    """Return what reads a frame of a file, and what counts them, if it may have several."""
    if data.startswith(TIFF_STARTS):
        return read_tiff, count_pages
    return (read_gif_frame, count_gif_frames) if data.startswith(GIF_STARTS) else None


def _reader(data: bytes) -> Callable[[bytes], Header] | None:
    for starts, reader in _PREFIXES:
        if data.startswith(starts):
            return reader
    return next((reader for test, reader in _TESTS if test(data)), None)


def _other_format(data: bytes) -> str:
    if not data:
        return "the file is empty (0 bytes); get it again"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return (
            "a HEIC file, for which there is no decoder under a permissive licence; export it as "
            "JPEG, or choose the most compatible format in the camera's settings"
        )
    for start, kind in _OTHER_FORMATS:
        if data.startswith(start):
            return f"a {kind} file; expected {FORMATS}: convert it to PNG"
    if _WEB_PAGE.match(data, 0, 1000):
        return "not an image but a web page, saved under its name; get the image itself"
    return f"not an image, whatever its name says: its content is not {FORMATS}"
