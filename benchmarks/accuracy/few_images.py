"""From scratch, frozen, or chosen by evidence: on so many training images of each class.

``LUCENCY_PER_CLASS`` (25,50,100) images of each class are drawn by group from the images outside
test of a data set under ``$LUCENCY_DATA/proof``. Each row is a ``lucency train --effort quick`` on
them, evaluated on up to ``_HELD`` others, which are not those of the data set's test split.
``LUCENCY_SEEDS`` (3), ``LUCENCY_SETS`` (names with commas) and ``LUCENCY_STARTS``
(scratch,EfficientNetLite0,auto) make it shorter; runs are kept as those of ``proof`` are.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy.kept_runs import RUNS, trained
from benchmarks.accuracy.proof import SEEDS, SETS, ProofSet
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import DATA

SIZES = [int(n) for n in os.environ.get("LUCENCY_PER_CLASS", "25,50,100").split(",")]
STARTS = os.environ.get("LUCENCY_STARTS", "scratch,EfficientNetLite0,auto").split(",")
METRICS = ("balanced_accuracy", "auroc", "log_loss")
_SETS = ("trashnet256", "potato_leaf", "eurosat")
_HELD = 240


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if quick or not (DATA / "proof").is_dir():
        raise Skipped("it needs $LUCENCY_DATA/proof, and hours")
    names = (os.environ.get("LUCENCY_SETS") or ",".join(_SETS)).split(",")
    return [
        figure
        for each in SETS
        if each.name in names
        for size in SIZES
        for start in STARTS
        for figure in _figures(each, size, start)
    ]


def _figures(each: ProofSet, size: int, start: str) -> Iterator[Figure]:
    found = []
    for seed in range(SEEDS):
        name = f"few-{each.name}-{size}-{start}-{seed}"
        table = _table(each, size, seed)
        options = ("--labels", str(table), "--effort", "quick", "--start", start)
        options += ("--seed", str(seed), "--set", "on_leak=drop")
        found.append(trained(name, each.folder, *options))
    title = f"{each.name}, {size} per class, {start}"
    n = found[0][1]["test"]["n"]
    yield Figure(f"{title}: whole command", "min", [seconds / 60 for seconds, _ in found], n)
    for metric in METRICS:
        values = [evaluation["test"]["metrics"][metric]["value"] for _, evaluation in found]
        yield Figure(f"{title}: {metric}", "", values, n)


def _table(each: ProofSet, size: int, seed: int) -> Path:
    """Write the labels file of a sample: ``train``, and ``test`` for other images."""
    rows = _outside_test(each)
    groups = sorted({group for _, _, group in rows})
    shuffled = np.random.default_rng(seed).permutation(groups).tolist()
    order = {group: place for place, group in enumerate(shuffled)}
    rows.sort(key=lambda row: (order[row[2]], row[0]))
    drawn: Counter[str] = Counter()
    held: Counter[str] = Counter()
    splits: dict[str, str] = {}  # by group
    most = _HELD // len({label for _, label, _ in rows})
    chosen = []
    for file, label, group in rows:
        split = splits.setdefault(group, "train" if drawn[label] < size else "test")
        count, limit = (drawn, size) if split == "train" else (held, most)
        if count[label] < limit:
            count[label] += 1
            chosen.append((file, label, group, split))
    path = RUNS / f"few-{each.name}-{size}-{seed}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as opened:
        csv.writer(opened).writerows([("file", "label", "group", "split"), *chosen])
    return path


def _outside_test(each: ProofSet) -> list[tuple[str, str, str]]:
    """Return file, label and group of the images that are not in test of the whole data set."""
    from lucency.dataset import load_dataset

    data = load_dataset(each.folder, each.config(size=64, folds=0))
    return [(x.file, x.label, x.group) for x in data.entries if x.split in ("train", "val")]
