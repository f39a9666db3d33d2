"""Reference images: real images with their predictions, to verify copies of a classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency.dataset import Split, class_balanced
from lucency.errors import ClassifierError
from lucency.imaging.decoder.pool import Pixels

_MAX_IMAGES = 64
_MAX_BYTES = 8 * 2**20  # of pixels


@dataclass(frozen=True, eq=False)
class ReferenceImages:
    """Validation images as the network gets them, and its predictions after training.

    Attributes:
        pixels: (n, height, width, channels), 1 to 64 of them, at most 8 MiB: uint8, or float32 if
            the classifier has more than 8 bits.
        probabilities: (n, classes) float32, calibrated.
    """

    pixels: Pixels
    probabilities: NDArray[np.float32]

    def largest_difference(self, predict: Callable[[Pixels], NDArray[np.floating[Any]]]) -> float:
        """Return the largest difference of a probability from the stored predictions.

        Args:
            predict: From pixels to probabilities (n, classes).
        """
        return float(np.abs(predict(self.pixels) - self.probabilities).max())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays by name, for safetensors."""
        return {"pixels": self.pixels, "probabilities": self.probabilities}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, ...], classes: int
    ) -> Self:
        """Check the output of ``arrays``.

        Args:
            arrays: Arrays by name.
            shape: Height, width and channels of the network's input.
            classes: Number of classes.

        Raises:
            ClassifierError: An array is missing, misshapen or has invalid probabilities.
        """
        pixels, probabilities = arrays.get("pixels"), arrays.get("probabilities")
        if (
            arrays.keys() != {"pixels", "probabilities"}
            or pixels is None
            or probabilities is None
            or pixels.dtype not in (np.uint8, np.float32)
            or probabilities.dtype != np.float32
            or pixels.shape[1:] != shape
            or probabilities.shape != (len(pixels), classes)
            or not 1 <= len(pixels) <= _MAX_IMAGES
            or not ((probabilities >= 0) & (probabilities <= 1 + 1e-5)).all()
        ):
            raise ClassifierError(
                f"The reference images are damaged: expected 1 to {_MAX_IMAGES} of shape {shape} "
                f"with {classes} probabilities each. Restore their file from the training run."
            )
        return cls(pixels, probabilities)


def reference_images_of(
    split: Split, predict: Callable[[Pixels], NDArray[np.floating[Any]]]
) -> ReferenceImages:
    """Choose images of a split, evenly over its classes and then over its order.

    Args:
        split: Validation, because the test split is for a single evaluation.
        predict: From pixels to probabilities (n, classes).
    """
    each = max(1, _MAX_BYTES // split.pixels(np.arange(1)).nbytes)
    chosen = class_balanced(split.labels, len(split.classes), min(_MAX_IMAGES, each))
    pixels = np.ascontiguousarray(split.pixels(chosen))
    return ReferenceImages(pixels, predict(pixels).astype(np.float32))
