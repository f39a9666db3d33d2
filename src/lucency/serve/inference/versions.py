"""The loaded classifier: checked before it is used, released after its last response."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lucency.classifier import Classifier, Spec
from lucency.classifier.onnx.session import batch_per_processor
from lucency.errors import ClassifierError
from lucency.serve.web import about

TOLERANCE = 1e-4  # of the reference images' probabilities


@dataclass(eq=False)
class Version:
    """A classifier as it was loaded at some time.

    Attributes:
        folder: Its run folder, links resolved.
        classifier: What predicts.
        about: ``{"name", "sha256", "calibration"}``, which every response holds.
        document: What the page says about it.
        users: Requests that use it now.
    """

    folder: Path
    classifier: Classifier
    about: dict[str, str]
    document: dict[str, Any] = field(default_factory=dict)
    users: int = 0

    @property
    def number(self) -> str:
        """Its version in the Open Inference Protocol."""
        return f"{self.about['sha256'][:12]}-{self.about['calibration'][:4]}"

    @property
    def max_batch(self) -> int:
        """How many images may go through the network at once."""
        return batch_per_processor(self.classifier.spec)


def load_version(run: Path) -> Version:
    """Load a run folder, and check the classifier on its reference images.

    Raises:
        ClassifierError: The folder holds no classifier, a file is damaged or foreign, there is no
            ONNX file, or the reference images get other probabilities than after training.
        RunError: Another file of the run folder is damaged.
    """
    folder = run.resolve()
    classifier = Classifier.load(folder)
    if classifier.onnx is None:
        raise ClassifierError(f"{folder} has no model.onnx, which serving needs. Train again.")
    warm_up(classifier)
    named = {
        "name": folder.name,
        "sha256": classifier.fingerprint,
        "calibration": _calibration_hash(classifier.spec),
    }
    return Version(folder, classifier, named, about(folder, classifier))


def warm_up(classifier: Classifier) -> None:
    """Run the network, so that the first client need not wait, and check the reference images.

    Raises:
        ClassifierError: The reference images get other probabilities than after training.
    """
    spec = classifier.spec
    for count in {1, batch_per_processor(spec)}:
        classifier.infer(np.zeros((count, *spec.size, spec.channels), spec.dtype))
    if classifier.reference_images is not None:
        difference = classifier.reference_images.largest_difference(classifier.predict_pixels)
        if not difference <= TOLERANCE:
            raise ClassifierError(
                f"The probabilities of the {len(classifier.reference_images.pixels)} reference "
                f"images differ from those after training by up to {difference:.2g} (at most "
                f"{TOLERANCE:g} allowed). Restore the run folder, or train again."
            )


def _calibration_hash(spec: Spec) -> str:
    """Return a short identifier of everything that turns logits into predictions."""
    parts = [
        spec.temperature,
        list(spec.bias),
        spec.threshold,
        list(spec.class_prior),
        spec.conformal and dict(spec.conformal),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
