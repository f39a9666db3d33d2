"""A small valid run folder, made without training, and the cases that corrupt it."""

from __future__ import annotations

import dataclasses
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
from lucency.evaluation import (
    Predictions,
    evaluate_predictions,
    write_evaluation,
    write_predictions,
)
from lucency.io import write_json

SIDE, CLASSES = 8, ("NORMAL", "PNEUMONIA")
OPSET, IR = 18, 10
PREDICT, REDRAW = "predict", "verify --redraw"


@dataclasses.dataclass(frozen=True)
class Case:
    """One way to corrupt a run folder.

    Attributes:
        name: What is wrong with it.
        corrupt: Called with a valid run folder and a canary: a file that must not be opened.
        command: The command of Lucency that must reject the folder.
        accepted: Whether the folder is still valid: a control, which must be accepted.
    """

    name: str
    corrupt: Callable[[Path, Path], object]
    command: str = PREDICT
    accepted: bool = False


def write_run(folder: Path) -> Path:
    """Write a run folder that every command accepts, and ``image.png`` beside it."""
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
    splits = [_predictions(name) for name in ("val", "test")]
    write_predictions(run / "predictions.csv", splits)
    entries = [
        Entry(file, CLASSES[k], each.split, group, hashlib.sha256(file.encode()).hexdigest())
        for each in splits
        for file, group, k in zip(each.files, each.groups, each.labels, strict=True)
    ]
    write_entries(entries, run / "split.csv")
    measured = [evaluate_predictions(classifier, each) for each in splits]
    write_evaluation(run / "evaluation.json", *measured)
    grey = np.arange(64, 64 + SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    Image.fromarray(grey).save(folder / "image.png")
    return run


def network(
    *more: Any, weights: tuple[Any, ...] = (), last: str = "logits", slope: float = 8.0
) -> ModelProto:
    """Return a network: the brighter the image, the more probable the second class.

    Args:
        more: Nodes before the last, which may use ``mean`` (n, 1), ``logits`` (n, 2), ``raw``.
        weights: Initializers for them.
        last: The input of the last softmax.
        slope: Log odds of a white image minus those of a black one.
    """
    numbers: dict[str, Any] = {
        "slope": np.array([[-slope / 2, slope / 2]], np.float32),
        "middle": np.array([[slope / 4, -slope / 4]], np.float32),
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
    """Return a Protocol Buffers field of bytes."""
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Return an integer in Protocol Buffers encoding."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def seal(run: Path) -> None:
    """Update the checksums of ``classifier.json``, as an attacker would."""
    files = {
        "weights": "weights.safetensors", "ood_detector": "ood_detector.safetensors",
        "onnx": "model.onnx",
        "reference_images": "reference_images.safetensors",
    }  # fmt: skip

    def update(document: dict[str, Any]) -> None:
        for key, name in files.items():
            path = run / name
            if path.is_file() and path.stat().st_size < 2**24 and document.get(key):
                document[key]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    edit(run / "classifier.json", update)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
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


def _predictions(split: str) -> Predictions:
    labels = np.arange(40) % 2
    likely = np.clip(0.5 + (labels - 0.5) * np.linspace(-0.2, 0.9, 40), 0.01, 0.99)
    return Predictions(
        split=split, classes=CLASSES, files=tuple(f"{split}/{i}.png" for i in range(40)),
        groups=("",) * 40, labels=labels, decisions=(likely >= 0.5).astype(np.int64),
        probabilities=np.stack([1 - likely, likely], axis=1),
    )  # fmt: skip


def _plan() -> dict[str, Any]:
    return {
        "format": 2, "run": "run", "recipe": "default", "effort": "quick", "seed": 0,
        "config": {"recipe": "default", "seed": 0}, "environment": {"lucency": "0.1.0"},
    }  # fmt: skip
