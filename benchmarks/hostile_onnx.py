"""Hostile ONNX files: data elsewhere, control flow, foreign operations, bombs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.kind import Kind
from benchmarks.victim import network, seal

node, array = helper.make_node, numpy_helper.from_array
_F, _ONE = TensorProto.FLOAT, np.ones((1, 2), np.float32)


def kinds() -> Iterator[Kind]:
    for what, place in _PLACES.items():
        yield Kind(f"ONNX numbers in {what}", _elsewhere(place))
    for what, make in {**_WHOLE, **_CONTROL, **_BOMBS, **_WRONG}.items():
        yield Kind(f"ONNX {what}", _file(make))
    for what, data in _BYTES.items():
        yield Kind(f"model.onnx {what}", _written(data))
    yield Kind("an ONNX file with more operations that ours have", _file(_harmless), accepted=True)


def _written(data: bytes) -> Callable[[Path, Path], None]:
    def spoil(run: Path, _: Path) -> None:
        (run / "model.onnx").write_bytes(data)
        seal(run)

    return spoil


def _file(make: Callable[[], Any]) -> Callable[[Path, Path], None]:
    def spoil(run: Path, canary: Path) -> None:
        made = make()
        _written(made if isinstance(made, bytes) else made.SerializeToString())(run, canary)

    return spoil


def _length(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


# Numbers elsewhere

_PLACES = {
    "a file beside it": "secret", "a file above it": "../canary/secret",
    "a file anywhere on the disk": "/canary", "the memory of the process": "*/_ORT_MEM_ADDR_/*",
}  # fmt: skip


def _elsewhere(place: str) -> Callable[[Path, Path], None]:
    def spoil(run: Path, canary: Path) -> None:
        canary.write_bytes(bytes(64))
        (run / "secret").write_bytes(bytes(64))
        where = str(canary) if place == "/canary" else place
        offset = str(id(_ONE)) if place.startswith("*") else "0"
        model = network()
        tensor = model.graph.initializer[0]
        _point(tensor, where, offset)
        _written(model.SerializeToString())(run, canary)

    return spoil


def _point(tensor: Any, where: str, offset: str = "0") -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": where, "offset": offset, "length": "8"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _constant_elsewhere() -> ModelProto:
    tensor = array(_ONE, "far")
    _point(tensor, "/etc/hostname")
    far = node("Constant", [], ["far"], value=tensor)
    return network(far, node("Add", ["logits", "far"], ["x"]), last="x")


def _sparse() -> ModelProto:
    model = network()
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(array(np.ones(1, np.float32), "sparse"))
    sparse.indices.CopyFrom(array(np.array([2**40]), "indices"))
    sparse.dims.extend([2**41])
    return model


def _training() -> ModelProto:
    model = network()
    model.training_info.add().algorithm.CopyFrom(model.graph)
    return model


def _function() -> ModelProto:
    model = network(node("Twice", ["logits"], ["x"], domain="own"), last="x")
    opset = [helper.make_opsetid("", 18)]
    body = [node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    return model


def _overridden() -> ModelProto:
    """A function of the file that takes the name of an operation of ONNX."""
    model = network(node("Relu", ["logits"], ["x"]), last="x")
    body = [node("Add", ["a", "a"], ["b"])]
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("", "Relu", ["a"], ["b"], body, opset))
    return model


def _twice() -> bytes:
    model = network()
    data = model.SerializeToString()
    raw = model.graph.initializer[0].SerializeToString()
    twice = raw + b"\x4a\x08" + bytes(8)
    graph = model.graph.SerializeToString().replace(
        b"\x2a" + bytes([len(raw)]) + raw, b"\x2a" + bytes([len(twice)]) + twice
    )
    rest = ModelProto.FromString(data)
    rest.ClearField("graph")
    return rest.SerializeToString() + b"\x3a" + _varint(len(graph)) + graph


_WHOLE: dict[str, Callable[[], Any]] = {
    "numbers of a constant elsewhere": _constant_elsewhere,
    "with a sparse tensor of terabytes": _sparse,
    "with a training graph": _training,
    "with a function of its own": _function,
    "with a function that replaces an operation": _overridden,
    "with two graphs": lambda: network().SerializeToString() * 2,
    "with a tensor whose numbers are there twice": _twice,
}


# Control flow and foreign operations


def _graph(name: str = "body") -> Any:
    value = helper.make_tensor_value_info("y", _F, None)
    return helper.make_graph([node("Identity", ["logits"], ["y"])], name, [], [value])


def _if() -> ModelProto:
    yes = array(np.array(True), "yes")
    choice = node("If", ["yes"], ["x"], then_branch=_graph(), else_branch=_graph("other"))
    return network(choice, weights=(yes,), last="x")


def _loop() -> ModelProto:
    """Loop for ever: 2^62 times."""
    body = helper.make_graph(
        [node("Identity", ["go"], ["going"]), node("Add", ["v", "v"], ["w"])],
        "body",
        [helper.make_tensor_value_info(n, t, None) for n, t in (("i", 7), ("go", 9), ("v", 1))],
        [helper.make_tensor_value_info(n, t, None) for n, t in (("going", 9), ("w", 1))],
    )
    given = (array(np.array(2**62), "times"), array(np.array(True), "yes"))
    loop = node("Loop", ["times", "yes", "logits"], ["x"], body=body)
    return network(loop, weights=given, last="x")


def _scan() -> ModelProto:
    body = helper.make_graph(
        [node("Identity", ["v"], ["w"])], "body",
        [helper.make_tensor_value_info("v", _F, None)],
        [helper.make_tensor_value_info("w", _F, None)],
    )  # fmt: skip
    return network(node("Scan", ["logits"], ["x"], body=body, num_scan_inputs=1), last="x")


def _one(kind: str, **attributes: Any) -> Callable[[], ModelProto]:
    return lambda: network(node(kind, ["logits"], ["x"], **attributes), last="x")


def _nested() -> bytes:
    """A graph in an attribute in a graph in an attribute ..., ten thousand deep."""
    data = b""
    for _ in range(10_000):
        data = _length(1, _length(5, _length(6, data)))
    return _length(7, data)


_CONTROL: dict[str, Callable[[], Any]] = {
    "with If": _if,
    "with an endless Loop": _loop,
    "with Scan": _scan,
    "with an operation of ONNX Runtime alone": _one("FastGelu", domain="com.microsoft"),
    "with an operation of nobody": _one("Owned", domain="evil"),
    "with an operation of machine learning": _one("Normalizer", domain="ai.onnx.ml"),
    "with random numbers": lambda: network(
        node("RandomNormal", [], ["x"], shape=[1, 2]), node("Add", ["x", "logits"], ["y"]),
        last="y"),
    "with a sequence": lambda: network(
        node("SequenceConstruct", ["logits"], ["s"]), node("SequenceAt", ["s", "zero"], ["x"]),
        weights=(array(np.array(0), "zero"),), last="x"),
    "with text": lambda: network(node("Cast", ["logits"], ["x"], to=TensorProto.STRING)),
    "with numbers that are text": lambda: network(
        weights=(helper.make_tensor("text", TensorProto.STRING, [1], [b"a"]),)),
    "with graphs in graphs": _nested,
}  # fmt: skip

# Bombs


def _filled(*shape: int) -> ModelProto:
    return network(
        node("ConstantOfShape", ["shape"], ["big"]), node("ReduceMax", ["big"], ["m"], keepdims=0),
        node("Add", ["logits", "m"], ["x"]), weights=(array(np.array(shape, np.int64), "shape"),),
        last="x",
    )  # fmt: skip


def _many() -> ModelProto:
    """Fifty constants that are small enough each."""
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
        node("Range", [*numbers], ["r"]), node("Cast", ["r"], ["f"], to=_F),
        node("ReduceMax", ["f"], ["m"], keepdims=0), node("Add", ["logits", "m"], ["x"]),
        weights=tuple(array(np.array(v), k) for k, v in numbers.items()), last="x",
    )  # fmt: skip


def _doubled() -> ModelProto:
    """Thirty times twice as long, from two numbers."""
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


def _worked() -> ModelProto:
    """Small values, and a hundred products of matrices of 2,000 x 2,000."""
    nodes = [node("Expand", ["mean", "square"], ["s0"])]
    nodes += [node("MatMul", [f"s{i}", f"s{i}"], [f"s{i + 1}"]) for i in range(100)]
    nodes += [node("ReduceMax", ["s100"], ["m"], keepdims=0), node("Add", ["logits", "m"], ["x"])]
    return network(*nodes, weights=(array(np.array([2000, 2000]), "square"),), last="x")


def _hidden() -> ModelProto:
    """A size that only the pixels know: the brighter the picture, the larger."""
    return network(
        node("Cast", ["mean"], ["whole"], to=TensorProto.INT64),
        node("Squeeze", ["whole"], ["one"]),
        node("Unsqueeze", ["one", "first"], ["n"]), node("Mul", ["n", "million"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["big"]), node("ReduceMax", ["big"], ["m"], keepdims=0),
        node("Add", ["logits", "m"], ["x"]), last="x",
        weights=(array(np.array([0]), "first"), array(np.array([10**8]), "million")),
    )  # fmt: skip


def _lying() -> ModelProto:
    """A declared shape that is not what comes out."""
    model = _grown("Tile", [1, 2**30])
    model.graph.value_info.append(helper.make_tensor_value_info("big", _F, [1, 2]))
    return model


def _documented() -> ModelProto:
    model = network()
    model.graph.doc_string = "a" * (3 * 2**20)
    return model


_BOMBS: dict[str, Callable[[], Any]] = {
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
    "that multiplies for hours": _worked,
    "with a size that depends on the picture": _hidden,
    "that declares another shape than it has": _lying,
    "with 50,001 operations": lambda: network(
        *(node("Relu", ["logits"], [f"r{i}"]) for i in range(50_001))),
    "of a million empty operations": lambda: _length(7, b"\x0a\x00" * 10**6),
    "of a million empty attributes": lambda: _length(7, _length(1, b"\x2a\x00" * 10**6)),
    "of a million empty tensors": lambda: _length(7, b"\x2a\x00" * 10**6),
    "with a megabyte of words": _documented,
}  # fmt: skip


# Wrong ends


def _changed(change: Callable[[ModelProto], object]) -> Callable[[], ModelProto]:
    def make() -> ModelProto:
        model = network()
        change(model)
        return model

    return make


def _sized(side: int) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = side

    return change


_WRONG: dict[str, Callable[[], Any]] = {
    "that takes another input": _changed(
        lambda m: m.graph.input.append(helper.make_tensor_value_info("more", _F, [1]))),
    "that takes pictures of another size": _changed(_sized(9)),
    "that takes pictures of 2^40 pixels": _changed(_sized(2**40)),
    "that takes other numbers": _changed(
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", _F)),
    "that gives another answer": _changed(
        lambda m: m.graph.output.append(helper.make_tensor_value_info("mean", _F, None))),
    "that gives three probabilities": lambda: network(
        node("Concat", ["logits", "mean"], ["x"], axis=1), last="x"),
    "that gives no number": lambda: network(
        node("Mul", ["logits", "nan"], ["x"]), last="x",
        weights=(array(np.array(np.nan, np.float32), "nan"),)),
    "that gives no embedding for its gate": _changed(lambda m: m.graph.output.pop()),
    "whose tensor is shorter than its shape": _changed(
        lambda m: m.graph.initializer[0].dims.append(2**20)),
    "whose tensor has a negative side": _changed(
        lambda m: m.graph.initializer[0].dims.__setitem__(0, -1)),
    "of a future operator set": _changed(lambda m: setattr(m.opset_import[0], "version", 10_000)),
    "without an operator set": _changed(lambda m: m.ClearField("opset_import")),
    "with an unknown name": lambda: network(node("Add", ["logits", "ghost"], ["x"]), last="x"),
    "that makes a value twice": lambda: network(node("Relu", ["sloped"], ["logits"])),
}  # fmt: skip
_BYTES = {
    "is text": b"import os; os.system('true')\n",
    "is a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "is ONNX Runtime's own format": b"\x18\x00\x00\x00ORTM" + bytes(4096),
    "is a zip archive": b"PK\x03\x04" + bytes(4096),
}


def _harmless() -> ModelProto:
    """What exporters also write: a constant, shapes, a pad, and a value that is computed before."""
    one = array(np.ones(2, np.float32), "one")
    return network(
        node("Constant", [], ["c"], value=one), node("Sqrt", ["c"], ["root"]),
        node("Mul", ["logits", "root"], ["m"]), node("Shape", ["m"], ["shape"]),
        node("Reshape", ["m", "shape"], ["r"]), node("Sigmoid", ["r"], ["x"]), last="x",
    )  # fmt: skip
