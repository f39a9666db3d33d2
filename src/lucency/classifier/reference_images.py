"""Reference images: real ones with the answers they had, to tell whether a copy still gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency.dataset import Split, over_classes
from lucency.errors import ClassifierError

_MOST = 64
_MOST_BYTES = 8 * 2**20  # of pixels


@dataclass(frozen=True, eq=False)
class ReferenceImages:
    """Validation images as the network gets them, and what it said.

    Attributes:
        pixels: (n, height, width, channels) uint8, 1 to 64 of them, at most 8 MiB.
        probabilities: (n, classes) float32, calibrated.
    """

    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]

    def largest_difference(
        self, say: Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
    ) -> float:
        """Return by how much answers to these images differ from those of then, at most.

        Args:
            say: Pixels to probabilities (n, classes).
        """
        return float(np.abs(say(self.pixels) - self.probabilities).max())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays by name, for safetensors."""
        return {"pixels": self.pixels, "probabilities": self.probabilities}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], shape: tuple[int, ...], classes: int
    ) -> Self:
        """Check what ``arrays`` gave.

        Args:
            arrays: Arrays by name.
            shape: Height, width and channels of the network's input.
            classes: How many it tells apart.

        Raises:
            ClassifierError: An array is missing, misshapen or holds no probabilities.
        """
        pixels, said = arrays.get("pixels"), arrays.get("probabilities")
        if (
            arrays.keys() != {"pixels", "probabilities"}
            or pixels is None
            or said is None
            or pixels.dtype != np.uint8
            or said.dtype != np.float32
            or pixels.shape[1:] != shape
            or said.shape != (len(pixels), classes)
            or not 1 <= len(pixels) <= _MOST
            or not ((said >= 0) & (said <= 1 + 1e-5)).all()
        ):
            raise ClassifierError(
                f"The reference images are damaged: expected 1 to {_MOST} of shape {shape} with "
                f"{classes} probabilities each. Restore their file from the training run."
            )
        return cls(pixels, said)


def reference_images_of(
    split: Split, say: Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
) -> ReferenceImages:
    """Choose images of a split, evenly over its classes and then over its order.

    Args:
        split: Where from; validation, as test images are for one look only.
        say: Pixels to probabilities (n, classes).
    """
    each = max(1, _MOST_BYTES // int(np.prod(split.pixels(np.arange(1)).shape[1:])))
    chosen = over_classes(split.labels, len(split.classes), min(_MOST, each))
    pixels = np.ascontiguousarray(split.pixels(chosen))
    return ReferenceImages(pixels, say(pixels).astype(np.float32))
