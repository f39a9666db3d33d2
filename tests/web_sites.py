"""A classifier of random weights, with everything that a trained one has, to be exported."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from lucency.calibration import conformal, ood
from lucency.classifier import Classifier, Spec

SIZE = (24, 20)
_FEATURES = 6


def network(rng: np.random.Generator, classes: int, channels: int, several: bool = False) -> bytes:
    """Return an ONNX file: one convolution, its mean, and as many logits as there are classes."""
    units = 1 if classes == 2 and not several else classes
    weights = {
        "scale": np.array(255, np.float32),
        "kernel": rng.normal(0, 0.5, (_FEATURES, channels, 3, 3)).astype(np.float32),
        "slope": rng.normal(0, 4, (_FEATURES, units)).astype(np.float32),
        "axes": np.array([1, 2], np.int64),
    }
    made = helper.make_node
    nodes = [
        made("Cast", ["pixels"], ["raw"], to=TensorProto.FLOAT),
        made("Div", ["raw", "scale"], ["grey"]),
        made("Transpose", ["grey"], ["planes"], perm=[0, 3, 1, 2]),
        made("Conv", ["planes", "kernel"], ["convolved"], strides=[2, 2], pads=[1, 1, 1, 1]),
        made("Relu", ["convolved"], ["lit"]),
        made("Transpose", ["lit"], ["places"], perm=[0, 2, 3, 1]),
        made("MatMul", ["places", "slope"], ["activation_map"]),
        made("ReduceMean", ["places", "axes"], ["embedding"], keepdims=0),
        made("MatMul", ["embedding", "slope"], ["logits"]),
        *_probabilities(classes, several),
    ]
    outputs = {"probabilities": ["n", classes], "embedding": ["n", _FEATURES]}
    outputs["activation_map"] = ["n", SIZE[0] // 2, SIZE[1] // 2, units]
    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", *SIZE, channels])],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def _probabilities(classes: int, several: bool) -> list[object]:
    if several:
        return [helper.make_node("Sigmoid", ["logits"], ["probabilities"])]
    if classes > 2:
        return [helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)]
    return [
        helper.make_node("Neg", ["logits"], ["against"]),
        helper.make_node("Concat", ["against", "logits"], ["both"], axis=1),
        helper.make_node("Sigmoid", ["both"], ["probabilities"]),
    ]


def classifier(classes: tuple[str, ...], channels: int) -> Classifier:
    """Return one whose OOD detector and prediction sets were fitted on drawn images."""
    rng = np.random.default_rng(0)
    spec = Spec(
        classes=classes,
        positive=classes[1] if len(classes) == 2 else None,
        size=SIZE,
        channels=channels,
        architecture="default",
        network_channels=channels,
        parameters={"width": 1, "blocks": [1]},
        threshold=0.4,
    )
    onnx = network(rng, len(classes), channels)
    pixels = rng.integers(0, 256, (120, *SIZE, channels), np.uint8)
    pixels[::2] //= 2  # so that there is more than one kind of image
    plain = Classifier(spec, {}, onnx)
    labels = rng.integers(0, len(classes), len(pixels))
    sets = conformal.fit(plain.predict_pixels(pixels), labels)
    features = plain._onnx_session().run(["probabilities", "embedding"], pixels)["embedding"]
    fitted = ood.fit(features[:80], labels[:80], pixels[:80], features[80:], pixels[80:])
    full = replace(spec, conformal=sets.to_json())
    weights = {"w": np.ones(full.weight_count, np.float32)}
    return Classifier(full, weights, onnx, fitted)


def labelled(names: tuple[str, ...], channels: int) -> Classifier:
    """Return one of several labels; the first has no prediction sets that decide."""
    rng, one = np.random.default_rng(1), classifier(names, channels)
    onnx = network(np.random.default_rng(0), len(names), channels, several=True)
    pixels = rng.integers(0, 256, (120, *SIZE, channels), np.uint8)
    p = Classifier(one.spec, {}, onnx)._onnx_session().run(["probabilities"], pixels)
    labels = []
    for k, column in enumerate(p["probabilities"].astype(np.float64).T):
        n = 12 if k == 0 else 120
        truth = (rng.random(n) < np.clip(column[:n], 0.2, 0.8)).astype(np.int64)
        sets = conformal.fit(np.stack([1 - column, column], axis=1)[:n], truth)
        labels.append({
            "temperature": 1.0, "bias": 0.0, "threshold": float(np.median(column)), "rule": "r",
            "validation": None, "prevalence": 0.4, "conformal": sets.to_json(),
        })  # fmt: skip
    spec = dataclasses.replace(
        one.spec, positive=None, task="multilabel", labels=tuple(labels), conformal=None,
        parameters={**one.spec.parameters, "multilabel": True},
    )  # fmt: skip
    weights = {"w": np.ones(spec.weight_count, np.float32)}
    return Classifier(spec, weights, onnx, one.ood_detector)


def write(run: Path, classes: tuple[str, ...] = ("dark", "light"), channels: int = 1) -> Path:
    """Write a run folder of such a classifier."""
    classifier(classes, channels).save(run)
    return run
