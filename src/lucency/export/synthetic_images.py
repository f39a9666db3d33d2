"""Images computed from formulas, with the classifier's predictions: a test without patient data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier

_DRAWN, _KEPT = 64, 8
_WAVES, _MAX_CYCLES = 6, 8.0


@dataclass(frozen=True, eq=False)
class SyntheticImages:
    """Synthetic images and the classifier's predictions for them.

    Attributes:
        pixels: (n, height, width, channels) uint8.
        probabilities: (n, classes or labels) float32, calibrated.
    """

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return both by name, for safetensors."""
        return {"pixels": self.pixels, "probabilities": self.probabilities}


def synthetic_images(classifier: Classifier) -> SyntheticImages:
    """Draw 64 images of waves, and keep the 8 that the classifier is least certain about.

    A probability near 0 or 1 hardly changes even if the arithmetic is wrong.

    Args:
        classifier: Any classifier.

    Returns:
        The same images for the same classifier.
    """
    rng = np.random.default_rng(0)
    spec = classifier.spec
    pixels = np.stack([_waves(rng, spec.size, spec.channels) for _ in range(_DRAWN)])
    probabilities = classifier.predict_pixels(pixels)
    certainty = probabilities.max(axis=1)
    if classifier.task.is_multilabel:
        certainty = np.maximum(probabilities, 1 - probabilities).mean(axis=1)
    kept = np.sort(np.argsort(certainty, kind="stable")[:_KEPT])
    return SyntheticImages(
        np.ascontiguousarray(pixels[kept]), probabilities[kept].astype(np.float32)
    )


def _waves(rng: np.random.Generator, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Draw a sum of plane waves in random directions, with noise."""
    y, x = (np.arange(side) / side for side in size)
    field = np.zeros((*size, channels))
    for _ in range(_WAVES):
        down, across = rng.uniform(-_MAX_CYCLES, _MAX_CYCLES, 2)
        phase = rng.uniform(0, 2 * math.pi, channels)
        angle = 2 * math.pi * (down * y[:, None] + across * x)
        field += rng.uniform(0, 1) * np.cos(angle[:, :, None] + phase)
    grey = rng.uniform(40, 215) + rng.uniform(5, 60) * field + rng.normal(0, 3, field.shape)
    return np.asarray(grey.clip(0, 255), np.uint8)
