"""Progress bars on a terminal, lines in a log file or a pipe."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lucency.cli.console import terminal
from lucency.progress import Progress, Task

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn


_WIDE, _MEDIUM = 120, 76  # columns of a terminal
_BAR, _FACTS, _TIME = 10, 26, 7  # columns of a bar, of two figures, and of the time left
_EVERY = 10.0  # seconds between two lines of one task where there is no terminal


def progress(quiet: bool = False) -> Progress:
    """Return the progress for standard error: bars on a terminal, lines elsewhere, or none."""
    if quiet:
        return Progress()
    return Bars() if terminal.can_redraw() else Lines()


class Lines(Progress):
    """One line when a task ends, and one every few seconds before."""

    def task(self, name: str, total: int, unit: str = "") -> Task:
        """Start a task."""
        return _LineTask(name, total, unit)

    def note(self, line: str) -> None:
        """Print a note."""
        print_message(f"  {line}")

    def warn(self, line: str) -> None:
        """Print a warning."""
        print_message(f"Warning: {line}")


class _LineTask(Task):
    def __init__(self, name: str, total: int, unit: str) -> None:
        self._name, self._total, self._unit = name, total, unit
        self._done = 0
        self._facts: list[str] = []
        self._start = self._last = time.monotonic()

    def advance(self, steps: int = 1, **facts: float) -> None:
        self._done += steps
        self._facts = _formatted(facts)
        if time.monotonic() - self._last >= _EVERY and self._done < self._total:
            self._last = time.monotonic()
            self._print()

    def _print(self) -> None:
        took = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / took
        left = (self._total - self._done) / rate if rate else 0.0
        rest = f"{duration(left)} left" if left >= 1 else f"done in {duration(took)}"
        count = f"{min(self._done, self._total):,} of {self._total:,} {self._unit}"
        facts = [count, *self._facts, _rate(rate, self._unit), rest]
        print_message(f"{self._name}: {', '.join(facts)}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._print()


class Bars(Progress):
    """One bar per task on a terminal, with rate and time left."""

    def __init__(self) -> None:
        self.console = terminal.console(stderr=True)

    def task(self, name: str, total: int, unit: str = "") -> Task:
        """Start a task."""
        return _BarTask(self.console, name, total, unit)

    def note(self, line: str) -> None:
        """Print a note."""
        self.console.print(f"  {line}", style="dim", markup=False)

    def warn(self, line: str) -> None:
        """Print a warning."""
        self.console.print(f"Warning: {line}", style="yellow", markup=False)


class _BarTask(Task):
    def __init__(self, console: Console, name: str, total: int, unit: str) -> None:
        from rich.progress import Progress as Rows

        self._bars = Rows(*_columns(console.width), console=console)
        shown = _short(name, _room(console.width, total))
        self._unit = unit
        self._id = self._bars.add_task(shown, total=total, facts="", all="")

    def advance(self, steps: int = 1, **facts: float) -> None:
        task = self._bars.tasks[0]
        done = min(task.completed + steps, task.total or 0)
        speed = done / max(task.elapsed or 0, 1e-9)
        self._bars.update(
            self._id,
            completed=done,
            facts=", ".join(_formatted(facts)),
            all=", ".join([_rate(speed, self._unit), *_formatted(facts)]),
        )

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


def _columns(width: int) -> list[ProgressColumn]:
    """Return the columns that fit into one line of the terminal."""
    from rich import progress as bars

    name = "{task.description:<24}" if width >= _WIDE else "{task.description}"
    first: list[ProgressColumn] = [bars.TextColumn(name, markup=False)]
    last: list[ProgressColumn] = [bars.TimeRemainingColumn(elapsed_when_finished=True)]
    if width >= _WIDE:
        first.append(bars.BarColumn(bar_width=28))
        last.insert(0, bars.TextColumn("{task.fields[all]}", markup=False))
    elif width >= _MEDIUM:
        first.append(bars.BarColumn(bar_width=_BAR))
        last.insert(0, bars.TextColumn("{task.fields[facts]}", markup=False))
    return [*first, bars.MofNCompleteColumn(), *last]


def _room(width: int, total: int) -> int:
    """Return how many characters of a task's name fit beside the other columns."""
    rest = 2 * len(str(total)) + 1 + _TIME
    if width >= _MEDIUM:
        rest += _BAR + _FACTS
    return max(1, width - rest - 4)  # a space between each two


def _short(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"


def print_message(line: str) -> None:
    """Print a line on standard error, with what a terminal would execute spelled out."""
    sys.stderr.write(terminal.visible(line) + "\n")
    sys.stderr.flush()


def _rate(speed: float, unit: str) -> str:
    number = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
    return f"{number} {unit}".rstrip() + "/s"


def _formatted(facts: dict[str, float]) -> list[str]:
    return [f"{name} {value:.3f}" for name, value in facts.items()]


def duration(seconds: float) -> str:
    """Return seconds for people: "3.2 s", "45 s", "2 min 05 s" or "1 h 30 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
