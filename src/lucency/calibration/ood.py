"""Whether an image is of the kind that the network was trained on: the out-of-distribution detector.

Three views, of which the worst counts:

    features    Mahalanobis' distance of the network's pooled features from the nearest class, with
                one covariance for all classes (Lee et al. 2018)
    image     the same distance of the image itself, small and freed of its tone: within the
                principal components of the training images and from them (Moghaddam &
                Pentland 1997)
    posture     by how much that distance would shrink if the image were turned, upended or
                inverted: an image of the right kind is nearest as it is

Nothing in it is about one kind of image. Where images have no top, as under a microscope,
posture tells nothing apart, and as validation says where "too far" begins, nothing is lost by it.
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

RATE = 0.01  # share of images of the right kind that are called out of distribution
VIEWS = ("features", "image", "posture")
_SIDE = 16  # of the small image: what is shown, not how it was made
_MOST_AXES = {"features": 128, "image": 16}  # further directions share one mean variance
_CHUNK = 64  # images made small at once
_MOST_CLASSES = 10_000
_SOFTEST = 1.0  # grey levels: less contrast than this is rounding, not to be blown up
_FIELDS = ("means", "axes", "variances", "rest")


@dataclass(frozen=True, eq=False)
class _Cloud:
    """Where training images lie: around class means, alike in every class.

    Attributes:
        means: (classes, d).
        axes: (k, d) orthonormal directions of largest variance.
        variances: (k,) along them.
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
            apart = points - mean
            along = apart @ self.axes.T.astype(np.float64)
            off = np.maximum((apart**2).sum(1) - (along**2).sum(1), 0.0)
            nearest = np.minimum(nearest, (along**2 / self.variances).sum(1) + off / self.rest)
        return np.asarray(np.sqrt(nearest))


def _cloud(points: FloatArray, labels: IntArray, most_axes: int) -> _Cloud:
    from sklearn.covariance import ledoit_wolf

    present, place = np.unique(labels, return_inverse=True)
    means = np.stack([points[labels == k].mean(0) for k in present])
    # Ledoit & Wolf (2004): well-conditioned also with fewer images than features.
    covariance, _ = ledoit_wolf(points - means[place], assume_centered=True)
    variances, axes = (x[..., ::-1] for x in np.linalg.eigh(covariance))
    # A direction without any variance would make the smallest deviation infinitely far.
    variances = np.maximum(variances, max(1e-6 * float(variances[0]), 1e-12))
    kept = min(most_axes, len(variances))
    rest = variances[kept:].mean() if kept < len(variances) else variances[-1]
    parts = (means, axes[:, :kept].T, variances[:kept], np.array([rest]))
    return _Cloud(*(np.ascontiguousarray(part, np.float32) for part in parts))


