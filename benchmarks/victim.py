"""A small, sound run folder, made without training, for others to spoil."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

from lucency.calibration.ood import OODDetector
from lucency.classifier import Classifier, ReferenceImages, Spec
from lucency.dataset import Entry
from lucency.dataset.split_file import write_entries
from lucency.evaluation import Predictions, evaluate_found, write_evaluation, write_predictions
from lucency.io import write_json

SIDE, CLASSES = 8, ("NORMAL", "PNEUMONIA")
OPSET, IR = 18, 10


def sound_run(folder: Path) -> Path:
    """Write a run that every command takes, and ``image.png`` beside it."""
    run = folder / "run"
    run.mkdir(parents=True)
    spec = Spec(
        classes=CLASSES, positive=CLASSES[1], size=(SIDE, SIDE), channels=1, architecture="default",
        network_channels=1, parameters={"width": 2, "blocks": [1], "dropout": 0.2},
    )  # fmt: skip
    weights = {"stem_conv/kernel": np.zeros(spec.weight_count, np.float32)}
    classifier = Classifier(spec, weights, network().SerializeToString(), _ood_detector())
    pixels = np.arange(0, 4 * SIDE * SIDE, dtype=np.uint8).reshape(4, SIDE, SIDE, 1)
    classifier.reference_images = ReferenceImages(
        pixels, classifier.predict_pixels(pixels).astype(np.float32)
    )
    classifier.save(run)
    write_json(run / "plan.json", _plan())
    parts = [_answers(name) for name in ("val", "test")]
    write_predictions(run / "predictions.csv", parts)
    entries = [
        Entry(file, CLASSES[k], part.split, group, hashlib.sha256(file.encode()).hexdigest())
        for part in parts
        for file, group, k in zip(part.files, part.groups, part.labels, strict=True)
    ]
    write_entries(entries, run / "split.csv")
    measured = [evaluate_found(classifier, part) for part in parts]
    write_evaluation(run / "evaluation.json", *measured)
    grey = np.arange(64, 64 + SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    Image.fromarray(grey).save(folder / "image.png")
    return run


def network(*more: Any, weights: tuple[Any, ...] = (), last: str = "logits") -> ModelProto:
    """Return the network: the brighter, the likelier the second class.

    Args:
        more: Nodes before the last, which may use ``mean`` (n, 1), ``logits`` (n, 2), ``raw``.
        weights: Initializers for them.
        last: What the last softmax is of.
    """
    numbers: dict[str, Any] = {
        "slope": np.array([[-4, 4]], np.float32), "middle": np.array([[2, -2]], np.float32),
        "scale": np.array([[255]], np.float32), "axes": np.array([1, 2], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Cast", ["pixels"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["raw", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["embedding"]),
        helper.make_node("MatMul", ["embedding", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "middle"], ["logits"]),
        *more,
        helper.make_node("Softmax", [last], ["probabilities"], axis=1),
    ]
    given = [numpy_helper.from_array(value, name) for name, value in numbers.items()]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 1])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 1]),
        ],
        [*given, *weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def message(number: int, data: bytes) -> bytes:
    """Return a field of Protocol Buffers that holds bytes."""
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Return a whole number as Protocol Buffers write it."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def seal(run: Path) -> None:
    """Make ``classifier.json`` name the files as they are now: a forger can compute a checksum."""
    files = {
        "weights": "weights.safetensors", "ood_detector": "ood_detector.safetensors", "onnx": "model.onnx",
        "reference_images": "reference_images.safetensors",
    }  # fmt: skip

    def named(document: dict[str, Any]) -> None:
        for key, name in files.items():
            path = run / name
            if path.is_file() and path.stat().st_size < 2**24 and document.get(key):
                document[key]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    edit(run / "classifier.json", named)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON document."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def _ood_detector() -> OODDetector:
    arrays: dict[str, Any] = {"limits": np.full(3, 1e6)}
    for name, width in (("features", 1), ("image", 256)):
        arrays[f"{name}.means"] = np.zeros((1, width))
        arrays[f"{name}.axes"] = np.eye(1, width)
        arrays[f"{name}.variances"], arrays[f"{name}.rest"] = np.ones(1), np.ones(1)
    return OODDetector.from_arrays(
        {name: array.astype(np.float32) for name, array in arrays.items()}
    )


def _answers(split: str) -> Predictions:
    labels = np.arange(40) % 2
    likely = np.clip(0.5 + (labels - 0.5) * np.linspace(-0.2, 0.9, 40), 0.01, 0.99)
    return Predictions(
        split=split, classes=CLASSES, files=tuple(f"{split}/{i}.png" for i in range(40)),
        groups=("",) * 40, labels=labels, decisions=(likely >= 0.5).astype(np.int64),
        probabilities=np.stack([1 - likely, likely], axis=1),
    )  # fmt: skip


def _plan() -> dict[str, Any]:
    return {
        "format": 1, "run": "run", "recipe": "default", "effort": "quick", "seed": 0,
        "config": {"recipe": "default", "seed": 0}, "environment": {"lucency": "0.1.0"},
    }  # fmt: skip
