"""The trained thing: what it says of images, and how it is saved and loaded."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency.calibration.conformal import Conformal, Kind
from lucency.calibration.ood import OODDetector
from lucency.classifier.activation_map import ActivationMap, method_of, scale_of, signed
from lucency.classifier.neighbours import Neighbours, StoredNeighbours
from lucency.classifier.network import rebuilt
from lucency.classifier.onnx.session import BATCH, Session, batch_of
from lucency.classifier.prediction import Outputs, Prediction, joined, judged
from lucency.classifier.reference_images import ReferenceImages
from lucency.classifier.spec import Spec
from lucency.classifier.storage import load_classifier, save_classifier, weights_file
from lucency.classifier.stored_files import StoredWeights
from lucency.dataset import Split
from lucency.dataset.batches import pixel_batches
from lucency.errors import ClassifierError
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.metrics import decide
from lucency.progress import SILENT, Progress

ABSTAIN: tuple[float, Kind] = (0.05, "class-conditional")  # what counts as ambiguous


class Classifier:
    """An image classifier: class names, weights, calibration and operating point.

    Args:
        spec: What it is.
        weights: Arrays by variable name, or those of a file, which are read when they are asked
            for; may be empty where there is an ONNX model.
        onnx: The bytes of an ONNX model, which then predicts instead of Keras.
        gate: Tells images that are unlike the training images; ``None`` lets all pass.

    Attributes:
        history: One row per epoch where it was trained in this process, else empty.
        best_epoch: Number of the epoch whose weights these are, from 1, where known.
        training: What went wrong and was mended where it was trained in this process.
        parity: How well the ONNX model agrees with Keras, as ``lucency.export.Parity``.
        golden: Real images with their answers; ``None`` where none were kept.
    """

    def __init__(
        self,
        spec: Spec,
        weights: Mapping[str, NDArray[Any]] | StoredWeights,
        onnx: bytes | None = None,
        ood_detector: OODDetector | None = None,
    ) -> None:
        self.spec = spec
        self._stored = weights if isinstance(weights, StoredWeights) else None
        self._weights = None if isinstance(weights, StoredWeights) else dict(weights)
        self.onnx = onnx
        self.ood_detector = ood_detector
        self.history: tuple[Any, ...] = ()
        self.best_epoch: int | None = None
        self.training: Mapping[str, Any] = {}
        self.parity: Mapping[str, Any] | None = None
        self.reference_images: ReferenceImages | None = None
        self._neighbours: Neighbours | StoredNeighbours | None = None
        self._session: Session | None = None
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
    def weights(self) -> dict[str, NDArray[Any]]:
        """Arrays by variable name, read from the run folder when they are first asked for.

        Raises:
            ClassifierError: The file has changed since the classifier was loaded.
        """
        if self._weights is None:
            self._weights = self._stored.read() if self._stored else {}
        return self._weights

    @property
    def neighbours(self) -> Neighbours | None:
        """Training images to compare new ones with, read when first asked for; or none.

        Raises:
            ClassifierError: Their file is damaged or not the one that was written.
        """
        if isinstance(self._neighbours, StoredNeighbours):
            self._neighbours = self._neighbours.read(self.spec)
        return self._neighbours

    @neighbours.setter
    def neighbours(self, kept: Neighbours | StoredNeighbours | None) -> None:
        self._neighbours = kept

    @property
    def keeps_neighbours(self) -> bool:
        """Whether there are ``neighbours``, without reading them."""
        return self._neighbours is not None

    @property
    def fingerprint(self) -> str:
        """sha256 of the weights as they are saved, in hexadecimal."""
        if self._weights is None and self._stored:
            return self._stored.sha256
        return hashlib.sha256(weights_file(self.weights)).hexdigest()

    @property
    def conformal(self) -> Conformal | None:
        """Prediction sets with a promised coverage, where validation could settle them."""
        given = self.spec.conformal
        return None if given is None else Conformal.from_json(given, len(self.classes))

    @property
    def keras_model(self) -> Any:
        """The network as a plain ``keras.Model``: pixel values 0 to 255 in, probabilities out.

        Not calibrated: it is what was trained, to go on with in Keras.

        Raises:
            ClassifierError: The weights do not fit the architecture.
        """
        if self._keras_model is None:
            self._keras_model = rebuilt(self.spec, self.weights)
        return self._keras_model

    @property
    def calibrated_model(self) -> Any:
        """A ``keras.Model`` from stored pixels to calibrated probabilities, as in the ONNX file."""
        if self._calibrated is None:
            network = self.keras_model  # refuses weights that do not fit before Keras is imported
            from lucency.models import calibrated

            self._calibrated = calibrated(network, self.spec.channels, self.spec.temperature)
        return self._calibrated

    def predict(
        self, files: Sequence[str | Path], progress: Progress = SILENT, *, maps: bool = False
    ) -> list[Prediction]:
        """Classify image files.

        Args:
            files: PNG, JPEG or DICOM files, whatever their names.
            progress: Hears how far it is.
            maps: Whether to say which places speak for and against a class.

        Returns:
            One prediction per file, in the same order. Where it abstains - the file cannot be read,
            is unlike the training images, or is ambiguous - it carries the reason.
        """
        results: list[Prediction] = []
        size, colour = self.spec.size, self.spec.channels == 3
        with DecoderPool() as pool, progress.task("Predicting", len(files), "files") as task:
            decoded = pool.map(Request(str(file), size, colour) for file in files)
            if self.onnx is not None:  # the processes start while ONNX Runtime is loaded
                self._onnx_session()
            batch = batch_of(self.spec)
            for start in range(0, len(files), batch):
                part = files[start : start + batch]
                results += self._predict_decoded(part, [*islice(decoded, batch)], maps)
                task.advance(len(part))
        return results

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the calibrated probabilities of images already at the input's size.

        Args:
            pixels: (n, height, width, channels) uint8.

        Returns:
            (n, classes) float64, rows sum to 1.
        """
        return self.infer(pixels).probabilities

    def infer(self, pixels: NDArray[np.uint8], maps: bool = False) -> Outputs:
        """Return probabilities, and distances from the training images, of images.

        Args:
            pixels: (n, height, width, channels) uint8, at the input's size.
            maps: Whether to return activation maps too. An ONNX file that was made before there
                were any for its network gives none.
        """
        said = [self._output(part, maps) for part in self._parts(pixels)]
        wide = np.concatenate([each["probabilities"] for each in said]).astype(np.float64)
        seen, ood_scores = None, None
        if self.ood_detector is not None or "embedding" in said[0]:
            seen = np.concatenate([each["embedding"] for each in said])
        if self.ood_detector is not None and seen is not None:
            # After the network, as the threads of both would wait for one another.
            parts = range(0, max(1, len(pixels)), BATCH)
            scores = [self.ood_detector.score(seen[k:][:BATCH], pixels[k:][:BATCH]) for k in parts]
            ood_scores = np.concatenate(scores)
        probabilities = np.asarray(wide / wide.sum(axis=1, keepdims=True))
        answers = Outputs(probabilities, ood_scores, embeddings=seen)
        if not maps or "activation_map" not in said[0]:
            return answers
        units = np.concatenate([each["activation_map"] for each in said])
        of_places, of_classes = signed(units, probabilities, self.spec)
        return dataclasses.replace(answers, maps=of_places, map_classes=of_classes)

    def predict_with_keras(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (n, classes) that Keras computes, ONNX or not."""
        return self._infer_with_keras(pixels)["probabilities"]

    def embeddings(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the last layer sees of images at the input's size, (n, d)."""
        parts = self._parts(pixels)
        if self.onnx is None:
            return self._infer_with_keras(pixels)["embedding"]
        names, session = ["probabilities", "embedding"], self._onnx_session()
        said = [session.run(names, part) for part in parts]
        return np.concatenate([each["embedding"] for each in said])

    def embed(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what the last layer sees of these images of a split, (k, d), by Keras."""
        size = min(BATCH, len(indices))
        padded = np.resize(indices, -(-len(indices) // size) * size).reshape(-1, size)
        parts = [self._infer_with_keras(split.pixels(part))["embedding"] for part in padded]
        return np.concatenate(parts)[: len(indices)]

    def infer_split(self, split: Split, progress: Progress = SILENT) -> Outputs:
        """Return the answers for a split's images, in its order."""
        parts: list[Outputs] = []
        with progress.task(f"Predicting {split.name}", len(split), "images") as task:
            for pixels in pixel_batches(split, BATCH):
                parts.append(self.infer(pixels))
                task.advance(len(pixels))
        return joined(parts, len(split))

    def predict_split(self, split: Split, progress: Progress = SILENT) -> NDArray[np.float64]:
        """Return the calibrated probabilities (n, classes) of a split's images, in its order."""
        return self.infer_split(split, progress).probabilities

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the position of the class decided for, for each row of probabilities."""
        positive = None if self.positive is None else self.classes.index(self.positive)
        return decide(probabilities, positive, self.threshold)

    def judge(self, said: Outputs, files: Sequence[str | Path]) -> list[Prediction]:
        """Turn answers into predictions, which abstain rather than guess.

        Args:
            said: What ``answer_pixels`` returned.
            files: What each image is to be called.
        """
        decisions = self.decide(said.probabilities)
        rule = self.conformal.deciding(*ABSTAIN) if self.conformal else None
        sets = rule.sets(said.probabilities) if rule else None
        return [
            judged(
                str(file),
                self.classes,
                said.probabilities[i],
                int(decisions[i]),
                None if sets is None else sets[i],
                None if said.ood_scores is None else float(said.ood_scores[i]),
                self.activation_map(said, i),
            )
            for i, file in enumerate(files)
        ]

    def activation_map(self, said: Outputs, i: int) -> ActivationMap | None:
        """Return the map of the image at place ``i`` of answers; ``None`` where it has none."""
        if said.maps is None or said.map_classes is None:
            return None
        of = self.classes[said.map_classes[i]]
        return ActivationMap(of, method_of(self.spec), scale_of(self.spec), said.maps[i])

    def _parts(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return pixels a few at a time: maps in the network are many times an image's size."""
        self._check_pixels(pixels)
        return np.array_split(pixels, max(1, -(-len(pixels) // batch_of(self.spec))))

    def _check_pixels(self, pixels: NDArray[np.uint8]) -> None:
        expected = (*self.spec.size, self.spec.channels)
        if pixels.shape[1:] != expected or pixels.dtype != np.uint8:
            raise ClassifierError(
                f"Pixels must be uint8 of shape (n, {', '.join(map(str, expected))}). "
                f"Received: {pixels.dtype} {pixels.shape}"
            )

    def save(self, folder: str | Path) -> None:
        """Write ``classifier.json``, ``weights.safetensors`` and, where known, the other files.

        Args:
            folder: Where to; made if it does not exist.
        """
        save_classifier(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load a classifier from a run folder, without Keras.

        Raises:
            ClassifierError: The folder holds no classifier, or a file is damaged or foreign.
        """
        return load_classifier(cls, Path(folder))

    def _predict_decoded(
        self, files: Sequence[str | Path], decoded: Sequence[Decoded], maps: bool
    ) -> list[Prediction]:
        readable = [i for i, each in enumerate(decoded) if each.pixels is not None]
        answers: dict[int, Prediction] = {}
        if readable:
            said = self.infer(np.stack([decoded[i].or_error() for i in readable]), maps)
            told = self.judge(said, [files[i] for i in readable])
            answers = {
                i: each.noted(decoded[i].notes) for i, each in zip(readable, told, strict=True)
            }
        return [
            answers.get(i, Prediction(str(file), "", (), each.reason))
            for i, (file, each) in enumerate(zip(files, decoded, strict=True))
        ]

    def _output(self, pixels: NDArray[np.uint8], maps: bool) -> Mapping[str, NDArray[np.float32]]:
        return (
            self._infer_with_keras(pixels)
            if self.onnx is None
            else self._infer_with_onnx(pixels, maps)
        )

    def _infer_with_keras(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        said = self.calibrated_model.predict_on_batch(pixels)
        return {name: np.asarray(values) for name, values in said.items()}

    def _infer_with_onnx(
        self, pixels: NDArray[np.uint8], maps: bool
    ) -> Mapping[str, NDArray[np.float32]]:
        session = self._onnx_session()
        wanted = self.ood_detector is not None or self.keeps_neighbours
        names = ["probabilities", "embedding"] if wanted else ["probabilities"]
        names += ["activation_map"] if maps and "activation_map" in session.outputs else []
        return session.run(names, pixels)

    def _onnx_session(self) -> Session:
        if self._session is None:
            self._session = Session(self.onnx or b"", self.spec)
        return self._session
