"""Time and peak memory of ``lucency train`` with more images, and with larger ones.

The whole command, with an empty cache and one epoch of ``quick``. Additional images are copies that
differ in bytes and patient. ``per added image`` is the cost of 4 times as many images beyond the
sample, and of 16 times as many beyond 4 times: if both are equal, growth is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.command import LUCENCY, Finished, run
from benchmarks.results import Figure
from benchmarks.sample_images import copy_images

SIDES = (64, 128, 256, 512)
SIDES_QUICK = (32, 64)


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    times = (1, 2, 3) if quick else (1, 4, 16)
    with TemporaryDirectory() as temporary:
        folders = [copy_images(files, Path(temporary) / f"{copies}x", copies) for copies in times]
        more = [_train(folder) for folder in folders]
        sides = SIDES_QUICK if quick else SIDES
        larger = [_train(folders[0], side) for side in sides]
    return [*_more(more, times, len(files)), *_larger(larger, sides, len(files))]


def _more(runs: list[Finished], times: Sequence[int], n: int) -> list[Figure]:
    counts = [n * copies for copies in times]
    figures = []
    for k, count in enumerate(counts):
        figures += [
            Figure(f"{count:,} images: time", "s", [runs[k].seconds], count),
            Figure(f"{count:,} images: memory", "MiB", [runs[k].peak], count),
        ]
    for k in (1, 2):
        added = counts[k] - counts[k - 1]
        seconds = [1000 * (runs[k].seconds - runs[k - 1].seconds) / added]
        name = f"per added image, {counts[k - 1]:,} to {counts[k]:,}"
        figures.append(Figure(f"{name}: time", "ms", seconds, added))
    growth = [100 * (runs[-1].peak / runs[0].peak - 1)]
    return [*figures, Figure(f"memory, {times[-1]} times the images", "% more", growth, counts[-1])]


def _larger(runs: list[Finished], sides: Sequence[int], n: int) -> list[Figure]:
    figures = []
    for k, side in enumerate(sides):
        figures += [
            Figure(f"{side} px: time", "s", [runs[k].seconds], n),
            Figure(f"{side} px: memory", "MiB", [runs[k].peak], n),
        ]
    for k in range(1, len(sides)):
        added = n * (sides[k] ** 2 - sides[k - 1] ** 2) / 1e6
        seconds = [(runs[k].seconds - runs[k - 1].seconds) / added]
        name = f"per added megapixel, {sides[k - 1]} to {sides[k]} px: time"
        figures.append(Figure(name, "s", seconds, n))
    return figures


def _train(folder: Path, side: int = 64) -> Finished:
    with TemporaryDirectory() as temporary:
        options = ("--effort", "quick", "--set", "epochs=1", "--set", f"size={side}", "--quiet")
        places = ("--folds", "0", "--run", f"{temporary}/run", "--cache", f"{temporary}/cache")
        return run(LUCENCY, "train", str(folder), *options, *places)
