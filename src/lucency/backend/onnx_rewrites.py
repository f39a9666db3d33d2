"""Operators that the exporters write and ONNX Runtime cannot run, in operators that it can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_ONE = "one"  # the name of an initializer


def rewrite(graph: Any) -> None:
    """Rewrite a graph in place; the nodes that then have no effect remain.

    - ``Erfc``, which tf2onnx copies from TensorFlow, is no ONNX operator: 1 - ``Erf``.
    - ``MaxPool`` over four axes, as jax2onnx writes it, is more than ONNX Runtime has: over the
      height and width of transposed images.
    """
    makers = {end: node for node in graph.node for end in node.output}
    found = [each for node in graph.node for each in _rewritten(node, makers)]
    if any(node.op_type == "Erfc" for node in graph.node):
        from onnx import helper

        graph.initializer.append(helper.make_tensor(_ONE, 1, (), [1.0]))
    del graph.node[:]
    graph.node.extend(found)


def _rewritten(node: Any, makers: dict[str, Any]) -> Iterator[Any]:
    """Yield the nodes that replace a node."""
    end = node.output[0] if node.output else ""
    if node.op_type == "Erfc":
        yield _node("Erf", node.input, [f"{end}/erf"])
        yield _node("Sub", [_ONE, f"{end}/erf"], node.output)
    elif node.op_type == "Squeeze" and (pool := makers.get(node.input[0])) and _is_4d(pool):
        yield from _pooled(pool, node, makers)
    else:
        yield node


def _is_4d(node: Any) -> bool:
    return node.op_type == "MaxPool" and len(_ints(node).get("kernel_shape", [])) == 4


def _pooled(pool: Any, squeeze: Any, makers: dict[str, Any]) -> Iterator[Any]:
    """Yield the pooling of images (n, height, width, channels) in place of one of (1, 1, n, ...).

    Raises:
        ValueError: It pools over images or channels, or is not between two axes that are added and
            removed again.
    """
    unsqueezes = [makers[pool.input[0]]]
    unsqueezes.append(makers[unsqueezes[0].input[0]])
    given = _ints(pool)
    kernel, strides = given["kernel_shape"], given.get("strides", [1] * 4)
    pads = given.get("pads", [0] * 8)
    outside = [*kernel[::3], *strides[::3], *given.get("dilations", [1])]
    beside = any(node.op_type != "Unsqueeze" for node in unsqueezes)
    if beside or {*outside} != {1} or any(pads[::4] + pads[3::4]):
        raise ValueError("a MaxPool over other axes than height and width")
    end = squeeze.output[0]
    first, last = f"{end}/channels_first", f"{end}/pooled"
    yield _node("Transpose", [unsqueezes[1].input[0]], [first], perm=_TO_CHANNELS_FIRST)
    yield _node(
        "MaxPool", [first], [last], kernel_shape=kernel[1:3], strides=strides[1:3],
        pads=[pads[1], pads[2], pads[5], pads[6]],
    )  # fmt: skip
    yield _node("Transpose", [last], [end], perm=_TO_CHANNELS_LAST)


def _node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(operator, inputs, outputs, **attributes)


def _ints(node: Any) -> dict[str, list[int]]:
    return {attribute.name: list(attribute.ints) for attribute in node.attribute}
