"""What a check finds."""

from __future__ import annotations


class Differs(Exception):  # noqa: N818 - a finding, no error of the program
    """What is not as it should be; its text is the detail of a failed check."""
