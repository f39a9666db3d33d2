"""The header of an image file, and the same file without its metadata; nothing is decoded.

    read        recognise a file by its first bytes, and read its header
    header      what a header says, and its limits
    png_jpeg    PNG and JPEG
    tiff        TIFF and BigTIFF
    webp        WebP
    gif         GIF
    bitmaps     BMP, PBM, PGM and PPM
    jpeg_2000   JPEG 2000
    avif        AVIF
    boxes       the boxes that JPEG 2000 and AVIF files consist of

Everything here is Python: a decoder only receives a file whose size and structure are known, and
only of the format that was recognised.
"""

from __future__ import annotations

from lucency.imaging.headers.header import ENDS_EARLY, MOST_PIXELS, Header, check_sides
from lucency.imaging.headers.png_jpeg import JPEG_START, PNG_START
from lucency.imaging.headers.read import FORMATS, frames_in, read_header

__all__ = [
    "ENDS_EARLY",
    "FORMATS",
    "JPEG_START",
    "MOST_PIXELS",
    "PNG_START",
    "Header",
    "check_sides",
    "frames_in",
    "read_header",
]
