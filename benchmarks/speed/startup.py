"""Seconds until commands end that should not keep a user waiting.

Each command runs once before, so that its files are in the page cache. ``lucency check`` looks for
duplicates, leaks and shortcuts in all radiographs of ``$LUCENCY_DATA/chest_xray``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.command import LUCENCY, run
from benchmarks.results import Figure
from benchmarks.sample_images import CHEST_XRAY, copy_images

VERBS = ("check", "train", "predict", "evaluate", "compare", "verify", "export", "demo")


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    repeats = 2 if quick else 5
    with TemporaryDirectory() as temporary:
        folder = copy_images(files, Path(temporary) / "images")
        trained = f"{temporary}/run"
        options = ("--effort", "quick", "--set", "epochs=1", "--folds", "0", "--quiet")
        cache = ("--cache", f"{temporary}/cache")
        run(LUCENCY, "train", str(folder), *options, "--run", trained, *cache)
        figures = [_time("lucency --help", repeats, "--help", most=0.3)]
        figures += [_time(f"lucency {verb} --help", repeats, verb, "--help") for verb in VERBS]
        figures += [
            _time("lucency predict RUN IMAGE", repeats, "predict", trained, str(files[0])),
            _time("lucency verify RUN --redraw", repeats, "verify", trained, "--redraw"),
            _time("lucency verify RUN", repeats, "verify", trained),
        ]
        if not quick and CHEST_XRAY.is_dir():
            figures += _check(CHEST_XRAY, cache)
    return figures


def _check(folder: Path, cache: tuple[str, str]) -> list[Figure]:
    n = sum(1 for _ in folder.rglob("*.jp*g"))
    seconds = [run(LUCENCY, "check", str(folder), *cache).seconds for _ in range(2)]
    return [
        Figure("lucency check FOLDER, all radiographs, first", "s", seconds[:1], n),
        Figure("lucency check FOLDER, all radiographs, again", "s", seconds[1:], n),
    ]


def _time(name: str, repeats: int, *arguments: str, most: float | None = None) -> Figure:
    seconds = [run(LUCENCY, *arguments).seconds for _ in range(repeats + 1)]
    return Figure(name, "s", seconds[1:], 1, most=most)
