"""Hostile ONNX files: external data, control flow, unknown operations, bombs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.reliability.hostile.bombs import BOMBS
from benchmarks.reliability.hostile.sample_run import Case, message, network, seal, varint

node, array = helper.make_node, numpy_helper.from_array
_F, _ONE = TensorProto.FLOAT, np.ones((1, 2), np.float32)


def cases() -> Iterator[Case]:
    for what, place in _LOCATIONS.items():
        yield Case(f"ONNX data in {what}", _external(place))
    for what, make in {**_WHOLE, **_CONTROL, **BOMBS, **_WRONG}.items():
        yield Case(f"ONNX {what}", _file(make))
    for what, data in _BYTES.items():
        yield Case(f"model.onnx {what}", _written(data))
    yield Case(
        "an ONNX file with more operations than Lucency writes", _file(_harmless), accepted=True
    )


def _written(data: bytes) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, _: Path) -> None:
        (run / "model.onnx").write_bytes(data)
        seal(run)

    return corrupt


def _file(make: Callable[[], Any]) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, canary: Path) -> None:
        made = make()
        _written(made if isinstance(made, bytes) else made.SerializeToString())(run, canary)

    return corrupt


# External data

_LOCATIONS = {
    "a file beside it": "secret", "a file above it": "../canary/secret",
    "a file anywhere on the disk": "/canary", "the memory of the process": "*/_ORT_MEM_ADDR_/*",
}  # fmt: skip


def _external(place: str) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, canary: Path) -> None:
        canary.write_bytes(bytes(64))
        (run / "secret").write_bytes(bytes(64))
        where = str(canary) if place == "/canary" else place
        offset = str(id(_ONE)) if place.startswith("*") else "0"
        model = network()
        tensor = model.graph.initializer[0]
        _point(tensor, where, offset)
        _written(model.SerializeToString())(run, canary)

    return corrupt


def _point(tensor: Any, where: str, offset: str = "0") -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": where, "offset": offset, "length": "8"}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def _external_constant() -> ModelProto:
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
    """A function with the name of an ONNX operation."""
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
    return rest.SerializeToString() + b"\x3a" + varint(len(graph)) + graph


_WHOLE: dict[str, Callable[[], Any]] = {
    "with the data of a constant in another file": _external_constant,
    "with a sparse tensor of terabytes": _sparse,
    "with a training graph": _training,
    "with a function of its own": _function,
    "with a function that replaces an operation": _overridden,
    "with two graphs": lambda: network().SerializeToString() * 2,
    "with the data of a tensor twice": _twice,
}


# Control flow and unknown operations


def _graph(name: str = "body") -> Any:
    value = helper.make_tensor_value_info("y", _F, None)
    return helper.make_graph([node("Identity", ["logits"], ["y"])], name, [], [value])


def _if() -> ModelProto:
    yes = array(np.array(True), "yes")
    choice = node("If", ["yes"], ["x"], then_branch=_graph(), else_branch=_graph("other"))
    return network(choice, weights=(yes,), last="x")


def _loop() -> ModelProto:
    """Loop 2^62 times."""
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


def _node(kind: str, **attributes: Any) -> Callable[[], ModelProto]:
    return lambda: network(node(kind, ["logits"], ["x"], **attributes), last="x")


def _nested() -> bytes:
    """A graph in an attribute in a graph in an attribute ..., nested ten thousand deep."""
    data = b""
    for _ in range(10_000):
        data = message(1, message(5, message(6, data)))
    return message(7, data)


_CONTROL: dict[str, Callable[[], Any]] = {
    "with If": _if,
    "with an endless Loop": _loop,
    "with Scan": _scan,
    "with an operation of ONNX Runtime alone": _node("FastGelu", domain="com.microsoft"),
    "with an operation of an unknown domain": _node("Owned", domain="evil"),
    "with an operation of machine learning": _node("Normalizer", domain="ai.onnx.ml"),
    "with random numbers": lambda: network(
        node("RandomNormal", [], ["x"], shape=[1, 2]), node("Add", ["x", "logits"], ["y"]),
        last="y"),
    "with a sequence": lambda: network(
        node("SequenceConstruct", ["logits"], ["s"]), node("SequenceAt", ["s", "zero"], ["x"]),
        weights=(array(np.array(0), "zero"),), last="x"),
    "with text": lambda: network(node("Cast", ["logits"], ["x"], to=TensorProto.STRING)),
    "with a tensor of text": lambda: network(
        weights=(helper.make_tensor("text", TensorProto.STRING, [1], [b"a"]),)),
    "with graphs in graphs": _nested,
}  # fmt: skip

# Wrong inputs and outputs


def _edited(change: Callable[[ModelProto], object]) -> Callable[[], ModelProto]:
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
    "that takes another input": _edited(
        lambda m: m.graph.input.append(helper.make_tensor_value_info("more", _F, [1]))),
    "that takes images of another size": _edited(_sized(9)),
    "that takes images of 2^40 pixels": _edited(_sized(2**40)),
    "that takes another type": _edited(
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", _F)),
    "that has another output": _edited(
        lambda m: m.graph.output.append(helper.make_tensor_value_info("mean", _F, None))),
    "that gives three probabilities": lambda: network(
        node("Concat", ["logits", "mean"], ["x"], axis=1), last="x"),
    "that outputs NaN": lambda: network(
        node("Mul", ["logits", "nan"], ["x"]), last="x",
        weights=(array(np.array(np.nan, np.float32), "nan"),)),
    "that gives no embedding for its OOD detector": _edited(lambda m: m.graph.output.pop()),
    "whose tensor is shorter than its shape": _edited(
        lambda m: m.graph.initializer[0].dims.append(2**20)),
    "whose tensor has a negative side": _edited(
        lambda m: m.graph.initializer[0].dims.__setitem__(0, -1)),
    "of a future operator set": _edited(lambda m: setattr(m.opset_import[0], "version", 10_000)),
    "without an operator set": _edited(lambda m: m.ClearField("opset_import")),
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
    """What exporters also write: a constant, a shape, and a value computed at load."""
    one = array(np.ones(2, np.float32), "one")
    return network(
        node("Constant", [], ["c"], value=one), node("Sqrt", ["c"], ["root"]),
        node("Mul", ["logits", "root"], ["m"]), node("Shape", ["m"], ["shape"]),
        node("Reshape", ["m", "shape"], ["r"]), node("Sigmoid", ["r"], ["x"]), last="x",
    )  # fmt: skip
