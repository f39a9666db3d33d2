"""What a person, a log file or a program sees while a command works and when it is done.

    terminal   colour or not, how wide, whether a line can be written anew
    working    bars on a terminal, lines elsewhere
    results    figures, findings and verdicts at the end

Results go to standard output, progress and complaints to standard error.
"""

from __future__ import annotations

from lucency.cli.console.progress import Bars, Lines, progress, say
from lucency.cli.console.terminal import console

__all__ = ["Bars", "Lines", "console", "progress", "say"]
