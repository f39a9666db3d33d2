"""Single images that differ from the rest: to be checked, and perhaps removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lucency.dataset import Dataset, Split, evenly
from lucency.imaging.decoder.pool import DecoderPool, decode_again
from lucency.imaging.image import COLOUR_CHECK_SIZE, shows_colour
from lucency.probes import features

FloatArray = NDArray[np.float64]

# Of 5,535 radiographs, two exceed these limits (very bright ones); none is rotated (0.09 at most).
_FAR = 4.5  # robust standard deviations
_ROTATED = 0.1  # by how much the rotated mean image must correlate better
_SMALL = 0.5  # of the side of the network's input
_LISTED = 50
_READ = 512
_COLOURED = 1000  # images that are checked for colour, at most


@dataclass(frozen=True)
class Outliers:
    """Images that differ from the rest.

    Attributes:
        n: Number of outliers.
        images: The first 50, the most extreme first: file, reason and value.
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


def find_outliers(data: Dataset, workers: int) -> Outliers:
    """Find dark, bright, blurred, inverted, rotated, different, narrow, small and coloured images.

    The data set itself defines what is normal: median and median absolute deviation.
    """
    splits = [split for split in (data.train, data.val, data.test) if split]
    files = [file for split in splits for file in split.files]
    mean = _mean_image(data.train)
    measures = np.concatenate([_measures(split, mean) for split in splits])
    sizes = np.concatenate([split.cache.sizes[split.rows] for split in splits]).astype(np.float64)
    found = [*_by_pixels(measures), *_by_size(sizes, data.train.cache.shape[:2])]
    if not data.audit.colour:
        rows = np.concatenate([split.rows for split in splits])
        contents = [data.train.cache.sha256[row] for row in rows]
        paths = [data.root / file for file in files]
        found += _coloured([*zip(paths, contents, strict=True)], workers)
    worst: dict[int, tuple[str, float, float]] = {}
    for i, reason, value, excess in found:
        if excess > worst.get(i, ("", 0.0, -1.0))[2]:
            worst[i] = (reason, value, excess)
    order = sorted(worst, key=lambda i: (-worst[i][2], files[i]))
    return Outliers(len(order), tuple((files[i], *worst[i][:2]) for i in order[:_LISTED]))


_Found = tuple[int, str, float, float]  # index, reason, value, excess over the limit


def _mean_image(train: Split) -> FloatArray:
    chosen = evenly(len(train), _READ)
    return np.asarray(features.small(train.pixels_8bit(chosen)).mean(axis=0, dtype=np.float64))


def _measures(split: Split, mean: FloatArray) -> FloatArray:
    """Return grey, contrast, sharpness, correlation with the mean image and it rotated, (n, 5)."""
    rotated = [mean[::-1], *(np.rot90(mean, quarter) for quarter in (1, 2, 3))]
    rows = []
    for start in range(0, len(split), _READ):
        indices = np.arange(start, min(start + _READ, len(split)))
        x = features.small(split.pixels_8bit(indices)).astype(np.float64)
        flat = x.reshape(len(x), -1)
        edges = np.stack([ndimage.laplace(image).std() for image in x])
        contrast = flat.std(axis=1)
        other = np.max([_correlation(x, each) for each in rotated], axis=0)
        correlations = [_correlation(x, mean), other]
        sharpness = np.log((edges + 0.1) / (contrast + 1))
        rows.append(np.column_stack([flat.mean(axis=1), contrast, sharpness, *correlations]))
    return np.concatenate(rows)


def _correlation(images: FloatArray, mean: FloatArray) -> FloatArray:
    a = images.reshape(len(images), -1)
    a, b = a - a.mean(axis=1, keepdims=True), (mean - mean.mean()).ravel()
    length = np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b), 1e-9)
    return np.asarray(a @ b / length)


def _robust_z(values: FloatArray, floor: float) -> FloatArray:
    """Return robust z scores (median, MAD); ``floor`` is the minimum standard deviation."""
    median = np.median(values)
    return np.asarray((values - median) / max(1.4826 * np.median(abs(values - median)), floor))


def _by_pixels(measures: FloatArray) -> list[_Found]:
    grey, contrast, sharpness, upright, rotated = measures.T
    z_grey, z_contrast = _robust_z(grey, 8), _robust_z(contrast, 4)
    z_sharpness = _robust_z(sharpness, 0.1)
    # Fisher's transformation, so that correlations near 1 have a similar spread.
    z_upright = _robust_z(np.arctanh(np.clip(upright, -0.999, 0.999)), 0.1)
    rules = [
        ("very dark", grey, -z_grey - _FAR),
        ("very bright", grey, z_grey - _FAR),
        ("hardly any contrast", contrast, -z_contrast - _FAR),
        ("blurred", sharpness, -z_sharpness - _FAR),
    ]
    if float(np.median(upright)) > 0.3:  # images are similar enough to have a usual orientation
        inverted = -upright - 0.3
        turned = rotated - np.maximum(upright, 0) - _ROTATED
        explained = (inverted > 0) | (turned > 0)
        rules += [
            ("inverted: light where others are dark", upright, inverted),
            ("perhaps upside down or rotated", rotated, turned),
            ("unlike the others", upright, np.where(explained, -1, -z_upright - _FAR)),
        ]
    return [
        (int(i), reason, float(values[i]), float(excess[i]) + 1)
        for reason, values, excess in rules
        for i in np.flatnonzero(excess > 0)
    ]


def _by_size(sizes: FloatArray, side: Sequence[int]) -> list[_Found]:
    aspect = np.log(sizes[:, 1] / sizes[:, 0])
    z_aspect = abs(_robust_z(aspect, 0.1))
    scale = np.minimum(sizes[:, 0] / side[0], sizes[:, 1] / side[1])
    found = [
        (int(i), "unusual aspect ratio", float(np.exp(aspect[i])), float(z_aspect[i]) - 5)
        for i in np.flatnonzero(z_aspect > _FAR)
    ]
    found += [
        (int(i), "smaller than half of the network's input", float(scale[i]), 1.0)
        for i in np.flatnonzero(scale < _SMALL)
    ]
    return found


def _coloured(files: Sequence[tuple[Path, str]], workers: int) -> list[_Found]:
    """Check up to 1,000 files, each given with its sha256, for colour."""
    chosen = evenly(len(files), _COLOURED)
    with DecoderPool(workers) as pool:
        images = decode_again(pool, [files[i] for i in chosen], COLOUR_CHECK_SIZE, colour=True)
        coloured = [shows_colour(pixels) for pixels in images]
    return [
        (int(i), "in colour among grey images", 1.0, 2.0)
        for i, flag in zip(chosen, coloured, strict=True)
        if flag
    ]
