"""The default recipe on images that are not radiographs, beside the recipe before it.

The data sets are drawn chests, scikit-learn's 8 x 8 handwritten digits (10 classes), and coloured
shapes whose class depends on form and hue (6 classes). All use the same settings; "before" has no
augmentation of sharpness and four border rectangles.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.command import run_json
from benchmarks.results import Figure

EPOCHS, SEEDS, SIDE = 10, 2, 64
BEFORE, NOW = "before", "now"


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    epochs, seeds = (1, 1) if quick else (EPOCHS, SEEDS)
    figures = []
    for name in DATASETS:
        for recipe in (BEFORE, NOW):
            runs = [run_json(__name__, name, recipe, seed, epochs) for seed in range(seeds)]
            for key in ("accuracy", "AUROC"):
                values = [each[key] for each in runs]
                figures.append(Figure(f"{name}, {recipe}: {key}", "", values, runs[0]["n"]))
    return figures


def _chests(folder: Path) -> None:
    from lucency.dataset.phantoms import draw_dataset

    draw_dataset(folder, images=600)


def _digits(folder: Path) -> None:
    from sklearn.datasets import load_digits

    found = load_digits()
    for i, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        image = Image.fromarray((pixels * 15.9375).astype(np.uint8))
        _save(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), folder, f"digit{label}", i)


def _shapes(folder: Path) -> None:
    random = np.random.default_rng(0)
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE - 0.5
    hues = {"red": (0.9, 0.2, 0.2), "blue": (0.2, 0.3, 0.9)}
    for i in range(1200):
        form = ("disc", "square", "ring")[i % 3]
        hue = [*hues][i // 3 % 2]
        cy, cx = random.uniform(-0.2, 0.2, 2)
        size = random.uniform(0.12, 0.28)
        far = np.maximum(abs(y - cy), abs(x - cx)) if form == "square" else np.hypot(y - cy, x - cx)
        inside = far < size
        if form == "ring":
            inside &= far > 0.6 * size
        ground = random.uniform(0.1, 0.9, 3) + random.normal(0, 0.15, (SIDE, SIDE, 3))
        colour = np.array(hues[hue]) * random.uniform(0.5, 1.1) + random.normal(0, 0.1, 3)
        drawn = np.where(inside[..., None], colour + random.normal(0, 0.1, (SIDE, SIDE, 3)), ground)
        image = Image.fromarray((255 * drawn.clip(0, 1)).astype(np.uint8))
        _save(image, folder, f"{hue}_{form}", i)


def _save(image: Image.Image, folder: Path, label: str, number: int) -> None:
    (folder / label).mkdir(exist_ok=True)
    image.save(folder / label / f"p{number:05}.png")


DATASETS: dict[str, Callable[[Path], None]] = {
    "drawn chests": _chests,
    "digits": _digits,
    "coloured shapes": _shapes,
}


def _train(name: str, recipe: str, seed: int, epochs: int) -> dict[str, float]:
    import lucency
    from lucency import metrics
    from lucency.training import train

    planned = train.make_plan

    def before(*given: Any) -> Any:
        plan = planned(*given)
        augmentation = dataclasses.replace(plan.augmentation, sharpness=0.0, rectangles=4)
        return dataclasses.replace(plan, augmentation=augmentation)

    with TemporaryDirectory() as folder, TemporaryDirectory() as cache:
        DATASETS[name](Path(folder))
        config = lucency.Config(  # the drawn chests contain a planted copy of a test image
            effort="quick", seed=seed, epochs=epochs, cache=cache, on_leak="drop"
        )
        data = lucency.load_dataset(folder, config)
        with mock.patch.object(train, "make_plan", before if recipe == BEFORE else planned):
            classifier = lucency.train(data.train, data.val, config)
        probabilities = classifier.predict_split(data.test)
    labels: NDArray[np.int64] = data.test.labels
    correct = classifier.decide(probabilities) == labels
    return {
        "accuracy": float(correct.mean()),
        "AUROC": metrics.macro_auroc(labels, probabilities),
        "n": len(labels),
    }


if __name__ == "__main__":
    _, NAME, RECIPE, SEED, COUNT = sys.argv
    print(json.dumps(_train(NAME, RECIPE, int(SEED), int(COUNT))))
