"""Progress and results on a terminal, in a log file or in a pipe.

    terminal   colours, width, and whether the terminal can redraw a line
    progress   progress bars on a terminal, lines elsewhere
    results    figures, findings and verdicts at the end
    streams    standard streams that may be closed, full, broken or without Unicode

Results go to standard output, progress and error messages to standard error.
"""

from __future__ import annotations

from lucency.cli.console.progress import Bars, Lines, print_message, progress
from lucency.cli.console.streams import OutputError, discard_output, standard_streams
from lucency.cli.console.terminal import console, visible

__all__ = [
    "Bars",
    "Lines",
    "OutputError",
    "console",
    "discard_output",
    "print_message",
    "progress",
    "standard_streams",
    "visible",
]
