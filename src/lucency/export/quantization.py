"""8-bit weights and activations in an ONNX file, by ONNX Runtime's static quantization.

Weights are scaled per output channel, activations by the least and greatest value that the given
images bring about. What stays in float32: the scaling of pixels before the first convolution,
which is exact as it is, and everything from the logits' own dense layer on, where an error would
go straight into a probability. Float weights become 8-bit numbers wherever they are many.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.errors import BackendError

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# Between two convolutions these take 8-bit numbers as they are, so that none goes back to float.
_BETWEEN = ("Add", "AveragePool", "Concat", "MaxPool", "Relu", "Reshape", "Transpose")
_BATCH = 8


def quantized(onnx: bytes, examples: NDArray[np.uint8]) -> bytes:
    """Return an ONNX file with 8-bit weights and activations (QDQ: any runtime can run it).

    Args:
        onnx: A file with the input ``pixels``.
        examples: Images to scale activations by, (n, height, width, channels).

    Raises:
        BackendError: ONNX Runtime refuses it.
    """
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(onnx)
        try:
            _quantize(source, target, examples)
        except OSError:  # a full disk is no fault of the file
            raise
        except Exception as error:  # ONNX Runtime's have no class in common
            raise BackendError(
                f"ONNX Runtime could not make 8-bit numbers of the classifier "
                f"({type(error).__name__}: {error}). Leave --quantize out."
            ) from error
        return target.read_bytes()


def _quantize(source: Path, target: Path, examples: NDArray[np.uint8]) -> None:
    import onnx
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_name("prepared.onnx")
    level, root = logging.root.level, logging.getLogger()
    root.setLevel(logging.ERROR)  # it advises to do what has just been done
    try:
        # Normalisation goes into the convolution before it; shapes become known.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        ort.quantize_static(
            prepared,
            target,
            _Examples(examples),
            quant_format=ort.QuantFormat.QDQ,
            op_types_to_quantize=[*_WEIGHTED, *_BETWEEN],
            per_channel=True,
            activation_type=ort.QuantType.QUInt8,  # with 8-bit signed weights the fastest on x86
            weight_type=ort.QuantType.QInt8,
            nodes_to_exclude=sorted(kept_float(onnx.load(prepared).graph)),
            calibrate_method=ort.CalibrationMethod.MinMax,
        )
    finally:
        root.setLevel(level)


def kept_float(graph: Any) -> set[str]:
    """Return the names of the nodes before the first weights and from the logits' weights on."""
    return _before_weights(graph) | _from_logits(graph)


def _before_weights(graph: Any) -> set[str]:
    reached, names = {value.name for value in graph.input}, set()
    for node in graph.node:  # each stands after those that it needs
        if reached & set(node.input) and node.op_type not in _WEIGHTED:
            names.add(node.name)
            reached |= set(node.output)
    return names


def _from_logits(graph: Any) -> set[str]:
    makers = {end: node for node in graph.node for end in node.output}
    waiting = [value.name for value in graph.output if value.name != "embedding"]
    names: set[str] = set()
    while waiting:
        node = makers.get(waiting.pop())
        # A shape says nothing of values: what it is of is no part of the way.
        if node is None or node.name in names or node.op_type == "Shape":
            continue
        names.add(node.name)
        if node.op_type not in _WEIGHTED:
            waiting += node.input
    return names


class _Examples:
    """Hands images to ONNX Runtime a few at a time, as its ``CalibrationDataReader`` does."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._pixels = pixels
        self._parts = self._cut()

    def _cut(self) -> Iterator[dict[str, NDArray[np.uint8]]]:
        for k in range(0, len(self._pixels), _BATCH):
            yield {"pixels": self._pixels[k : k + _BATCH]}

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._parts, None)
