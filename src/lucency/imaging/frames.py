"""Frames of a file as images of their own: how they are named, and which are taken.

    scans/a.dcm#frame=3     the third frame of a DICOM file, or page of a TIFF or GIF file

Frames are numbered from 1. A file that has such a name itself is that file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

ALL = "all"
_MARK = "#frame="
_NAME = re.compile(rf"(.+){_MARK}([1-9]\d{{0,5}})", re.DOTALL)


def frame_name(file: str, frame: int) -> str:
    """Return the name of a frame of a file."""
    return f"{file}{_MARK}{frame}"


def file_of(name: str) -> str:
    """Return the file that a name stands for, without the frame."""
    found = _NAME.fullmatch(name)
    return found[1] if found else name


def opened_as(path: str | Path) -> tuple[str, int]:
    """Return the file to open for a path, and the number of its frame; 0 for none."""
    found = _NAME.fullmatch(str(path))
    if found is None or os.path.lexists(path):
        return str(path), 0
    return found[1], int(found[2])


def content_sha256(data: bytes, frame: int = 0) -> str:
    """Return the sha256 of a file, or of a frame of it, in hexadecimal.

    Frames of one file have different ones, as they are different images.
    """
    digest = hashlib.sha256(data)
    if frame:
        digest.update(f"{_MARK}{frame}".encode())
    return digest.hexdigest()


def spread(count: int, most: int | str) -> Sequence[int]:
    """Return the numbers of up to ``most`` frames, evenly spread; one is the middle.

    Args:
        count: Frames of the file, at least 1.
        most: At least 1, or ``all``.
    """
    if most == ALL or int(most) >= count:
        return range(1, count + 1)
    return [(2 * k + 1) * count // (2 * int(most)) + 1 for k in range(int(most))]
