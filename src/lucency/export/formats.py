"""The file of each format: how it is written, and how it is run without Lucency."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency import backend
from lucency.classifier import Classifier
from lucency.errors import BackendError, ConfigError, nearest
from lucency.export.answers import Run, add_answers
from lucency.export.quantization import quantized
from lucency.imaging.decoder.pool import Pixels

Predict = Callable[[Pixels], NDArray[Any]]


class Format(NamedTuple):
    """One export format.

    Attributes:
        file: Name of its file, or folder, in the folder of an export.
        write: Writes it: classifier, path, metadata for formats that can store it, images to
            calibrate 8-bit numbers with or ``None``.
        load: Opens it without Lucency, and returns a function from pixels to probabilities.
        quantizes: Whether it can have 8-bit numbers.
        on_keras: Whether it is written by Keras.
    """

    file: str
    write: Callable[[Classifier, Path, Mapping[str, str], Pixels | None], None]
    load: Callable[[Path], Predict]
    quantizes: bool
    on_keras: bool


def format_of(name: str, quantize: str | None) -> Format:
    """Return a format after checking that its libraries are installed.

    Raises:
        ConfigError: The format is unknown, or has no 8-bit variant.
        BackendError: A library is missing.
    """
    if name not in FORMATS:
        raise ConfigError(
            f"Unknown format {name!r}.{nearest(name, FORMATS)} Known: {', '.join(FORMATS)}."
        )
    chosen = FORMATS[name]
    if quantize not in (None, "int8"):
        raise ConfigError(f"--quantize must be int8. Received: {quantize!r}")
    if quantize and not chosen.quantizes:
        able = ", ".join(each for each, of in FORMATS.items() if of.quantizes)
        raise ConfigError(f"{name} has no 8-bit convolutions. Formats with them: {able}.")
    if name == "openvino" and importlib.util.find_spec("openvino") is None:
        raise BackendError('OpenVINO is not installed. Run: pip install "lucency[openvino]"')
    if name in ("saved_model", "litert"):
        backend.prefer_tensorflow()
    return chosen


def versions(name: str) -> dict[str, str]:
    """Return the versions of the libraries that write and run a format, and of the reference."""
    names = ["lucency", "numpy", "onnx", "onnxruntime"]
    names += ["openvino"] if name == "openvino" else []
    found = {each: importlib.metadata.version(each) for each in names}
    if FORMATS[name].on_keras:
        found |= {key: backend.environment()[key] for key in ("keras", "backend")}
    return found


def _probabilities(run: Callable[[Pixels], Mapping[str, NDArray[Any]]]) -> Predict:
    return lambda pixels: run(pixels)["probabilities"]


def _write_onnx(
    classifier: Classifier, path: Path, metadata: Mapping[str, str], examples: Pixels | None
) -> None:
    from onnx import checker

    model = _onnx_model(classifier, examples)
    add_answers(model, classifier.spec)
    checker.check_model(model)
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _onnx_model(classifier: Classifier, examples: Pixels | None) -> Any:
    from onnx import load_model_from_string

    data = classifier.onnx or _onnx_of(classifier)
    return load_model_from_string(data if examples is None else quantized(data, examples))


def _onnx_of(classifier: Classifier) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        backend.export_onnx(classifier.calibrated_model, path := Path(folder) / "model.onnx")
        return path.read_bytes()


def _load_onnx(path: Path) -> Predict:
    run = onnx_runner(path)
    return lambda pixels: run(pixels, ["probabilities"])[0]


def onnx_runner(path: Path) -> Run:
    """Return a function from pixels and names of outputs to these outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(pixels: Pixels, names: Sequence[str]) -> Sequence[NDArray[Any]]:
        found: Sequence[NDArray[Any]] = session.run([*names], {"pixels": pixels})
        return found

    return run


def _write_saved_model(
    classifier: Classifier, path: Path, metadata: Mapping[str, str], examples: Pixels | None
) -> None:
    del metadata, examples
    backend.export_saved_model(classifier.calibrated_model, path)


def _load_saved_model(path: Path) -> Predict:
    return _probabilities(backend.saved_model_runner(path))


def _write_litert(
    classifier: Classifier, path: Path, metadata: Mapping[str, str], examples: Pixels | None
) -> None:
    del metadata
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        backend.export_saved_model(classifier.calibrated_model, Path(folder))
        backend.export_litert(Path(folder), path, examples)


def _load_litert(path: Path) -> Predict:
    return _probabilities(backend.litert_runner(path))


def _write_openvino(
    classifier: Classifier, path: Path, metadata: Mapping[str, str], examples: Pixels | None
) -> None:
    openvino = importlib.import_module("openvino")
    try:
        model = _read_by_openvino(classifier, examples)
    except BackendError:  # JAX exports pooling as convolutions that OpenVINO does not support
        backend.prefer_tensorflow()
        without_onnx = Classifier(classifier.spec, classifier.weights)  # exported again
        model = _read_by_openvino(without_onnx, examples)
    for key, value in metadata.items():
        model.set_rt_info(value, ["lucency", key.removeprefix("lucency.")])
    openvino.save_model(model, path, compress_to_fp16=False)


def _read_by_openvino(classifier: Classifier, examples: Pixels | None) -> Any:
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        model = _onnx_model(classifier, examples)
        (file := Path(folder) / "model.onnx").write_bytes(model.SerializeToString())
        try:
            # ``openvino.convert_model`` does the same, but sends telemetry.
            return importlib.import_module("openvino").Core().read_model(file)
        except Exception as error:  # OpenVINO's errors have no common class
            raise BackendError(
                f"OpenVINO cannot read the ONNX file ({type(error).__name__}: {error})."
            ) from error


def _load_openvino(path: Path) -> Predict:
    openvino = importlib.import_module("openvino")
    # Processors with bfloat16 use it by default; probabilities would then differ by 0.01.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    network = openvino.Core().compile_model(path, "CPU", exact)
    return lambda pixels: np.array(network({"pixels": pixels})["probabilities"])


FORMATS: Mapping[str, Format] = {
    "onnx": Format("model.onnx", _write_onnx, _load_onnx, True, False),
    "saved_model": Format("saved_model", _write_saved_model, _load_saved_model, False, True),
    "litert": Format("model.tflite", _write_litert, _load_litert, True, True),
    "openvino": Format("model.xml", _write_openvino, _load_openvino, True, False),
}
