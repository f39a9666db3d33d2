"""What the other end of a stream is: a person's terminal, a plain one, or a pipe.

NO_COLOR      set: no colours (no-color.org)
FORCE_COLOR   set: colours in a pipe too, as in the log of a build service
TERM=dumb     lines instead of bars, no escape sequences
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_UNBROKEN = 10_000  # columns: what reads a pipe wants one line per row


def console(*, stderr: bool = False) -> Console:
    """Return where to print: as wide as the terminal, and without breaking lines in a pipe."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _UNBROKEN
    return Console(stderr=stderr, highlight=False, width=width)


def moves(stderr: bool = True) -> bool:
    """Tell whether a stream leads to a terminal on which a line can be written anew."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
