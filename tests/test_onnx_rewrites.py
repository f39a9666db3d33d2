"""Layers whose operators the exporters write in a way that ONNX Runtime cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, load_model, numpy_helper

from lucency import backend, models
from lucency.backend.onnx_rewrites import rewrite
from lucency.classifier.onnx.validate import OPERATIONS
from lucency.models import backbones

keras = models.keras
layers = keras.layers

LAYERS: dict[str, Callable[[Any], Any]] = {
    "max pooling": layers.MaxPooling2D(2),
    "max pooling over a border": layers.MaxPooling2D(3, strides=2, padding="same"),
    "max pooling of odd sides": layers.MaxPooling2D((3, 2), strides=(1, 2)),
    "two max poolings": lambda x: layers.MaxPooling2D(2)(layers.MaxPooling2D(3, strides=1)(x)),
    "colours in another order": lambda x: backbones.scaled(x, "VGG16"),
    "GELU": layers.Activation("gelu"),
    "two GELUs": lambda x: layers.Activation("gelu")(layers.Activation("gelu")(x)),
    "pixels with given mean": layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 1.0, 9.0]),
    "pixels with mean of weights": layers.Normalization(),
}


@pytest.mark.backend
@pytest.mark.parametrize("name", LAYERS)
def test_exported_layers_compute_the_same(name: str, tmp_path: Path) -> None:
    inputs = keras.Input((9, 8, 3), name="pixels")
    network = keras.Model(inputs, {"output": LAYERS[name](inputs)})
    for variable in network.weights:
        variable.assign(np.full(variable.shape, 2, variable.dtype))
    models.fix_normalization(network)
    pixels = np.random.default_rng(0).normal(0, 3, (4, 9, 8, 3)).astype(np.float32)
    expected = np.asarray(network(pixels)["output"])
    backend.export_onnx(network, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [value.name for value in session.get_inputs()] == ["pixels"]
    (output,) = session.run(["output"], {"pixels": pixels})
    np.testing.assert_allclose(output, expected, atol=1e-5)
    graph = load_model(tmp_path / "model.onnx").graph
    assert {node.op_type for node in graph.node} <= OPERATIONS
    used = {end for node in graph.node for end in node.input}
    assert {each.name for each in graph.initializer} <= used


def test_mean_and_variance_follow_weights_that_are_assigned_later() -> None:
    inputs = keras.Input((2, 2, 3))
    network = keras.Model(inputs, layers.Normalization()(inputs))
    mean, variance, _ = network.weights
    mean.assign(np.float32([1, 2, 3]))
    variance.assign(np.float32([4, 4, 4]))
    pixels = np.ones((1, 2, 2, 3), np.float32)
    models.fix_normalization(network)
    np.testing.assert_allclose(np.asarray(network(pixels))[0, 0, 0], [0, -0.5, -1])


def pooling(**attributes: list[int]) -> Any:
    """Return a graph of a pooling as jax2onnx writes it."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "0"], ["a"]),
        helper.make_node("Unsqueeze", ["a", "1"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], **attributes),
        helper.make_node("Squeeze", ["c", "01"], ["y"]),
    ]
    axes = [numpy_helper.from_array(np.array([*map(int, n)]), n) for n in ("0", "1", "01")]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", None, None, 3]) for n in "xy"]
    return helper.make_graph(nodes, "pooling", ends[:1], ends[1:], axes)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2, 2, 1]},
        {"kernel_shape": [1, 2, 2, 3]},
        {"kernel_shape": [1, 2, 2, 1], "strides": [2, 2, 2, 1]},
        {"kernel_shape": [1, 2, 2, 1], "dilations": [1, 2, 2, 1]},
        {"kernel_shape": [1, 2, 2, 1], "pads": [0, 0, 0, 1, 0, 0, 0, 0]},
    ],
)
def test_pooling_over_other_axes_is_not_rewritten(attributes: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="other axes than height and width"):
        rewrite(pooling(**attributes))


def test_a_pooling_is_rewritten_between_two_transposes() -> None:
    graph = pooling(kernel_shape=[1, 3, 2, 1], pads=[0, 1, 0, 0, 0, 1, 1, 0])
    rewrite(graph)
    assert [node.op_type for node in graph.node][-3:] == ["Transpose", "MaxPool", "Transpose"]
    pool = {each.name: list(each.ints) for each in graph.node[-2].attribute}
    assert pool == {"kernel_shape": [3, 2], "strides": [1, 1], "pads": [1, 0, 1, 1]}
    assert (list(graph.node[-3].input), list(graph.node[-1].output)) == (["x"], ["y"])
