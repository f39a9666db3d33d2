"""Trials run from the command line: what each found, line by line."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.trial import Trials, timed

_SHOWN = 20  # failures of one trial


def told(trials: Trials) -> int:
    """Run the trials of a module, few with ``--quick``; print and return 1 where one failed."""
    with TemporaryDirectory() as folder:
        found = timed(trials, Path(folder), "--quick" in sys.argv[1:])
    for each in found:
        verdict = "held" if each.held else "FAILED"
        print(f"{verdict}: {each.name} ({each.n:,}; {each.seconds:.1f} s)")
        for line in [each.notes, *each.failures[:_SHOWN]]:
            print(f"    {line}" if line else "", end="\n" if line else "")
    return int(not all(each.held for each in found))
