"""Deletion and insertion: hide what a map marks, and show nothing else.

Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation". What is hidden is blurred
instead of blackened, which a network would not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.explain.drawing import enlarged
from lucency.explain.sample import Pixels, Sample, Say, hidden, mean_of
from lucency.metrics import Estimate, FloatArray

SHARES = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)  # of the image
OURS, RANDOM, CENTRE = "the map", "random map", "centred Gaussian"
_WIDTH = 1 / 4  # of the side: one standard deviation of the Gaussian


@dataclass(frozen=True, eq=False)
class Course:
    """What became of the probability of the decided class, for one kind of map.

    Attributes:
        deletion: (n, shares) when the most marked share of the image is hidden.
        insertion: (n, shares) when all but that is hidden.
    """

    deletion: FloatArray
    insertion: FloatArray

    @property
    def gain(self) -> FloatArray:
        """(n,) area under insertion less area under deletion: 0 for a map that says nothing."""
        return _area(self.insertion) - _area(self.deletion)


def courses(say: Say, sample: Sample, seed: int) -> dict[str, Course]:
    """Hide and show what the maps mark, and what two maps mark that know nothing.

    Args:
        say: Pixels to probabilities (n, classes).
        sample: Images with maps.
        seed: Of the random maps, which are as coarse as the maps are.

    Returns:
        The course of the map, of random maps and of a Gaussian in the middle of the image.
    """
    size = sample.pixels.shape[1:3]
    drawn = np.random.default_rng(seed).normal(size=sample.maps.shape)
    centred = np.broadcast_to(_gaussian(size), (len(sample), *size))
    maps: dict[str, NDArray[np.floating[Any]]] = {
        OURS: np.stack([enlarged(each, size) for each in sample.sides]),
        RANDOM: np.stack([enlarged(each, size) for each in drawn]),
        CENTRE: centred,
    }
    blurred = hidden(sample.pixels)
    ends = [_decided(say(each), sample) for each in (sample.pixels, blurred)]
    return {name: _course(say, sample, blurred, each, ends) for name, each in maps.items()}


def to_json(found: dict[str, Course], owner: NDArray[np.int64]) -> dict[str, Any]:
    """Return mean courses, areas and gains with intervals, and how much more the map gains."""
    rows = [
        {
            "map": name,
            "deletion": [float(x) for x in course.deletion.mean(axis=0)],
            "insertion": [float(x) for x in course.insertion.mean(axis=0)],
            "gain": mean_of(course.gain, owner).to_json(),
        }
        for name, course in found.items()
    ]
    return {
        "shares": [*SHARES],
        "rows": rows,
        "beyond_random": beyond(found, RANDOM, owner).to_json(),
        "beyond_centre": beyond(found, CENTRE, owner).to_json(),
    }


def beyond(found: dict[str, Course], other: str, owner: NDArray[np.int64]) -> Estimate:
    """Return how much more the map gains than another, image by image."""
    return mean_of(found[OURS].gain - found[other].gain, owner)


def _course(
    say: Say,
    sample: Sample,
    blurred: Pixels,
    maps: NDArray[np.floating[Any]],
    ends: list[FloatArray],
) -> Course:
    """Hide and show the image, share by share; ``ends`` are of the whole and of the blur."""
    order = _ranks(maps)
    whole, nothing = ends
    deletion, insertion = [whole], [nothing]
    for share in SHARES[1:-1]:
        marked = (order < share)[..., None]
        deletion.append(_decided(say(np.where(marked, blurred, sample.pixels)), sample))
        insertion.append(_decided(say(np.where(marked, sample.pixels, blurred)), sample))
    return Course(np.stack([*deletion, nothing], axis=1), np.stack([*insertion, whole], axis=1))


def _ranks(maps: NDArray[np.floating[Any]]) -> FloatArray:
    """Return the share of an image's pixels that are marked more than each, 0 to below 1."""
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
