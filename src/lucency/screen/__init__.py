"""What a person, a log file or a program sees while a command works and when it is done.

    terminal   colour or not, how wide, whether a line can be written anew
    working    bars on a terminal, lines elsewhere
    results    figures, findings and verdicts at the end

Results go to standard output, progress and complaints to standard error.
"""

from __future__ import annotations

from lucency.screen.terminal import console
from lucency.screen.working import Bars, Lines, progress, say

__all__ = ["Bars", "Lines", "console", "progress", "say"]
