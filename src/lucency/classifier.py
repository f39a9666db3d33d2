"""The trained thing: a folder with ``classifier.json``, weights and an ONNX file, and what it says.

Loading and predicting need neither Keras nor its backend. No file is ever unpickled or handed to a
model loader: the network is rebuilt from our own JSON, and the weights are plain arrays whose
names, shapes and sizes are checked first.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency.batches import pixel_batches
from lucency.dataset import Split
from lucency.errors import ClassifierError, PictureError
from lucency.files import write_bytes, write_text
from lucency.images import read_picture
from lucency.progress import SILENT, Progress

FORMAT = 1
_JSON, _WEIGHTS, _ONNX = "classifier.json", "weights.safetensors", "model.onnx"
_LARGEST_JSON = 4 * 2**20  # bytes; ours has a few thousand
_LARGEST_MODEL = 4 * 2**30
_BATCH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What ``classifier.json`` says.

    Attributes:
        classes: Class names in natural order.
        positive: For two classes, the one whose detection counts; else ``None``.
        size: Height and width of the input in pixels.
        channels: Channels of the input: 1 (grey) or 3.
        architecture: Name of a network in ``lucency.models``.
        network_channels: Channels that the network takes; grey pictures are repeated to fit.
        parameters: Parameters of the architecture.
        temperature: What the logits are divided by.
        threshold: Probability of ``positive`` from which on it is decided for; 0.5 of no meaning
            for more than two classes, where the most probable class is taken.
        rule: How the threshold was chosen, in words.
        fingerprint: sha256 of the training data's list of files.
        versions: Versions of what made the classifier.
    """

    classes: tuple[str, ...]
    positive: str | None
    size: tuple[int, int]
    channels: int
    architecture: str
    network_channels: int
    parameters: Mapping[str, Any]
    temperature: float = 1.0
    threshold: float = 0.5
    rule: str = "the more probable class"
    fingerprint: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``classifier.json`` holds, without the files' checksums."""
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "positive": self.positive,
            "input": {"height": self.size[0], "width": self.size[1], "channels": self.channels},
            "architecture": {
                "name": self.architecture,
                "channels": self.network_channels,
                "parameters": dict(self.parameters),
            },
            "temperature": self.temperature,
            "operating_point": {"rule": self.rule, "threshold": self.threshold},
            "data": {"fingerprint": self.fingerprint},
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Check the object that ``classifier.json`` holds and return the specification.

        Raises:
            ClassifierError: A field is missing, of a wrong type or out of range.
        """
        try:
            return cls(**_fields(data))
        except (KeyError, TypeError, ValueError) as error:
            raise ClassifierError(
                f"{_JSON} is not complete or has a wrong value ({type(error).__name__}: {error}). "
                "Restore it from the training run, or train again."
            ) from error


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the classifier says of one file.

    Attributes:
        file: The file as it was given.
        decision: A class name; empty where the file could not be read.
        probabilities: Probability of each class, in the order of ``Classifier.classes``.
        reason: Why there is no decision; empty where there is one.
    """

    file: str
    decision: str
    probabilities: tuple[float, ...]
    reason: str = ""


