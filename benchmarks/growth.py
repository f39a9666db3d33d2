"""Time and peak memory of ``lucency train`` as images become more, and larger.

The whole command, with nothing in the cache, one epoch of ``quick``. More images are copies that
differ in bytes and patient. ``per added image`` is what 4 times as many cost beyond the sample,
and 16 times as many beyond 4 times: where both are the same, growth is linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.child import LUCENCY, Finished, run
from benchmarks.results import Figure
from benchmarks.sample import copy_images

SIDES = (64, 128, 256, 512)
SIDES_QUICK = (32, 64)


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    times, repeats = (1, 2, 3) if quick else (1, 4, 16), 1
    with TemporaryDirectory() as temporary:
        folders = [copy_images(files, Path(temporary) / f"{copies}x", copies) for copies in times]
        rounds = [[_trained(folder) for folder in folders] for _ in range(repeats)]
        sides = SIDES_QUICK if quick else SIDES
        larger = [[_trained(folders[0], side) for side in sides] for _ in range(repeats)]
    return [*_more(rounds, times, len(files)), *_larger(larger, sides, len(files))]


def _more(rounds: list[list[Finished]], times: Sequence[int], n: int) -> list[Figure]:
    counts = [n * copies for copies in times]
    figures = []
    for k, count in enumerate(counts):
        figures += [
            Figure(f"{count:,} images: time", "s", [each[k].seconds for each in rounds], count),
            Figure(f"{count:,} images: memory", "MiB", [each[k].peak for each in rounds], count),
        ]
    for k in (1, 2):
        added = counts[k] - counts[k - 1]
        seconds = [1000 * (each[k].seconds - each[k - 1].seconds) / added for each in rounds]
        name = f"per added image, {counts[k - 1]:,} to {counts[k]:,}"
        figures.append(Figure(f"{name}: time", "ms", seconds, added))
    growth = [100 * (each[-1].peak / each[0].peak - 1) for each in rounds]
    return [
        *figures,
        Figure(f"memory, {times[-1]} times the images", "% more", growth, counts[-1]),
    ]


def _larger(rounds: list[list[Finished]], sides: Sequence[int], n: int) -> list[Figure]:
    figures = []
    for k, side in enumerate(sides):
        figures += [
            Figure(f"{side} px: time", "s", [each[k].seconds for each in rounds], n),
            Figure(f"{side} px: memory", "MiB", [each[k].peak for each in rounds], n),
        ]
    for k in range(1, len(sides)):
        added = n * (sides[k] ** 2 - sides[k - 1] ** 2) / 1e6
        seconds = [(each[k].seconds - each[k - 1].seconds) / added for each in rounds]
        name = f"per added megapixel, {sides[k - 1]} to {sides[k]} px: time"
        figures.append(Figure(name, "s", seconds, n))
    return figures


def _trained(folder: Path, side: int = 64) -> Finished:
    with TemporaryDirectory() as temporary:
        options = ("--effort", "quick", "--set", "epochs=1", "--set", f"size={side}", "--quiet")
        places = ("--run", f"{temporary}/run", "--cache", f"{temporary}/cache")
        return run(LUCENCY, "train", str(folder), *options, *places)
