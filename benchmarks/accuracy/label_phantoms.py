"""Several labels learned at once, beside a network for each alone, on phantoms of known truth.

Drawn chest radiographs have each of four findings with a probability of 35 %, whatever the others
are. All networks are those of ``quick`` at half its width, trained from scratch at 48 px on the
same 750 images, with the same split and 20 epochs. Contrasts are such that no finding is found
always.

    at once       one network for all four labels
    alone         a network for each label, of two classes that count the same
    half known    one network for all labels, half of which are removed at random from the images
                  that it learns from and is validated on

AUROC is measured on images of other patients, as the networks give it; calibration does not change
it. A difference is the mean over the seeds of training (``LUCENCY_SEEDS``, 3) with its 95 %
interval over patients, for these networks. Targets: at once, a label loses at most 0.01 of what it
has alone; half known, at most 0.02 of what it has at once.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.labels import mean_difference
from benchmarks.results import Figure
from lucency import metrics
from lucency.metrics import FloatArray, influences
from lucency.metrics.influences import Linear

if TYPE_CHECKING:
    from lucency.config import Config
    from lucency.dataset import Dataset, Split
    from lucency.training.plan import Level

SEEDS = int(os.environ.get("LUCENCY_SEEDS") or 3)
SIDE = 48
WIDTH = 16  # of the network; that of ``quick`` is twice as wide
IMAGES, EPOCHS = 2000, 20
QUICK_IMAGES, QUICK_EPOCHS = 200, 1
# With the usual ones, few epochs find two findings always and two hardly ever.
CONTRASTS = {"opacity": 2.0, "effusion": 0.15, "nodule": 2.0, "device": 0.5}
VAL, TEST = 0.075, 0.55  # shares of the images
AT_ONCE, ALONE, HALF = "at once", "alone", "half known"
# What each is compared with, and how much AUROC it may lose.
BASES = {AT_ONCE: (ALONE, 0.01), HALF: (AT_ONCE, 0.02)}


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    from lucency.config import Config
    from lucency.dataset import load_dataset
    from lucency.dataset.phantoms import LABELS, draw_findings
    from lucency.training.plan import LEVELS

    narrow = dataclasses.replace(LEVELS["quick"], width=WIDTH)
    config = Config(
        labels=LABELS, effort="quick", start="scratch", folds=0, size=SIDE, on_leak="drop",
        epochs=QUICK_EPOCHS if quick else EPOCHS, val_fraction=VAL, test_fraction=TEST,
    )  # fmt: skip
    with TemporaryDirectory() as place, patch.dict(cast("dict[str, Level]", LEVELS), quick=narrow):
        folder = Path(place) / "phantoms"
        draw_findings(folder, images=QUICK_IMAGES if quick else IMAGES, contrasts=CONTRASTS)
        data = load_dataset(folder, config)
        logits = [_logits(data, dataclasses.replace(config, seed=seed)) for seed in range(SEEDS)]
    return [*_figures(data, logits)]


def _logits(data: Dataset, config: Config) -> dict[str, FloatArray]:
    """Return the logits (n, labels) of the images of test, by the networks of each kind."""
    if data.test is None:
        raise ValueError("the phantoms have no test split")
    splits = (data.train, data.val, data.test)
    random = np.random.default_rng(config.seed)
    known = (*(_half_known(split, random) for split in splits[:2]), data.test)
    labels = range(len(data.train.label_names))
    alone = [_trained([_alone(split, k) for split in splits], config) for k in labels]
    return {
        AT_ONCE: _trained(splits, config),
        ALONE: np.concatenate(alone, axis=1),
        HALF: _trained(known, config),
    }


def _trained(splits: Sequence[Split], config: Config) -> FloatArray:
    """Train and validate a network, and return its logits (n, units) of the images of test."""
    from lucency.progress import SILENT
    from lucency.training.fit import fit
    from lucency.training.plan import make_plan
    from lucency.training.trainer import logits_of_split

    train, val, test = splits
    plan = make_plan(train, config)
    fitted = fit((train, val), plan, config, progress=SILENT, on_epoch=None, checkpoints=None)
    logits = logits_of_split(fitted.network.keras_model, test, plan.batch)
    truth = test.labels[:, None] if test.targets is None else test.targets
    names = test.label_names or test.classes[1:]
    pairs = zip(names, _areas(truth, logits), strict=False)
    found = ", ".join(f"{name} {each.value:.3f}" for name, each in pairs)
    print(f"  seed {config.seed}: AUROC {found}", flush=True)
    return logits


def _alone(split: Split, k: int) -> Split:
    """Return the images as those of two classes: without a label, and with it."""
    if split.targets is None:
        raise ValueError("the phantoms do not have several labels")
    name = split.label_names[k]
    return dataclasses.replace(
        split, classes=(f"no {name}", name), labels=split.targets[:, k].astype(np.int64),
        label_names=(), targets=None, learned=None,
    )  # fmt: skip


def _half_known(split: Split, random: np.random.Generator) -> Split:
    """Return the images with half of their labels, whichever they are."""
    if split.targets is None:
        raise ValueError("the phantoms do not have several labels")
    order = random.permutation(split.targets.size).reshape(split.targets.shape)
    left = np.where(order < split.targets.size // 2, split.targets, np.float32(-1))
    return dataclasses.replace(split, targets=left, learned=left)


def _figures(data: Dataset, logits: Sequence[dict[str, FloatArray]]) -> Iterator[Figure]:
    test = data.test
    if test is None or test.targets is None:
        raise ValueError("the phantoms have no labels to test on")
    n, cluster = len(test), metrics.cluster_numbers(test.groups)
    areas = {kind: [_areas(test.targets, run[kind]) for run in logits] for kind in logits[0]}
    for k, name in enumerate((*test.label_names, "mean of the labels")):
        for kind, runs in areas.items():
            yield Figure(f"{name}, {kind}: AUROC", "", [run[k].value for run in runs], n)
        for kind, (base, most) in BASES.items():
            pairs = [(own[k], of[k]) for own, of in zip(areas[kind], areas[base], strict=True)]
            label = f"{name}, {kind}: difference from {base} with its interval"
            yield Figure(label, "", mean_difference(pairs, cluster), n, least=-most)


def _areas(targets: NDArray[Any], logits: FloatArray) -> list[Linear]:
    """Return the AUROC of each label, and their mean."""
    pairs = zip(targets.T, logits.T, strict=True)
    each = [influences.of_auroc(truth > 0, given) for truth, given in pairs]
    return [*each, influences.mean(each)]
