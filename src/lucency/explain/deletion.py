"""Deletion and insertion curves: hide what a map marks most, or show only that.

Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation". Hidden pixels are blurred,
because black areas would be out of distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.explain.drawing import enlarged
from lucency.explain.sample import PredictFn, Sample, blur, mean_of
from lucency.imaging.decoder.pool import Pixels
from lucency.metrics import Estimate, FloatArray

SHARES = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)  # of the image
MAP, RANDOM, CENTRE = "the map", "random map", "centred Gaussian"
_WIDTH = 1 / 4  # of the side: one standard deviation of the Gaussian


@dataclass(frozen=True, eq=False)
class HidingCurves:
    """Probability of the decided class for one kind of map.

    Attributes:
        deletion: (n, shares) with the most marked share of the image hidden.
        insertion: (n, shares) with everything else hidden.
    """

    deletion: FloatArray
    insertion: FloatArray

    @property
    def gain(self) -> FloatArray:
        """(n,) area under insertion minus area under deletion; about 0 for an uninformative map."""
        return _area(self.insertion) - _area(self.deletion)


def hiding_curves(predict: PredictFn, sample: Sample, seed: int) -> dict[str, HidingCurves]:
    """Compute the curves of the maps, and of two baselines without information.

    Args:
        predict: Pixels to probabilities (n, classes).
        sample: Images with maps.
        seed: Of the random maps, which have the resolution of the maps.

    Returns:
        The curves of the maps, of random maps and of a Gaussian at the image centre.
    """
    size = sample.pixels.shape[1:3]
    drawn = np.random.default_rng(seed).normal(size=sample.maps.shape)
    centred = np.broadcast_to(_gaussian(size), (len(sample), *size))
    maps: dict[str, NDArray[np.floating[Any]]] = {
        MAP: np.stack([enlarged(each, size) for each in sample.sides]),
        RANDOM: np.stack([enlarged(each, size) for each in drawn]),
        CENTRE: centred,
    }
    blurred = blur(sample.pixels)
    ends = [_decided(predict(each), sample) for each in (sample.pixels, blurred)]
    return {name: _curves_of(predict, sample, blurred, each, ends) for name, each in maps.items()}


def to_json(found: dict[str, HidingCurves], cluster: NDArray[np.int64]) -> dict[str, Any]:
    """Return mean curves, gains with intervals, and the gain over both baselines."""
    rows = [
        {
            "map": name,
            "deletion": [float(x) for x in curves.deletion.mean(axis=0)],
            "insertion": [float(x) for x in curves.insertion.mean(axis=0)],
            "gain": mean_of(curves.gain, cluster).to_json(),
        }
        for name, curves in found.items()
    ]
    return {
        "shares": [*SHARES],
        "rows": rows,
        "gain_over_random": gain_over(found, RANDOM, cluster).to_json(),
        "gain_over_centre": gain_over(found, CENTRE, cluster).to_json(),
    }


def gain_over(found: dict[str, HidingCurves], other: str, cluster: NDArray[np.int64]) -> Estimate:
    """Return the mean difference in gain between the map and another, paired by image."""
    return mean_of(found[MAP].gain - found[other].gain, cluster)


def _curves_of(
    predict: PredictFn,
    sample: Sample,
    blurred: Pixels,
    maps: NDArray[np.floating[Any]],
    ends: list[FloatArray],
) -> HidingCurves:
    """Hide and show the image, share by share; ``ends`` are for the image and its blur."""
    order = _ranks(maps)
    whole, nothing = ends
    deletion, insertion = [whole], [nothing]
    for share in SHARES[1:-1]:
        marked = (order < share)[..., None]
        deletion.append(_decided(predict(np.where(marked, blurred, sample.pixels)), sample))
        insertion.append(_decided(predict(np.where(marked, sample.pixels, blurred)), sample))
    return HidingCurves(
        np.stack([*deletion, nothing], axis=1), np.stack([*insertion, whole], axis=1)
    )


def _ranks(maps: NDArray[np.floating[Any]]) -> FloatArray:
    """Return for each pixel the share of pixels with a higher value, from 0 to below 1."""
    flat = maps.reshape(len(maps), -1)
    ranks = np.empty(flat.shape)
    order = np.argsort(-flat, axis=1, kind="stable")
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None] / flat.shape[1], axis=1)
    return ranks.reshape(maps.shape)


def _gaussian(size: tuple[int, ...]) -> FloatArray:
    rows, columns = ((np.arange(side) + 0.5) / side - 0.5 for side in size)
    return np.exp(-(rows[:, None] ** 2 + columns[None] ** 2) / (2 * _WIDTH**2))


def _decided(probabilities: FloatArray, sample: Sample) -> FloatArray:
    return probabilities[np.arange(len(sample)), sample.decided]


def _area(curve: FloatArray) -> FloatArray:
    """Return the area under each curve by trapezoids."""
    steps = np.diff(np.asarray(SHARES))
    return np.asarray(((curve[:, 1:] + curve[:, :-1]) / 2 * steps).sum(axis=1))
