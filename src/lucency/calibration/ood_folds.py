"""The OOD detector of a classifier of several networks, one for each fold, in one.

Images that a network was trained on are nearer to the means than new ones, so a limit set on them
would reject too many. Each image is therefore measured by the network that has not seen it, from
the images that this network was trained on. A new image is new to all k networks. Its squared
distance is the sum of theirs: each has its own features, and they are taken as independent. The
mean of k distances has thinner tails than one of them, so k times the limit of the squared distance
from a single network is rather too large: fewer images than promised are rejected, not more.

Where the classifier is instead one more network of the same training, on the images of all folds,
its distances take the place of theirs, with the same limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from lucency.calibration.ood import (
    Distribution,
    OODDetector,
    check_finite,
    distances_of,
    limits_of,
    of_training_images,
    thumbnails,
)
from lucency.metrics import FloatArray, IntArray


class Fitted(NamedTuple):
    """Distributions of the training images of each fold, and of all of them.

    Attributes:
        folds: Of features and of thumbnails, for each fold.
        features: Of the features of the classifier.
        image: Of all thumbnails.
        of_folds: Networks whose features are side by side; 1 where all folds share them.
        joined: Whether the features of the classifier are those of all networks, side by side.
    """

    folds: tuple[tuple[Distribution, Distribution], ...]
    features: Distribution
    image: Distribution
    of_folds: int
    joined: bool

    def distances(
        self, features: ArrayLike, pixels: NDArray[Any], held_out: IntArray
    ) -> FloatArray:
        """Return the three distances of each image, (n, 3), from the network that is new to it.

        Args:
            features: (n, k * d) of the networks of k folds, side by side; or (n, d) of the one that
                they share.
            pixels: (n, height, width, channels), or their thumbnails.
            held_out: (n,) the fold of each image.
        """
        points, small = np.asarray(features, np.float64), thumbnails(pixels)
        check_finite(points)
        found = np.zeros((len(points), 3))
        for k, fitted in enumerate(self.folds):
            held = held_out == k
            own = points[held, _columns(points, self.of_folds, k)]
            found[held] = distances_of(*fitted, own, small[held])
        if self.joined:
            found[:, 0] *= np.sqrt(len(self.folds))
        return found

    def detector(self, distances: FloatArray, groups: Iterable[str]) -> OODDetector:
        """Return the detector with limits from out-of-fold distances (n, 3) of n patients."""
        return OODDetector(self.features, self.image, limits_of(distances, [*groups]))


def fit(
    features: ArrayLike,
    labels: IntArray,
    pixels: NDArray[Any],
    held_out: IntArray,
    *,
    final: ArrayLike | None = None,
) -> Fitted:
    """Fit distributions to the images that each network was trained on.

    Args:
        features: (n, k * d) pooled features of the networks of k folds, side by side; or (n, d) of
            the one that they share.
        labels: (n,) true class indices; each class is in two folds at least.
        pixels: (n, height, width, channels), or their thumbnails.
        held_out: (n,) the fold of each image, 0 to k - 1.
        final: (n, d) features of the classifier, where it is not all networks side by side.
    """
    points, small = np.asarray(features, np.float64), thumbnails(pixels)
    count = int(held_out.max()) + 1
    whole = points if final is None else np.asarray(final, np.float64)
    for each in (points, whole):
        check_finite(each)
    of_folds = count if final is None else points.shape[1] // whole.shape[1]
    folds = tuple(
        of_training_images(
            points[held_out != k, _columns(points, of_folds, k)],
            labels[held_out != k],
            small[held_out != k],
        )
        for k in range(count)
    )
    if final is None:
        _, of_images = of_training_images(points[:, :1], labels, small)
        of_features = _joined([of_features for of_features, _ in folds])
        return Fitted(folds, of_features, of_images, of_folds, joined=True)
    return Fitted(folds, *of_training_images(whole, labels, small), of_folds, joined=False)


def _columns(points: FloatArray, of_folds: int, fold: int) -> slice:
    """Return the columns of the features of a fold's network."""
    width = points.shape[1] // of_folds
    return slice(fold * width, (fold + 1) * width) if of_folds > 1 else slice(None)


def _joined(networks: list[Distribution]) -> Distribution:
    """Return the distribution of all features side by side: its squared distances are sums."""
    bases, variances = [], []
    for each in networks:
        others = linalg.null_space(each.axes.astype(np.float64), rcond=1e-3).T
        bases.append(np.concatenate([each.axes, others]))
        variances.append(np.concatenate([each.variances, np.repeat(each.rest, len(others))]))
    arrays = (
        np.concatenate([each.means for each in networks], axis=1),
        linalg.block_diag(*bases),
        np.concatenate(variances),
        np.mean([each.rest for each in networks], axis=0),  # of no direction
    )
    return Distribution(*(np.ascontiguousarray(array, np.float32) for array in arrays))
