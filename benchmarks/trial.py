"""What a trial of reliability found: how many times, and what went wrong."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lucency.progress import Progress


@dataclasses.dataclass(frozen=True)
class Trial:
    """One promise, put to the test many times.

    Attributes:
        name: The promise, in a few words.
        n: How often it was tried.
        failures: What went wrong, one line each; empty where the promise held every time.
        notes: What else was seen, such as ``52 of them inside a save``.
        seconds: How long it took.
    """

    name: str
    n: int
    failures: Sequence[str] = ()
    notes: str = ""
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether it was tried at all, and never failed."""
        return self.n > 0 and not self.failures


class Heard(Progress):
    """Keeps the warnings that it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


# A trial module has a function ``trials(folder, quick)``: an empty folder to work in, and whether
# a small sample is enough. It returns one ``Trial`` per promise.
Trials = Callable[[Path, bool], list[Trial]]


def timed(trials: Trials, folder: Path, quick: bool) -> list[Trial]:
    """Run the trials of a module; those that took no time of their own share that of all."""
    start = time.perf_counter()
    found = trials(folder, quick)
    share = (time.perf_counter() - start) / max(1, len(found))
    return [each if each.seconds else dataclasses.replace(each, seconds=share) for each in found]
