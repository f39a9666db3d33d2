"""Tell a DICOM file by its first bytes."""

from __future__ import annotations

import re

from lucency.imaging.headers import JPEG_START, PNG_START

MAGIC, PREAMBLE = b"DICM", 128
ENOUGH = PREAMBLE + len(MAGIC)  # bytes that tell whether there is a magic word

# Files without a preamble begin with an element of group 2 or 8: its length of the group, the way
# of writing text or the type of the image. Big endian is only known with a VR.
_EXPLICIT = re.compile(rb"(?:[\x02\x08]\0..|\0[\x02\x08]..)(?:UL|OB|UI|CS)", re.DOTALL)
_IMPLICIT = re.compile(rb"\x08\0[\0\x01\x05\x08\x12\x16\x18]\0.\0\0\0", re.DOTALL)


def is_dicom(data: bytes) -> bool:
    """Tell whether this is the content of a DICOM file, with or without its preamble.

    The preamble may be anything, as the beginning of a TIFF file; what begins as PNG or JPEG is
    taken for that.
    """
    if has_magic(data):
        return not data.startswith((PNG_START, JPEG_START))
    return bool(_EXPLICIT.match(data) or _IMPLICIT.match(data))


def has_magic(data: bytes) -> bool:
    """Tell whether a file that begins so has the word that marks DICOM (PS3.10, section 7.1)."""
    return data[PREAMBLE:ENOUGH] == MAGIC
