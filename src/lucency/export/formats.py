"""The files of each format, and how anybody runs them."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency import backend
from lucency.classifier import Classifier
from lucency.errors import BackendError, ConfigError, nearest
from lucency.export.quantization import quantized

Pixels = NDArray[np.uint8]
Run = Callable[[Pixels], NDArray[Any]]


class Format(NamedTuple):
    """One format to export to.

    Attributes:
        file: Name of its file, or folder, in the folder of an export.
        make: Writes it: classifier, path, facts to be kept inside where it has a place for them,
            images to scale 8-bit numbers by or ``None``.
        load: Opens it as anybody would, and returns a function from pixels to probabilities.
        quantizes: Whether it can have 8-bit numbers.
        on_keras: Whether Keras has a part in it.
    """

    file: str
    make: Callable[[Classifier, Path, Mapping[str, str], Pixels | None], None]
    load: Callable[[Path], Run]
    quantizes: bool
    on_keras: bool


def format_of(name: str, quantize: str | None) -> Format:
    """Return a format, once what it needs is known to be there.

    Raises:
        ConfigError: There is no such format, or it cannot be had with 8-bit numbers.
        BackendError: A library is missing.
    """
    if name not in FORMATS:
        raise ConfigError(
            f"No format is called {name!r}.{nearest(name, FORMATS)} There are {', '.join(FORMATS)}."
        )
    chosen = FORMATS[name]
    if quantize not in (None, "int8"):
        raise ConfigError(f"--quantize must be int8. Received: {quantize!r}")
    if quantize and not chosen.quantizes:
        able = ", ".join(each for each, of in FORMATS.items() if of.quantizes)
        raise ConfigError(f"{name} has no 8-bit convolutions. Formats that have: {able}.")
    if name == "openvino" and importlib.util.find_spec("openvino") is None:
        raise BackendError('OpenVINO is not installed. Run: pip install "lucency[openvino]"')
    if name in ("saved_model", "litert"):
        backend.prefer_tensorflow()
    return chosen


def versions(name: str) -> dict[str, str]:
    """Return the versions of what makes and runs a format, and of the reference."""
    names = ["lucency", "numpy", "onnx", "onnxruntime"]
    names += ["openvino"] if name == "openvino" else []
    found = {each: importlib.metadata.version(each) for each in names}
    if FORMATS[name].on_keras:
        found |= {key: backend.environment()[key] for key in ("keras", "backend")}
    return found


def _probabilities(run: Callable[[Pixels], Mapping[str, NDArray[Any]]]) -> Run:
    return lambda pixels: run(pixels)["probabilities"]


def _make_onnx(
    classifier: Classifier, path: Path, facts: Mapping[str, str], examples: Pixels | None
) -> None:
    from onnx import load_model_from_string

    data = classifier.onnx or _onnx_of(classifier)
    model = load_model_from_string(data if examples is None else quantized(data, examples))
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _onnx_of(classifier: Classifier) -> bytes:
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        backend.export_onnx(_called(classifier), path := Path(folder) / "model.onnx")
        return path.read_bytes()


def _called(classifier: Classifier) -> Any:
    """Return the calibrated model once it has been called, as exporters ask."""
    model, spec = classifier.calibrated_model, classifier.spec
    model(np.zeros((1, *spec.size, spec.channels), np.uint8))
    return model


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["probabilities"], {"pixels": pixels})[0]


def _make_keras(
    classifier: Classifier, path: Path, facts: Mapping[str, str], examples: Pixels | None
) -> None:
    del facts, examples  # a Keras archive has a place for neither
    from lucency.models import calibrated

    spec = classifier.spec
    network = calibrated(classifier.keras_model, spec.channels, spec.temperature, plain=True)
    backend.save_keras(network, path)


def _load_keras(path: Path) -> Run:
    return _probabilities(backend.keras_runner(path))


def _make_saved_model(
    classifier: Classifier, path: Path, facts: Mapping[str, str], examples: Pixels | None
) -> None:
    del facts, examples
    backend.export_saved_model(_called(classifier), path)


def _load_saved_model(path: Path) -> Run:
    return _probabilities(backend.saved_model_runner(path))


def _make_litert(
    classifier: Classifier, path: Path, facts: Mapping[str, str], examples: Pixels | None
) -> None:
    del facts
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        backend.export_saved_model(_called(classifier), Path(folder))
        backend.export_litert(Path(folder), path, examples)


def _load_litert(path: Path) -> Run:
    return _probabilities(backend.litert_runner(path))


def _make_openvino(
    classifier: Classifier, path: Path, facts: Mapping[str, str], examples: Pixels | None
) -> None:
    openvino = importlib.import_module("openvino")
    try:
        model = _read_by_openvino(classifier, examples)
    except BackendError:  # JAX's exporter pools by convolutions that OpenVINO does not have
        backend.prefer_tensorflow()
        again = Classifier(classifier.spec, classifier.weights)  # whose ONNX file is made anew
        model = _read_by_openvino(again, examples)
    for key, value in facts.items():
        model.set_rt_info(value, ["lucency", key.removeprefix("lucency.")])
    openvino.save_model(model, path, compress_to_fp16=False)


def _read_by_openvino(classifier: Classifier, examples: Pixels | None) -> Any:
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        _make_onnx(classifier, file := Path(folder) / "model.onnx", {}, examples)
        try:
            # ``openvino.convert_model`` does the same, and tells its maker of it.
            return importlib.import_module("openvino").Core().read_model(file)
        except Exception as error:  # OpenVINO's have no class in common
            raise BackendError(
                f"OpenVINO cannot read the ONNX file ({type(error).__name__}: {error})."
            ) from error


def _load_openvino(path: Path) -> Run:
    openvino = importlib.import_module("openvino")
    # Processors with bfloat16 would use it unasked, and probabilities differ by a hundredth.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    network = openvino.Core().compile_model(path, "CPU", exact)
    return lambda pixels: np.array(network({"pixels": pixels})["probabilities"])


FORMATS: Mapping[str, Format] = {
    "onnx": Format("model.onnx", _make_onnx, _load_onnx, True, False),
    "keras": Format("model.keras", _make_keras, _load_keras, False, True),
    "saved_model": Format("saved_model", _make_saved_model, _load_saved_model, False, True),
    "litert": Format("model.tflite", _make_litert, _load_litert, True, True),
    "openvino": Format("model.xml", _make_openvino, _load_openvino, True, False),
}