class Classifier:
    """An image classifier: class names, weights, calibration and operating point.

    Args:
        spec: What it is.
        weights: Arrays by variable name; may be empty where there is an ONNX model.
        onnx: The bytes of an ONNX model, which then predicts instead of Keras.

    Attributes:
        history: One row per epoch where it was trained in this process, else empty.
        best_epoch: Number of the epoch whose weights these are, from 1, where known.
        parity: How well the ONNX model agrees with Keras, as ``lucency.export.Parity``.
    """

    def __init__(
        self, spec: Spec, weights: Mapping[str, NDArray[Any]], onnx: bytes | None = None
    ) -> None:
        self.spec = spec
        self.weights = dict(weights)
        self.onnx = onnx
        self.history: tuple[Any, ...] = ()
        self.best_epoch: int | None = None
        self.parity: Mapping[str, Any] | None = None
        self._session: Any = None
        self._keras_model: Any = None
        self._calibrated: Any = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in natural order."""
        return self.spec.classes

    @property
    def positive(self) -> str | None:
        """For two classes, the one whose detection counts."""
        return self.spec.positive

    @property
    def threshold(self) -> float:
        """Probability of the positive class from which on it is decided for."""
        return self.spec.threshold

    @property
    def keras_model(self) -> Any:
        """The network as a plain ``keras.Model``: pixel values 0 to 255 in, probabilities out.

        Not calibrated: it is what was trained, to go on with in Keras.

        Raises:
            ClassifierError: The weights do not fit the architecture.
        """
        if self._keras_model is None:
            self._keras_model = _rebuild(self.spec, self.weights)
        return self._keras_model

    @property
    def calibrated_model(self) -> Any:
        """A ``keras.Model`` from stored pixels to calibrated probabilities, as in the ONNX file."""
        if self._calibrated is None:
            from lucency.models import calibrated

            network = self.keras_model
            self._calibrated = calibrated(network, self.spec.channels, self.spec.temperature)
        return self._calibrated

    def predict(self, files: Sequence[str | Path], progress: Progress = SILENT) -> list[Prediction]:
        """Classify picture files.

        Args:
            files: PNG or JPEG files.
            progress: Hears how far it is.

        Returns:
            One prediction per file, in the same order; unreadable files carry their reason.
        """
        results: list[Prediction] = []
        with progress.task("Predicting", len(files), "files") as task:
            for start in range(0, len(files), _BATCH):
                part = files[start : start + _BATCH]
                results += self._predict_files(part)
                task.advance(len(part))
        return results

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the calibrated probabilities of pictures already at the input's size.

        Args:
            pixels: (n, height, width, channels) uint8.

        Returns:
            (n, classes) float64, rows sum to 1.
        """
        expected = (*self.spec.size, self.spec.channels)
        if pixels.shape[1:] != expected or pixels.dtype != np.uint8:
            raise ClassifierError(
                f"Pixels must be uint8 of shape (n, {', '.join(map(str, expected))}). "
                f"Received: {pixels.dtype} {pixels.shape}"
            )
        if self.onnx is None:
            answers = self.predict_with_keras(pixels)
        else:
            (answers,) = self._onnx_session().run(["probabilities"], {"pixels": pixels})
        wide = np.asarray(answers, np.float64)
        return np.asarray(wide / wide.sum(axis=1, keepdims=True))

    def predict_with_keras(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (n, classes) that Keras computes, ONNX or not."""
        return np.asarray(self.calibrated_model.predict_on_batch(pixels)["probabilities"])

    def predict_split(self, split: Split, progress: Progress = SILENT) -> NDArray[np.float64]:
        """Return the calibrated probabilities (n, classes) of a split's pictures, in its order."""
        parts = []
        with progress.task(f"Predicting {split.name}", len(split), "pictures") as task:
            for pixels in pixel_batches(split, _BATCH):
                parts.append(self.predict_pixels(pixels))
                task.advance(len(pixels))
        return np.concatenate(parts)[: len(split)]

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the position of the class decided for, for each row of probabilities."""
        if self.positive is None:
            return np.asarray(probabilities.argmax(axis=1))
        positive = self.classes.index(self.positive)
        return np.where(probabilities[:, positive] >= self.threshold, positive, 1 - positive)

    def save(self, folder: str | Path) -> None:
        """Write ``classifier.json``, ``weights.safetensors`` and, if there, ``model.onnx``.

        Args:
            folder: Where to; made if it does not exist.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = save({name: np.ascontiguousarray(array) for name, array in self.weights.items()})
        document = self.spec.to_json() | {"weights": _entry(_WEIGHTS, data), "onnx": None}
        write_bytes(folder / _WEIGHTS, data)
        if self.onnx is not None:
            write_bytes(folder / _ONNX, self.onnx)
            document["onnx"] = _entry(_ONNX, self.onnx) | {"parity": self.parity}
        write_text(folder / _JSON, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load a classifier from a run folder, without Keras.

        Raises:
            ClassifierError: The folder holds no classifier, or a file is damaged or foreign.
        """
        folder = Path(folder)
        document = _read_document(folder)
        spec = Spec.from_json(document)
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            weights = load(_read_entry(folder, document.get("weights"), _WEIGHTS))
        except (SafetensorError, ValueError, KeyError) as error:
            raise ClassifierError(
                f"The weights are damaged: {folder / _WEIGHTS} ({error})"
            ) from error
        onnx = document.get("onnx")
        classifier = cls(spec, weights, _read_entry(folder, onnx, _ONNX) if onnx else None)
        classifier.parity = onnx.get("parity") if onnx else None
        return classifier

    def _predict_files(self, files: Sequence[str | Path]) -> list[Prediction]:
        pixels, reasons = self._read(files)
        readable = [i for i, reason in enumerate(reasons) if not reason]
        rows = self.predict_pixels(np.stack(pixels)) if pixels else np.empty((0, 0))
        decisions = self.decide(rows) if pixels else np.empty(0, np.int64)
        answers = {
            i: Prediction(str(files[i]), self.classes[decision], tuple(map(float, row)))
            for i, row, decision in zip(readable, rows, decisions, strict=True)
        }
        return [
            answers.get(i, Prediction(str(file), "", (), reason))
            for i, (file, reason) in enumerate(zip(files, reasons, strict=True))
        ]

    def _read(self, files: Iterable[str | Path]) -> tuple[list[NDArray[np.uint8]], list[str]]:
        pixels, reasons = [], []
        for file in files:
            try:
                pixels.append(read_picture(Path(file), self.spec.size, self.spec.channels == 3))
                reasons.append("")
            except PictureError as error:
                reasons.append(str(error))
        return pixels, reasons

    def _onnx_session(self) -> Any:
        if self._session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            try:
                self._session = onnxruntime.InferenceSession(
                    self.onnx, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:
                raise ClassifierError(f"{_ONNX} cannot be run ({error}). Train again.") from error
        return self._session


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Spec``; raises KeyError, TypeError or ValueError."""
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r}, this version reads {FORMAT}")
    classes = tuple(_typed(name, str) for name in data["classes"])
    if len(classes) < 2 or len(set(classes)) < len(classes) or len(classes) > 10_000:
        raise ValueError("classes must be 2 to 10,000 different names")
    if data["positive"] is not None and data["positive"] not in classes:
        raise ValueError(f"positive is none of the classes: {data['positive']!r}")
    given, network = data["input"], data["architecture"]
    if "weights" in network["parameters"]:
        raise ValueError("the architecture names weights of its own; ours are beside it")
    point = data["operating_point"]
    return {
        "classes": classes,
        "positive": data["positive"],
        "size": (_whole(given["height"], 2048), _whole(given["width"], 2048)),
        "channels": _whole(given["channels"], 3),
        "architecture": _typed(network["name"], str),
        "network_channels": _whole(network["channels"], 3),
        "parameters": _typed(network["parameters"], dict),
        "temperature": _number(data["temperature"], 1e-3, 1e3),
        "threshold": _number(point["threshold"], 0, 1),
        "rule": _typed(point["rule"], str),
        "fingerprint": _typed(data["data"]["fingerprint"], str),
        "versions": _typed(data["versions"], dict),
    }


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, received {value!r}")
    return value


def _whole(value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"expected a whole number from 1 to {most}, received {value!r}")
    return value


def _number(value: Any, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"expected a number from {low:g} to {high:g}, received {value!r}")
    return float(value)


def _entry(name: str, data: bytes) -> dict[str, Any]:
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def _read_document(folder: Path) -> Mapping[str, Any]:
    path = folder / _JSON
    try:
        document = json.loads(_read_capped(path, _LARGEST_JSON))
    except FileNotFoundError as error:
        raise ClassifierError(
            f"No classifier here: {folder} has no {_JSON}. Give the folder of a training run."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ClassifierError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(document, dict):
        raise ClassifierError(f"{path} is not a classifier: expected a JSON object.")
    return document


def _read_entry(folder: Path, entry: Any, name: str) -> bytes:
    """Return a file's bytes after checking them against the checksum in ``classifier.json``."""
    try:
        data = _read_capped(folder / name, _LARGEST_MODEL)
    except OSError as error:
        raise ClassifierError(f"{folder / name} cannot be read ({error.strerror}).") from error
    if not isinstance(entry, dict) or hashlib.sha256(data).hexdigest() != entry.get("sha256"):
        raise ClassifierError(
            f"{folder / name} is not the file that {_JSON} was written with (its sha256 differs). "
            "Restore both from the training run."
        )
    return data


def _read_capped(path: Path, most: int) -> bytes:
    if path.stat().st_size > most:
        raise ClassifierError(f"{path} is larger than {most:,} bytes; no classifier of ours is.")
    return path.read_bytes()


def _rebuild(spec: Spec, weights: Mapping[str, NDArray[Any]]) -> Any:
    """Build the network in float32 and put the weights in, by name."""
    from lucency.models import build, keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        shape = (*spec.size, spec.network_channels)
        network = build(spec.architecture, len(spec.classes), shape, spec.parameters)
    finally:
        keras.config.set_dtype_policy(policy)
    _assign(network, weights)
    return network


def _assign(network: Any, weights: Mapping[str, NDArray[Any]]) -> None:
    variables = {variable.path: variable for variable in network.weights}
    wrong = sorted(
        name
        for name in variables.keys() | weights.keys()
        if name not in variables
        or name not in weights
        or tuple(variables[name].shape) != weights[name].shape
    )
    if wrong:
        raise ClassifierError(
            f"The weights do not fit the architecture {network.name!r}: {wrong[0]} "
            f"({len(wrong)} of {len(variables)} differ). Restore both files from the training run."
        )
    for name, variable in variables.items():
        variable.assign(weights[name])
