"""Compare two versions of Lucency: are weights, predictions, figures and ONNX files equal?

    python -m benchmarks equal_runs BEFORE [AFTER] [--backend tensorflow|jax] [--work FOLDER]

Each checkout trains ``quick`` with seed 0 on the drawn demo data and on 400 chest radiographs. Then
the runs are compared: every array of every safetensors file to the last bit; all numbers of every
JSON file, as a sorted list; every cell of every CSV file; the arrays, operations and outputs of
every ONNX file. Names of keys, columns and files may differ, and so may sentences. Times and
versions are not compared.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import ROOT
from benchmarks.sample_images import CHEST_XRAY

IMAGES = {"train": 150, "test": 50}  # of each class
RENAMED = {
    "golden.safetensors": "reference_images.safetensors",
    "gate.safetensors": "ood_detector.safetensors",
    "looks.json": "test_evaluations.json",
}
# What differs between any two runs: times, versions, and the place of the run.
VOLATILE = {"seconds", "images_per_second", "environment", "versions", "when", "command", "run"}
VOLATILE |= {"epochs", "training", "format", "sha256", "recorded", "on_record", "number"}
VOLATILE |= {"config"}  # which settings there are; the plan says what follows from them


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, compare, print a line per file, and exit with 1 on a difference."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks equal_runs", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("before", type=Path, help="a checkout of the old version")
    parser.add_argument(
        "after", type=Path, nargs="?", default=ROOT, help="a checkout (default: this one)"
    )
    parser.add_argument("--backend", default="tensorflow", help="tensorflow or jax")
    parser.add_argument(
        "--work", type=Path, default=Path("build/equal_runs"), help="folder of the runs"
    )
    parser.add_argument("--only", choices=("before", "after"), help="train only this one")
    given = parser.parse_args(arguments)
    work = given.work.resolve()
    images = chest(work / "chest")
    runs = {}
    for side in ("before", "after"):
        if given.only in (None, side):
            checkout = getattr(given, side).resolve()
            runs[side] = trained(checkout, work / f"{side}-{given.backend}", images, given.backend)
    if given.only is None:
        sys.exit(0 if all([*compared(runs["before"], runs["after"])]) else 1)


def chest(folder: Path) -> Path:
    """Copy the first images of each class into a folder; return the folder."""
    for split, count in IMAGES.items():
        for label in ("NORMAL", "PNEUMONIA"):
            files = sorted((CHEST_XRAY / split / label).glob("*.jpeg"))[:count]
            target = folder / split / label
            target.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copyfile(file, target / file.name)
    return folder


def trained(checkout: Path, folder: Path, images: Path, backend: str) -> dict[str, Path]:
    """Train on both data sets with a checkout, unless that is done; return the run folders."""
    runs = {"demo": folder / "demo" / "run-1", "chest": folder / "chest"}
    folder.mkdir(parents=True, exist_ok=True)
    train = [
        "train",
        str(images),
        "--effort",
        "quick",
        "--seed",
        "0",
        "--folds",
        "0",
        "--run",
        str(runs["chest"]),
    ]
    for name, command in (("demo", ["demo", str(folder / "demo")]), ("chest", train)):
        if not runs[name].exists():
            lucency(checkout, folder, backend, *command)
    return runs


def lucency(checkout: Path, folder: Path, backend: str, *command: str) -> None:
    """Run a command of a checkout, with cache and ledger in the folder."""
    start = "from lucency.cli import main; main()"
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout / "src"),
        "KERAS_BACKEND": backend,
        "LUCENCY_LEDGER": str(folder / "ledger.jsonl"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    subprocess.run([sys.executable, "-c", start, *command], cwd=folder, env=environment, check=True)


def compared(before: dict[str, Path], after: dict[str, Path]) -> Iterator[bool]:
    """Compare the files of both runs, print a line for each, and yield whether they are equal."""
    for name, old in before.items():
        for file in sorted(old.iterdir()):
            other = after[name] / file.name
            if not other.exists():
                other = after[name] / RENAMED.get(file.name, file.name)
            if found := compare(file, other):
                print(f"{name:6} {file.name:24} {found}")
                yield not found.startswith("DIFFERS")


def compare(before: Path, after: Path) -> str:
    """Compare two files by type; empty for pages, folders and drawings, which are not compared."""
    comparisons = {".safetensors": arrays, ".onnx": network, ".json": document, ".csv": table}
    if before.suffix not in comparisons or before.name == "checklist.json":
        return ""
    if not after.exists():
        return f"DIFFERS: there is no {after.name}"
    return comparisons[before.suffix](before, after)


def arrays(before: Path, after: Path) -> str:
    """Compare every array to the last bit; names may differ."""
    from safetensors.numpy import load_file

    one, two = load_file(before), load_file(after)
    key = lambda item: (item[1].shape, item[1].tobytes())  # noqa: E731 - names may differ
    pairs = zip(sorted(one.items(), key=key), sorted(two.items(), key=key), strict=False)
    equal = len(one) == len(two) and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
        for (_, a), (_, b) in pairs
    )
    size = sum(array.size for array in one.values())
    return f"equal to the last bit: {len(one)} arrays, {size:,} values" if equal else "DIFFERS"


def network(before: Path, after: Path) -> str:
    """Compare operations, arrays, and outputs for random images."""
    import onnx
    import onnxruntime

    one, two = onnx.load(before), onnx.load(after)
    operations = [[node.op_type for node in model.graph.node] for model in (one, two)]
    arrays_ = [
        [(tuple(i.dims), onnx.numpy_helper.to_array(i).tobytes()) for i in model.graph.initializer]
        for model in (one, two)
    ]
    if operations[0] != operations[1] or arrays_[0] != arrays_[1]:
        return "DIFFERS in operations or arrays"
    outputs = []
    for file in (before, after):
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        place = session.get_inputs()[0]
        shape = [4 if not isinstance(side, int) else side for side in place.shape]
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        outputs.append(session.run(None, {place.name: pixels}))
    equal = all(a.tobytes() == b.tobytes() for a, b in zip(*outputs, strict=True))
    return (
        f"equal: {len(operations[0])} operations, {len(arrays_[0])} arrays, outputs"
        if equal
        else "DIFFERS"
    )


def document(before: Path, after: Path) -> str:
    """Compare the numbers of two JSON files; names and order of keys may differ."""
    one, two = (json.loads(file.read_text()) for file in (before, after))
    if before.name == "robustness.json":  # today only some of the corruptions run by default
        left = Counter(tuple(numbers(row)) for row in two["rows"])
        both = Counter(tuple(numbers(row)) for row in one["rows"]) & left
        one["rows"] = [*map(list, both.elements())]
    one, two = sorted(numbers(one)), sorted(numbers(two))
    if one == two:
        return f"equal: {len(one):,} numbers"
    gone, new = Counter(one) - Counter(two), Counter(two) - Counter(one)
    return f"DIFFERS: gone {dict(list(gone.items())[:5])}, new {dict(list(new.items())[:5])}"


def numbers(value: Any) -> Iterator[float]:
    """Yield every number of a document, except those that differ between any two runs."""
    if isinstance(value, int | float):  # a bool too
        yield float(value)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in VOLATILE:
                yield from numbers(each)


def table(before: Path, after: Path) -> str:
    """Compare two CSV files cell by cell; names of columns may differ."""
    one, two = ([*csv.reader(file.open(newline=""))][1:] for file in (before, after))
    return f"equal: {len(one):,} rows" if one == two else "DIFFERS"


if __name__ == "__main__":
    main()
