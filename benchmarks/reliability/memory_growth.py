"""Memory stays flat over fifty epochs, and over a hundred thousand predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.command import ROOT, resident
from benchmarks.reliability.kills import draw
from benchmarks.small_network import small_network, use_few_trees, without_extras
from benchmarks.trial import Trial

MOST = 5.0  # percent of growth
_WARM_UP = 0.2  # share of the work in which memory may still grow: buffers, threads, caches


def trials(folder: Path, quick: bool) -> list[Trial]:
    draw(folder / "radiographs", 20 if quick else 60)
    epochs, predictions = (10, 500) if quick else (50, 100_000)
    run = str(folder / "run")
    work = "train small" if quick else "train"
    return [
        _trial("training epochs", epochs, _measured(folder, work, run, epochs)),
        _trial("predictions", predictions, _measured(folder, "predict", run, predictions)),
    ]


def _trial(what: str, n: int, memory: list[float]) -> Trial:
    """Compare the largest memory of the last fifth with that of the first fifth."""
    share = max(1, round(_WARM_UP * len(memory)))
    first, last = max(memory[: share + 1]), max(memory[-share:])
    growth = 100 * (last / first - 1)
    failures = [] if growth < MOST else [f"{growth:.1f} % of growth"]
    notes = f"{first:,.0f} MiB in the first fifth, {last:,.0f} MiB in the last"
    return Trial(
        f"{what}: memory grows by less than {MOST:g} %", n, failures, f"{notes} ({growth:+.1f} %)"
    )


def _measured(folder: Path, what: str, run: str, n: int) -> list[float]:
    """Do the work in a separate process; return its resident memory in MiB over time."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, what, str(folder), run, str(n)],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=os.environ | {"LUCENCY_LEDGER": str(folder / "test_evaluations.jsonl")},
    )  # fmt: skip
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _train(folder: Path, run: str, n: int) -> list[float]:
    from lucency.config import Config
    from lucency.pipeline import train

    config = Config(effort="quick", size=32, epochs=n, folds=0, cache=str(folder / "cache"))
    memory: list[float] = []
    taken: Callable[..., None] = train._History.__call__

    def measured(self: train._History, epoch: object) -> None:
        taken(self, epoch)
        memory.append(resident())

    train._History.__call__ = measured  # type: ignore[method-assign, assignment]
    train.run_training(folder / "radiographs", config, run=run)
    return memory


def _train_small(folder: Path, run: str, n: int) -> list[float]:
    without_extras()
    use_few_trees()
    with small_network():
        return _train(folder, run, n)


def _predict(folder: Path, run: str, n: int) -> list[float]:
    from lucency.classifier import Classifier

    classifier = Classifier.load(run)
    files = sorted((folder / "radiographs").rglob("*.png"))[:100]
    memory = []
    for _ in range(n // len(files)):
        classifier.predict(files)
        memory.append(resident())
    return memory


if __name__ == "__main__":
    work, place, name, count = sys.argv[1:]
    works = {"train": _train, "train small": _train_small, "predict": _predict}
    print(json.dumps(works[work](Path(place), name, int(count))))
