"""A pretrained backbone with its last stage frozen or fine-tuned, on images held out of both.

The sets are those of ``proof``, and ``LUCENCY_SETS`` (names with commas) makes it shorter. No test
split is evaluated: with folds, each image outside test is held out once; the radiographs have their
validation split.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy.proof import ProofSet, chosen
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY, DATA


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if quick or not (DATA / "proof").is_dir():
        raise Skipped("it needs $LUCENCY_DATA/proof, and an hour")
    return [figure for each in chosen() for figure in _figures(each)]


def _figures(each: ProofSet) -> Iterator[Figure]:
    from lucency import metrics
    from lucency.calibration import scaling
    from lucency.config import COMPARED
    from lucency.dataset import load_dataset
    from lucency.pipeline.start import plan_of
    from lucency.progress import SILENT
    from lucency.training.fine_tuned import FineTunedBackbone
    from lucency.training.frozen import FrozenBackbone
    from lucency.training.start import (
        HeldOutLosses,
        compare_fine_tuning,
        compared_on,
    )

    folds = 0 if each.name == CHEST_XRAY.name else 5
    config = each.config(start=COMPARED, size=224, effort="quick", folds=folds)
    data = compared_on(load_dataset(each.folder, config))
    plans = [plan_of(data, dataclasses.replace(config, fine_tune=x), "") for x in (False, True)]
    started = time.perf_counter()
    frozen = FrozenBackbone(plans[0], data.train, data.val, data.folds, SILENT, keep_maps=True)
    between = time.perf_counter()
    tuned = FineTunedBackbone(plans[1], frozen, config, SILENT)
    seconds = between - started, time.perf_counter() - between
    found, labels = compare_fine_tuning(frozen, tuned, plans[0]), data.held_out.labels
    measured = HeldOutLosses(data.held_out, plans[0])
    for name, backbone, took in zip(
        ("frozen", "fine-tuned"), (frozen, tuned), seconds, strict=True
    ):
        p = scaling.probabilities(measured.calibrated(backbone.logits)[0])
        right = p.argmax(axis=1) == labels
        recalls = [right[labels == k].mean() for k in range(len(data.classes))]
        title, n = f"{each.name}, {name}", len(labels)
        yield Figure(f"{title}: training", "s", [took], n)
        yield Figure(f"{title}: AUROC", "", [metrics.macro_auroc(labels, p)], n)
        yield Figure(f"{title}: balanced accuracy", "", [float(np.mean(recalls))], n)
        yield Figure(f"{title}: log loss", "", [metrics.log_loss(labels, p)], n)
    title = f"{each.name}, as they are and augmented"
    yield Figure(f"{title}: log loss, frozen", "", [found.frozen], found.n)
    yield Figure(f"{title}: log loss, fine-tuned", "", [found.fine_tuned], found.n)
    yield Figure(f"{title}: standard error of the difference", "", [found.error], found.n)
