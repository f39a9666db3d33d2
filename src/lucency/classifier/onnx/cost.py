"""The memory and the multiplications that an ONNX file needs, from its shapes, before it is run.

A file of a few bytes can require terabytes (ConstantOfShape, Expand, Tile, Pad, huge kernels). The
size of each value must therefore follow from the file for one image, and be within limits per pixel
of the input that networks for images do not exceed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from lucency.classifier.spec import Spec

_PER_PIXEL = 512  # bytes of one value per pixel; 64 channels at full size (VGG) are 256
_ALWAYS = 64 * 2**20  # bytes of a value, whatever the image
_MAX_WORK = 1e12  # multiplications for one image: about ten seconds
_WORK_PER_PIXEL = 4e6  # the largest network of keras.applications (ConvNeXtXLarge) needs 1.2e6
_WORK_ALWAYS = 1e9
# Bytes of one number, by onnx.TensorProto.DataType: float, uint8, int8, int32, int64, bool.
WIDTHS = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1}
_POOLS = ("AveragePool", "MaxPool")


class Needs(NamedTuple):
    """The resources that a network needs.

    Attributes:
        weights: Bytes of the weights.
        folded: Bytes of the values that do not depend on the image.
        largest: Bytes of the largest value for one image.
        work: Multiplications for one image.
        outputs: Shape of each output for one image; None if only its size is known.
    """

    weights: int
    folded: int
    largest: int
    work: float
    outputs: Mapping[str, tuple[int, ...] | None]


class _Value(NamedTuple):
    size: int  # number of elements
    shape: tuple[int, ...] | None  # None if only the size is known
    width: int  # bytes per element
    fixed: bool  # whether it is the same for every image


def check_sizes(model: Any, raw: Mapping[str, int], spec: Spec) -> Needs:
    """Reject a network that needs more than networks for images do.

    Args:
        model: An ``onnx.ModelProto`` whose long initializers may lack their data. It is modified.
        raw: By initializer, its number of bytes of raw data in the file.
        spec: With the size of the input.

    Raises:
        ValueError: A value is too large, or its size cannot be inferred.
    """
    shaped, values = _shaped(model, raw), _inputs(model)
    weights = sum(value.size * value.width for value in values.values() if value.fixed)
    folded, largest, work = 0, 0, 0.0
    pixels = math.prod(spec.size)
    limit, max_work = _ALWAYS + _PER_PIXEL * pixels, _WORK_ALWAYS + _WORK_PER_PIXEL * pixels
    for node in shaped.graph.node:
        inputs = [values[name] for name in node.input if name in values]
        if len(inputs) < sum(map(bool, node.input)):
            raise ValueError(f"an input of {node.op_type} is not the output of any node")
        for name in node.output:
            value = values[name] = _value(node, name, shaped.values, inputs)
            size = value.size * value.width
            folded += size if value.fixed else 0
            largest = max(largest, size)
            work += _work(node, value, inputs)
            if size > limit:
                raise ValueError(f"{node.op_type} makes {size:,} bytes; the limit is {limit:,}")
    if folded > _ALWAYS + 4 * weights:
        raise ValueError(f"{folded:,} bytes are computed from {weights:,} bytes of weights alone")
    if work > min(_MAX_WORK, max_work):
        raise ValueError(f"it needs {work:.2g} multiplications for an image; too many")
    outputs = {value.name: values[value.name].shape for value in shaped.graph.output}
    return Needs(weights, folded, largest, work, outputs)


class _Shaped(NamedTuple):
    graph: Any
    values: Mapping[str, Any]


def _shaped(model: Any, raw: Mapping[str, int]) -> _Shaped:
    """Infer the shape of every value for one image; shapes stated in the file are ignored."""
    from onnx import helper, shape_inference

    graph = model.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    whole = [x for x in graph.initializer if len(x.raw_data) == raw[x.name]]
    stripped = [x for x in graph.initializer if len(x.raw_data) != raw[x.name]]
    del graph.initializer[:]
    graph.initializer.extend(whole)
    graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in stripped
    )
    try:
        found = shape_inference.infer_shapes(model, True, True, True)
    except Exception as error:  # ONNX's own error, and others for damaged files
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"its shapes do not fit together ({reason})") from error
    named = [*found.graph.value_info, *found.graph.output]
    return _Shaped(found.graph, {value.name: value.type.tensor_type for value in named})


def _inputs(model: Any) -> dict[str, _Value]:
    """Return the pixels and the weights."""
    values = {}
    for tensor in model.graph.initializer:
        shape = tuple(tensor.dims)
        values[tensor.name] = _Value(math.prod(shape), shape, WIDTHS[tensor.data_type], True)
    for number, value in enumerate(model.graph.input):
        kind = value.type.tensor_type
        shape = tuple(side.dim_value for side in kind.shape.dim)
        width = WIDTHS[kind.elem_type]
        values[value.name] = _Value(math.prod(shape), shape, width, number > 0)
    return values


def _value(node: Any, name: str, shaped: Mapping[str, Any], inputs: list[_Value]) -> _Value:
    kind = shaped.get(name)
    if kind is not None and kind.elem_type not in WIDTHS:
        raise ValueError(f"{node.op_type} makes values of the unsupported type {kind.elem_type}")
    width = WIDTHS[kind.elem_type] if kind is not None else 8
    fixed = node.op_type == "Shape" or all(value.fixed for value in inputs)
    if kind is not None and kind.HasField("shape"):
        sides = [side.dim_value if side.HasField("dim_value") else -1 for side in kind.shape.dim]
        if min(sides, default=0) >= 0:
            return _Value(math.prod(sides), tuple(sides), width, fixed)
    # ONNX cannot infer some shapes that TensorFlow computes, but their size is known.
    if node.op_type == "Reshape" and inputs:
        return _Value(inputs[0].size, None, width, fixed)
    if node.op_type == "MatMul" and len(inputs) == 2 and len(inputs[1].shape or ()) == 2:
        rows, columns = inputs[1].shape or (0, 0)
        return _Value(inputs[0].size // max(rows, 1) * columns, None, width, fixed)
    raise ValueError(f"the size of the output of {node.op_type} cannot be inferred")


def _work(node: Any, value: _Value, inputs: list[_Value]) -> float:
    """Return the approximate number of multiplications for a value."""
    moved = float(value.size + sum(each.size for each in inputs))
    shapes = [each.shape or () for each in inputs]
    if node.op_type == "Conv" and len(shapes) > 1 and shapes[1]:
        return moved + value.size * float(math.prod(shapes[1][1:]))
    if node.op_type in ("MatMul", "Gemm") and len(shapes) > 1 and shapes[1]:
        return moved + value.size * float(max(shapes[1][-2:], default=1))
    if node.op_type in _POOLS:
        kernels = [a.ints for a in node.attribute if a.name == "kernel_shape"]
        return moved + value.size * float(math.prod(kernels[0]) if kernels else 1)
    return moved
