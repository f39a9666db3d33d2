"""The loaded classifier: tried before it is put to work, retired when its last answer is out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lucency.classifier import Classifier, Spec
from lucency.classifier.onnx.session import part_of
from lucency.errors import ClassifierError
from lucency.serve.web import about

TOLERANCE = 1e-4  # of the reference images' probabilities


@dataclass(eq=False)
class Version:
    """A classifier as it was loaded at some time.

    Attributes:
        folder: Its run folder, links resolved.
        classifier: What answers.
        about: ``{"name", "sha256", "calibration"}``, which every answer carries.
        document: What the page says of it.
        users: Requests that it is answering.
    """

    folder: Path
    classifier: Classifier
    about: dict[str, str]
    document: dict[str, Any] = field(default_factory=dict)
    users: int = 0

    @property
    def number(self) -> str:
        """What the Open Inference Protocol calls its version."""
        return f"{self.about['sha256'][:12]}-{self.about['calibration'][:4]}"

    @property
    def batch(self) -> int:
        """How many images go through the network at once."""
        return part_of(self.classifier.spec)


def load_version(run: Path) -> Version:
    """Load a run folder, and compare its answers to the reference images with those of then.

    Raises:
        ClassifierError: The folder holds no classifier, a file is damaged or foreign, there is no
            ONNX file, or reference images get other answers than then.
        RunError: Another file of the run folder is damaged.
    """
    folder = run.resolve()
    classifier = Classifier.load(folder)
    if classifier.onnx is None:
        raise ClassifierError(f"{folder} has no model.onnx, which a service needs. Train again.")
    try_out(classifier)
    named = {
        "name": folder.name,
        "sha256": classifier.fingerprint,
        "calibration": _calibration(classifier.spec),
    }
    return Version(folder, classifier, named, about(folder, classifier))


def try_out(classifier: Classifier) -> None:
    """Have a classifier answer, so that the first client need not wait, and check what it says.

    Raises:
        ClassifierError: Reference images get other answers than then.
    """
    spec = classifier.spec
    for count in {1, part_of(spec)}:
        classifier.infer(np.zeros((count, *spec.size, spec.channels), np.uint8))
    if classifier.reference_images is not None:
        apart = classifier.reference_images.largest_difference(classifier.predict_pixels)
        if not apart <= TOLERANCE:
            raise ClassifierError(
                f"The classifier gives {len(classifier.reference_images.pixels)} reference images other "
                f"probabilities than when it was trained, by up to {apart:.2g} (at most "
                f"{TOLERANCE:g} allowed). Restore the run folder, or train again."
            )


def _calibration(spec: Spec) -> str:
    """Return a short name of everything that turns logits into answers."""
    parts = [
        spec.temperature,
        spec.threshold,
        list(spec.prior),
        spec.conformal and dict(spec.conformal),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
