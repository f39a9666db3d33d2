"""The validation images that maps are tested on, with their predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.imaging.decoder.pool import Pixels
from lucency.metrics import Estimate, FloatArray, IntArray, Linear, linearised

PredictFn = Callable[[Pixels], FloatArray]

_TINY = 1e-30  # float32 probabilities can be 0
_BLUR = 1 / 8  # of the side: standard deviation of the blur that hides


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Images and their maps.

    Attributes:
        pixels: (n, height, width, channels) uint8.
        cluster: (n,) int64, number of the patient.
        decided: (n,) int64, the most probable class; for grades the lowest or the highest,
            whichever has more evidence.
        maps: (n, h, w) float32, as ``Outputs.maps``.
        map_classes: (n,) int64, the class of each map.
    """

    pixels: Pixels
    cluster: IntArray
    decided: IntArray
    maps: NDArray[np.float32]
    map_classes: IntArray

    def __len__(self) -> int:
        return len(self.pixels)

    def subset(self, places: IntArray) -> Sample:
        """Return some of the images."""
        return Sample(
            self.pixels[places], self.cluster[places], self.decided[places], self.maps[places],
            self.map_classes[places],
        )  # fmt: skip

    @property
    def sides(self) -> NDArray[np.float32]:
        """The maps with the sign of the decided class, (n, h, w)."""
        turn = np.where(self.decided == self.map_classes, 1, -1).astype(np.float32)
        return self.maps * turn[:, None, None]


def log_odds(
    probabilities: NDArray[np.floating[Any]], of: IntArray, *, several: bool = False
) -> FloatArray:
    """Return the logit of a class minus the mean logit of the others, from probabilities.

    Args:
        probabilities: (n, classes), from sigmoid or softmax.
        of: (n,) the class of each row.
        several: Whether they are of several labels; the logit is then that of the label alone.

    Returns:
        (n,) float64, after the temperature; for two classes the log odds.
    """
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY))
    own = logs[np.arange(len(logs)), of]
    if several:
        p = np.asarray(probabilities, np.float64)[np.arange(len(logs)), of]
        return np.asarray(own - np.log(np.maximum(1 - p, _TINY)))
    return np.asarray(own - (logs.sum(axis=1) - own) / (logs.shape[1] - 1))


def blur(pixels: Pixels) -> Pixels:
    """Return strongly blurred images, which replace hidden pixels."""
    from scipy import ndimage

    height, width = pixels.shape[1:3]
    sigma = (0, height * _BLUR, width * _BLUR, 0)
    blurred = ndimage.gaussian_filter(pixels.astype(np.float32), sigma, mode="nearest")
    return np.asarray(blurred.round().clip(0, 255), np.uint8)


def mean_of(values: NDArray[np.floating[Any]], cluster: IntArray) -> Estimate:
    """Return the mean over images, without nan, with an interval over patients."""
    known = np.isfinite(values)
    found = np.asarray(values, np.float64)[known]
    if not len(found):
        return Estimate(np.nan, np.nan, np.nan, "undefined")
    mean = float(found.mean())
    return linearised(mean, Linear(mean, (found - mean) / len(found)), cluster[known], "plain")
