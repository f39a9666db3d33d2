"""Recognise image files by their first bytes, whatever their names."""

from __future__ import annotations

import re

from lucency.imaging.dicom.detect import ENOUGH, is_dicom
from lucency.imaging.headers import JPEG_START, PNG_START
from lucency.imaging.headers.bitmaps import is_bmp
from lucency.imaging.headers.gif import GIF_STARTS
from lucency.imaging.headers.jpeg_2000 import CODESTREAM_START
from lucency.imaging.headers.tiff import TIFF_STARTS
from lucency.imaging.headers.webp import is_webp

HEAD = ENOUGH  # bytes that are enough to recognise every kind below
_RAW = (
    *(b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"II\x1a\0\0\0HEAP", b"FOVb"),
    b"\0MRM",
)
_STARTS = (
    *(JPEG_START, PNG_START, *GIF_STARTS, *TIFF_STARTS, *_RAW),
    *(b"\0\0\0\x0cjP  \r\n", CODESTREAM_START, b"\0\0\0\x0cJXL \r\n"),
    *(b"8BPS", b"\x76\x2f\x31\x01", b"#?RADIANCE"),  # Photoshop, OpenEXR, Radiance
)
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_CANON = b"crx "  # raw files in the container of HEIF
_PNM = re.compile(rb"P[1-7]\s+(?:#|\d+\s|WIDTH)")
# Most of these start like a TIFF file, whose first image is only a small preview.
_RAW_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3fr", "arw", "cr2", "dcr", "dng", "erf", "iiq", "kdc", "mef", "mos", "nef", "nrw"),
        *("orf", "pef", "rw2", "rwl", "sr2", "srf", "srw"),
    )
)
_VOLUMES, _DRAWINGS = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd"), (".svg", ".svgz")


def is_image_content(head: bytes) -> bool:
    """Tell whether a file that starts with these bytes is an image, of a readable format or not.

    Args:
        head: The first ``HEAD`` bytes of the file, or all of a shorter one.
    """
    return (
        head.startswith(_STARTS)
        or is_webp(head)
        or (head[4:8] == b"ftyp" and head[8:12] in (*_HEIF, _CANON))
        or is_bmp(head)
        or bool(_PNM.match(head))
        or is_dicom(head)
    )


def suffix_of(name: str) -> str:
    """Return the suffix of a file name with its dot, in lower case; empty if there is none."""
    stem, dot, end = name.rpartition(".")  # several times faster than a path
    return f"{dot}{end.lower()}" if stem and end else ""


def why_unusable(name: str, head: bytes) -> str:
    """Return why an image of this kind is never used; empty for other images and other files.

    Args:
        name: The name of the file.
        head: Its first ``HEAD`` bytes, or all of a shorter file.
    """
    lower = name.lower()
    if _is_raw(suffix_of(name), head):
        return "a camera raw file; expected a developed image: save it as PNG or JPEG"
    if is_image_content(head):
        return ""
    if lower.endswith(_VOLUMES):
        return "a volume of many slices; expected one image per file: save the slices as PNG"
    return "a vector drawing; expected pixels: save it as PNG" if lower.endswith(_DRAWINGS) else ""


def _is_raw(suffix: str, head: bytes) -> bool:
    if head.startswith(TIFF_STARTS):
        return suffix in _RAW_SUFFIXES or head[8:10] == b"CR"
    return head.startswith(_RAW) or head[4:12] == b"ftyp" + _CANON
