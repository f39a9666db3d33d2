"""Seconds from pressing enter to the prompt's return, of commands that should not keep you waiting.

Each command runs once before, so that its files are in the memory of the operating system. The
look at all radiographs, for copies, leaks and shortcuts, is at ``$LUCENCY_DATA/chest_xray``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.child import LUCENCY, run
from benchmarks.results import Figure
from benchmarks.sample import copy_images

VERBS = ("check", "train", "predict", "evaluate", "compare", "verify", "report", "export", "demo")


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    repeats = 2 if quick else 5
    with TemporaryDirectory() as temporary:
        folder = copy_images(files, Path(temporary) / "images")
        trained = f"{temporary}/run"
        options = ("--effort", "quick", "--set", "epochs=1", "--quiet")
        cache = ("--cache", f"{temporary}/cache")
        run(LUCENCY, "train", str(folder), *options, "--run", trained, *cache)
        figures = [_timed("lucency --help", repeats, "--help", most=0.3)]
        figures += [_timed(f"lucency {verb} --help", repeats, verb, "--help") for verb in VERBS]
        figures += [
            _timed("lucency predict RUN IMAGE", repeats, "predict", trained, str(files[0])),
            _timed("lucency report RUN", repeats, "report", trained),
            _timed("lucency verify RUN", repeats, "verify", trained),
        ]
        everything = files[0].parents[2] / "chest_xray"
        if not quick and everything.is_dir():
            figures += _checked(everything, cache)
    return figures


def _checked(folder: Path, cache: tuple[str, str]) -> list[Figure]:
    n = sum(1 for _ in folder.rglob("*.jp*g"))
    seconds = [run(LUCENCY, "check", str(folder), *cache).seconds for _ in range(2)]
    return [
        Figure("lucency check FOLDER, all radiographs, first", "s", seconds[:1], n),
        Figure("lucency check FOLDER, all radiographs, again", "s", seconds[1:], n),
    ]


def _timed(name: str, repeats: int, *arguments: str, most: float | None = None) -> Figure:
    seconds = [run(LUCENCY, *arguments).seconds for _ in range(repeats + 1)]
    return Figure(name, "s", seconds[1:], 1, most=most)
