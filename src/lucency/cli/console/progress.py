"""What a person, a log file or a program sees while a command works."""

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
_BAR, _FACTS, _TIME = 10, 28, 7  # those of a bar, of two figures, and of the time left
_EVERY = 10.0  # seconds between two lines of one step where there is no terminal


def progress(quiet: bool = False) -> Progress:
    """Return what suits standard error: bars on a terminal, lines elsewhere, or silence."""
    if quiet:
        return Progress()
    return Bars() if terminal.moves() else Lines()


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
        self.console = terminal.console(stderr=True)

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
        from rich.progress import Progress as Rows

        self._bars = Rows(*_columns(console.width), console=console)
        shown = _short(name, _room(console.width, total))
        self._id = self._bars.add_task(shown, total=total, unit=unit, facts="", rate="")

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


def _columns(width: int) -> list[ProgressColumn]:
    """Return what fits into one line of a terminal: less on a narrow one."""
    from rich import progress as bars

    name = "{task.description:<24}" if width >= _WIDE else "{task.description}"
    first: list[ProgressColumn] = [bars.TextColumn(name, markup=False)]
    last: list[ProgressColumn] = [bars.TimeRemainingColumn(elapsed_when_finished=True)]
    if width >= _WIDE:
        first.append(bars.BarColumn(bar_width=28))
        facts = "{task.fields[unit]}{task.fields[facts]}  {task.fields[rate]}"
        last.insert(0, bars.TextColumn(facts, markup=False))
    elif width >= _MEDIUM:
        first.append(bars.BarColumn(bar_width=_BAR))
        last.insert(0, bars.TextColumn("{task.fields[facts]}", markup=False))
    return [*first, bars.MofNCompleteColumn(), *last]


def _room(width: int, total: int) -> int:
    """Return the characters that a step's name may have where the rest is to fit beside it."""
    rest = 2 * len(str(total)) + 1 + _TIME
    if width >= _MEDIUM:
        rest += _BAR + _FACTS
    return max(1, width - rest - 4)  # a space between each two


def _short(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"


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
