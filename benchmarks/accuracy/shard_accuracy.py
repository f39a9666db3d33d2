"""What larger steps cost in accuracy: without shards, and in four shards with two learning rates.

The network of ``quick`` at half its width learns from a sample of the training radiographs at
32 px, with JAX. Four shards make a step four times as large, so there are a quarter as many; the
highest learning rate is then four times as high (the linear rule) or twice (the square-root rule).
Measured on held-out radiographs of other patients, as the network gives them, not calibrated. The
official test split is not evaluated.

Differences are those from training without shards with the same seed. ``LUCENCY_SEEDS`` (5) and
``LUCENCY_EPOCHS`` (12) change the length.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import numpy as np

from benchmarks.command import run_json
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY, whole_data_set

if TYPE_CHECKING:
    from lucency.training.plan import Level

SEEDS = int(os.environ.get("LUCENCY_SEEDS", "5"))
EPOCHS = int(os.environ.get("LUCENCY_EPOCHS", "12"))
SHARDS, IMAGES, SIDE, WIDTH = 4, 1500, 32, 16
RATE = 3e-3  # the highest one without shards
ALONE = "no shards"
RIVALS: Mapping[str, Mapping[str, Any]] = {
    ALONE: {"learning_rate": RATE},
    "4 shards of 32, linear rule": {"shards": SHARDS, "learning_rate": SHARDS * RATE},
    "4 shards of 32, square-root rule": {"shards": SHARDS, "learning_rate": SHARDS**0.5 * RATE},
}
METRICS = ("log loss", "AUROC", "balanced accuracy")


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if not importlib.util.find_spec("jax"):
        raise Skipped('it needs JAX: pip install "lucency[jax]"')
    whole_data_set(quick=quick, takes="half an hour")
    with patch.dict(os.environ, {"KERAS_BACKEND": "jax"}):
        measured = {name: run_json(__spec__.name, name) for name in RIVALS}
    return [
        figure
        for name, found in measured.items()
        for figure in _figures(name, found, measured[ALONE])
    ]


def _figures(name: str, found: dict[str, Any], alone: dict[str, Any]) -> Iterator[Figure]:
    n = found["n"]
    yield Figure(f"{name}: training", "s", found["seconds"], n)
    yield Figure(f"{name}: steps", "", [found["steps"]], n)
    for metric in METRICS:
        yield from _summary(f"{name}: {metric}", found[metric], n)
        if name != ALONE:
            pairs = zip(found[metric], alone[metric], strict=True)
            differences = [own - other for own, other in pairs]
            yield from _summary(f"{name} - {ALONE}: {metric}", differences, n)


def _summary(name: str, values: list[float], n: int) -> Iterator[Figure]:
    yield Figure(name, "", values, n)
    yield Figure(f"{name}, mean", "", [statistics.mean(values)], n)
    if len(values) > 1:
        yield Figure(f"{name}, standard deviation", "", [statistics.stdev(values)], n)


def trainings(name: str) -> dict[str, Any]:
    """Train with every seed in this process on JAX, and measure on the held-out images."""
    from lucency.config import Config
    from lucency.dataset import class_balanced, load_dataset
    from lucency.progress import SILENT
    from lucency.training.fit import fit
    from lucency.training.plan import LEVELS, make_plan

    cast("dict[str, Level]", LEVELS)["quick"] = dataclasses.replace(LEVELS["quick"], width=WIDTH)
    config = Config(
        effort="quick", size=SIDE, epochs=EPOCHS, folds=0, start="scratch", precision="float32",
        on_leak="drop", **RIVALS[name],
    )  # fmt: skip
    data = load_dataset(CHEST_XRAY, config)
    train = data.train.subset("train", class_balanced(data.train.labels, 2, IMAGES))
    found: dict[str, Any] = {metric: [] for metric in (*METRICS, "seconds")}
    for seed in range(SEEDS):
        plan = make_plan(train, dataclasses.replace(config, seed=seed))
        began = time.perf_counter()
        fitted = fit(
            (train, data.val), plan, config, progress=SILENT, on_epoch=None, checkpoints=None
        )  # fmt: skip
        found["seconds"].append(time.perf_counter() - began)
        for metric, value in zip(METRICS, _measured(fitted.logits, data.val.labels), strict=True):
            found[metric].append(value)
        print(name, seed, {key: values[-1] for key, values in found.items()}, flush=True)
    steps = plan.epochs * -(-len(train) // plan.batch)
    return found | {"n": len(data.val), "steps": steps}


def _measured(logits: Any, labels: Any) -> tuple[float, float, float]:
    """Return log loss, AUROC and balanced accuracy, each class counting the same."""
    from lucency import metrics
    from lucency.calibration import scaling

    probabilities = scaling.probabilities(logits)
    weights = len(labels) / (2 * np.bincount(labels))
    right = probabilities.argmax(axis=1) == labels
    return (
        metrics.log_loss(labels, probabilities, weights[labels]),
        metrics.macro_auroc(labels, probabilities),
        float(np.mean([right[labels == k].mean() for k in range(2)])),
    )


if __name__ == "__main__":
    print(json.dumps(trainings(sys.argv[1])))
