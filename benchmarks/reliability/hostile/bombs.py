"""Small ONNX files that need all memory or all time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.reliability.hostile.sample_run import message, network

node, array = helper.make_node, numpy_helper.from_array
FLOAT = TensorProto.FLOAT


def _filled(*shape: int) -> ModelProto:
    return network(
        node("ConstantOfShape", ["shape"], ["big"]), node("ReduceMax", ["big"], ["m"], keepdims=0),
        node("Add", ["logits", "m"], ["x"]), weights=(array(np.array(shape, np.int64), "shape"),),
        last="x",
    )  # fmt: skip


def _many() -> ModelProto:
    """Fifty constants, each of them small enough."""
    nodes = [node("ConstantOfShape", ["shape"], [f"c{i}"]) for i in range(50)]
    nodes += [node("ReduceMax", [f"c{i}"], [f"m{i}"], keepdims=0) for i in range(50)]
    nodes += [node("Sum", [f"m{i}" for i in range(50)], ["m"]), node("Add", ["logits", "m"], ["x"])]
    return network(*nodes, weights=(array(np.array([15 * 2**20]), "shape"),), last="x")


def _grown(kind: str, argument: Any, *more: Any, given: str = "logits") -> ModelProto:
    inputs = [given, "argument", *(f"more{i}" for i in range(len(more)))]
    weights = [array(np.array(argument, np.int64), "argument")]
    weights += [array(np.array(value), f"more{i}") for i, value in enumerate(more)]
    nodes = [node(kind, inputs, ["big"]), node("ReduceMax", ["big", "last"], ["x"], keepdims=1)]
    weights.append(array(np.array([1]), "last"))
    return network(*nodes, weights=tuple(weights), last="x")


def _resized() -> ModelProto:
    sizes = array(np.array([1, 2**31], np.int64), "sizes")
    return network(
        node("Resize", ["logits", "", "", "sizes"], ["big"]),
        node("ReduceMax", ["big"], ["m"], keepdims=0), node("Add", ["logits", "m"], ["x"]),
        weights=(sizes,), last="x",
    )  # fmt: skip


def _ranged() -> ModelProto:
    numbers = {"start": 0, "limit": 2**34, "step": 1}
    return network(
        node("Range", [*numbers], ["r"]), node("Cast", ["r"], ["f"], to=FLOAT),
        node("ReduceMax", ["f"], ["m"], keepdims=0), node("Add", ["logits", "m"], ["x"]),
        weights=tuple(array(np.array(v), k) for k, v in numbers.items()), last="x",
    )  # fmt: skip


def _doubled() -> ModelProto:
    """Two numbers, doubled in length thirty times."""
    nodes = [node("Concat", ["logits", "logits"], ["d0"], axis=1)]
    nodes += [node("Concat", [f"d{i}"] * 2, [f"d{i + 1}"], axis=1) for i in range(30)]
    nodes += [node("ReduceMax", ["d30", "last"], ["m"]), node("Add", ["logits", "m"], ["x"])]
    return network(*nodes, weights=(array(np.array([1]), "last"),), last="x")


def _outer() -> ModelProto:
    """The outer product of a long vector with itself."""
    long = array(np.array([300_000]), "long")
    return network(
        node("Expand", ["mean", "long"], ["row"]), node("Transpose", ["row"], ["column"]),
        node("Mul", ["row", "column"], ["big"]), node("ReduceMax", ["big"], ["m"], keepdims=0),
        node("Add", ["logits", "m"], ["x"]), weights=(long,), last="x",
    )  # fmt: skip


def _pooled() -> ModelProto:
    size = 10**6
    return network(
        node("Transpose", ["raw"], ["t"], perm=[0, 3, 1, 2]),
        node("MaxPool", ["t"], ["p"], kernel_shape=[size, size], pads=[size - 8] * 4),
        node("ReduceMax", ["p"], ["m"], keepdims=0), node("Add", ["logits", "m"], ["x"]), last="x",
    )  # fmt: skip


def _multiplied() -> ModelProto:
    """Small values, and a hundred products of matrices of 2,000 x 2,000."""
    nodes = [node("Expand", ["mean", "square"], ["s0"])]
    nodes += [node("MatMul", [f"s{i}", f"s{i}"], [f"s{i + 1}"]) for i in range(100)]
    nodes += [node("ReduceMax", ["s100"], ["m"], keepdims=0), node("Add", ["logits", "m"], ["x"])]
    return network(*nodes, weights=(array(np.array([2000, 2000]), "square"),), last="x")


def _pixel_dependent() -> ModelProto:
    """A size that depends on the pixels: the brighter the image, the larger."""
    return network(
        node("Cast", ["mean"], ["whole"], to=TensorProto.INT64),
        node("Squeeze", ["whole"], ["one"]),
        node("Unsqueeze", ["one", "first"], ["n"]), node("Mul", ["n", "million"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["big"]), node("ReduceMax", ["big"], ["m"], keepdims=0),
        node("Add", ["logits", "m"], ["x"]), last="x",
        weights=(array(np.array([0]), "first"), array(np.array([10**8]), "million")),
    )  # fmt: skip


def _misdeclared() -> ModelProto:
    """A declared shape that differs from the actual one."""
    model = _grown("Tile", [1, 2**30])
    model.graph.value_info.append(helper.make_tensor_value_info("big", FLOAT, [1, 2]))
    return model


def _documented() -> ModelProto:
    model = network()
    model.graph.doc_string = "a" * (3 * 2**20)
    return model


BOMBS: dict[str, Callable[[], Any]] = {
    "that fills a terabyte": lambda: _filled(2**38),
    "that fills 2 GB": lambda: _filled(2**29),
    "that fills fifty times 60 MB": _many,
    "with a shape that overflows": lambda: _filled(2**32, 2**32),
    "with a negative shape": lambda: _filled(-1, -1),
    "that repeats a number 2^33 times": lambda: _grown("Tile", [1, 2**33]),
    "that expands a number to a terabyte": lambda: _grown("Expand", [1, 2**38], given="mean"),
    "that pads to a terabyte": lambda: _grown("Pad", [0, 0, 0, 2**38]),
    "that resizes to 2^31": _resized,
    "that counts to 2^34": _ranged,
    "that doubles thirty times": _doubled,
    "that makes an outer product": _outer,
    "with a kernel of 10^6 x 10^6": _pooled,
    "that multiplies for hours": _multiplied,
    "with a size that depends on the image": _pixel_dependent,
    "that declares a wrong shape": _misdeclared,
    "with 50,001 operations": lambda: network(
        *(node("Relu", ["logits"], [f"r{i}"]) for i in range(50_001))),
    "of a million empty operations": lambda: message(7, b"\x0a\x00" * 10**6),
    "of a million empty attributes": lambda: message(7, message(1, b"\x2a\x00" * 10**6)),
    "of a million empty tensors": lambda: message(7, b"\x2a\x00" * 10**6),
    "with three megabytes of documentation": _documented,
}  # fmt: skip
