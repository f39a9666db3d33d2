"""What a person, a log file or a program sees while a command works and when it is done."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lucency.progress import Progress, Task

if TYPE_CHECKING:
    from rich.console import Console

    from lucency.evaluation import Evaluation
    from lucency.metrics import Estimate
    from lucency.pipeline import Run

_EVERY = 10.0  # seconds between two lines of one step where there is no terminal

_HEADLINES = {
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score",
    "log_loss": "Log loss",
}
_SHARES = ("sensitivity", "specificity", "accuracy", "balanced_accuracy")


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
        if time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            self._say()

    def _say(self) -> None:
        took = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / took
        left = (self._total - self._done) / rate if rate else 0.0
        rest = f", {_duration(left)} left" if left >= 1 else f" in {_duration(took)}"
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


def show_run(run: Run) -> None:
    """Print how a training run ended: figures, baseline, warnings, and what to open."""
    console = _console()
    show_evaluation(run.headline, _tested_on(run.headline, "test" if run.test else "validation"))
    if run.test is None:
        console.print(
            "There is no test part: these figures are of pictures that choices were made by."
        )
    for line in run.data.audit.warnings:
        console.print(f"! {line}", style="yellow", markup=False)
    console.print(f"\nTook {_duration(run.seconds['total'])}.  Open the report:", markup=False)
    console.print(f"  {run.report}", style="bold", markup=False, soft_wrap=True)
    console.print("Use the classifier:", markup=False)
    console.print(f"  lucency predict {run.folder} PICTURE ...", markup=False, soft_wrap=True)


def show_evaluation(evaluation: Evaluation, title: str) -> None:
    """Print the headline figures of an evaluation with their 95 % intervals."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name, justify in (("", "left"), ("value", "right"), ("95 % interval", "left")):
        table.add_column(name, justify=justify, header_style="dim")  # type: ignore[arg-type]
    for key, name in _HEADLINES.items():
        table.add_row(name, *_figures(key, evaluation.metrics[key]))
    console = _console()
    console.print(f"\n{title}", style="bold", markup=False)
    console.print(table)
    baseline = evaluation.baseline
    console.print(
        f"\nAlways answering {baseline['class']} would be right in {baseline['accuracy']:.1%}.",
        markup=False,
    )


def _tested_on(evaluation: Evaluation, part: str) -> str:
    patients = f" of {evaluation.groups:,} patients" if evaluation.groups else ""
    looked_for = f", {evaluation.positive} looked for" if evaluation.positive else ""
    return f"{part.capitalize()}: {evaluation.n:,} pictures{patients}{looked_for}"


def _figures(key: str, estimate: Estimate) -> tuple[str, str]:
    form = "{:.1%}" if key in _SHARES else "{:.3f}"
    if math.isnan(estimate.value):
        return "undefined", ""
    if math.isnan(estimate.low):
        return form.format(estimate.value), "undefined: too few mistakes"
    return form.format(estimate.value), f"{form} to {form}".format(estimate.low, estimate.high)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _in_words(facts: dict[str, float]) -> str:
    return "".join(f", {name} {value:.3f}" for name, value in facts.items())


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
