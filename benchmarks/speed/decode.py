"""Image files decoded per second into an empty cache, beside others with as many workers.

Lucency also starts its processes, hashes and checks every file, resizes, and writes the pixels to
disk. Plain Pillow decodes and resizes. Bare libjpeg-turbo (simplejpeg, skipped if not installed)
only decodes, at the smallest scale that is at least as large as Lucency's. All take turns, and each
ratio compares neighbouring measurements. All files are in the page cache from the start.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from benchmarks.results import Figure, ratio, seconds
from benchmarks.sample_images import copy_images, images
from lucency.dataset.cache import PixelCache, SourceFile, decode
from lucency.imaging.decoder.pool import DecoderPool

SIDES = (112, 255)
WORKERS = os.cpu_count() or 1
TURBO = importlib.util.find_spec("simplejpeg") is not None


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    with TemporaryDirectory() as temporary:
        files = images(copy_images(files, Path(temporary) / "images", 1 if quick else 5))
        for file in files:
            file.read_bytes()
        return [figure for side in SIDES for figure in _at(side, files, 1 if quick else 5)]


def _at(side: int, files: Sequence[Path], repeats: int) -> list[Figure]:
    first, again, pillow_times, turbo_times, decoded = [], [], [], [], []
    for _ in range(repeats):
        with TemporaryDirectory() as folder:
            first.append(seconds(lambda: _lucency(files, side, Path(folder)).close()))
            start = time.perf_counter()
            with _lucency(files, side, Path(folder)) as store:
                again.append(time.perf_counter() - start)
                decoded.append(store.decoded)
        pillow_times.append(seconds(lambda: _pillow(files, side)))
        if TURBO:
            turbo_times.append(seconds(lambda: _turbo(files, side)))
    n = len(files)
    ours = Figure(f"{side} px: Lucency", "files/s", [n / each for each in first], n)
    pillow = Figure(f"{side} px: plain Pillow", "files/s", [n / each for each in pillow_times], n)
    compared = []
    if TURBO:
        name, values = f"{side} px: libjpeg-turbo", [n / each for each in turbo_times]
        turbo = Figure(name, "files/s", values, n)
        compared = [turbo, ratio(f"{side} px: Lucency / libjpeg-turbo", ours, turbo, least=0.9)]
    return [
        ours,
        pillow,
        *compared,
        ratio(f"{side} px: Lucency / Pillow", ours, pillow, least=1.6),
        Figure(f"{side} px: second run", "s", again, n),
        Figure(f"{side} px: decoded in the second run", "files", decoded, n, most=0),
    ]


def _lucency(files: Sequence[Path], side: int, cache: Path) -> PixelCache:
    listed = [SourceFile(file, file.name) for file in files]
    with DecoderPool(WORKERS) as pool:
        return decode(listed, size=(side, side), colour=False, folder=cache, pool=pool)


def _pillow(files: Sequence[Path], side: int) -> list[Image.Image]:
    with ThreadPoolExecutor(WORKERS) as pool:
        return [*pool.map(lambda file: Image.open(file).convert("L").resize((side, side)), files)]


def _turbo(files: Sequence[Path], side: int) -> None:
    import simplejpeg

    def decode(file: Path) -> None:
        least = round(1.25 * side)  # as ``lucency.imaging.image`` does
        simplejpeg.decode_jpeg(file.read_bytes(), "GRAY", min_height=least, min_width=least)

    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(decode, files):
            pass
