"""8-bit weights and activations in an ONNX file, by ONNX Runtime's static quantization.

Weights are scaled per output channel, activations by their smallest and largest value on the
calibration images. The scaling of pixels before the first convolution, which is exact, and
everything from the last dense layer on, where an error would go directly into a probability, stay
in float32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucency.errors import BackendError
from lucency.imaging.decoder.pool import Pixels

_WEIGHTED = ("Conv", "Gemm", "MatMul")
# Between two convolutions these operate on 8-bit numbers without converting them to float.
_BETWEEN = ("Add", "AveragePool", "Concat", "MaxPool", "Relu", "Reshape", "Transpose")
_BATCH = 8


def quantized(onnx: bytes, examples: Pixels) -> bytes:
    """Return an ONNX file with 8-bit weights and activations (QDQ: any runtime can run it).

    Args:
        onnx: A file with the input ``pixels``.
        examples: Images to calibrate activations with, (n, height, width, channels).

    Raises:
        BackendError: ONNX Runtime cannot quantize it.
    """
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(onnx)
        try:
            _quantize(source, target, examples)
        except OSError:  # a full disk is not a fault of the file
            raise
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise BackendError(
                f"ONNX Runtime could not quantize the classifier ({type(error).__name__}: "
                f"{error}). Leave --quantize out."
            ) from error
        return target.read_bytes()


def _quantize(source: Path, target: Path, examples: Pixels) -> None:
    import onnx
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = source.with_name("prepared.onnx")
    level, root = logging.root.level, logging.getLogger()
    root.setLevel(logging.ERROR)  # it warns that preprocessing is missing, which is done here
    try:
        # Folds normalisation into the convolution before it, and infers shapes.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        ort.quantize_static(
            prepared,
            target,
            _Examples(examples),
            quant_format=ort.QuantFormat.QDQ,
            op_types_to_quantize=[*_WEIGHTED, *_BETWEEN],
            per_channel=True,
            activation_type=ort.QuantType.QUInt8,  # the fastest on x86 with signed 8-bit weights
            weight_type=ort.QuantType.QInt8,
            nodes_to_exclude=sorted(kept_float(onnx.load(prepared).graph)),
            calibrate_method=ort.CalibrationMethod.MinMax,
        )
    finally:
        root.setLevel(level)


def kept_float(graph: Any) -> set[str]:
    """Return the names of the nodes before the first weights and from the last weights on."""
    return _before_weights(graph) | _from_logits(graph)


def _before_weights(graph: Any) -> set[str]:
    reached, names = {value.name for value in graph.input}, set()
    for node in graph.node:  # in topological order
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
        # A shape does not depend on values, so its input is not followed.
        if node is None or node.name in names or node.op_type == "Shape":
            continue
        names.add(node.name)
        if node.op_type not in _WEIGHTED:
            waiting += node.input
    return names


class _Examples:
    """Passes images to ONNX Runtime in batches, as a ``CalibrationDataReader`` does."""

    def __init__(self, pixels: Pixels) -> None:
        self._batches: Iterator[dict[str, Pixels]] = (
            {"pixels": pixels[k : k + _BATCH]} for k in range(0, len(pixels), _BATCH)
        )

    def get_next(self) -> dict[str, Pixels] | None:
        return next(self._batches, None)
