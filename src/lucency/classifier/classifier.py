"""The trained classifier: predict, save, load."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency.calibration.conformal import Conformal
from lucency.calibration.ood import OODDetector
from lucency.calibration.units import UnitRule
from lucency.calibration.values import ValueRule
from lucency.classifier.activation_map import ActivationMap, method_of, scale_of, signed
from lucency.classifier.neighbours import Neighbours, StoredNeighbours
from lucency.classifier.network import rebuilt
from lucency.classifier.onnx.session import BATCH, Session, batch_of
from lucency.classifier.prediction import (
    Outputs,
    Prediction,
    concatenated,
    predictions,
)
from lucency.classifier.reference_images import ReferenceImages
from lucency.classifier.spec import Spec
from lucency.classifier.storage import Contents, load_contents, save_contents, weights_file
from lucency.classifier.stored_files import StoredWeights
from lucency.classifier.unit_prediction import predict_unit
from lucency.dataset import Split
from lucency.dataset.batches import pixel_batches
from lucency.errors import ClassifierError
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Decoders, Pixels
from lucency.imaging.decoder.protocol import SALT_BYTES
from lucency.progress import SILENT, Progress
from lucency.task import Task, task_of

LOGITS_BIAS = "logits/bias"  # the end of the name of the last layer's bias
# Batches that are decoded or predicted at once: at the end of each, some processors would wait.
_AT_ONCE = 2


class Classifier:
    """An image classifier: class names, weights, calibration and operating point.

    Args:
        spec: The values of ``classifier.json``.
        weights: Arrays by variable name, or the file that they are read from when needed; may be
            empty if there is an ONNX model.
        onnx: The bytes of an ONNX model, which then predicts instead of Keras.
        ood_detector: Detects images that are out of distribution; ``None`` accepts all images.

    Attributes:
        history: One row per epoch if it was trained in this process, else empty.
        best_epoch: Number of the epoch that the weights are of, from 1, if known.
        training: Divergences and batch sizes if it was trained in this process.
        parity: How well the ONNX model agrees with Keras, as ``lucency.export.Parity``.
        reference_images: Real images with the predictions for them; ``None`` if none were kept.
        threads: Threads of ONNX Runtime, as of its first use; 0 for one per processor.
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
        self.threads = 0
        self._salt = secrets.token_bytes(SALT_BYTES)
        self._neighbours: Neighbours | StoredNeighbours | None = None
        self._session: Session | None = None
        self._keras_model: Any = None
        self._calibrated: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; it loads the network itself."""
        return {**self.__dict__, "_session": None, "_keras_model": None, "_calibrated": None}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in natural order."""
        return self.spec.classes

    @property
    def positive(self) -> str | None:
        """For two classes, the one to be detected."""
        return self.spec.positive

    @property
    def task(self) -> Task:
        """What the classifier answers: one of several classes, a grade, labels or a number."""
        return task_of(self.spec.task)

    @property
    def unit(self) -> UnitRule | None:
        """How the images of a patient or another unit become one answer, if they do."""
        return self.spec.unit_rule

    @property
    def value(self) -> ValueRule | None:
        """How probabilities of bins become a number, where that is the answer."""
        return self.spec.value_rule

    @property
    def threshold(self) -> float:
        """Smallest probability at which the positive class is predicted."""
        return self.spec.threshold

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        """Arrays by variable name, read from the run folder on first use.

        Raises:
            ClassifierError: The file has changed since the classifier was loaded.
        """
        if self._weights is None:
            self._weights = self._stored.read() if self._stored else {}
        return self._weights

    @property
    def neighbours(self) -> Neighbours | None:
        """Training images to compare new images with, read on first use; or ``None``.

        Raises:
            ClassifierError: Their file is damaged or has been changed.
        """
        if isinstance(self._neighbours, StoredNeighbours):
            self._neighbours = self._neighbours.read(self.spec)
        return self._neighbours

    @neighbours.setter
    def neighbours(self, kept: Neighbours | StoredNeighbours | None) -> None:
        self._neighbours = kept

    @property
    def keeps_neighbours(self) -> bool:
        """Whether there are ``neighbours``; does not read them."""
        return self._neighbours is not None

    @property
    def fingerprint(self) -> str:
        """sha256 of the weights as they are saved, in hexadecimal."""
        if self._weights is None and self._stored:
            return self._stored.sha256
        return hashlib.sha256(weights_file(self.weights)).hexdigest()

    @property
    def conformal(self) -> Conformal | None:
        """Prediction sets with guaranteed coverage, if they were calibrated."""
        return self.spec.sets

    @property
    def keras_model(self) -> Any:
        """The network as a plain ``keras.Model``: pixel values 0 to 255 in, probabilities out.

        Not calibrated: this is the network as it was trained, to continue with in Keras.

        Raises:
            ClassifierError: The weights do not fit the architecture.
        """
        if self._keras_model is None:
            self._keras_model = rebuilt(self.spec, self.weights)
        return self._keras_model

    def add_to_logits(self, bias: Sequence[float]) -> None:
        """Add a bias to the network's logits, one value per unit, in the bias of its last layer."""
        if any(bias):
            name = self._logits_bias
            self.weights[name] = (self.weights[name] + np.asarray(bias)).astype(np.float32)
            self._keras_model = self._calibrated = None

    def scale_logits(self, temperature: NDArray[np.float64], bias: NDArray[np.float64]) -> None:
        """Make the last layer return ``(logits + bias) / temperature``, each (units,)."""
        kernel = self._logits_bias.replace("bias", "kernel")
        self.add_to_logits(bias.tolist())
        for name in (kernel, self._logits_bias):
            self.weights[name] = (self.weights[name] / temperature).astype(np.float32)
        self._keras_model = self._calibrated = None

    @property
    def logits_bias(self) -> NDArray[np.float32]:
        """The bias of the network's last layer, one value per unit."""
        return self.weights[self._logits_bias]

    @property
    def _logits_bias(self) -> str:
        (name,) = (each for each in self.weights if each.endswith(LOGITS_BIAS))
        return name

    @property
    def calibrated_model(self) -> Any:
        """A ``keras.Model`` from stored pixels to calibrated probabilities, as in the ONNX file."""
        if self._calibrated is None:
            network = self.keras_model  # raises before Keras is imported if weights do not fit
            from lucency.models import calibrated

            self._calibrated = calibrated(
                network,
                self.spec.channels,
                self.spec.temperature,
                self.spec.bias,
                self.spec.dtype,
            )
        return self._calibrated

    def predict(
        self, files: Sequence[str | Path], progress: Progress = SILENT, *, maps: bool = False
    ) -> list[Prediction]:
        """Classify image files.

        Args:
            files: Image files, whatever their names.
            progress: Called on every batch.
            maps: Whether to compute activation maps.

        Returns:
            One prediction per file, in the same order. If the classifier abstains - the file cannot
            be read, is out of distribution, or is ambiguous - the prediction has the reason.
        """
        results: list[Prediction] = []
        with DecoderPool() as pool, progress.task("Predicting", len(files), "files") as task:
            for some in self.predict_batches(pool, files, maps=maps):
                results += some
                task.advance(len(some))
        return results

    def predict_batches(
        self, pool: Decoders, files: Sequence[str | Path], *, maps: bool = False
    ) -> Iterator[list[Prediction]]:
        """Yield what ``predict`` returns, a batch of files at a time.

        Args:
            pool: What decodes.
            files: Image files, whatever their names.
            maps: Whether to compute activation maps.
        """
        salt = self._salt if self.spec.unit else b""
        requests = (self.spec.request(str(file)) for file in files)
        decoded = pool.map(each._replace(salt=salt) for each in requests)
        if self.onnx is not None:  # the processes start while ONNX Runtime is loaded
            self._onnx_session()
        batch, waiting = batch_of(self.spec), deque[Future[list[Prediction]]]()
        with contextlib.closing(decoded), ThreadPoolExecutor(_AT_ONCE, "predicting") as threads:
            for start in range(0, len(files), batch):
                some = files[start : start + batch], [*islice(decoded, batch)]
                waiting.append(threads.submit(self._predict_decoded, *some, maps))
                # Keras computes one batch at a time.
                if len(waiting) > (0 if self.onnx is None else _AT_ONCE):
                    yield waiting.popleft().result()
            for each in waiting:
                yield each.result()

    def predict_pixels(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return the calibrated probabilities of images at the input's size.

        Args:
            pixels: (n, height, width, channels) uint8, 0 to 255; or float32 if the classifier has
                more than 8 bits.

        Returns:
            (n, classes) float64, rows sum to 1.
        """
        return self.infer(pixels).probabilities

    def infer(self, pixels: Pixels, maps: bool = False, label: int | None = None) -> Outputs:
        """Return probabilities and OOD scores of images, and optionally activation maps.

        Args:
            pixels: (n, height, width, channels), at the input's size, as for ``predict_pixels``.
            maps: Whether to return activation maps too. Some ONNX files have none.
            label: Of several labels, the number of the one that maps are of; by default the most
                probable one of each image.
        """
        batches = [self._run_network(batch, maps) for batch in self._batches(pixels)]
        wide = np.concatenate([each["probabilities"] for each in batches]).astype(np.float64)
        embeddings, ood_scores = None, None
        if self.ood_detector is not None or "embedding" in batches[0]:
            embeddings = np.concatenate([each["embedding"] for each in batches])
        if self.ood_detector is not None and embeddings is not None:
            # After the network, because the threads of both would wait for each other.
            scores = [
                self.ood_detector.score(embeddings[k : k + BATCH], pixels[k : k + BATCH])
                for k in range(0, max(1, len(pixels)), BATCH)
            ]
            ood_scores = np.concatenate(scores)
        probabilities = (
            wide if self.task.is_multilabel else np.asarray(wide / wide.sum(axis=1, keepdims=True))
        )
        outputs = Outputs(probabilities, ood_scores, embeddings=embeddings)
        if not maps or "activation_map" not in batches[0]:
            return outputs
        units = np.concatenate([each["activation_map"] for each in batches])
        values, map_classes = signed(units, probabilities, self.spec, label)
        return dataclasses.replace(outputs, maps=values, map_classes=map_classes)

    def predict_with_keras(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return the probabilities (n, classes) that Keras computes, with or without ONNX."""
        return self._infer_with_keras(pixels)["probabilities"]

    def embeddings(self, pixels: Pixels) -> NDArray[np.float32]:
        """Return the input of the last layer for images at the input's size, (n, d)."""
        if self.onnx is None:
            return self._infer_with_keras(pixels)["embedding"]
        return self.run_onnx(pixels, ["probabilities", "embedding"])["embedding"]

    def run_onnx(self, pixels: Pixels, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return outputs of the ONNX file for images at the input's size.

        Args:
            pixels: As for ``predict_pixels``.
            names: Of the outputs, ``probabilities`` among them.
        """
        session = self._onnx_session()
        found = [session.run(names, batch) for batch in self._batches(pixels)]
        return {name: np.concatenate([each[name] for each in found]) for name in names}

    def embed(self, split: Split, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the input of the last layer for images of a split, (k, d), computed by Keras."""
        size = min(BATCH, len(indices))
        padded = np.resize(indices, -(-len(indices) // size) * size).reshape(-1, size)
        batches = [self._infer_with_keras(split.pixels(batch))["embedding"] for batch in padded]
        return np.concatenate(batches)[: len(indices)]

    def infer_split(self, split: Split, progress: Progress = SILENT) -> Outputs:
        """Return the outputs for a split's images, in its order."""
        batches: list[Outputs] = []
        with progress.task(f"Predicting {split.name}", len(split), "images") as task:
            for pixels in pixel_batches(split, BATCH):
                batches.append(self.infer(pixels))
                task.advance(len(pixels))
        return concatenated(batches, len(split))

    def predict_split(self, split: Split, progress: Progress = SILENT) -> NDArray[np.float64]:
        """Return the calibrated probabilities (n, classes) of a split's images, in its order."""
        return self.infer_split(split, progress).probabilities

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the index of the predicted class for each row of probabilities, (n,).

        Of several labels, (n, labels): 1 for those that are present at their thresholds. Of a
        number, the bin that the predicted number lies in.
        """
        return self.spec.decide(probabilities)

    def decides_alike(
        self, first: NDArray[np.float64], second: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Return for which rows of probabilities (n, classes) all decisions are equal, (n,)."""
        alike = self.decide(first) == self.decide(second)
        return np.asarray(alike.reshape(len(alike), -1).all(axis=1))

    def predictions(self, outputs: Outputs, files: Sequence[str | Path]) -> list[Prediction]:
        """Turn outputs into predictions, which abstain rather than guess.

        Args:
            outputs: As ``infer`` returns them.
            files: A name for each image.
        """
        made = predictions(self.spec, outputs, [*map(str, files)])
        return [
            dataclasses.replace(each, activation_map=self.activation_map(outputs, i))
            for i, each in enumerate(made)
        ]

    def predict_unit(self, name: str, images: Sequence[Prediction]) -> Prediction:
        """Return the answer for a unit from the predictions for its images."""
        return predict_unit(self.spec, name, images)

    def activation_map(self, outputs: Outputs, i: int) -> ActivationMap | None:
        """Return the activation map of image ``i`` of the outputs; ``None`` if it has none."""
        if outputs.maps is None or outputs.map_classes is None:
            return None
        of = self.classes[outputs.map_classes[i]]
        return ActivationMap(of, method_of(self.spec), scale_of(self.spec), outputs.maps[i])

    def _batches(self, pixels: Pixels) -> list[Pixels]:
        """Split pixels into batches, because feature maps are many times the size of an image."""
        return np.array_split(self._checked(pixels), max(1, -(-len(pixels) // batch_of(self.spec))))

    def _checked(self, pixels: Pixels) -> Pixels:
        """Return pixels in the type that the network takes."""
        expected, dtype = (*self.spec.size, self.spec.channels), self.spec.dtype
        if pixels.shape[1:] != expected or pixels.dtype not in ("uint8", dtype):
            raise ClassifierError(
                f"Pixels must be {dtype} of shape (n, {', '.join(map(str, expected))}). "
                f"Received: {pixels.dtype} {pixels.shape}"
            )
        return pixels.astype(dtype, copy=False)

    def save(self, folder: str | Path) -> None:
        """Write ``classifier.json``, ``weights.safetensors`` and the optional files.

        Args:
            folder: Where to; made if it does not exist.
        """
        contents = Contents(
            spec=self.spec, weights=self.weights, onnx=self.onnx, parity=self.parity,
            ood_detector=self.ood_detector, reference_images=self.reference_images,
            neighbours=self.neighbours,
        )  # fmt: skip
        save_contents(contents, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load a classifier from a run folder, without Keras.

        Raises:
            ClassifierError: The folder holds no classifier, or a file is damaged or foreign.
        """
        contents = load_contents(Path(folder))
        classifier = cls(contents.spec, contents.weights, contents.onnx, contents.ood_detector)
        classifier.parity = contents.parity
        classifier.reference_images = contents.reference_images
        classifier.neighbours = contents.neighbours
        return classifier

    def _predict_decoded(
        self, files: Sequence[str | Path], decoded: Sequence[Decoded], maps: bool
    ) -> list[Prediction]:
        readable = [i for i, each in enumerate(decoded) if each.pixels is not None]
        found: dict[int, Prediction] = {}
        if readable:
            outputs = self.infer(np.stack([decoded[i].or_error() for i in readable]), maps)
            predictions = self.predictions(outputs, [files[i] for i in readable])
            found = {
                i: dataclasses.replace(
                    each.with_notes(decoded[i].notes),
                    patient=decoded[i].patient,
                    study=decoded[i].study,
                    series=decoded[i].series,
                )
                for i, each in zip(readable, predictions, strict=True)
            }
        return [
            found.get(i, Prediction(str(file), "", (), each.reason))
            for i, (file, each) in enumerate(zip(files, decoded, strict=True))
        ]

    def _run_network(self, pixels: Pixels, maps: bool) -> Mapping[str, NDArray[np.float32]]:
        return (
            self._infer_with_keras(pixels)
            if self.onnx is None
            else self._infer_with_onnx(pixels, maps)
        )

    def _infer_with_keras(self, pixels: Pixels) -> dict[str, NDArray[np.float32]]:
        outputs = self.calibrated_model.predict_on_batch(pixels)
        return {name: np.asarray(values) for name, values in outputs.items()}

    def _infer_with_onnx(self, pixels: Pixels, maps: bool) -> Mapping[str, NDArray[np.float32]]:
        session = self._onnx_session()
        wanted = self.ood_detector is not None or self.keeps_neighbours
        names = ["probabilities", "embedding"] if wanted else ["probabilities"]
        names += ["activation_map"] if maps and "activation_map" in session.outputs else []
        return session.run(names, pixels)

    def _onnx_session(self) -> Session:
        if self._session is None:
            self._session = Session(self.onnx or b"", self.spec, self.threads)
        return self._session
