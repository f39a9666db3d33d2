"""The validation images that maps are tested on, with what the classifier says of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.metrics import Estimate, FloatArray, IntArray, Linear, linearised

Pixels = NDArray[np.uint8]
Say = Callable[[Pixels], FloatArray]

_TINY = 1e-30  # float32 probabilities of far away classes are 0
_BLUR = 1 / 8  # of the side: one standard deviation of the blur that hides


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Images and their maps.

    Attributes:
        pixels: (n, height, width, channels) uint8.
        owner: (n,) int64, number of the patient.
        decided: (n,) int64, the most probable class.
        maps: (n, h, w) float32, as ``Answers.maps``.
        map_classes: (n,) int64, whom each map speaks for.
    """

    pixels: Pixels
    owner: IntArray
    decided: IntArray
    maps: NDArray[np.float32]
    map_classes: IntArray

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def sides(self) -> NDArray[np.float32]:
        """The maps turned so that positive values speak for the decided class, (n, h, w)."""
        turn = np.where(self.decided == self.map_classes, 1, -1).astype(np.float32)
        return self.maps * turn[:, None, None]


def owners(groups: Sequence[str]) -> IntArray:
    """Return the number of each image's patient; one of an unknown patient is its own."""
    names = [name or i for i, name in enumerate(groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def log_odds(probabilities: NDArray[np.floating[Any]], of: IntArray) -> FloatArray:
    """Return the logit of a class less the mean logit of the others, from probabilities alone.

    Args:
        probabilities: (n, classes), as sigmoid or softmax gives them.
        of: (n,) the class of each row.

    Returns:
        (n,) float64, after the temperature; for two classes the log odds.
    """
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY))
    own = logs[np.arange(len(logs)), of]
    return np.asarray(own - (logs.sum(axis=1) - own) / (logs.shape[1] - 1))


def hidden(pixels: Pixels) -> Pixels:
    """Return images blurred so much that nothing small is left: what hidden places look like."""
    from scipy import ndimage

    height, width = pixels.shape[1:3]
    sigma = (0, height * _BLUR, width * _BLUR, 0)
    blurred = ndimage.gaussian_filter(pixels.astype(np.float32), sigma, mode="nearest")
    return np.asarray(blurred.round().clip(0, 255), np.uint8)


def mean_of(values: NDArray[np.floating[Any]], owner: IntArray) -> Estimate:
    """Return the mean over images with an interval over patients, leaving out what is nan."""
    known = np.isfinite(values)
    found = np.asarray(values, np.float64)[known]
    if not len(found):
        return Estimate(np.nan, np.nan, np.nan, "undefined")
    mean = float(found.mean())
    return linearised(mean, Linear(mean, (found - mean) / len(found)), owner[known], "plain")
