"""Training runs from the command line that are kept, so that a benchmark can be continued."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.command import LUCENCY, ROOT, run

RUNS = Path(os.environ.get("LUCENCY_RUNS") or ROOT / "build" / "accuracy")


def trained(name: str, folder: Path, *options: str) -> tuple[float, dict[str, Any]]:
    """Run ``lucency train`` unless that has been done; return the seconds and the evaluation.

    Args:
        name: Of the run folder in ``RUNS``.
        folder: The data.
        options: Of the command, besides ``--quiet`` and ``--run``.
    """
    place = RUNS / name
    took = place.with_suffix(".seconds")
    if not took.exists():
        RUNS.mkdir(parents=True, exist_ok=True)
        command = ("train", str(folder), *options, "--quiet", "--run", str(place))
        seconds = run(LUCENCY, *command).seconds
        took.write_text(f"{seconds:.1f}\n", encoding="ascii")
        print(name, f"{seconds / 60:.1f} min", flush=True)
    evaluation = json.loads((place / "evaluation.json").read_text(encoding="utf-8"))
    return float(took.read_text(encoding="ascii")), evaluation