@dataclass(frozen=True, eq=False)
class OODDetector:
    """The fitted detector.

    Attributes:
        features: Where the pooled features of training images lie.
        image: Where the small training images lie.
        limits: (3,) the distance of each view in ``VIEWS`` from which an image is out.
    """

    features: _Cloud
    image: _Cloud
    limits: Float32

    def views(self, features: ArrayLike, pixels: NDArray[Any]) -> FloatArray:
        """Say how far out images are in each view.

        Args:
            features: (n, d) pooled features of the network (its layer "pooled").
            pixels: (n, height, width, channels), 0 to 255 as the network gets them, or what
                ``thumbnails`` made of them.

        Returns:
            (n, 3) float64, at least 0, in the order of ``VIEWS``; above 1 is out of distribution.

        Raises:
            ClassifierError: The shapes do not fit the check, or a feature is not finite.
        """
        given = np.asarray(features, np.float64)
        small = thumbnails(pixels)
        expected = self.features.means.shape[1], self.image.means.shape[1]
        if given.shape != (len(small), expected[0]) or small[0:1].size not in (0, expected[1]):
            raise ClassifierError(
                f"the check expects {expected[0]} features and {expected[1] // _SIDE**2} channels "
                f"of each image. Received: features {given.shape}, pixels {pixels.shape}."
            )
        _check_finite(given)
        return np.asarray(_distances(self.features, self.image, given, small) / self.limits)

    def score(self, features: ArrayLike, pixels: NDArray[Any]) -> FloatArray:
        """Return the worst of ``views``, (n,) float64; above 1 is out of distribution."""
        return np.asarray(self.views(features, pixels).max(axis=1))

    def arrays(self) -> dict[str, Float32]:
        """Return everything as float32 arrays by name, for safetensors; below 1 MiB as a rule."""
        clouds = {"features": self.features, "image": self.image}
        named = {f"{name}.{x}": getattr(c, x) for name, c in clouds.items() for x in _FIELDS}
        return {**named, "limits": self.limits}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Check what ``arrays`` gave and return the check.

        Args:
            arrays: Float32 arrays by name.

        Returns:
            The same detector.

        Raises:
            ClassifierError: An array is missing, misshapen, not finite or out of range.
        """
        names = [f"{name}.{x}" for name in ("features", "image") for x in _FIELDS] + ["limits"]
        if foreign := sorted(arrays.keys() - set(names)):
            raise _damaged(f"{foreign[0][:40]!r} is no array of it")
        for name in names:
            array = arrays.get(name)
            if array is None or array.dtype != np.float32 or not np.isfinite(array).all():
                raise _damaged(f"{name} is missing, not float32 or not finite")
        features, image = (
            _Cloud(*(arrays[f"{name}.{x}"] for x in _FIELDS)) for name in ("features", "image")
        )
        for name, cloud in (("features", features), ("image", image)):
            _check_cloud(name, cloud)
        if image.means.shape[1] not in (_SIDE**2, 3 * _SIDE**2):
            raise _damaged(f"image.means has {image.means.shape[1]} columns")
        limits = arrays["limits"]
        if limits.shape != (len(VIEWS),) or (limits <= 0).any():
            raise _damaged(f"limits must be {len(VIEWS)} numbers above 0")
        return cls(features, image, limits)


def _check_cloud(name: str, cloud: _Cloud) -> None:
    if cloud.means.ndim != 2 or cloud.axes.ndim != 2 or cloud.variances.ndim != 1:
        raise _damaged(f"the arrays of {name} have wrong shapes")
    (classes, d), (k, width) = cloud.means.shape, cloud.axes.shape
    if not 0 < classes <= _MOST_CLASSES or not 0 < k <= d or width != d:
        raise _damaged(f"the axes of {name} do not fit its means")
    if cloud.variances.shape != (k,) or cloud.rest.shape != (1,):
        raise _damaged(f"the variances of {name} do not fit its axes")
    if (cloud.variances <= 0).any() or (cloud.rest <= 0).any():
        raise _damaged(f"the variances of {name} are not all above 0")


def _damaged(what: str) -> ClassifierError:
    return ClassifierError(
        f"The out-of-distribution detector is damaged: {what}. Restore its file from the training run, "
        "or train again."
    )


def fit(
    features: ArrayLike,
    labels: ArrayLike,
    pixels: NDArray[Any],
    val_features: ArrayLike,
    val_pixels: NDArray[Any],
    val_groups: Sequence[str] | None = None,
) -> OODDetector:
    """Fit the check to training images and let validation say from where on is out.

    Of images of new patients of the same kind, about ``RATE`` are out. The limit is the conformal
    quantile of validation: every patient weighs the same, its images share that weight, and one
    patient more is taken to lie infinitely far (Dunn, Wasserman & Ramdas 2022). Fewer than 99
    patients cannot bound so small a rate; the limit is then the farthest image.

    Args:
        features: (n, d) pooled features of training images that are not augmented; n >= 2.
        labels: (n,) their true class indices.
        pixels: (n, height, width, channels), 0 to 255 as the network gets them, or what
            ``thumbnails`` made of them.
        val_features: (m, d) of validation; m >= 1.
        val_pixels: (m, height, width, channels).
        val_groups: m patients, "" for an image that stands alone; None when all do.

    Returns:
        the check.

    Raises:
        DataError: Too few images, or not as many features and labels as images.
        ClassifierError: A feature is not finite.
    """
    known, truth = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    held = np.asarray(val_features, np.float64)
    counts = (len(known), len(truth), len(pixels)), (len(held), len(val_pixels))
    if min(counts[0]) < 2 or min(counts[1]) < 1 or any(len(set(each)) > 1 for each in counts):
        raise DataError(
            "the check needs at least 2 training images and 1 of validation, each with features. "
            f"Received: {counts[0]} features, labels and images of train, {counts[1]} of "
            "validation."
        )
    _check_finite(known)
    _check_finite(held)
    around = _cloud(known, truth, _MOST_AXES["features"])
    shown = _toneless(thumbnails(pixels))
    image = _cloud(shown, np.zeros(len(shown), np.int64), _MOST_AXES["image"])
    distances = _distances(around, image, held, thumbnails(val_pixels))
    shares = _shares_of_patients(val_groups or [""] * len(held))
    limits = np.array([_limit(column, shares) for column in distances.T])
    limits = np.maximum(limits, 1e-6)  # validation may lie exactly on the means
    limits *= _limit((distances / limits).max(axis=1), shares)
    # Rounded up, so that the image that sets a limit is not beyond it.
    return OODDetector(around, image, np.nextafter(limits.astype(np.float32), np.float32(np.inf)))


def _shares_of_patients(groups: Sequence[str]) -> FloatArray:
    """Return 1 / how many images its patient has, for each image; their sum is K patients."""
    images = Counter(name for name in groups if name)
    return np.array([1 / (images[name] or 1) for name in groups])


def _limit(distances: FloatArray, shares: FloatArray) -> float:
    order = np.argsort(distances, kind="stable")
    reached = np.cumsum(shares[order])
    place = np.searchsorted(reached, (round(reached[-1]) + 1) * (1 - RATE) - 1e-9)
    return float(distances[order[min(int(place), len(order) - 1)]])


def _check_finite(features: FloatArray) -> None:
    if not np.isfinite(features).all():
        raise ClassifierError(
            "The network gives features that are not finite. Training has diverged; lower the "
            "learning rate."
        )


def thumbnails(pixels: NDArray[Any]) -> Float32:
    """Make images small by averaging areas; small ones stay as they are.

    Args:
        pixels: (n, height, width, channels), 0 to 255.

    Returns:
        (n, 16, 16, channels) float32.
    """
    n, height, width, channels = pixels.shape
    down, across = (_shares(size) for size in (height, width))
    small = np.empty((n, _SIDE, _SIDE, channels), np.float32)
    for start in range(0, n, _CHUNK):
        part = pixels[start : start + _CHUNK].astype(np.float32)
        rows = np.tensordot(part, down, (1, 1))  # (n, width, channels, 16)
        small[start : start + _CHUNK] = np.tensordot(rows, across, (1, 1)).transpose(0, 2, 3, 1)
    return small


def _shares(size: int) -> Float32:
    """Return how much of each of ``size`` pixels goes into each of 16 areas, rows sum to 1."""
    edges = np.linspace(0, size, _SIDE + 1)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    overlap = np.maximum(overlap, 0.0)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)


def _toneless(small: Float32) -> FloatArray:
    """Return images (n, 16 * 16 * channels) with mean 0 and, given contrast, variance 1."""
    flat = small.reshape(len(small), math.prod(small.shape[1:])).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    return np.asarray(flat / np.maximum(flat.std(1, keepdims=True), _SOFTEST))


def _altered(toneless: FloatArray) -> Iterator[FloatArray]:
    """Yield the images upside down, turned by 90, 180 and 270 degrees, and inverted."""
    square = toneless.reshape(len(toneless), _SIDE, _SIDE, toneless.shape[1] // _SIDE**2)
    yield square[:, ::-1].reshape(toneless.shape)
    for quarters in (1, 2, 3):
        yield np.rot90(square, quarters, (1, 2)).reshape(toneless.shape)
    yield -toneless


def _distances(around: _Cloud, image: _Cloud, features: FloatArray, small: Float32) -> FloatArray:
    """Return the three distances of each image, (n, 3)."""
    shown = _toneless(small)
    plain = image.distance(shown)
    altered = np.min([image.distance(each) for each in _altered(shown)], axis=0)
    posture = plain / np.maximum(altered, 1e-6)
    return np.stack([around.distance(features), plain, posture], axis=1)
