"""Measured figures, as a table and as CSV with commit, date, machine and versions."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.command import ROOT

_PACKAGES = (
    *("lucency", "numpy", "pillow", "simplejpeg", "keras", "tensorflow-cpu", "tensorflow", "jax"),
    *("torch", "onnxruntime", "pydicom", "pylibjpeg-openjpeg", "pyjpegls", "python-gdcm"),
)


class Skipped(Exception):  # noqa: N818 - no error
    """A benchmark cannot run here; the text is the reason."""


@dataclasses.dataclass(frozen=True)
class Figure:
    """A quantity that was measured one or more times.

    Attributes:
        name: What was measured.
        unit: The unit of the values.
        values: One value per repeat.
        n: The number of images, or other items, behind each value.
        least: The target: the median should be at least this.
        most: The target: the median should be at most this.
    """

    name: str
    unit: str
    values: Sequence[float]
    n: int
    _: dataclasses.KW_ONLY
    least: float | None = None
    most: float | None = None

    @property
    def spread(self) -> tuple[float, float, float]:
        """Smallest, median and largest value."""
        return min(self.values), statistics.median(self.values), max(self.values)

    @property
    def target(self) -> str:
        bounds = ((">=", self.least), ("<=", self.most))
        return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)

    @property
    def verdict(self) -> str:
        if not self.target:
            return ""
        _, median, _ = self.spread
        low = float("-inf") if self.least is None else self.least
        high = float("inf") if self.most is None else self.most
        return "met" if low <= median <= high else "MISSED"


def ratio(name: str, ours: Figure, theirs: Figure, *, least: float | None = None) -> Figure:
    """Return the ratios of two figures that were measured in turns, pair by pair."""
    pairs = zip(ours.values, theirs.values, strict=True)
    return Figure(name, "x", [a / b for a, b in pairs], ours.n, least=least)


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a table."""
    head = ("", "n", "repeats", "min", "median", "max", "unit", "target", "")
    rows: list[tuple[str, ...]] = [head]
    for each in figures:
        spread = [f"{value:.4g}" for value in each.spread]
        counts = (f"{each.n:,}", str(len(each.values)))
        rows.append((each.name, *counts, *spread, each.unit, each.target, each.verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(f"\n{title}")
    for row in rows:
        cells = [
            cell.rjust(width) if 0 < place < 6 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def rows_of(figures: Sequence[Figure]) -> list[dict[str, object]]:
    """Return one CSV row per figure."""
    made, rows = circumstances(), []
    for each in figures:
        low, median, high = (f"{value:.6g}" for value in each.spread)
        measured = {"figure": each.name, "unit": each.unit, "n": each.n}
        spread = {"repeats": len(each.values), "min": low, "median": median, "max": high}
        rows.append(measured | spread | {"target": each.target} | made)
    return rows


def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write a CSV file; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [*dict.fromkeys(name for row in rows for name in row)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def update(
    path: Path,
    rows: Sequence[Mapping[str, object]],
    name_of: Callable[[Mapping[str, object]], str],
    order: Sequence[str],
) -> Path:
    """Write rows into a CSV file that several benchmarks share; return its path.

    Args:
        path: The file; rows of benchmarks that are not among ``rows`` stay in it.
        rows: The new rows.
        name_of: Returns the benchmark of a row.
        order: All benchmarks, in the order of their rows.
    """
    kept: list[Mapping[str, object]] = []
    new = {name_of(row) for row in rows}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            kept = [row for row in csv.DictReader(file) if name_of(row) not in new]
    return write(path, sorted([*kept, *rows], key=lambda row: order.index(name_of(row))))


def circumstances() -> dict[str, str]:
    """Return the commit, date, machine and versions of a measurement."""
    return {
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "versions": ", ".join([f"python {platform.python_version()}", *_versions()]),
    }


def _commit() -> str:
    """Return the commit, with ``-dirty`` if files differ from it."""
    if not shutil.which("git"):
        return "unknown"
    command = ("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
