"""The out-of-distribution (OOD) detector: whether an image resembles the training images.

It computes three distances, of which the largest counts:

    features       the Mahalanobis distance of the network's pooled features from the nearest
                   class, with one covariance for all classes (Lee et al. 2018)
    image          the Mahalanobis distance of the image itself, at 16 x 16 pixels and without its
                   brightness and contrast: within the principal components of the training images
                   and from them (Moghaddam & Pentland 1997)
    orientation    how much that distance would shrink if the image were rotated, upside down or
                   inverted: an image in distribution is nearest as it is

Nothing here depends on the kind of image. If images have no orientation, as under a microscope,
the third distance does not discriminate; because limits are set on validation, it does no harm.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lucency.errors import ClassifierError, DataError
from lucency.metrics import FloatArray, IntArray

Float32 = NDArray[np.float32]

RATE = 0.01  # share of images in distribution that are detected as out of distribution
VIEWS = ("features", "image", "orientation")
_SIDE = 16  # pixels of a thumbnail, which shows the content but not how the image was made
_MAX_AXES = {"features": 128, "image": 16}  # further directions share one mean variance
_CHUNK = 64  # images resized at once
_MAX_CLASSES = 10_000
_MIN_CONTRAST = 1.0  # grey levels; a lower contrast is rounding and is not amplified
_FIELDS = ("means", "axes", "variances", "rest")


@dataclass(frozen=True, eq=False)
class Distribution:
    """A normal distribution around each class mean, with the same covariance for all classes.

    Attributes:
        means: (classes, d).
        axes: (k, d) orthonormal directions of largest variance.
        variances: (k,) along the axes.
        rest: (1,) mean variance along all other directions.
    """

    means: Float32
    axes: Float32
    variances: Float32
    rest: Float32

    def distance(self, points: FloatArray) -> FloatArray:
        """Return the distance of each point (n, d) from the nearest mean in standard deviations."""
        nearest = np.full(len(points), np.inf)
        for mean in self.means.astype(np.float64):
            centred = points - mean
            along = centred @ self.axes.T.astype(np.float64)
            off = np.maximum((centred**2).sum(1) - (along**2).sum(1), 0.0)
            nearest = np.minimum(nearest, (along**2 / self.variances).sum(1) + off / self.rest)
        return np.asarray(np.sqrt(nearest))


def distribution(points: FloatArray, labels: IntArray, max_axes: int) -> Distribution:
    """Fit a distribution to points (n, d) with these classes."""
    present, index = np.unique(labels, return_inverse=True)
    means = np.stack([points[labels == k].mean(0) for k in present])
    variances, axes, total = _principal(points - means[index])
    # A direction without any variance would make every deviation infinitely large.
    least = max(1e-6 * float(variances[0]), 1e-12)
    variances = np.maximum(variances, least)
    kept, d = min(max_axes, len(variances)), points.shape[1]
    rest = max((total - variances[:kept].sum()) / (d - kept), least) if kept < d else variances[-1]
    arrays = (means, axes[:kept], variances[:kept], np.array([rest]))
    return Distribution(*(np.ascontiguousarray(array, np.float32) for array in arrays))


def _principal(centred: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return variances, the largest first, their axes (k, d), and the sum of all variances.

    They are those of the covariance of Ledoit & Wolf (2004): well-conditioned even with fewer
    images than features, where all other directions have one variance.
    """
    from sklearn.covariance import ledoit_wolf, ledoit_wolf_shrinkage
    from threadpoolctl import threadpool_limits

    n, d = centred.shape
    with threadpool_limits(1, "blas"):  # several threads lose much beside other processes
        if n >= d:
            covariance, _ = ledoit_wolf(centred, assume_centered=True)
            variances, axes = np.linalg.eigh(covariance)
            return variances[::-1], axes.T[::-1], float(variances.sum())
        shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
        _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    variances = sizes**2 / n
    total = float(variances.sum())
    return (1 - shrinkage) * variances + shrinkage * total / d, axes, total


