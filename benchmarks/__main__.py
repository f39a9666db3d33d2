"""Run benchmarks, print their tables and write their CSV files.

The images are ``$LUCENCY_DATA/chest_xray_native``: class folders of radiographs at the size that
the camera gave them. Without the variable they are looked for beside the checkout.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks import (
    ablation,
    accuracy,
    answers,
    comparison,
    conformal,
    coverage,
    decode,
    dicom,
    elsewhere,
    explanations,
    export,
    growth,
    leaks,
    ood,
    probes,
    quality,
    startup,
    steps,
    tracking,
    training,
    web,
)
from benchmarks.child import ROOT
from benchmarks.results import Skipped, show, write
from benchmarks.sample import images

_ALL = (
    *(decode, steps, training, quality, answers, growth, startup),
    *(dicom, leaks, probes, ood, explanations, coverage, conformal, comparison),
    *(ablation, elsewhere, accuracy, export, tracking, web),
)
BENCHMARKS = {module.__name__.split(".")[1]: module for module in _ALL}
DATA = Path(os.environ.get("LUCENCY_DATA") or ROOT.parent / "shared" / "data")
QUICK_SAMPLE = 20  # images per class


def main() -> None:
    given = _arguments()
    for name in given.names or BENCHMARKS:
        try:
            files = images(DATA / "chest_xray_native", QUICK_SAMPLE if given.quick else None)
            figures = BENCHMARKS[name].measure(files, quick=given.quick)
        except Skipped as reason:
            print(f"\n{name}: skipped: {reason}")
            continue
        folder = given.results or ROOT / (
            "build/benchmarks" if given.quick else "benchmarks/results"
        )
        show(name, figures)
        print(f"-> {write(folder / f'{name}.csv', figures)}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--quick", action="store_true", help="few images, few repeats: to see that it works"
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="DIR",
        help="where the CSV files go (benchmarks/results, or build/benchmarks with --quick)",
    )
    given = parser.parse_args()
    for name in given.names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark is called {name!r}; there are {', '.join(BENCHMARKS)}")
    return given


if __name__ == "__main__":
    main()
