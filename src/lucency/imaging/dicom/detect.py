"""Recognise a DICOM file by its first bytes."""

from __future__ import annotations

import re

from lucency.imaging.headers import JPEG_START, PNG_START

MAGIC, PREAMBLE = b"DICM", 128
ENOUGH = PREAMBLE + len(MAGIC)  # bytes needed to see the magic word

# Files without a preamble start with an element of group 2 or 8: group length, character set or
# image type. Big endian can only be recognised with an explicit VR.
_EXPLICIT = re.compile(rb"(?:[\x02\x08]\0..|\0[\x02\x08]..)(?:UL|OB|UI|CS)", re.DOTALL)
_IMPLICIT = re.compile(rb"\x08\0[\0\x01\x05\x08\x12\x16\x18]\0.\0\0\0", re.DOTALL)


def is_dicom(data: bytes) -> bool:
    """Tell whether this is the content of a DICOM file, with or without its preamble.

    The preamble may be anything, such as the start of a TIFF file; content that starts as PNG or
    JPEG counts as such.
    """
    if has_magic(data):
        return not data.startswith((PNG_START, JPEG_START))
    return bool(_EXPLICIT.match(data) or _IMPLICIT.match(data))


def has_magic(data: bytes) -> bool:
    """Tell whether the first bytes of a file have the DICOM prefix (PS3.10, section 7.1)."""
    return data[PREAMBLE:ENOUGH] == MAGIC
