"""Candidate pairs of an index of nearest neighbours, beside those of comparing all images.

The images are blends of two radiographs each, of which there are as many as wanted. Altered copies
of some of them are planted, made by the alterations of ``leaks``. An image and its copy are in
different splits. All times are of one processor core.
"""

from __future__ import annotations

import importlib.util
import io
import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks.command import run_json
from benchmarks.file_structure import saved
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY
from benchmarks.trust.leaks import ALTERATIONS, SIDE
from lucency.cluster import Threads
from lucency.dataset.cache import PixelCache
from lucency.dataset.candidates import Candidates, candidates
from lucency.dataset.descriptors import shrunk
from lucency.dataset.nearest import nearest

IMAGES = 100_000
LEAST = 0.99  # of what comparing all images finds
_PLANTED = 500  # of each alteration
_LARGE = (224, 224)
_MIB = 2**20 if sys.platform == "darwin" else 2**10  # in units of ru_maxrss


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if not importlib.util.find_spec("faiss"):
        raise Skipped('it needs FAISS: pip install "lucency[search]"')
    if not CHEST_XRAY.is_dir():
        raise Skipped("it needs the whole data set ($LUCENCY_DATA/chest_xray)")
    n, planted = (3_000, 20) if quick else (IMAGES, _PLANTED)
    return [Figure(**each) for each in run_json(__name__, n, planted)]


class Blends:
    """Blends of two radiographs each, and altered copies of the first of them, made when read."""

    shape = (SIDE, SIDE, 1)

    def __init__(self, files: Sequence[Path], n: int, planted: int) -> None:
        self.files, self.n, self.planted = files, n, planted
        self.small = [_opened(file, (SIDE, SIDE)) for file in files]

    def __len__(self) -> int:
        return self.n + self.planted * len(ALTERATIONS)

    def read_8bit(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        return np.stack([self._image(int(row)) for row in rows])[..., None]

    def _image(self, row: int) -> NDArray[np.uint8]:
        if row < self.n:
            return self._blend(row, self.small)
        number = row - self.n
        alter = [*ALTERATIONS.values()][number // self.planted]
        large = Image.fromarray(self._blend(number, None))
        altered, quality = alter(large, np.random.default_rng(row))
        file = saved(altered, "JPEG", quality=quality) if quality else saved(altered)
        return np.asarray(_resized(Image.open(io.BytesIO(file)), (SIDE, SIDE)))

    def _blend(self, row: int, small: Sequence[NDArray[np.uint8]] | None) -> NDArray[np.uint8]:
        draw = np.random.default_rng(row)
        a, b = draw.choice(len(self.files), 2, replace=False)
        share = draw.uniform(0.35, 0.65)
        one, two = (_opened(self.files[k], _LARGE) if small is None else small[k] for k in (a, b))
        return np.asarray(share * one + (1 - share) * two).round().astype(np.uint8)


def _opened(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        return np.asarray(_resized(image.convert("L"), size))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=None)


def _measured(n: int, planted: int) -> Iterator[dict[str, object]]:
    blends = Blends(sorted(CHEST_XRAY.glob("train/*/*.jpeg")), n, planted)
    rows = np.arange(len(blends))
    small = shrunk(cast(PixelCache, blends), rows)
    splits = np.repeat([0, 1], [n, len(blends) - n])
    found, before = {}, _peak()
    for name, search in (
        ("index", lambda: nearest(small, rows, splits, 1)),
        ("all pairs", lambda: candidates(small, rows, splits, Threads(1))),
    ):
        start = time.process_time()
        found[name] = _pairs([*search()])
        seconds = time.process_time() - start
        yield _row(f"{name}: time of one core", "s", seconds, len(blends))
        if name == "index":
            yield _row("index: more memory than before", "MiB", _peak() - before, len(blends))
        yield _row(f"{name}: candidate pairs", "", len(found[name]), len(blends))
    both = found["index"] & found["all pairs"]
    share = len(both) / max(1, len(found["all pairs"]))
    yield _row("index: candidate pairs, of those of all pairs", "", share, len(found["all pairs"]))
    for k, name in enumerate(ALTERATIONS):
        copies = {(k * planted + i, n + k * planted + i) for i in range(planted)}
        exact, index = (len(copies & found[way]) for way in ("all pairs", "index"))
        yield _row(f"all pairs: {name}", "", exact / planted, planted)
        yield _row(f"index: {name}, of those of all pairs", "", index / max(1, exact), exact, LEAST)


def _pairs(found: Sequence[Candidates]) -> set[tuple[int, int]]:
    both = ((each.first.tolist(), each.second.tolist()) for each in found)
    return {(min(a, b), max(a, b)) for ones, twos in both for a, b in zip(ones, twos, strict=True)}


def _row(
    name: str, unit: str, value: float, n: int, least: float | None = None
) -> dict[str, object]:
    return {"name": name, "unit": unit, "values": [value], "n": n, "least": least}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


if __name__ == "__main__":
    with threadpool_limits(1):
        print(json.dumps([*_measured(int(sys.argv[1]), int(sys.argv[2]))]))
