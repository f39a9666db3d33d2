"""What a person, a log file or a program sees while a command works and when it is done.

    working    bars on a terminal, lines elsewhere
    results    figures, findings and verdicts at the end

Results go to standard output, progress and complaints to standard error.
"""

from __future__ import annotations

from lucency.screen.working import Bars, Lines, progress, say

__all__ = ["Bars", "Lines", "progress", "say"]
