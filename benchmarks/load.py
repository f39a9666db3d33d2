"""The service under load, with hostile clients, changed and ended: ``python -m benchmarks.load``.

    threads      of the network: all share an image, or each has one
    throughput   beside predicting the same files at once, and beside a naive handler
    latency      alone, and at 80 % of the peak
    overload     ten times as much as can be answered
    answers      a million, each for its own image
    drains       SIGTERM under load
    reloads      another classifier under load, some of them refused
    kills        SIGKILL of decoding processes under load
    slow         500 clients that send a byte now and then
    fuzz         requests that are no HTTP, or not quite
    canaries     words that must not be found again

All talk to 127.0.0.1 only. The client has the same processors as the service; how much of them it
took is among the figures. ``--run`` is the classifier to serve (``quick``, trained for an epoch, if
left out), and ``--heavy`` one that is slower (``article``), for the overload: ten times what a fast
one can answer is more than a client in Python can ask.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import load_change, load_hostile, load_speed, load_threads, load_truth
from benchmarks.__main__ import DATA
from benchmarks.child import LUCENCY, ROOT
from benchmarks.child import run as command
from benchmarks.results import Figure, show, write


class Terms(NamedTuple):
    """What a part needs: run folders, images, a folder for itself, and whether to be quick."""

    run: Path
    heavy: Path
    radiographs: Path
    native: Path
    folder: Path
    quick: bool


PARTS: dict[str, Callable[[Terms], list[Figure]]] = {
    "threads": load_threads.threads,
    "throughput": load_speed.throughput,
    "latency": load_speed.latency,
    "overload": load_speed.overload,
    "answers": load_truth.answers,
    "drains": load_change.drains,
    "reloads": load_change.reloads,
    "kills": load_change.kills,
    "slow": load_hostile.slow,
    "fuzz": load_hostile.fuzz,
    "canaries": load_hostile.canaries,
}


def main() -> None:
    given = _arguments()
    folder = ROOT / ("build/benchmarks" if given.quick else "benchmarks/results")
    file = given.results or folder / "load.csv"
    failed = False
    with TemporaryDirectory() as trained:
        run = given.run or _trained(Path(trained) / "quick", "default")
        heavy = given.heavy or given.run or _trained(Path(trained) / "article", "article")
        for name in given.parts or PARTS:
            failed |= _measured(name, run, heavy, quick=given.quick, file=file)
    print(f"-> {file}")
    raise SystemExit(failed)


def _measured(name: str, run: Path, heavy: Path, *, quick: bool, file: Path) -> bool:
    """Measure a part and keep its figures; return whether a target was missed."""
    start = time.perf_counter()
    with TemporaryDirectory() as place:
        radiographs, native = DATA / "chest_xray" / "train", DATA / "chest_xray_native"
        found = PARTS[name](Terms(run, heavy, radiographs, native, Path(place), quick))
    show(f"{name} ({time.perf_counter() - start:.0f} s)", found)
    _keep(file, name, found)
    return any(each.verdict == "MISSED" for each in found)


def _trained(run: Path, recipe: str) -> Path:
    """Train for an epoch: how fast a network is does not depend on what it has learnt."""
    options = ("--recipe", recipe, "--effort", "quick", "--set", "epochs=1", "--quiet")
    places = ("--run", str(run), "--cache", str(run.parent / "cache"))
    command(LUCENCY, "train", str(DATA / "chest_xray_native"), *options, *places)
    return run


def _keep(file: Path, part: str, figures: list[Figure]) -> None:
    """Put the rows of a part in the place of those that the file has of it."""
    others = []
    if file.exists():
        with file.open(newline="", encoding="utf-8") as text:
            others = [row for row in csv.DictReader(text) if not _is_of(row, part)]
    write(file, [dataclasses.replace(each, name=f"{part}: {each.name}") for each in figures])
    with file.open(newline="", encoding="utf-8") as text:
        rows = [*csv.DictReader(text), *others]
    rows.sort(key=lambda row: [*PARTS].index(row["figure"].partition(":")[0]))
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _is_of(row: dict[str, str], part: str) -> bool:
    return row["figure"].startswith(f"{part}: ")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--run", type=Path, help="run folder to serve")
    parser.add_argument("--heavy", type=Path, help="run folder for the overload")
    parser.add_argument("--quick", action="store_true", help="few of everything")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where the CSV file goes")
    given = parser.parse_args()
    for name in given.parts:
        if name not in PARTS:
            parser.error(f"there is no {name!r}; there are {', '.join(PARTS)}")
    return given


if __name__ == "__main__":
    main()
