"""The classifier as an ONNX file, with a certificate that it predicts the same as Keras."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lucency import backend
from lucency.classifier import Classifier
from lucency.dataset import Split
from lucency.dataset.batches import pixel_batches
from lucency.errors import BackendError, ClassifierError
from lucency.progress import SILENT, Progress

TOLERANCE = 1e-4  # largest difference of a probability between Keras and ONNX Runtime
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Parity:
    """How well an exported file agrees with Keras on real images.

    Attributes:
        split: Name of the split that both were run on.
        n: Number of its images.
        max_abs_difference: Largest absolute difference of a probability.
        decision_agreement: Share of images with the same decision, 0 to 1.
        passed: Whether the difference is within the tolerance and all decisions agree.
    """

    split: str
    n: int
    max_abs_difference: float
    decision_agreement: float
    passed: bool


def to_onnx(
    classifier: Classifier, split: Split, progress: Progress = SILENT
) -> tuple[Classifier, Parity]:
    """Return the classifier with an ONNX model from pixels to probabilities, and its certificate.

    The file includes everything after resizing: scaling, network, temperature, softmax. Its other
    outputs are ``activation_map`` and, for the OOD detector, ``embedding``.

    Args:
        classifier: A classifier with weights.
        split: Real images, all of which both are run on.
        progress: Called on every batch.

    Raises:
        BackendError: The exporter is missing or failed, or the file disagrees with Keras.
    """
    with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
        path = Path(folder) / "model.onnx"
        backend.export_onnx(classifier.calibrated_model, path)
        onnx = path.read_bytes()
        exported = Classifier(classifier.spec, classifier.weights, onnx, classifier.ood_detector)
    exported.history, exported.best_epoch = classifier.history, classifier.best_epoch
    exported.training = classifier.training
    try:
        parity = _compare(classifier, exported, split, progress)
    except ClassifierError as error:
        raise BackendError(
            f"The ONNX file of the network cannot be used: {error} The exporter of "
            f"{backend.choose_backend()} does not support it; set KERAS_BACKEND to another backend."
        ) from error
    if not parity.passed:
        raise BackendError(
            f"The ONNX file disagrees with Keras on {parity.n} {split.name} images: "
            f"probabilities differ by up to {parity.max_abs_difference:.2g} (at most "
            f"{TOLERANCE:g} allowed). It was not kept; please report the versions of "
            f"{', '.join(f'{k} {v}' for k, v in classifier.spec.versions.items())}."
        )
    exported.parity = dataclasses.asdict(parity)
    return exported, parity


def _compare(
    classifier: Classifier, exported: Classifier, split: Split, progress: Progress
) -> Parity:
    largest, same, n = 0.0, 0, 0
    with progress.task("Comparing ONNX with Keras", len(split), "images") as task:
        for pixels in pixel_batches(split, _BATCH):
            pair: list[Any] = [
                classifier.predict_with_keras(pixels).astype(np.float64),
                exported.predict_pixels(pixels),
            ]
            count = min(_BATCH, len(split) - n)
            ours, theirs = (probabilities[:count] for probabilities in pair)
            largest = max(largest, float(np.abs(ours - theirs).max()))
            same += int(exported.decides_alike(ours, theirs).sum())
            n += count
            task.advance(count)
    agreement = same / n
    passed = bool(largest <= TOLERANCE) and _all_but_ties(agreement, n)
    return Parity(split.name, n, largest, agreement, passed)


def _all_but_ties(agreement: float, n: int) -> bool:
    """Return whether decisions agree, except for an image right at the threshold."""
    return (1 - agreement) * n <= max(1.0, 1e-3 * n)
