"""Progress and results on a terminal, in a log file or in a pipe.

    terminal   colours, width, and whether the terminal can redraw a line
    progress   progress bars on a terminal, lines elsewhere
    results    figures, findings and verdicts at the end

Results go to standard output, progress and error messages to standard error.
"""

from __future__ import annotations

from lucency.cli.console.progress import Bars, Lines, print_message, progress
from lucency.cli.console.terminal import console, escape_unprintable, visible

__all__ = ["Bars", "Lines", "console", "escape_unprintable", "print_message", "progress", "visible"]
