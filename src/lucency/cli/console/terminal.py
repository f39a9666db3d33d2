"""Where output goes: to a terminal, to a plain terminal or into a pipe.

NO_COLOR      if set: no colours (no-color.org)
FORCE_COLOR   if set: colours in a pipe too, for example in the log of a build server
TERM=dumb     lines instead of bars, no escape sequences
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNBROKEN = 10_000  # columns: a program that reads a pipe expects one line per row


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal; in a pipe, it never breaks a line."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _UNBROKEN
    return Console(stderr=stderr, highlight=False, width=width)


def can_redraw(stderr: bool = True) -> bool:
    """Return whether a stream goes to a terminal that can redraw a line."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
