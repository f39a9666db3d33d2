"""Files decoded per second: Lucency into a fresh cache, beside Pillow with as many workers.

Lucency also starts its processes, hashes every file, checks it, and writes the pixels to disk. The
two take turns, and each ratio is of neighbours. All files are in the memory of the operating system
from the start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.results import Figure, ratio
from lucency.dataset.store import Listed, PixelStore, decode
from lucency.decoding.pool import DecoderPool

SIDES = (112, 255)
WORKERS = os.cpu_count() or 1


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    for file in files:
        file.read_bytes()
    return [figure for side in SIDES for figure in _at(side, files, 1 if quick else 7)]


def _at(side: int, files: Sequence[Path], repeats: int) -> list[Figure]:
    first, again, theirs, decoded = [], [], [], []
    for _ in range(repeats):
        with TemporaryDirectory() as folder:
            first.append(_seconds(lambda: _lucency(files, side, Path(folder)).close()))
            start = time.perf_counter()
            with _lucency(files, side, Path(folder)) as store:
                again.append(time.perf_counter() - start)
                decoded.append(store.decoded)
        theirs.append(_seconds(lambda: _pillow(files, side)))
    n = len(files)
    ours = Figure(f"{side} px: Lucency", "files/s", [n / each for each in first], n)
    pillow = Figure(f"{side} px: plain Pillow", "files/s", [n / each for each in theirs], n)
    return [
        ours,
        pillow,
        ratio(f"{side} px: Lucency / Pillow", ours, pillow, least=1.6),
        Figure(f"{side} px: second run", "s", again, n),
        Figure(f"{side} px: decoded in the second run", "files", decoded, n, most=0),
    ]


def _lucency(files: Sequence[Path], side: int, cache: Path) -> PixelStore:
    listed = [Listed(file, file.name) for file in files]
    with DecoderPool(WORKERS) as pool:
        return decode(listed, size=(side, side), colour=False, cache=cache, pool=pool)


def _pillow(files: Sequence[Path], side: int) -> list[Image.Image]:
    with ThreadPoolExecutor(WORKERS) as pool:
        return [*pool.map(lambda file: Image.open(file).convert("L").resize((side, side)), files)]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