@dataclass(frozen=True, eq=False)
class OODDetector:
    """The fitted detector.

    Attributes:
        features: Distribution of the pooled features of training images.
        image: Distribution of the thumbnails of training images.
        limits: (3,) the largest distance in distribution, for each of ``VIEWS``.
    """

    features: Distribution
    image: Distribution
    limits: Float32

    def views(self, features: ArrayLike, pixels: NDArray[Any]) -> FloatArray:
        """Return the three distances of each image, relative to their limits.

        Args:
            features: (n, d) pooled features of the network (its layer "pooled").
            pixels: (n, height, width, channels), 0 to 255 as the network gets them, or their
                ``thumbnails``.

        Returns:
            (n, 3) float64, at least 0, in the order of ``VIEWS``; above 1 is out of distribution.

        Raises:
            ClassifierError: The shapes do not fit the detector, or a feature is not finite.
        """
        points = np.asarray(features, np.float64)
        small = thumbnails(pixels)
        expected = self.features.means.shape[1], self.image.means.shape[1]
        if points.shape != (len(small), expected[0]) or small[0:1].size not in (0, expected[1]):
            raise ClassifierError(
                f"The OOD detector expects {expected[0]} features and "
                f"{expected[1] // _SIDE**2} channels of each image. Received: features "
                f"{points.shape}, pixels {pixels.shape}."
            )
        check_finite(points)
        return np.asarray(distances_of(self.features, self.image, points, small) / self.limits)

    def score(self, features: ArrayLike, pixels: NDArray[Any]) -> FloatArray:
        """Return the OOD scores, the largest of ``views``, (n,); above 1 is out of distribution."""
        return np.asarray(self.views(features, pixels).max(axis=1))

    def arrays(self) -> dict[str, Float32]:
        """Return everything as float32 arrays by name, for safetensors; usually below 1 MiB."""
        fitted = {"features": self.features, "image": self.image}
        named = {f"{name}.{x}": getattr(d, x) for name, d in fitted.items() for x in _FIELDS}
        return {**named, "limits": self.limits}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Check the output of ``arrays`` and return the detector.

        Args:
            arrays: Float32 arrays by name.

        Returns:
            The same detector.

        Raises:
            ClassifierError: An array is missing, misshapen, not finite or out of range.
        """
        names = [f"{name}.{x}" for name in ("features", "image") for x in _FIELDS] + ["limits"]
        if unknown := sorted(arrays.keys() - set(names)):
            raise _damaged(f"it has the unknown array {unknown[0][:40]!r}")
        for name in names:
            array = arrays.get(name)
            if array is None or array.dtype != np.float32 or not np.isfinite(array).all():
                raise _damaged(f"{name} is missing, not float32 or not finite")
        features, image = (
            Distribution(*(arrays[f"{name}.{x}"] for x in _FIELDS))
            for name in ("features", "image")
        )
        for name, distribution in (("features", features), ("image", image)):
            _check_shapes(name, distribution)
        if image.means.shape[1] not in (_SIDE**2, 3 * _SIDE**2):
            raise _damaged(f"image.means has {image.means.shape[1]} columns")
        limits = arrays["limits"]
        if limits.shape != (len(VIEWS),) or (limits <= 0).any():
            raise _damaged(f"limits must be {len(VIEWS)} numbers above 0")
        return cls(features, image, limits)


def _check_shapes(name: str, fitted: Distribution) -> None:
    if fitted.means.ndim != 2 or fitted.axes.ndim != 2 or fitted.variances.ndim != 1:
        raise _damaged(f"the arrays of {name} have wrong shapes")
    (classes, d), (k, width) = fitted.means.shape, fitted.axes.shape
    if not 0 < classes <= _MAX_CLASSES or not 0 < k <= d or width != d:
        raise _damaged(f"the axes of {name} do not fit its means")
    if fitted.variances.shape != (k,) or fitted.rest.shape != (1,):
        raise _damaged(f"the variances of {name} do not fit its axes")
    if (fitted.variances <= 0).any() or (fitted.rest <= 0).any():
        raise _damaged(f"the variances of {name} are not all above 0")


def _damaged(what: str) -> ClassifierError:
    return ClassifierError(
        f"The out-of-distribution detector is damaged: {what}. Restore its file from the training "
        "run, or train again."
    )


def fit(
    features: ArrayLike,
    labels: ArrayLike,
    pixels: NDArray[Any],
    val_features: ArrayLike,
    val_pixels: NDArray[Any],
    val_groups: Sequence[str] | None = None,
) -> OODDetector:
    """Fit the detector to training images, and set its limits on validation.

    About ``RATE`` of the images of new patients from the same distribution exceed the limit. It is
    the conformal quantile of validation: every patient has the same weight, shared by its images,
    and one additional patient has an infinite distance (Dunn, Wasserman & Ramdas 2022). Fewer than
    99 patients cannot bound so small a rate; the limit is then the largest distance.

    Args:
        features: (n, d) pooled features of training images that are not augmented; n >= 2.
        labels: (n,) their true class indices.
        pixels: (n, height, width, channels), 0 to 255 as the network gets them, or their
            ``thumbnails``.
        val_features: (m, d) of validation; m >= 1.
        val_pixels: (m, height, width, channels).
        val_groups: m patients, "" for an image without one; None if none has one.

    Returns:
        The detector.

    Raises:
        DataError: There are too few images, or features or labels for another number of images.
        ClassifierError: A feature is not finite.
    """
    train, truth = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    val = np.asarray(val_features, np.float64)
    counts = (len(train), len(truth), len(pixels)), (len(val), len(val_pixels))
    if min(counts[0]) < 2 or min(counts[1]) < 1 or any(len(set(each)) > 1 for each in counts):
        raise DataError(
            "The OOD detector needs at least 2 training images and 1 validation image, each with "
            f"features. Received: {counts[0]} features, labels and images of train, {counts[1]} of "
            "validation."
        )
    check_finite(train)
    check_finite(val)
    of_features, of_images = of_training_images(train, truth, thumbnails(pixels))
    distances = distances_of(of_features, of_images, val, thumbnails(val_pixels))
    return OODDetector(of_features, of_images, limits_of(distances, val_groups))


def of_training_images(
    features: FloatArray, labels: IntArray, small: Float32
) -> tuple[Distribution, Distribution]:
    """Return the distributions of features (n, d) and of thumbnails of training images."""
    of_features = distribution(features, labels, _MAX_AXES["features"])
    flat = _standardised(small)
    return of_features, distribution(flat, np.zeros(len(flat), np.int64), _MAX_AXES["image"])


def limits_of(distances: FloatArray, groups: Sequence[str] | None) -> Float32:
    """Return the limit of each distance (n, 3) that about ``RATE`` of new patients exceed."""
    weights = _patient_weights(groups or [""] * len(distances))
    limits = np.array([_limit(column, weights) for column in distances.T])
    limits = np.maximum(limits, 1e-6)  # held-out images may be equal to the means
    limits *= _limit((distances / limits).max(axis=1), weights)
    # Rounded up, so that the image that sets a limit does not exceed it.
    return np.asarray(np.nextafter(limits.astype(np.float32), np.float32(np.inf)))


def _patient_weights(groups: Sequence[str]) -> FloatArray:
    """Return 1 / (number of images of its patient) for each image; the sum is K patients."""
    images = Counter(name for name in groups if name)
    return np.array([1 / (images[name] or 1) for name in groups])


def _limit(distances: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(distances, kind="stable")
    cumulative = np.cumsum(weights[order])
    index = np.searchsorted(cumulative, (round(cumulative[-1]) + 1) * (1 - RATE) - 1e-9)
    return float(distances[order[min(int(index), len(order) - 1)]])


def check_finite(features: FloatArray) -> None:
    """Raise ``ClassifierError`` where a feature is not finite."""
    if not np.isfinite(features).all():
        raise ClassifierError(
            "The features of the network are not finite. Training has diverged; lower the "
            "learning rate."
        )


def thumbnails(pixels: NDArray[Any]) -> Float32:
    """Resize images to 16 x 16 pixels by averaging areas; thumbnails are returned unchanged.

    Args:
        pixels: (n, height, width, channels), 0 to 255.

    Returns:
        (n, 16, 16, channels) float32.
    """
    n, height, width, channels = pixels.shape
    down, across = (_area_weights(size) for size in (height, width))
    small = np.empty((n, _SIDE, _SIDE, channels), np.float32)
    for start in range(0, n, _CHUNK):
        chunk = pixels[start : start + _CHUNK].astype(np.float32)
        rows = np.tensordot(chunk, down, (1, 1))  # (n, width, channels, 16)
        small[start : start + _CHUNK] = np.tensordot(rows, across, (1, 1)).transpose(0, 2, 3, 1)
    return small


def _area_weights(size: int) -> Float32:
    """Return the weight of each of ``size`` pixels in each of 16 areas, rows sum to 1."""
    edges = np.linspace(0, size, _SIDE + 1)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    overlap = np.maximum(overlap, 0.0)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)


def _standardised(small: Float32) -> FloatArray:
    """Return images (n, 16 * 16 * channels) with mean 0 and variance 1, unless contrast is low."""
    flat = small.reshape(len(small), math.prod(small.shape[1:])).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(flat.std(1, keepdims=True), _MIN_CONTRAST))


def _transformed(flat: FloatArray) -> Iterator[FloatArray]:
    """Yield the images upside down, rotated by 90, 180 and 270 degrees, and inverted."""
    square = flat.reshape(len(flat), _SIDE, _SIDE, flat.shape[1] // _SIDE**2)
    yield square[:, ::-1].reshape(flat.shape)
    for quarters in (1, 2, 3):
        yield np.rot90(square, quarters, (1, 2)).reshape(flat.shape)
    yield -flat


def distances_of(
    of_features: Distribution, of_images: Distribution, features: FloatArray, small: Float32
) -> FloatArray:
    """Return the three distances of each image, (n, 3)."""
    flat = _standardised(small)
    plain = of_images.distance(flat)
    transformed = np.min([of_images.distance(each) for each in _transformed(flat)], axis=0)
    orientation = plain / np.maximum(transformed, 1e-6)
    return np.stack([of_features.distance(features), plain, orientation], axis=1)
