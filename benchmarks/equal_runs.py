"""Two versions of Lucency, trained alike: are weights, predictions, figures and ONNX equal?

    python -m benchmarks.equal_runs BEFORE [AFTER] [--backend tensorflow|jax] [--work FOLDER]

Each checkout trains `quick` with seed 0 on the drawn demo data and on 400 chest radiographs. Then the
runs are compared: every array of every safetensors file to the last bit, every number of every JSON
and CSV file in its order within a file or, where keys were renamed, as a sorted list; ONNX files by
their arrays, their operations, and their outputs for real images. Names of keys, columns and files may
differ, and so may sentences. Times and versions are left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
IMAGES = {"train": 150, "test": 50}  # of each class
RENAMED = {
    "reference_images.safetensors": "reference.safetensors",
    "ood_detector.safetensors": "ood.safetensors",
}
RENAMED |= {"test_evaluations.json": "test_evaluations.json"}
# What differs between any two runs: times, versions, and where the run lies.
VOLATILE = {"seconds", "images_per_second", "environment", "versions", "when", "command", "run"}
VOLATILE |= {"epochs", "training", "format", "sha256", "recorded", "number"}


def main() -> None:
    """Train what is missing, compare, print a line a file, and end with 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout of the version before")
    parser.add_argument("after", type=Path, nargs="?", default=ROOT, help="a checkout, or this one")
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--work", type=Path, default=Path("build/equal_runs"))
    parser.add_argument("--only", choices=("before", "after"), help="train this one and stop")
    given = parser.parse_args()
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
    """Copy the first images of each class, always the same ones."""
    data = Path(os.environ.get("LUCENCY_DATA", ROOT.parent / "shared" / "data"))
    for split, count in IMAGES.items():
        for label in ("NORMAL", "PNEUMONIA"):
            files = sorted((data / "chest_xray" / split / label).glob("*.jpeg"))[:count]
            target = folder / split / label
            target.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copyfile(file, target / file.name)
    return folder


def trained(checkout: Path, folder: Path, images: Path, backend: str) -> dict[str, Path]:
    """Train both data sets with a checkout, where that has not been done; return the run folders."""
    runs = {"demo": folder / "demo" / "run-1", "chest": folder / "chest"}
    folder.mkdir(parents=True, exist_ok=True)
    train = ["train", str(images), "--effort", "quick", "--seed", "0", "--run", str(runs["chest"])]
    for name, command in (("demo", ["demo", str(folder / "demo")]), ("chest", train)):
        if not runs[name].exists():
            lucency(checkout, folder, backend, *command)
    return runs


def lucency(checkout: Path, folder: Path, backend: str, *command: str) -> None:
    """Run a command of a checkout; its cache and ledger lie in the folder."""
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
    """Compare the files of both runs, and print what was found."""
    for name, old in before.items():
        for file in sorted(old.iterdir()):
            other = after[name] / RENAMED.get(file.name, file.name)
            if not other.exists():
                other = after[name] / file.name
            if found := compare(file, other):
                print(f"{name:6} {file.name:24} {found}")
                yield not found.startswith("DIFFERS")


def compare(before: Path, after: Path) -> str:
    """Compare two files by what they are; nothing to say of pages, folders and drawings."""
    kinds = {".safetensors": arrays, ".onnx": network, ".json": document, ".csv": table}
    if before.suffix not in kinds or before.name in ("checklist.json",):
        return ""
    if not after.exists():
        return f"DIFFERS: there is no {after.name}"
    return kinds[before.suffix](before, after)


def arrays(before: Path, after: Path) -> str:
    """Compare every array to the last bit, in the order of their names."""
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
    steps = [[node.op_type for node in model.graph.node] for model in (one, two)]
    held = [
        [(tuple(i.dims), onnx.numpy_helper.to_array(i).tobytes()) for i in model.graph.initializer]
        for model in (one, two)
    ]
    if steps[0] != steps[1] or held[0] != held[1]:
        return "DIFFERS in operations or arrays"
    outputs = []
    for file in (before, after):
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        place = session.get_inputs()[0]
        shape = [4 if not isinstance(side, int) else side for side in place.shape]
        pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        outputs.append(session.run(None, {place.name: pixels}))
    same = all(a.tobytes() == b.tobytes() for a, b in zip(*outputs, strict=True))
    return (
        f"equal: {len(steps[0])} operations, {len(held[0])} arrays, outputs" if same else "DIFFERS"
    )


def document(before: Path, after: Path) -> str:
    """Compare the numbers of two JSON files; keys may be others and stand in another order."""
    one, two = (sorted(numbers(json.loads(file.read_text()))) for file in (before, after))
    if one == two:
        return f"equal: {len(one):,} numbers"
    from collections import Counter

    gone, new = Counter(one) - Counter(two), Counter(two) - Counter(one)
    return f"DIFFERS: gone {dict(list(gone.items())[:5])}, new {dict(list(new.items())[:5])}"


def numbers(value: Any) -> Iterator[float]:
    """Yield every number in a document, but for what differs between any two runs."""
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
    """Compare two CSV files row by row and cell by cell; columns may have other names."""
    one, two = ([*csv.reader(file.open(newline=""))][1:] for file in (before, after))
    return f"equal: {len(one):,} rows" if one == two else "DIFFERS"


if __name__ == "__main__":
    main()
