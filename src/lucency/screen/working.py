"""What a person, a log file or a program sees while a command works."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lucency.progress import Progress, Task

if TYPE_CHECKING:
    from rich.console import Console


_EVERY = 10.0  # seconds between two lines of one step where there is no terminal


def progress(quiet: bool = False) -> Progress:
    """Return what suits standard error: bars on a terminal, lines elsewhere, or silence."""
    if quiet:
        return Progress()
    return Bars() if sys.stderr.isatty() else Lines()


class Lines(Progress):
    """One line when a step ends, and one now and then while it lasts."""

    def task(self, name: str, total: int, unit: str = "") -> Task:
        """Begin a step."""
        return _LineTask(name, total, unit)

    def note(self, line: str) -> None:
        """Print a note."""
        say(f"  {line}")

    def warn(self, line: str) -> None:
        """Print a warning."""
        say(f"Warning: {line}")


class _LineTask(Task):
    def __init__(self, name: str, total: int, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done, self._facts = 0, ""
        self._start = self._last = time.monotonic()

    def advance(self, steps: int = 1, **facts: float) -> None:
        self._done += steps
        self._facts = _in_words(facts)
        if time.monotonic() - self._last >= _EVERY and self._done < self._total:
            self._last = time.monotonic()
            self._say()

    def _say(self) -> None:
        took = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / took
        left = (self._total - self._done) / rate if rate else 0.0
        rest = f", {duration(left)} left" if left >= 1 else f" in {duration(took)}"
        say(
            f"{self._name}: {min(self._done, self._total):,} of {self._total:,} {self._unit}"
            f"{self._facts}, {rate:,.0f}/s{rest}"
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._say()


class Bars(Progress):
    """A bar per step on a terminal, with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True, highlight=False)

    def task(self, name: str, total: int, unit: str = "") -> Task:
        """Begin a step."""
        return _BarTask(self.console, name, total, unit)

    def note(self, line: str) -> None:
        """Print a note."""
        self.console.print(f"  {line}", style="dim", markup=False)

    def warn(self, line: str) -> None:
        """Print a warning."""
        self.console.print(f"Warning: {line}", style="yellow", markup=False)


class _BarTask(Task):
    def __init__(self, console: Console, name: str, total: int, unit: str) -> None:
        from rich import progress as bars

        self._bars = bars.Progress(
            bars.TextColumn("{task.description:<24}", markup=False),
            bars.BarColumn(bar_width=28),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[unit]}{task.fields[facts]}", markup=False),
            bars.TextColumn("{task.fields[rate]}", markup=False),
            bars.TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
        )
        self._id = self._bars.add_task(name, total=total, unit=unit, facts="", rate="")

    def advance(self, steps: int = 1, **facts: float) -> None:
        task = self._bars.tasks[0]
        done = min(task.completed + steps, task.total or 0)
        speed = done / max(task.elapsed or 0, 1e-9)
        self._bars.update(self._id, completed=done, facts=_in_words(facts), rate=f"{speed:,.0f}/s")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()


def say(line: str) -> None:
    """Print a line on standard error, where progress and complaints go."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _in_words(facts: dict[str, float]) -> str:
    return "".join(f", {name} {value:.3f}" for name, value in facts.items())


def duration(seconds: float) -> str:
    """Return seconds as a person says them."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
