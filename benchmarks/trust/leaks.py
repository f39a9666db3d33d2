"""The leak check: altered copies that it finds, false alarms, and how time and memory grow.

Copies of 150 test images are planted in train, and of 150 training images in test; each is altered
at random and saved as a real file. The images are the official split of
``$LUCENCY_DATA/chest_xray`` if it is present, and otherwise the native sample.

Growth of the search is measured on drawn images, half of which are copies of the others. Comparing
all descriptors grows with the square; it is measured on drawn descriptors, in at most eight blocks
of 512 rows, scaled to all rows. All times are of one processor core.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks.command import run
from benchmarks.file_structure import saved
from benchmarks.results import Figure
from benchmarks.sample_images import CHEST_XRAY
from lucency.cluster import Threads
from lucency.dataset.cache import PixelCache, SourceFile, decode
from lucency.dataset.candidates import ROWS, candidates
from lucency.dataset.descriptors import GRID, Small
from lucency.dataset.entry import Entry
from lucency.dataset.near_duplicates import NearDuplicate, find_near_duplicates
from lucency.imaging.decoder.pool import DecoderPool

SIDE = 112
LEAST = 0.99  # recall
_BLOCKS = 8
Draw = np.random.Generator
Alteration = Callable[[Image.Image, Draw], tuple[Image.Image, int]]  # quality 0 means PNG


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    searched, compared = (100, 200), (1_000, 3_000)
    if not quick:
        searched, compared = (1_000, 3_000, 10_000), (1_000, 3_000, 10_000, 30_000, 100_000)
    # Growth comes first: a process starts with the memory of its parent.
    figures = [figure for n in searched for figure in _growth("search", n)]
    figures += [figure for n in compared for figure in _growth("comparison", n)]
    if CHEST_XRAY.is_dir() and not quick:
        train, test = (sorted((CHEST_XRAY / split).glob("*/*.jpeg")) for split in ("train", "test"))
    else:
        train, test = list(files[::2]), list(files[1::2])
    with TemporaryDirectory() as temporary:
        return [*_recall(train, test, Path(temporary), 3 if quick else 150), *figures]


def _recall(train: list[Path], test: list[Path], folder: Path, each: int) -> Iterator[Figure]:
    draw = np.random.default_rng(0)
    some = [*draw.permutation(len(train))[:each], *len(train) + draw.permutation(len(test))[:each]]
    files = train + test
    planted = [
        _plant(files[place], folder / f"{number}-{place}", alter, draw)
        for number, alter in enumerate(ALTERATIONS.values())
        for place in some
    ]
    every = files + planted
    listed, cache = [SourceFile(file, str(file)) for file in every], folder / "cache"
    with DecoderPool(1) as pool:
        store = decode(listed, size=(SIDE, SIDE), colour=False, folder=cache, pool=pool)
    splits = np.repeat(["train", "test"], [len(train), len(test)])
    entries = [_entry(store, row, splits[row]) for row in range(len(files))]
    start = time.process_time()
    alarms = find_near_duplicates(store, entries)
    seconds = time.process_time() - start
    yield Figure("untouched split: false alarms", "pairs", [len(alarms)], len(files), most=0)
    yield Figure("untouched split: time of one core", "s", [seconds], len(files))
    for k, name in enumerate(ALTERATIONS):
        rows = [len(files) + k * len(some) + i for i in range(len(some))]
        other = {"train": "test", "test": "train"}
        more = [
            _entry(store, row, other[splits[place]]) for row, place in zip(rows, some, strict=True)
        ]
        found = find_near_duplicates(store, entries + more)
        recall = _found(found, [entries[place] for place in some], more)
        yield Figure(
            f"recall: {name}", "", [recall], len(more), least=None if name in _BEYOND else LEAST
        )


def _entry(store: PixelCache, row: int, split: str) -> Entry:
    return Entry(str(row), "", str(split), str(row), store.sha256[row], row)


def _found(copies: Sequence[NearDuplicate], originals: list[Entry], planted: list[Entry]) -> float:
    """Return the share of planted copies that are reported with their original."""
    pairs = {frozenset((copy.first.sha256, copy.second.sha256)) for copy in copies}
    both = zip(originals, planted, strict=True)
    return sum(frozenset((a.sha256, b.sha256)) in pairs for a, b in both) / len(planted)


def _plant(source: Path, target: Path, alter: Alteration, draw: Draw) -> Path:
    image, quality = alter(Image.open(source).convert("L"), draw)
    file = target.with_suffix(".jpeg" if quality else ".png")
    file.write_bytes(saved(image, "JPEG", quality=quality) if quality else saved(image))
    return file


def _any_format(draw: Draw) -> int:
    return int(draw.integers(75, 96)) if draw.random() < 0.7 else 0


def _resized(image: Image.Image, scale: float) -> Image.Image:
    side = (round(image.width * scale), round(image.height * scale))
    return image.resize(side, Image.Resampling.LANCZOS)


def _cropped(image: Image.Image, draw: Draw, share: float = 0.03) -> Image.Image:
    width, height = image.size
    left, top = share * width * draw.random(), share * height * draw.random()
    right, bottom = left + (1 - share) * width, top + (1 - share) * height
    return image.crop((round(left), round(top), round(right), round(bottom)))


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _toned(image: Image.Image, draw: Draw, most: float) -> Image.Image:
    grey = np.asarray(image, np.float32)
    contrast, brightness = draw.uniform(-most, most, 2)
    toned = (grey - grey.mean()) * (1 + contrast) + grey.mean() + 128 * brightness
    return Image.fromarray(toned.clip(0, 255).round().astype(np.uint8))


def _several(image: Image.Image, draw: Draw) -> tuple[Image.Image, int]:
    flipped = _mirrored(image) if draw.random() < 0.5 else image
    crop = _cropped(_resized(flipped, draw.uniform(0.4, 1.5)), draw)
    return _toned(crop, draw, 0.1), int(draw.integers(50, 96))


ALTERATIONS: dict[str, Alteration] = {
    "saved as PNG": lambda image, _: (image, 0),
    "saved as JPEG of quality 30 to 95": lambda image, draw: (image, int(draw.integers(30, 96))),
    "resized by 0.25 to 2": lambda image, draw: (
        _resized(image, 2 ** draw.uniform(-2, 1)),
        _any_format(draw),
    ),
    "mirrored": lambda image, draw: (_mirrored(image), _any_format(draw)),
    "cropped by 3 %": lambda image, draw: (_cropped(image, draw), _any_format(draw)),
    "brightness and contrast by up to 15 %": lambda image, draw: (
        _toned(image, draw, 0.15),
        _any_format(draw),
    ),
    "mirrored, resized, cropped, toned, JPEG": _several,
    "cropped by 6 %": lambda image, draw: (_cropped(image, draw, 0.06), _any_format(draw)),
}

_BEYOND = {"cropped by 6 %"}  # beyond what is promised: to show the limit


# Growth


class Drawn:
    """Any number of images, drawn when read; the second half repeats the first, with noise."""

    shape = (64, 64, 1)

    def __init__(self, n: int) -> None:
        self.n = n
        self.sizes = np.zeros((n, 2), np.int64)

    def read_8bit(self, rows: Sequence[int]) -> Any:
        return np.stack([self._image(int(row)) for row in rows])

    def _image(self, row: int) -> Any:
        shapes = np.random.default_rng(row % (self.n // 2)).normal(0, 1, (16, 16))
        cloud = Image.fromarray(shapes.astype(np.float32)).resize((64, 64))
        grain = np.random.default_rng(row).normal(0, 2, (64, 64))
        return (128 + 40 * np.asarray(cloud) + grain).clip(0, 255).astype(np.uint8)[..., None]


def _growth(what: str, n: int) -> Iterator[Figure]:
    """Measure in a separate process, for its memory."""
    done = run(sys.executable, "-m", __name__, what, str(n))
    pairs, seconds = done.output.split()
    name = f"{what} among {n:,} drawn"
    yield Figure(f"{name}: time of one core", "s", [float(seconds)], n)
    yield Figure(f"{name}: peak memory", "MiB", [done.peak], n)
    yield Figure(f"{name}: pairs", "", [float(pairs)], n)


def _search(n: int) -> tuple[int, float]:
    entries = [Entry(str(row), "", "", str(row), str(row), row) for row in range(n)]
    start = time.process_time()
    copies = find_near_duplicates(cast(PixelCache, Drawn(n)), entries)
    return len(copies), time.process_time() - start


def _compare(n: int) -> tuple[int, float]:
    draw = np.random.default_rng(0)
    whole = draw.normal(128, 30, (n, GRID, GRID)).astype(np.float32)
    whole[n // 2 :] = whole[: n - n // 2] + draw.normal(0, 6, (n - n // 2, GRID, GRID))
    inner = whole + np.float32(0.3) * (whole[::-1] - 128)
    small = Small(*(each.clip(0, 255).astype(np.uint8) for each in (whole, inner)))
    del whole, inner
    start = time.process_time()
    found = candidates(small, np.arange(n), np.zeros(n, int), Threads(1))
    blocks = [*itertools.islice(found, _BLOCKS)]
    found.close()
    share = min(1.0, _BLOCKS * ROWS / n)
    pairs = sum(len(block.first) for block in blocks)
    return round(pairs / share), (time.process_time() - start) / share


if __name__ == "__main__":
    with threadpool_limits(1):
        print(*(_search if sys.argv[1] == "search" else _compare)(int(sys.argv[2])))
