"""Peak memory of ``lucency train`` on a sample and on twenty times as many pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.child import LUCENCY, run
from benchmarks.results import Figure
from benchmarks.sample import copy_pictures


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    times, repeats = (3, 1) if quick else (20, 3)
    n = len(files)
    with TemporaryDirectory() as temporary:
        one, many = (
            copy_pictures(files, Path(temporary) / f"{copies}x", copies) for copies in (1, times)
        )
        pairs = [(_peak(one), _peak(many)) for _ in range(repeats)]
    growth = [100 * (large / small - 1) for small, large in pairs]
    per_picture = [1024 * (large - small) / (n * (times - 1)) for small, large in pairs]
    return [
        Figure("sample", "MiB", [small for small, _ in pairs], n),
        Figure(f"{times} times the sample", "MiB", [large for _, large in pairs], n * times),
        Figure("growth", "%", growth, n * times),
        Figure("growth per added picture", "KiB", per_picture, n * (times - 1)),
    ]


def _peak(folder: Path) -> float:
    """Train with nothing in the cache; return the peak in MiB."""
    with TemporaryDirectory() as temporary:
        options = ("--effort", "quick", "--set", "epochs=1", "--quiet")
        places = ("--run", f"{temporary}/run", "--cache", f"{temporary}/cache")
        return run(LUCENCY, "train", str(folder), *options, *places).peak
