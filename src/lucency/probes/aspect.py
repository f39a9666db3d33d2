"""Whether the scale of the axes separates the classes: the aspect ratio, seen after resizing.

Images are resized to one shape whatever their own, so that an image that was wide is squeezed, and
its detail is denser from left to right than from top to bottom. Where the aspect ratio depends on
the class, a network can learn this ratio instead of the content.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lucency.dataset import Split, evenly
from lucency.metrics import Estimate, FloatArray
from lucency.probes import features
from lucency.probes.score import beyond_chance, cross_validated

ASPECT = ("aspect ratio", *(f"vertical detail at {step} px" for step in (1, 2, 4)))
LEAST_ASPECT = 0.7  # AUROC from which on a network would rely on it
_MOST = 3000  # images
_READ = 512  # images read at a time


def aspect(images: NDArray[np.uint8], ratio: FloatArray) -> FloatArray:
    """Return features of the scale of both axes.

    Args:
        images: (k, 64, 64), grey.
        ratio: (k,) natural logarithm of width over height of the files.

    Returns:
        (k, 4) as in ``ASPECT``: the logarithm of the aspect ratio, and that of the ratio of
        vertical to horizontal differences at three distances.
    """
    x = images.astype(np.float64)
    detail = [
        np.log(
            (abs(x[:, step:] - x[:, :-step]).mean(axis=(1, 2)) + 0.1)
            / (abs(x[:, :, step:] - x[:, :, :-step]).mean(axis=(1, 2)) + 0.1)
        )
        for step in (1, 2, 4)
    ]
    return np.column_stack([ratio, *detail])


def aspect_auroc(split: Split, seed: int) -> tuple[Estimate, bool]:
    """Return how well the scale of the axes alone separates the classes of a split.

    Args:
        split: Up to 3,000 of its images are used, evenly over the split.
        seed: Of the folds.

    Returns:
        The AUROC by cross-validation over groups, and whether a network would rely on it: it
        exceeds chance and 0.7.
    """
    chosen = evenly(len(split), _MOST)
    images = np.concatenate([
        features.small(split.pixels_8bit(chosen[start : start + _READ]))
        for start in range(0, len(chosen), _READ)
    ])  # fmt: skip
    height, width = split.cache.sizes[np.asarray(split.rows)[chosen]].T
    values = aspect(images, np.log(np.maximum(width, 1) / np.maximum(height, 1)))
    groups = [split.groups[i] for i in chosen]
    auroc = cross_validated(values, split.labels[chosen], groups, seed, trees=False)
    above = auroc.value >= LEAST_ASPECT
    return auroc, above and beyond_chance(auroc.value, split.labels[chosen], groups)
