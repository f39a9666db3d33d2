"""Run folders made without training: images, predictions and a network of one weight."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lucency.classifier import Classifier, Spec
from lucency.dataset import Entry
from lucency.dataset.split_file import write_entries
from lucency.evaluation import (
    Predictions,
    evaluate_predictions,
    write_evaluation,
    write_predictions,
)
from lucency.imaging.image import read_image
from lucency.run_folder.checksums import write_checksums

TWO = ("NORMAL", "PNEUMONIA")
SIDE = 8


def brightness_network() -> bytes:
    """An ONNX file: the brighter the image, the likelier the second of two classes."""
    slope = numpy_helper.from_array(np.array([[-4.0, 4.0]], np.float32), "slope")
    middle = numpy_helper.from_array(np.array([[2.0, -2.0]], np.float32), "middle")
    scale = numpy_helper.from_array(np.array([[255.0]], np.float32), "scale")
    axes = numpy_helper.from_array(np.array([1, 2], np.int64), "axes")
    nodes = [
        helper.make_node("Cast", ["pixels"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["raw", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["grey"]),
        helper.make_node("MatMul", ["grey", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "middle"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        [slope, middle, scale, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def spec_of(classes: tuple[str, ...] = TWO, fingerprint: str = "") -> Spec:
    return Spec(
        classes=classes,
        positive=classes[1] if len(classes) == 2 else None,
        size=(SIDE, SIDE),
        channels=1,
        architecture="default",
        network_channels=1,
        parameters={"width": 1, "blocks": [1]},
        fingerprint=fingerprint,
    )


def write_plan(run: Path, seed: int = 0, recipe: str = "default", **config: Any) -> None:
    plan = {
        "format": 2, "run": run.name, "recipe": recipe, "effort": "quick", "seed": seed,
        "config": {
            "recipe": recipe, "seed": seed, "cache": f"/cache/{seed}",
            "track": "mlflow" if seed % 2 else "", **config,
        },
        "environment": {"lucency": "0.1.0"},
    }  # fmt: skip
    (run / "plan.json").write_text(json.dumps(plan))


def write_predicted_run(
    run: Path, found: Predictions, contents: list[str] | None = None, **plan: Any
) -> Path:
    """Write a run folder with these predictions, of images with these sha256."""
    spec = spec_of(found.classes)
    seed = zlib.crc32(run.name.encode())
    weights = {"w": np.random.default_rng(seed).integers(0, 256, spec.weight_count, np.uint8)}
    Classifier(spec, weights).save(run)
    write_predictions(run / "predictions.csv", [found])
    write_plan(run, **plan)
    if contents is not None:
        rows = zip(found.files, found.labels, found.groups, contents, strict=True)
        entries = [
            Entry(file, found.classes[k], found.split, group, sha) for file, k, group, sha in rows
        ]
        write_entries(entries, run / "split.csv")
    return run


def write_images(folder: Path, per_split: int = 12) -> list[Entry]:
    """Draw plain grey images, one or two of a patient, the second class brighter on average."""
    rng = np.random.default_rng(0)
    entries = []
    for split in ("train", "val", "test"):
        for i in range(per_split):
            k = i % 2
            file = f"{split}/{TWO[k]}/{i}.png"
            grey = np.clip(
                rng.normal(rng.normal(115 + 20 * k, 20), 5, (SIDE, SIDE)), 0, 255
            ).astype(np.uint8)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(folder / file)
            sha = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            entries.append(Entry(file, TWO[k], split, f"{split}-{i // 4}-{k}", sha))
    return entries


def write_run(run: Path, data: Path, entries: list[Entry]) -> Path:
    """Predict images with ``brightness_network`` and write a run folder, without a report."""
    lines = sorted((x.file, x.sha256, x.label, x.split) for x in entries)
    fingerprint = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    spec = spec_of(fingerprint=fingerprint)
    weights = {"w": np.ones(spec.weight_count, np.float32)}
    classifier = Classifier(spec, weights, brightness_network())
    classifier.save(run)
    write_plan(run)
    write_entries(entries, run / "split.csv")
    splits = [
        _predict(classifier, name, data, [entry for entry in entries if entry.split == name])
        for name in ("val", "test")
    ]
    write_predictions(run / "predictions.csv", splits)
    write_evaluation(
        run / "evaluation.json", *(evaluate_predictions(classifier, x) for x in splits)
    )
    write_checksums(run)
    return run


def _predict(classifier: Classifier, split: str, data: Path, entries: list[Entry]) -> Predictions:
    pixels = [read_image(data / entry.file, (SIDE, SIDE), False) for entry in entries]
    given = classifier.predict_pixels(np.stack(pixels))
    return Predictions(
        split=split,
        classes=classifier.classes,
        files=tuple(entry.file for entry in entries),
        groups=tuple(entry.group for entry in entries),
        labels=np.array([classifier.classes.index(entry.label) for entry in entries]),
        decisions=classifier.decide(given),
        probabilities=given,
    )
