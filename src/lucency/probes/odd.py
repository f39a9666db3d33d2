"""Single images that are unlike the rest: to be looked at, and perhaps taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lucency.dataset import Dataset, Split, evenly
from lucency.imaging.decoder.pool import DecoderPool, read_again
from lucency.imaging.image import COLOUR_LOOK, shows_colour
from lucency.probes import features

FloatArray = NDArray[np.float64]

# On 5,535 radiographs two images lie beyond (very bright ones), none is turned (0.09 at most).
_FAR = 4.5  # robust standard deviations
_TURNED = 0.1  # by how much the mean image fits better when turned
_SMALL = 0.5  # of the network's side
_LISTED = 50
_READ = 512
_COLOURED = 1000  # most images that are looked at for colour


@dataclass(frozen=True)
class Odd:
    """Images that stand out.

    Attributes:
        n: How many.
        images: The first 50, the strangest first: file, reason and value.
    """

    n: int
    images: tuple[tuple[str, str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes for JSON."""
        return {
            "n": self.n,
            "images": [
                {"file": file, "reason": reason, "value": round(value, 3)}
                for file, reason, value in self.images
            ],
        }


def odd(data: Dataset, workers: int) -> Odd:
    """Look for dark, pale, blurred, inverted, turned, unlike, narrow, small and coloured ones.

    What is usual comes from the images themselves: median and median absolute deviation.
    """
    parts = [part for part in (data.train, data.val, data.test) if part]
    files = [file for part in parts for file in part.files]
    mean = _mean_image(data.train)
    measures = np.concatenate([_measured(part, mean) for part in parts])
    sizes = np.concatenate([part.store.sizes[part.rows] for part in parts]).astype(np.float64)
    found = [*_by_pixels(measures), *_by_size(sizes, data.train.store.shape[:2])]
    if not data.audit.colour:
        rows = np.concatenate([part.rows for part in parts])
        contents = [data.train.store.sha256[row] for row in rows]
        paths = [data.root / file for file in files]
        found += _coloured([*zip(paths, contents, strict=True)], workers)
    worst: dict[int, tuple[str, float, float]] = {}
    for i, reason, value, badness in found:
        if badness > worst.get(i, ("", 0.0, -1.0))[2]:
            worst[i] = (reason, value, badness)
    order = sorted(worst, key=lambda i: (-worst[i][2], files[i]))
    return Odd(len(order), tuple((files[i], *worst[i][:2]) for i in order[:_LISTED]))


_Found = tuple[int, str, float, float]


def _mean_image(train: Split) -> FloatArray:
    places = evenly(len(train), _READ)
    return np.asarray(features.small(train.pixels(places)).mean(axis=0, dtype=np.float64))


def _measured(part: Split, mean: FloatArray) -> FloatArray:
    """Return grey, contrast, sharpness, likeness to the mean image and to it turned, (n, 5)."""
    turned = [mean[::-1], *(np.rot90(mean, quarter) for quarter in (1, 2, 3))]
    rows = []
    for start in range(0, len(part), _READ):
        places = np.arange(start, min(start + _READ, len(part)))
        x = features.small(part.pixels(places)).astype(np.float64)
        flat = x.reshape(len(x), -1)
        edges = np.stack([ndimage.laplace(image).std() for image in x])
        contrast = flat.std(axis=1)
        other = np.max([_correlation(x, each) for each in turned], axis=0)
        likeness = [_correlation(x, mean), other]
        sharp = np.log((edges + 0.1) / (contrast + 1))
        rows.append(np.column_stack([flat.mean(axis=1), contrast, sharp, *likeness]))
    return np.concatenate(rows)


def _correlation(images: FloatArray, mean: FloatArray) -> FloatArray:
    a = images.reshape(len(images), -1)
    a, b = a - a.mean(axis=1, keepdims=True), (mean - mean.mean()).ravel()
    length = np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b), 1e-9)
    return np.asarray(a @ b / length)


def _far(values: FloatArray, floor: float) -> FloatArray:
    """Return robust standard deviations from the median; ``floor`` is the least of one."""
    median = np.median(values)
    return np.asarray((values - median) / max(1.4826 * np.median(abs(values - median)), floor))


def _by_pixels(measures: FloatArray) -> list[_Found]:
    grey, contrast, sharp, upright, turned = measures.T
    far = {"grey": _far(grey, 8), "contrast": _far(contrast, 4), "sharp": _far(sharp, 0.1)}
    # Fisher's scale, where correlations near 1 spread as others do.
    unlike = _far(np.arctanh(np.clip(upright, -0.999, 0.999)), 0.1)
    usual = float(np.median(upright))
    rules = [
        ("very dark", grey, -far["grey"] - _FAR),
        ("very bright", grey, far["grey"] - _FAR),
        ("hardly any contrast", contrast, -far["contrast"] - _FAR),
        ("blurred", sharp, -far["sharp"] - _FAR),
    ]
    if usual > 0.3:  # images are alike enough to have a usual way up
        inverted = -upright - 0.3
        other_way = turned - np.maximum(upright, 0) - _TURNED
        known = (inverted > 0) | (other_way > 0)
        rules += [
            ("inverted: light where others are dark", upright, inverted),
            ("perhaps upside down or turned", turned, other_way),
            ("unlike the others", upright, np.where(known, -1, -unlike - _FAR)),
        ]
    return [
        (int(i), reason, float(values[i]), float(excess[i]) + 1)
        for reason, values, excess in rules
        for i in np.flatnonzero(excess > 0)
    ]


def _by_size(sizes: FloatArray, side: Sequence[int]) -> list[_Found]:
    aspect = np.log(sizes[:, 1] / sizes[:, 0])
    far = abs(_far(aspect, 0.1))
    tiny = np.minimum(sizes[:, 0] / side[0], sizes[:, 1] / side[1])
    found = [
        (int(i), "unusual shape (width to height)", float(np.exp(aspect[i])), float(far[i]) - 5)
        for i in np.flatnonzero(far > _FAR)
    ]
    found += [
        (int(i), "smaller than half of what the network sees", float(tiny[i]), 1.0)
        for i in np.flatnonzero(tiny < _SMALL)
    ]
    return found


def _coloured(files: Sequence[tuple[Path, str]], workers: int) -> list[_Found]:
    """Look at up to 1,000 files, each given with its sha256, for colour."""
    places = evenly(len(files), _COLOURED)
    with DecoderPool(workers) as pool:
        seen = read_again(pool, [files[i] for i in places], COLOUR_LOOK, colour=True)
        looks = [shows_colour(pixels) for pixels in seen]
    return [
        (int(i), "in colour among grey images", 1.0, 2.0)
        for i, coloured in zip(places, looks, strict=True)
        if coloured
    ]
