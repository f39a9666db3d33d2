"""What the out-of-distribution detector flags, rightly and wrongly, for a classifier of yours.

``LUCENCY_RUN`` is the run folder of a classifier trained on ``$LUCENCY_DATA/chest_xray`` with the
default recipe and the default split. In each repeat, a random half of the validation patients sets
the limit of the detector, which then scores the images of the other half, as they are and altered.
The test set is not evaluated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.file_structure import saved
from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import CHEST_XRAY
from benchmarks.trust.foreign_images import foreign_images
from lucency import Classifier, Config, load_dataset, metrics
from lucency.backend import load_keras
from lucency.calibration import ood
from lucency.imaging.image import read_image

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]
BATCH = 64
ALTERED = {
    "inverted": lambda pixels: 255 - pixels,
    "upside down": lambda pixels: pixels[:, ::-1],
    "rotated by 90 degrees": lambda pixels: np.rot90(pixels, 1, (1, 2)),
    "rotated by 180 degrees": lambda pixels: np.rot90(pixels, 2, (1, 2)),
    "rotated by 270 degrees": lambda pixels: np.rot90(pixels, 3, (1, 2)),
}


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    run = os.environ.get("LUCENCY_RUN")
    if not run:
        raise Skipped("set LUCENCY_RUN to the run folder of a classifier.")
    classifier = Classifier.load(run)
    size, colour = classifier.spec.size, classifier.spec.channels == 3
    data = load_dataset(CHEST_XRAY, Config(), size=size, colour=colour)
    if data.fingerprint != classifier.spec.fingerprint:
        raise Skipped(f"{run} was trained on other images or another split.")
    train, val = (split.pixels(np.arange(len(split))) for split in (data.train, data.val))
    foreign = {
        name: np.stack([read_image(saved(image), size, colour) for image in images])
        for name, images in foreign_images(10 if quick else 100).items()
    }
    altered = {name: np.ascontiguousarray(alter(val)) for name, alter in ALTERED.items()}
    embed = _embedding(classifier.keras_model)
    fixed = (embed(train), data.train.labels, ood.thumbnails(train))
    images = {
        name: (embed(pixels), ood.thumbnails(pixels))
        for name, pixels in {"validation": val, **foreign, **altered}.items()
    }
    repeats = range(2 if quick else 20)
    rows = [_scores(fixed, images, data.val.groups, [*foreign], seed) for seed in repeats]
    return _figures({name: [row[name] for row in rows] for name in images}, [*foreign, *altered])


def _scores(
    fixed: tuple[Features, NDArray[np.int64], Features],
    images: dict[str, tuple[Features, Features]],
    groups: Sequence[str],
    foreign: Sequence[str],
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Set the limit with half of the patients; return the OOD scores of all other images."""
    patients = np.unique(groups)
    drawn = np.random.default_rng(seed).permutation(patients)[: len(patients) // 2]
    sets_limit = np.isin(groups, drawn)
    features, small = (array[sets_limit] for array in images["validation"])
    names = [str(name) for name in np.asarray(groups)[sets_limit]]
    fitted = ood.fit(*fixed, features, small, names)
    return {
        name: fitted.score(*(given if name in foreign else (array[~sets_limit] for array in given)))
        for name, given in images.items()
    }


def _figures(scores: dict[str, list[NDArray[np.float64]]], names: Sequence[str]) -> list[Figure]:
    usual = scores["validation"]
    flagged = [float(100 * (row > 1).mean()) for row in usual]
    figures = [Figure("validation flagged", "%", flagged, len(usual[0]))]
    for name in names:
        flagged = [float(100 * (row > 1).mean()) for row in scores[name]]
        figures.append(Figure(f"{name} flagged", "%", flagged, len(scores[name][0]), least=95))
    for name in names:
        pairs = [*zip(usual, scores[name], strict=True)]
        areas = [_auroc(row, foreign) for row, foreign in pairs]
        figures.append(Figure(f"{name} AUROC", "", areas, sum(map(len, pairs[0])), least=0.98))
    return figures


def _auroc(usual: NDArray[np.float64], foreign: NDArray[np.float64]) -> float:
    labels = np.repeat([False, True], [len(usual), len(foreign)])
    return float(metrics.auroc(labels, np.concatenate([usual, foreign])))


def _embedding(network: Any) -> Callable[[Pixels], Features]:
    """Return a function that computes the pooled features of images."""
    keras = load_keras()
    pooled = keras.Model(network.inputs, network.get_layer("pooled").output)

    def embed(pixels: Pixels) -> Features:
        starts = range(0, len(pixels), BATCH)
        parts = [np.asarray(pooled.predict_on_batch(pixels[i : i + BATCH])) for i in starts]
        return np.concatenate(parts)

    return embed
