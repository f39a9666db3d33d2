"""The permitted content of an ONNX file: plain operations from pixels to probabilities.

No control flow, functions, custom or random operations, strings, sequences, sparse tensors or data
outside the file; memory and multiplications within the limits of ``lucency.classifier.onnx.cost``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lucency.classifier.onnx import protobuf
from lucency.classifier.onnx.cost import WIDTHS, Needs, check_sizes
from lucency.classifier.spec import Spec

INPUT = "pixels"
OUTPUTS = {"probabilities": 2, "embedding": 2, "activation_map": 4}  # with their number of axes
_TYPES = {"float32": 1, "uint8": 2}  # onnx.TensorProto.DataType
_MAX_NODES = 20_000
_OPSETS = range(13, 31)

# The operations that the exporters of TensorFlow and JAX use for our networks, and similar ones.
# All map tensors to tensors whose shapes follow from shapes and from small integers.
_ELEMENTWISE = (
    "Abs Add And Cast Ceil Clip Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid"
    " HardSwish Identity LeakyRelu Less LessOrEqual Log Max Min Mish Mod Mul Neg Not Or PRelu Pow"
    " Reciprocal Relu Selu Sigmoid Sign Softplus Softsign Sqrt Sub Sum Swish Tanh Where"
)
_NETWORK = (
    "AveragePool BatchNormalization Conv Flatten Gemm GlobalAveragePool GlobalMaxPool"
    " LayerNormalization LogSoftmax MatMul MaxPool ReduceMax ReduceMean ReduceMin ReduceProd"
    " ReduceSum ReduceSumSquare Softmax"
)
_SHAPE = (
    "Concat Constant ConstantOfShape DepthToSpace Expand Gather Pad Reshape Shape Size Slice"
    " SpaceToDepth Split Squeeze Tile Transpose Unsqueeze"
)
OPERATIONS = frozenset(f"{_ELEMENTWISE} {_NETWORK} {_SHAPE}".split())


def check_graph(onnx: bytes, spec: Spec) -> Needs:
    """Reject an ONNX file that is not one of our networks, before anything runs it.

    Args:
        onnx: The file.
        spec: The values of ``classifier.json``; the file must have its input and classes.

    Returns:
        The resources that it needs.

    Raises:
        ValueError: The reason, as it follows "The file is rejected:".
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    rest, raw = protobuf.strip_weights(onnx)
    try:
        model = ModelProto.FromString(rest)
    except DecodeError as error:
        raise ValueError("it is damaged or not ONNX") from error
    _check_model(model)
    for tensor in model.graph.initializer:
        _check_tensor(tensor, raw[tensor.name])
    for node in model.graph.node:
        _check_node(node)
    _check_ends(model.graph, spec)
    outputs = [value.name for value in model.graph.output]
    if not set(outputs) <= {name for node in model.graph.node for name in node.output}:
        raise ValueError("an output is not computed by any node")
    needs = check_sizes(model, raw, spec)
    for name, shape in needs.outputs.items():
        expected = (1, len(spec.classes)) if name == "probabilities" else None
        if (
            shape is None
            or len(shape) != OUTPUTS[name]
            or shape[0] != 1
            or expected not in (None, shape)
        ):
            raise ValueError(f"its output {name!r} has the shape {shape} for an image")
    return needs


def _check_model(model: Any) -> None:
    versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in _OPSETS:
        raise ValueError(f"it is for the operator sets {versions}, not for one of {_OPSETS[0]} on")
    if len(model.graph.node) > _MAX_NODES:
        raise ValueError(f"it has more than {_MAX_NODES:,} operations")
    # strip_weights has rejected these already; a second check costs nothing.
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise ValueError("it has functions, training or sparse tensors")


def _check_tensor(tensor: Any, raw: int | None = None) -> None:
    """Reject data in another file, of another type, or of another size than its shape."""
    name = tensor.name[:80]
    if tensor.data_location or tensor.external_data or tensor.HasField("segment"):
        raise ValueError(f"the data of the tensor {name!r} is in another file")
    if tensor.data_type not in WIDTHS:
        raise ValueError(f"the tensor {name!r} has the unsupported type {tensor.data_type}")
    if len(tensor.dims) > 8 or any(not 0 <= side < 2**40 for side in tensor.dims):
        raise ValueError(f"the tensor {name!r} has an impossible shape")
    numbers = (tensor.float_data, tensor.int32_data, tensor.int64_data)
    count = (len(tensor.raw_data) if raw is None else raw) / WIDTHS[tensor.data_type]
    if count + sum(map(len, numbers)) != math.prod(tensor.dims):
        raise ValueError(f"the data of the tensor {name!r} does not fit its shape")


def _check_node(node: Any) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATIONS or node.overload:
        kind = f"{node.domain}.{node.op_type}".strip(".")
        raise ValueError(f"the operation {kind[:80]!r} is not used by our networks")
    for attribute in node.attribute:
        if attribute.ref_attr_name or attribute.type not in _PLAIN:
            raise ValueError(
                f"the attribute {attribute.name[:40]!r} of the operation {node.op_type!r} has an "
                "unsupported type"
            )
        if attribute.type == _TENSOR or attribute.HasField("t"):
            _check_tensor(attribute.t)
        if attribute.HasField("g") or attribute.graphs or attribute.tensors:
            raise ValueError(f"the operation {node.op_type!r} contains another graph")


# onnx.AttributeProto.AttributeType: float, int, string, tensor, floats, ints.
_TENSOR = 4
_PLAIN = {1, 2, 3, _TENSOR, 6, 7}


def _check_ends(graph: Any, spec: Spec) -> None:
    """Reject inputs and outputs that are not those of a classifier with this specification."""
    inputs = [value.name for value in graph.input]
    if inputs != [INPUT]:
        raise ValueError(f"its input is {_listed(inputs)}, not {INPUT!r}")
    pixels = graph.input[0].type.tensor_type
    sides = [side.dim_value for side in pixels.shape.dim]
    expected = [*spec.size, spec.channels]
    if (
        pixels.elem_type != _TYPES[spec.dtype]
        or len(sides) != 4
        or sides[1:] != expected
        or sides[0]
    ):
        raise ValueError(
            f"its pixels have the shape {sides}, not {spec.dtype} of any number x {expected}"
        )
    outputs = [value.name for value in graph.output]
    if "probabilities" not in outputs or len(set(outputs) & OUTPUTS.keys()) < len(outputs):
        raise ValueError(f"its outputs are {_listed(outputs)}, not {_listed(OUTPUTS)}")
    if any(value.type.tensor_type.elem_type != 1 for value in graph.output):
        raise ValueError("its outputs are not float32")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name[:40]) for name in [*names][:4]) or "nothing"
