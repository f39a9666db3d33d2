"""Millions of images without pixels: their split by patient, the order of an epoch, the cache.

Each patient has three images. The list is made, split and shuffled in a process of its own. In
another, a data set is loaded with files that are decoded to one pixel each, which takes every step
but listing a folder and the search for copies; ``copies`` measures that.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks.command import resident, run_json
from benchmarks.results import Figure

IMAGES = 10_000_000
LOADED = 200_000
_MIB = 2**20 if sys.platform == "darwin" else 2**10  # in units of ru_maxrss


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    n, m = (10_000, 10_000) if quick else (IMAGES, LOADED)
    return [*_split(n), *_loaded(m)]


def _split(n: int) -> list[Figure]:
    found = run_json("benchmarks.speed.manifest", "split", n)
    return [
        Figure("make the list", "s", [found["listed"]], n),
        Figure("split it by patient", "s", [found["split"]], n, most=300),
        Figure("order of an epoch", "s", [found["shuffled"]], n),
        Figure("peak memory", "MiB", [found["peak"]], n, most=16 * 1024),
        Figure("memory of an image", "bytes", [found["peak"] * 2**20 / n], n, most=1024),
    ]


def _loaded(n: int) -> list[Figure]:
    found = run_json("benchmarks.speed.manifest", "load", n)
    return [
        Figure("load: time", "s", [found["seconds"]], n),
        Figure("load: memory of an image at the peak", "bytes", [found["peak"]], n, most=1024),
        Figure("cache: size of an image in the index", "bytes", [found["index"]], n),
        Figure("cache: memory of an image once open", "bytes", [found["open"]], n),
        Figure("cache: time to open", "s", [found["opening"]], n),
    ]


def split(n: int) -> dict[str, float]:
    """Make, split and shuffle a list of images; return seconds, and the peak memory in MiB."""
    from lucency.augmentation import generator
    from lucency.config import Config
    from lucency.dataset.entry import Entry
    from lucency.dataset.partition import partition

    start = time.perf_counter()
    entries = [_entry(i, Entry) for i in range(n)]
    listed = time.perf_counter()
    partition(entries, ("dark", "light"), (), Config())
    done = time.perf_counter()
    generator(0, 0, 0, 1).permutation(n)
    return {
        "listed": listed - start,
        "split": done - listed,
        "shuffled": time.perf_counter() - done,
        "peak": _peak(),
    }


def load(n: int) -> dict[str, float]:
    """Load a data set of drawn files; return seconds, and bytes per image."""
    from lucency.config import Config
    from lucency.dataset import load as module
    from lucency.dataset.cache import PixelCache

    before, start = resident(), time.perf_counter()
    with TemporaryDirectory() as cache, ExitStack() as stack:
        for name, replacement in (
            ("scan_source", lambda *_, **__: _scan(n)),
            ("decoders", lambda *_: Drawn()),
            ("find_near_duplicates", lambda *_, **__: ()),
            ("check_search", lambda _: None),
        ):
            stack.enter_context(patch.object(module, name, replacement))
        data = module.load_dataset("drawn", Config(cache=cache), size=(1, 1), colour=False)
        seconds, peak = time.perf_counter() - start, _peak() - before
        data.train.cache.close()
        (entry,) = Path(cache).iterdir()
        tracemalloc.start()
        start = time.perf_counter()
        with PixelCache(entry):
            opening, (memory, _) = time.perf_counter() - start, tracemalloc.get_traced_memory()
        size = sum(file.stat().st_size for file in entry.glob("index.*"))
    return {
        "seconds": seconds,
        "peak": peak * 2**20 / n,
        "opening": opening,
        "open": memory / n,
        "index": size / n,
    }


class Drawn:
    """Decodes any file to one black pixel."""

    workers = 1

    def __enter__(self) -> Drawn:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, requests: Iterable[object]) -> Iterator[object]:
        import numpy as np

        from lucency.imaging.decoder.pool import Decoded

        pixels = np.zeros((1, 1, 1), np.uint8)
        for i, _ in enumerate(requests):
            sha256 = hashlib.sha256(str(i).encode()).hexdigest()
            yield Decoded(pixels, sha256=sha256, size=(1000 + i % 7, 1200))


def _scan(n: int) -> object:
    """Return the scan of a folder, as if it had ``n`` files."""
    from lucency.dataset.entry import Entry
    from lucency.dataset.scan import Scan
    from lucency.imaging.source import Stamp

    entries = tuple(sorted(Entry(_file(i), _label(i)) for i in range(n)))
    stamps = {
        entry.file: Stamp(10**5 + i, 10**18 + i, 10**18 + i) for i, entry in enumerate(entries)
    }
    return Scan(Path("drawn"), ("dark", "light"), entries, stamps, (), (), (), (), ())


def _entry(i: int, entry: type) -> object:
    sha256 = hashlib.sha256(str(i).encode()).hexdigest()
    return entry(_file(i), _label(i), "", f"patient{i // 3:08d}", sha256, i)


def _file(i: int) -> str:
    return f"{_label(i)}/patient{i // 3:08d}_{i % 3}.png"


def _label(i: int) -> str:
    return ("dark", "light")[i // 3 % 2]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB


if __name__ == "__main__":
    work = {"split": split, "load": load}[sys.argv[1]]
    print(json.dumps(work(int(sys.argv[2]))))
