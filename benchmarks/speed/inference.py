"""Inference with a trained classifier: one image at a time, and many at once beside Keras.

The default network of ``standard`` at 224 x 224 pixels, from decoded pixels to calibrated
probabilities. Both compute in float32 with their default number of threads.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.command import LUCENCY, run, run_json
from benchmarks.results import Figure, Skipped, ratio, seconds
from benchmarks.sample_images import copy_images

SIDE = 224
MANY = 256


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:
    if not importlib.util.find_spec("keras"):
        raise Skipped("Keras is not installed")
    singles, rounds = (20, 1) if quick else (500, 7)
    with TemporaryDirectory() as temporary:
        folder = copy_images(files, Path(temporary) / "images")
        trained = f"{temporary}/run"
        options = ("--set", "epochs=1", "--set", f"size={SIDE}", "--folds", "0", "--quiet")
        places = ("--run", trained, "--cache", f"{temporary}/cache")
        run(LUCENCY, "train", str(folder), *options, *places)
        times: dict[str, Any] = run_json(__name__, trained, singles, rounds)
    one = 1000 * np.array(times["one"])
    onnx = Figure(f"{MANY} images: ONNX Runtime", "images/s", times["onnx"], MANY)
    keras = Figure(f"{MANY} images: Keras", "images/s", times["keras"], MANY)
    return [
        Figure("one image, median", "ms", [float(np.median(one))], singles, most=15),
        Figure("one image, 99th percentile", "ms", [float(np.quantile(one, 0.99))], singles),
        onnx,
        keras,
        ratio("ONNX Runtime / Keras", onnx, keras, least=1),
    ]


def _times(folder: str, singles: int, rounds: int) -> dict[str, list[float]]:
    from lucency import Classifier

    classifier = Classifier.load(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (MANY, SIDE, SIDE, 1), dtype=np.uint8)
    classifier.predict_pixels(pixels[:1])
    one = [
        seconds(lambda i=i: classifier.predict_pixels(pixels[i : i + 1]))
        for i in np.arange(singles) % MANY
    ]
    onnx, keras = [], []
    classifier.predict_with_keras(pixels)
    for _ in range(rounds):
        onnx.append(MANY / seconds(lambda: classifier.predict_pixels(pixels)))
        keras.append(MANY / seconds(lambda: classifier.predict_with_keras(pixels)))
    return {"one": one, "onnx": onnx, "keras": keras}


if __name__ == "__main__":
    print(json.dumps(_times(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
