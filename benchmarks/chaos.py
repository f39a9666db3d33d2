"""Put every promise of reliability to the test.

``python -m benchmarks.chaos [NAME ...] [--quick]`` prints a table, writes ``chaos.csv`` into
``benchmarks/results`` and exits with 1 where a promise did not hold.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.child import ROOT
from benchmarks.results import circumstances
from benchmarks.trial import Trial, timed

PARTS = (
    *("kills", "faults", "damage", "memory_growth", "out_of_memory"),
    *("bad_images", "hostile", "fuzz"),
)
_SHOWN = 5  # failures of one promise


def main() -> None:
    given = _arguments()
    found: list[tuple[str, Trial]] = []
    for part in given.names or PARTS:
        print(f"\n{part}", flush=True)
        with TemporaryDirectory(prefix=f"lucency-{part}-") as folder:
            module = importlib.import_module(f"benchmarks.{part}")
            trials = timed(module.trials, Path(folder), given.quick)
        found += [(part, trial) for trial in trials]
        for trial in trials:
            _show(trial)
    where = "build/benchmarks" if given.quick else "benchmarks/results"
    print(f"\n-> {_write((given.results or ROOT / where) / 'chaos.csv', found)}")
    if not all(trial.held for _, trial in found):
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small samples: to see that it works")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where chaos.csv goes")
    given = parser.parse_args()
    for name in given.names:
        if name not in PARTS:
            parser.error(f"no part is called {name!r}; there are {', '.join(PARTS)}")
    return given


def _show(trial: Trial) -> None:
    word = "held" if trial.held else "FAILED"
    print(f"  {word}: {trial.name}: {trial.n:,} times, {len(trial.failures)} failures, "
          f"{trial.seconds:.0f} s. {trial.notes}", flush=True)  # fmt: skip
    for line in trial.failures[:_SHOWN]:
        print(f"    {line}", flush=True)


def _write(path: Path, found: Sequence[tuple[str, Trial]]) -> Path:
    """Write one row per promise; those of parts that were not run stay."""
    rows = [
        {"part": part, "promise": trial.name, "n": trial.n, "failures": len(trial.failures),
         "notes": trial.notes, "seconds": f"{trial.seconds:.0f}"} | circumstances()
        for part, trial in found
    ]  # fmt: skip
    ran = {part for part, _ in found}
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["part"] not in ran] + rows
    rows.sort(key=lambda row: PARTS.index(row["part"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return path


if __name__ == "__main__":
    main()
