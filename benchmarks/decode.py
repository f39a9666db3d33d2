"""Files decoded per second: Lucency into a fresh cache, beside others with as many workers.

Lucency also starts its processes, hashes every file, checks it, resizes, and writes the pixels to
disk. Plain Pillow decodes and resizes. Bare libjpeg-turbo (by simplejpeg, left out where it is not
installed) decodes at the smallest scale that is as large as Lucency's, and no more. All take turns,
and each ratio is of neighbours. All files are in the memory of the operating system from the start.
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
from benchmarks.sample import copy_images, images
from lucency.dataset.cache import Listed, PixelStore, decode
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
    first, again, theirs, bare, decoded = [], [], [], [], []
    for _ in range(repeats):
        with TemporaryDirectory() as folder:
            first.append(seconds(lambda: _lucency(files, side, Path(folder)).close()))
            start = time.perf_counter()
            with _lucency(files, side, Path(folder)) as store:
                again.append(time.perf_counter() - start)
                decoded.append(store.decoded)
        theirs.append(seconds(lambda: _pillow(files, side)))
        if TURBO:
            bare.append(seconds(lambda: _turbo(files, side)))
    n = len(files)
    ours = Figure(f"{side} px: Lucency", "files/s", [n / each for each in first], n)
    pillow = Figure(f"{side} px: plain Pillow", "files/s", [n / each for each in theirs], n)
    turbo = Figure(f"{side} px: libjpeg-turbo", "files/s", [n / each for each in bare], n)
    compared = (
        [
            turbo,
            ratio(f"{side} px: Lucency / libjpeg-turbo", ours, turbo, least=0.9),
        ]
        if TURBO
        else []
    )
    return [
        ours,
        pillow,
        *compared,
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


def _turbo(files: Sequence[Path], side: int) -> None:
    import simplejpeg

    def decode(file: Path) -> None:
        least = round(1.25 * side)  # as ``lucency.imaging.image`` asks for
        simplejpeg.decode_jpeg(file.read_bytes(), "GRAY", min_height=least, min_width=least)

    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(decode, files):
            pass
