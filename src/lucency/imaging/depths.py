"""The depth of images of more than 8 bits: which of their values is white."""

from __future__ import annotations

UNIT = 1  # floats from 0 to 1
EIGHT = 8
DEPTHS = (EIGHT, 10, 12, 14, 16, 24, 32)
KNOWN = (UNIT, *DEPTHS)
DEEPEST = 2**16 - 1  # white in pixels of two bytes
WORD = 257  # what a grey level of 255 is in them


def is_deep(depth: int) -> bool:
    """Return whether a data set of this depth needs more than 8 bits; 0 stands for unknown."""
    return depth not in (0, EIGHT)


def dtype_of(depth: int) -> str:
    """Return the type of pixels of 0 to 255 at a depth: ``uint8``, or ``float32`` if deep."""
    return "float32" if is_deep(depth) else "uint8"


def white_of(depth: int) -> int:
    """Return the largest value of a depth."""
    return int(2**depth - 1)


def needed(bits: set[int]) -> int:
    """Return the smallest depth that holds all images of a data set.

    Args:
        bits: What each image needs, as ``lucency.imaging.image.SourceImage.bits``.
    """
    return max(bits - {0}, default=EIGHT)


def in_words(depth: int) -> str:
    """Return a depth for people."""
    return "floats from 0 to 1" if depth == UNIT else f"{depth} bits"
