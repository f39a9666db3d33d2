"""The error of a failed check."""

from __future__ import annotations


class Mismatch(Exception):  # noqa: N818 - a result, not an error of the program
    """A check failed; the text says how."""
