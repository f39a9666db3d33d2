"""A guarantee that is tested many times: how often, and what went wrong."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lucency.progress import Progress

_SHOWN = 5  # failures of one trial


@dataclasses.dataclass(frozen=True)
class Trial:
    """One guarantee and the result of testing it.

    Attributes:
        name: The guarantee, in a few words.
        n: How often it was tested.
        failures: What went wrong, one line each; empty if it held every time.
        notes: What else was observed, such as ``52 of them inside a save``.
        seconds: How long it took.
    """

    name: str
    n: int
    failures: Sequence[str] = ()
    notes: str = ""
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether the guarantee was tested at all, and never failed."""
        return self.n > 0 and not self.failures

    @property
    def row(self) -> dict[str, object]:
        """Return the columns of a CSV row."""
        return {
            "guarantee": self.name, "n": self.n, "failures": len(self.failures),
            "notes": self.notes, "seconds": f"{self.seconds:.0f}",
        }  # fmt: skip

    def show(self) -> None:
        """Print a line, and the first failures."""
        word = "held" if self.held else "FAILED"
        print(f"  {word}: {self.name}: {self.n:,} times, {len(self.failures)} failures, "
              f"{self.seconds:.0f} s. {self.notes}", flush=True)  # fmt: skip
        for line in self.failures[:_SHOWN]:
            print(f"    {line}", flush=True)


class WarningRecorder(Progress):
    """Records warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


# Each benchmark of reliability has a function ``trials(folder, quick)``: an empty folder to work
# in, and whether a small sample is enough. It returns one ``Trial`` per guarantee.
Trials = Callable[[Path, bool], list[Trial]]


def timed(trials: Trials, folder: Path, quick: bool) -> list[Trial]:
    """Run trials; those without a time of their own get an equal share of the whole."""
    start = time.perf_counter()
    found = trials(folder, quick)
    share = (time.perf_counter() - start) / max(1, len(found))
    return [each if each.seconds else dataclasses.replace(each, seconds=share) for each in found]
