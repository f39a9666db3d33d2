"""The trained thing: what it says of pictures, and how it is saved and loaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency.batches import pixel_batches
from lucency.classifier.files import ONNX, WEIGHTS, entry_of, read_document, read_entry
from lucency.classifier.spec import JSON, Spec
from lucency.dataset import Split
from lucency.errors import ClassifierError, PictureError
from lucency.files import write_bytes, write_text
from lucency.images import read_picture
from lucency.metrics import decide
from lucency.progress import SILENT, Progress

_BATCH = 32


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
        positive = None if self.positive is None else self.classes.index(self.positive)
        return decide(probabilities, positive, self.threshold)

    def save(self, folder: str | Path) -> None:
        """Write ``classifier.json``, ``weights.safetensors`` and, if there, ``model.onnx``.

        Args:
            folder: Where to; made if it does not exist.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        data = save({name: np.ascontiguousarray(array) for name, array in self.weights.items()})
        document = self.spec.to_json() | {"weights": entry_of(WEIGHTS, data), "onnx": None}
        write_bytes(folder / WEIGHTS, data)
        if self.onnx is not None:
            write_bytes(folder / ONNX, self.onnx)
            document["onnx"] = entry_of(ONNX, self.onnx) | {"parity": self.parity}
        write_text(folder / JSON, json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load a classifier from a run folder, without Keras.

        Raises:
            ClassifierError: The folder holds no classifier, or a file is damaged or foreign.
        """
        folder = Path(folder)
        document = read_document(folder)
        spec = Spec.from_json(document)
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            weights = load(read_entry(folder, document.get("weights"), WEIGHTS))
        except (SafetensorError, ValueError, KeyError) as error:
            raise ClassifierError(
                f"The weights are damaged: {folder / WEIGHTS} ({error})"
            ) from error
        onnx = document.get("onnx")
        classifier = cls(spec, weights, read_entry(folder, onnx, ONNX) if onnx else None)
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
                raise ClassifierError(f"{ONNX} cannot be run ({error}). Train again.") from error
        return self._session


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
