"""Run folders made without training: images, predictions and a network of one weight."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from scipy import special

from lucency.calibration.conformal import Conformal, Kind, Threshold
from lucency.calibration.units import UnitRule
from lucency.classifier import Classifier, Spec
from lucency.dataset import Entry
from lucency.dataset.multilabel import written
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
NAMES = ("a", "b", "c")  # of labels
KINDS: tuple[Kind, ...] = ("marginal", "class-conditional")


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


def labelled_spec(names: tuple[str, ...] = NAMES, threshold: float = 0.4) -> Spec:
    sets = Conformal(tuple(
        Threshold(alpha, kind, (0.9 - alpha, 0.8 - alpha), (50, 50))
        for alpha in (0.05, 0.1) for kind in KINDS
    ))  # fmt: skip
    each = {
        "temperature": 1.0, "bias": 0.0, "threshold": threshold, "rule": "r", "validation": None,
        "prevalence": 0.3, "conformal": sets.to_json(),
    }  # fmt: skip
    spec = dataclasses.replace(spec_of(names), positive=None, task="multilabel")
    parameters = {**spec.parameters, "multilabel": True}
    return dataclasses.replace(spec, labels=(each,) * len(names), parameters=parameters)


def labelled_unit_spec() -> Spec:
    """Return the description of a classifier of labels with an answer for each patient."""
    spec = labelled_spec()
    labels = tuple(
        {
            **each,
            "temperature": 0.5 + k,
            "bias": 0.3 * k,
            "threshold": 0.45,
            "pooling": (0.0, 2.0, -1.0)[k],
            "pooling_rule": "r",
        }
        for k, each in enumerate(spec.labels)
    )
    rule = UnitRule("", 1.0, (), 0.5, "r", None, Conformal(()), labels=labels)
    return dataclasses.replace(spec, unit=rule.to_json())


def labelled_predictions(n: int = 300, seed: int = 0, each: int = 2) -> Predictions:
    """Return predictions for images of patients, a fifth of whose labels is unknown."""
    random = np.random.default_rng(seed)
    patients = np.arange(n) // each
    odds = random.normal(0, 1.5, (n, 3)) + random.normal(0, 1, (n, 3))[patients]
    targets = (random.random((n, 3)) < special.expit(odds - 0.5)).astype(np.float32)
    targets[random.random((n, 3)) < 0.2] = -1
    p = special.expit(odds + random.normal(0, 1, (n, 3)))
    return Predictions(
        split="test", classes=NAMES, files=tuple(f"{i}.png" for i in range(n)),
        groups=tuple(f"p{i}" for i in patients), labels=np.zeros(n, np.int64),
        decisions=(p >= 0.4).astype(np.int64), probabilities=p, targets=targets,
    )  # fmt: skip


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
    several = found.targets is not None
    spec = labelled_spec(found.classes) if several else spec_of(found.classes)
    seed = zlib.crc32(run.name.encode())
    weights = {"w": np.random.default_rng(seed).integers(0, 256, spec.weight_count, np.uint8)}
    Classifier(spec, weights).save(run)
    write_predictions(run / "predictions.csv", [found])
    write_plan(run, **plan)
    if contents is not None:
        truths = (
            [found.classes[k] for k in found.labels]
            if found.targets is None
            else [written(found.classes, row) for row in found.targets]
        )
        rows = zip(found.files, truths, found.groups, contents, strict=True)
        entries = [Entry(file, truth, found.split, group, sha) for file, truth, group, sha in rows]
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
