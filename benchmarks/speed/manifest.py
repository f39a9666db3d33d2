"""A list of ten million images without pixels: its split by patient, and the order of an epoch.

Each patient has three images. The list is made, split and shuffled in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import run_json
from benchmarks.results import Figure

IMAGES = 10_000_000
_MIB = 2**20 if sys.platform == "darwin" else 2**10  # in units of ru_maxrss


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    n = 10_000 if quick else IMAGES
    found = run_json("benchmarks.speed.manifest", n)
    return [
        Figure("make the list", "s", [found["listed"]], n),
        Figure("split it by patient", "s", [found["split"]], n, most=300),
        Figure("order of an epoch", "s", [found["shuffled"]], n),
        Figure("peak memory", "MiB", [found["peak"]], n, most=16 * 1024),
        Figure("memory of an image", "bytes", [found["peak"] * 2**20 / n], n, most=1024),
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
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB,
    }


def _entry(i: int, entry: type) -> object:
    patient, label = f"patient{i // 3:08d}", ("dark", "light")[i // 3 % 2]
    sha256 = hashlib.sha256(str(i).encode()).hexdigest()
    return entry(f"{label}/{patient}_{i % 3}.png", label, "", patient, sha256, i)


if __name__ == "__main__":
    print(json.dumps(split(int(sys.argv[1]))))
