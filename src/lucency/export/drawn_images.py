"""Images drawn by formula with the classifier's answers: for a check that needs no patient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier

_DRAWN, _KEPT = 64, 8
_WAVES, _MOST_CYCLES = 6, 8.0


@dataclass(frozen=True, eq=False)
class Drawn:
    """Drawn images and what the classifier says of them.

    Attributes:
        pixels: (n, height, width, channels) uint8.
        probabilities: (n, classes) float32, calibrated.
    """

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return both by name, for safetensors."""
        return {"pixels": self.pixels, "probabilities": self.probabilities}


def draw(classifier: Classifier) -> Drawn:
    """Draw 64 images of waves, and keep the 8 on which the classifier is least certain.

    Where a probability is near 0 or 1, arithmetic can be far off and the probability the same.

    Args:
        classifier: Any.

    Returns:
        The same images for the same classifier.
    """
    rng = np.random.default_rng(0)
    spec = classifier.spec
    pixels = np.stack([_waves(rng, spec.size, spec.channels) for _ in range(_DRAWN)])
    said = classifier.predict_pixels(pixels)
    kept = np.sort(np.argsort(said.max(axis=1), kind="stable")[:_KEPT])
    return Drawn(np.ascontiguousarray(pixels[kept]), said[kept].astype(np.float32))


def _waves(rng: np.random.Generator, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Draw plane waves of all directions over one another, with grain."""
    y, x = (np.arange(side) / side for side in size)
    field = np.zeros((*size, channels))
    for _ in range(_WAVES):
        down, across = rng.uniform(-_MOST_CYCLES, _MOST_CYCLES, 2)
        phase = rng.uniform(0, 2 * math.pi, channels)
        angle = 2 * math.pi * (down * y[:, None] + across * x)
        field += rng.uniform(0, 1) * np.cos(angle[:, :, None] + phase)
    grey = rng.uniform(40, 215) + rng.uniform(5, 60) * field + rng.normal(0, 3, field.shape)
    return np.asarray(grey.clip(0, 255), np.uint8)
