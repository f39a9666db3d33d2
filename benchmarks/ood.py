"""What the out-of-distribution detector stops, and what it stops wrongly, on a classifier of yours.

``LUCENCY_RUN`` is the folder of a classifier trained on ``$LUCENCY_DATA/chest_xray`` with the
default recipe and the default split. In each repeat one random half of the validation patients sets
the check's limit, and the images of the other half, as they are and altered, are judged with it.
The test part is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.results import Figure, Skipped
from benchmarks.strangers import strangers
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
    "turned by 90 degrees": lambda pixels: np.rot90(pixels, 1, (1, 2)),
    "turned by 180 degrees": lambda pixels: np.rot90(pixels, 2, (1, 2)),
    "turned by 270 degrees": lambda pixels: np.rot90(pixels, 3, (1, 2)),
}


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    run = os.environ.get("LUCENCY_RUN")
    if not run:
        raise Skipped("LUCENCY_RUN does not name the run folder of a classifier.")
    classifier = Classifier.load(run)
    size, colour = classifier.spec.size, classifier.spec.channels == 3
    data = load_dataset(files[0].parents[2] / "chest_xray", Config(), size=size, colour=colour)
    if data.fingerprint != classifier.spec.fingerprint:
        raise Skipped(f"{run} was trained on other images or another split.")
    train, val = (part.pixels(np.arange(len(part))) for part in (data.train, data.val))
    kinds = {
        name: np.stack([read_image(_png(image), size, colour) for image in images])
        for name, images in strangers(10 if quick else 100).items()
    }
    altered = {name: np.ascontiguousarray(alter(val)) for name, alter in ALTERED.items()}
    seen = _embedding(classifier.keras_model)
    fixed = (seen(train), data.train.labels, ood.thumbnails(train))
    held = {
        name: (seen(pixels), ood.thumbnails(pixels))
        for name, pixels in {"validation": val, **kinds, **altered}.items()
    }
    repeats = range(2 if quick else 20)
    rows = [_judge(fixed, held, data.val.groups, [*kinds], seed) for seed in repeats]
    return _figures({name: [row[name] for row in rows] for name in held}, [*kinds, *altered])


def _judge(
    fixed: tuple[Features, NDArray[np.int64], Features],
    held: dict[str, tuple[Features, Features]],
    groups: Sequence[str],
    kinds: Sequence[str],
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Set the limit on half of the patients; return the scores of all else by kind."""
    patients = np.unique(groups)
    drawn = np.random.default_rng(seed).permutation(patients)[: len(patients) // 2]
    sets_limit = np.isin(groups, drawn)
    features, small = (part[sets_limit] for part in held["validation"])
    names = [str(name) for name in np.asarray(groups)[sets_limit]]
    fitted = ood.fit(*fixed, features, small, names)
    return {
        name: fitted.score(*(given if name in kinds else (part[~sets_limit] for part in given)))
        for name, given in held.items()
    }


def _figures(scores: dict[str, list[NDArray[np.float64]]], kinds: Sequence[str]) -> list[Figure]:
    usual = scores["validation"]
    passed = [float(100 * (row > 1).mean()) for row in usual]
    figures = [Figure("validation stopped", "%", passed, len(usual[0]))]
    for name in kinds:
        stopped = [float(100 * (row > 1).mean()) for row in scores[name]]
        figures.append(Figure(f"{name} stopped", "%", stopped, len(scores[name][0]), least=95))
    for name in kinds:
        pairs = [*zip(usual, scores[name], strict=True)]
        areas = [_auroc(row, strange) for row, strange in pairs]
        figures.append(Figure(f"{name} AUROC", "", areas, sum(map(len, pairs[0])), least=0.98))
    return figures


def _auroc(usual: NDArray[np.float64], strange: NDArray[np.float64]) -> float:
    labels = np.repeat([False, True], [len(usual), len(strange)])
    return float(metrics.auroc(labels, np.concatenate([usual, strange])))


def _embedding(network: Any) -> Callable[[Pixels], Features]:
    """Return what gives the pooled features of images."""
    keras = load_keras()
    pooled = keras.Model(network.inputs, network.get_layer("pooled").output)

    def seen(pixels: Pixels) -> Features:
        starts = range(0, len(pixels), BATCH)
        parts = [np.asarray(pooled.predict_on_batch(pixels[i : i + BATCH])) for i in starts]
        return np.concatenate(parts)

    return seen


def _png(image: Image.Image) -> bytes:
    content = BytesIO()
    image.save(content, "PNG")
    return content.getvalue()
