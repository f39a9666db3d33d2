"""How much memory and work an ONNX file needs, told from its shapes before it is run.

A file of a few bytes can ask for terabytes (ConstantOfShape, Expand, Tile, Pad, huge kernels). Each
value's size must therefore follow from the file for one image, and be within what networks of
images take: so many bytes and multiplications per pixel of the input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from lucency.classifier.spec import Spec

_PER_PIXEL = 512  # bytes of one value per pixel; 64 channels at full size (VGG) are 256
_ALWAYS = 64 * 2**20  # bytes of a value, whatever the image
_MOST_WORK = 1e12  # multiplications for one image: some ten seconds
_WORK_PER_PIXEL = 4e6  # the largest of keras.applications (ConvNeXtXLarge) does 1.2e6
_WORK_ALWAYS = 1e9
# Bytes of one number, by onnx.TensorProto.DataType: float, uint8, int8, int32, int64, bool.
WIDTHS = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1}
_POOLS = ("AveragePool", "MaxPool")


class Needs(NamedTuple):
    """What running a network needs.

    Attributes:
        weights: Bytes of its numbers.
        folded: Bytes of what can be computed without an image.
        largest: Bytes of the largest value for one image.
        work: Multiplications for one image.
        answers: Shape of each output for one image; None where only its size is known.
    """

    weights: int
    folded: int
    largest: int
    work: float
    answers: Mapping[str, tuple[int, ...] | None]


class _Value(NamedTuple):
    size: int  # how many numbers
    shape: tuple[int, ...] | None  # None where only the size is known
    width: int  # bytes of a number
    fixed: bool  # whether it is the same for every image


def check_sizes(model: Any, raw: Mapping[str, int], spec: Spec) -> Needs:
    """Refuse a network that needs more than networks of images do.

    Args:
        model: An ``onnx.ModelProto`` whose long initializers may lack their numbers. It is changed.
        raw: By initializer, how many bytes of raw numbers it has in the file.
        spec: Says the size of the input.

    Raises:
        ValueError: What is too large, or a size cannot be told.
    """
    shaped, values = _shaped(model, raw), _given(model)
    weights = sum(value.size * value.width for value in values.values() if value.fixed)
    folded, largest, work = 0, 0, 0.0
    pixels = math.prod(spec.size)
    most, most_work = _ALWAYS + _PER_PIXEL * pixels, _WORK_ALWAYS + _WORK_PER_PIXEL * pixels
    for node in shaped.graph.node:
        given = [values[name] for name in node.input if name in values]
        if len(given) < sum(map(bool, node.input)):
            raise ValueError(f"{node.op_type} takes what nothing gives")
        for name in node.output:
            value = values[name] = _value(node, name, shaped.values, given)
            size = value.size * value.width
            folded += size if value.fixed else 0
            largest = max(largest, size)
            work += _work(node, value, given)
            if size > most:
                raise ValueError(f"{node.op_type} makes {size:,} bytes; at most {most:,} are")
    if folded > _ALWAYS + 4 * weights:
        raise ValueError(f"{folded:,} bytes come from {weights:,} bytes of weights alone")
    if work > min(_MOST_WORK, most_work):
        raise ValueError(f"it takes {work:.2g} multiplications for an image; too many")
    answers = {value.name: values[value.name].shape for value in shaped.graph.output}
    return Needs(weights, folded, largest, work, answers)


class _Shaped(NamedTuple):
    graph: Any
    values: Mapping[str, Any]


def _shaped(model: Any, raw: Mapping[str, int]) -> _Shaped:
    """Let ONNX tell the shape of every value for one image; no shape in the file is believed."""
    from onnx import helper, shape_inference

    graph = model.graph
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    kept = [x for x in graph.initializer if len(x.raw_data) == raw[x.name]]
    cut = [x for x in graph.initializer if len(x.raw_data) != raw[x.name]]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in cut
    )
    try:
        found = shape_inference.infer_shapes(model, True, True, True)
    except Exception as error:  # RuntimeError's kin of its own, and what a damaged file raises
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"its shapes do not fit together ({reason})") from error
    named = [*found.graph.value_info, *found.graph.output]
    return _Shaped(found.graph, {value.name: value.type.tensor_type for value in named})


def _given(model: Any) -> dict[str, _Value]:
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


def _value(node: Any, name: str, shaped: Mapping[str, Any], given: list[_Value]) -> _Value:
    kind = shaped.get(name)
    if kind is not None and kind.elem_type not in WIDTHS:
        raise ValueError(
            f"{node.op_type} makes values of type {kind.elem_type}, which ours are not"
        )
    width = WIDTHS[kind.elem_type] if kind is not None else 8
    fixed = node.op_type == "Shape" or all(value.fixed for value in given)
    if kind is not None and kind.HasField("shape"):
        sides = [side.dim_value if side.HasField("dim_value") else -1 for side in kind.shape.dim]
        if min(sides, default=0) >= 0:
            return _Value(math.prod(sides), tuple(sides), width, fixed)
    # TensorFlow computes some shapes in ways that ONNX cannot follow; the size is known still.
    if node.op_type == "Reshape" and given:
        return _Value(given[0].size, None, width, fixed)
    if node.op_type == "MatMul" and len(given) == 2 and given[1].shape and len(given[1].shape) == 2:
        rows, columns = given[1].shape
        return _Value(given[0].size // max(rows, 1) * columns, None, width, fixed)
    raise ValueError(f"the size of what {node.op_type} makes cannot be told")


def _work(node: Any, value: _Value, given: list[_Value]) -> float:
    """Return about how many multiplications a value takes."""
    moved = float(value.size + sum(each.size for each in given))
    shapes = [each.shape or () for each in given]
    if node.op_type == "Conv" and len(shapes) > 1 and shapes[1]:
        return moved + value.size * float(math.prod(shapes[1][1:]))
    if node.op_type in ("MatMul", "Gemm") and len(shapes) > 1 and shapes[1]:
        return moved + value.size * float(max(shapes[1][-2:], default=1))
    if node.op_type in _POOLS:
        kernels = [a.ints for a in node.attribute if a.name == "kernel_shape"]
        return moved + value.size * float(math.prod(kernels[0]) if kernels else 1)
    return moved
