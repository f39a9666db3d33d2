"""Seconds from pressing enter to the prompt's return, of commands that should not keep you waiting.

Each command runs once before, so that its files are in the memory of the operating system.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.child import LUCENCY, run
from benchmarks.results import Figure
from benchmarks.sample import copy_pictures


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    repeats = 2 if quick else 5
    with TemporaryDirectory() as temporary:
        folder = copy_pictures(files, Path(temporary) / "pictures")
        trained = f"{temporary}/run"
        options = ("--effort", "quick", "--set", "epochs=1", "--quiet")
        places = ("--run", trained, "--cache", f"{temporary}/cache")
        run(LUCENCY, "train", str(folder), *options, *places)
        return [
            _timed("lucency --help", repeats, "--help", most=0.3),
            _timed("lucency predict RUN PICTURE", repeats, "predict", trained, str(files[0])),
        ]


def _timed(name: str, repeats: int, *arguments: str, most: float | None = None) -> Figure:
    seconds = [run(LUCENCY, *arguments).seconds for _ in range(repeats + 1)]
    return Figure(name, "s", seconds[1:], 1, most=most)
