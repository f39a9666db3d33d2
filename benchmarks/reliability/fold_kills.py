"""SIGKILL while folds are trained on a cluster: the run folder has the same bytes.

As ``cluster_kills``, with ``lucency train --folds 3`` and TensorFlow. Compared are the weights of
the classifier, the predictions, the evaluation and the history.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from benchmarks.local_cluster import local_cluster
from benchmarks.reliability.cluster_kills import draw, kill_trial
from benchmarks.results import Skipped
from benchmarks.small_network import COMMAND
from benchmarks.trial import Trial

_FILES = ("weights.safetensors", "predictions.csv", "evaluation.json", "history.csv")


def trials(folder: Path, quick: bool) -> list[Trial]:
    if not importlib.util.find_spec("ray"):
        raise Skipped('it needs Ray: pip install "lucency[cluster]"')
    data = draw(folder / "data", 60 if quick else 200)
    train = (*COMMAND, "train", str(data), "--effort", "quick", "--start", "scratch", "--quiet")
    train = (*train, "--folds", "3", "--set", "size=32", "--set", "precision=float32")
    train = (*train, "--set", "epochs=8", "--cache", str(folder / "cache"))
    with local_cluster(2) as cluster:
        found = kill_trial(
            "folds", 3 if quick else 9, folder, cluster,
            lambda out: (*train, "--run", str(out)), _FILES,
        )  # fmt: skip
        return [found]
