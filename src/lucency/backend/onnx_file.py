"""A Keras model as an ONNX file with reproducible bytes."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

from lucency.backend.choice import captured_stderr, choose_backend
from lucency.backend.onnx_rewrites import rewrite
from lucency.errors import BackendError


def export_onnx(model: Any, path: Path) -> None:
    """Write a float32 Keras model as one ONNX file, with the exporter of the running backend.

    Args:
        model: A ``keras.Model`` with one named input and a dictionary of outputs; the file's input
            and outputs get the same names.
        path: File to write.

    Raises:
        BackendError: The exporter is not installed or cannot export the model.
    """
    try:
        with warnings.catch_warnings(), captured_stderr():
            warnings.simplefilter("ignore")  # the exporters' own deprecations
            if choose_backend() == "tensorflow":
                _export_from_tensorflow(model, path)
            else:
                model(model.input)  # this requires that the model has been called
                model.export(str(path), format="onnx", verbose=False)
            _name_onnx(path, [model.input.name], sorted(model.output))
    except OSError as error:
        raise BackendError(
            f"The classifier could not be written as ONNX to {path.parent} "
            f"({error.strerror or error}). Free some space there, or set TMPDIR to another folder."
        ) from error
    except MemoryError:
        raise  # the installation is in order
    except Exception as error:
        raise BackendError(
            f"The classifier could not be written as ONNX ({type(error).__name__}: {error}). "
            f'Check the installation: pip install "lucency[{choose_backend()}]"'
        ) from error


def _export_from_tensorflow(model: Any, path: Path) -> None:
    """Write the file that ``model.export`` writes, in less than half the time.

    That looks for lookup tables, which these models do not have, and traces every layer for it. It
    also copies the graph before each of dozens of simplifications, to go on without those that
    fail; here, one that fails is an error.
    """
    from unittest import mock  # imports much that only exports need

    tensorflow, tf2onnx = (importlib.import_module(name) for name in ("tensorflow", "tf2onnx"))
    pixels = model.input
    signature = [tensorflow.TensorSpec(pixels.shape, pixels.dtype, pixels.name)]
    function = tensorflow.function(model, input_signature=signature, autograph=False)
    # Keras compiles grouped convolutions by themselves, into calls that have no ONNX operator.
    with (
        mock.patch.object(tensorflow, "function", return_value=lambda call: call),
        mock.patch.dict("os.environ", TF2ONNX_CATCH_ERRORS="FALSE"),
    ):
        tf2onnx.convert.from_function(function, signature, output_path=str(path))


def _name_onnx(path: Path, inputs: list[str], outputs: list[str]) -> None:
    """Give inputs and outputs our names, and everything else a canonical order and names.

    The exporters keep the order of inputs and outputs but not their names. Order and names of all
    other values differ from export to export, so that files could not be compared. Metadata, such
    as source lines of this machine, is removed.
    """
    onnx = importlib.import_module("onnx")
    graph = (model := onnx.load(path)).graph
    values = [*graph.input, *graph.output]
    names = {v.name: name for v, name in zip(values, inputs + outputs, strict=True)}
    rewrite(graph)
    nodes = _in_order(graph)
    for number, node in enumerate(nodes):
        node.name = f"{node.op_type}_{number}"
        for ends in (node.input, node.output):
            ends[:] = [end and names.setdefault(end, f"v{len(names)}") for end in ends]
    kept = [value for value in graph.initializer if value.name in names]  # the others have no use
    for value in (*values, *kept):
        value.name = names.get(value.name, value.name)
    for value in values:
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                size.dim_param = "n" if axis == 0 else f"size{axis}"
    ordered = sorted(kept, key=lambda value: (len(value.name), value.name))
    del graph.node[:], graph.initializer[:], graph.value_info[:]  # the last can be inferred
    graph.node.extend(nodes)
    graph.initializer.extend(ordered)
    for part in (model, graph, *graph.node, *graph.initializer, *values):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for tensor in graph.initializer:
        tensor.ClearField("data_location")
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _in_order(graph: Any) -> list[Any]:
    """Return copies of a graph's nodes in topological order, determined from the outputs."""
    makers = {end: place for place, node in enumerate(graph.node) for end in node.output}
    order: dict[int, None] = {}
    waiting = [makers[value.name] for value in reversed(graph.output)]
    while waiting:
        needed = [makers[end] for end in graph.node[waiting[-1]].input if end in makers]
        missing = [place for place in reversed(needed) if place not in order]
        if missing:
            waiting += missing
        else:
            order[waiting.pop()] = None
    copies = [type(graph.node[0])() for _ in order]
    for copy, place in zip(copies, order, strict=True):
        copy.CopyFrom(graph.node[place])
    return copies
