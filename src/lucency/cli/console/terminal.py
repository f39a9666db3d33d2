"""Where output goes: to a terminal, to a plain terminal or into a pipe.

NO_COLOR      if set: no colours (no-color.org)
FORCE_COLOR   if set: colours in a pipe too, for example in the log of a build server
TERM=dumb     lines instead of bars, no escape sequences
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_UNBROKEN = 10_000  # columns: a program that reads a pipe expects one line per row


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal; in a pipe, it never breaks a line.

    Signs that a terminal would execute are spelled out in the lines that it prints; in the cells
    of a table they have to be, with ``visible``.
    """
    from rich.console import Console as Rich

    class Console(Rich):
        def print(self, *objects: Any, **options: Any) -> None:
            lines = (_visible_lines(each) if isinstance(each, str) else each for each in objects)
            super().print(*lines, **options)

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _UNBROKEN
    return Console(stderr=stderr, highlight=False, width=width)


def visible(text: str) -> str:
    r"""Return a text with signs that are invisible, or that a terminal executes, spelled out.

    A name of a file may hold any of them: a line end that adds a line to the output, ``\x1b`` that
    moves the cursor or sets the title, ``\u202e`` that reverses what follows.
    """
    if text.isprintable():
        return text
    from lucency.plots import visible as spelled_out  # with NumPy

    return spelled_out(text)


def _visible_lines(text: str) -> str:
    return "\n".join(map(visible, text.split("\n")))


def can_redraw(stderr: bool = True) -> bool:
    """Return whether a stream goes to a terminal that can redraw a line."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
