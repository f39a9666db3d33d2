"""The OOD detector: distances by definition, images that it accepts and images that it detects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from lucency.calibration import ood
from lucency.calibration.ood import OODDetector
from lucency.errors import ClassifierError, DataError
from lucency.metrics import FloatArray, IntArray

Arrays = dict[str, np.ndarray]


def scenes(seed: int, n: int, side: int = 32, channels: int = 1) -> np.ndarray:
    """Draw a bright ground, a dark sky with a moon on the left, and a little noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    horizon, across, height = (random.uniform(*r, (n, 1, 1)) for r in ((0.5, 0.7), (0.2, 0.35),
                                                                       (0.15, 0.3)))  # fmt: skip
    moon = np.exp(-((x - across) ** 2 + (y - height) ** 2) / 0.01)
    grey = 40 + 110 / (1 + np.exp((horizon - y) * 20)) + 90 * moon
    grey = grey * random.uniform(0.7, 1.2, (n, 1, 1)) + random.normal(0, 4, (n, side, side))
    return np.repeat(grey.clip(0, 255)[..., None], channels, axis=-1).astype(np.uint8)


def features_of(seed: int, n: int, d: int = 6) -> tuple[FloatArray, IntArray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    mixed = random.normal(size=(n, d)) @ np.random.default_rng(99).normal(size=(d, d))
    return mixed + 4 * np.eye(2, d)[labels], labels


def fitted(side: int = 32, channels: int = 1, n: int = 400, d: int = 6) -> OODDetector:
    features, labels = features_of(0, n, d)
    val_features, _ = features_of(1, 300, d)
    return ood.fit(
        features, labels, scenes(0, n, side, channels), val_features, scenes(1, 300, side, channels)
    )


@pytest.fixture(scope="module")
def detector() -> OODDetector:
    return fitted()


def test_the_view_of_features_is_mahalanobis_distance(detector: OODDetector) -> None:
    features, labels = features_of(0, 400)
    means = [features[labels == k].mean(0) for k in (0, 1)]
    centred = features - np.array(means)[labels]
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(centred).covariance_)
    new, _ = features_of(2, 20)
    found = detector.views(new, scenes(2, 20))[:, 0] * detector.limits[0]
    expected = [min(mahalanobis(x, mean, inverse) for mean in means) for x in new]
    assert found == pytest.approx(expected, rel=1e-4)


def test_directions_that_are_not_kept_share_their_mean_variance() -> None:
    # 200 features, of which 128 directions are kept: orthonormal, so the rest is what is left.
    features, labels = features_of(0, 500, 200)
    held, _ = features_of(1, 50, 200)
    found = ood.fit(features, labels, scenes(0, 500), held, scenes(1, 50))
    axes = found.features.axes.astype(float)
    assert axes.shape == (128, 200)
    assert axes @ axes.T == pytest.approx(np.eye(128), abs=1e-5)
    mean = found.features.means[0].astype(float)
    normal = np.linalg.svd(axes)[2][-1]  # a direction orthogonal to all axes
    distance = found.features.distance((mean + 3 * normal)[None])
    assert distance == pytest.approx(3 / np.sqrt(found.features.rest), rel=1e-4)


def test_validation_sets_the_limit(detector: OODDetector) -> None:
    """With 300 single images the 298th is the limit: two exceed it."""
    scores = detector.score(features_of(1, 300)[0], scenes(1, 300))
    assert (scores > 1).sum() == 2
    assert np.sort(scores)[297] == pytest.approx(1, rel=1e-4)


def test_few_images_in_distribution_are_detected(detector: OODDetector) -> None:
    """0.67 to 1 % of new images are expected; 4 % would be 5 standard errors more.

    The limit contributes a standard deviation of 0.6 %, the 2,000 images 0.2 %.
    """
    scores = detector.score(features_of(5, 2000)[0], scenes(5, 2000))
    assert (scores > 1).mean() < 0.04


@pytest.mark.parametrize(
    "alter",
    [
        lambda p: p[:, ::-1],
        lambda p: np.rot90(p, 1, (1, 2)),
        lambda p: np.rot90(p, 2, (1, 2)),
        lambda p: np.rot90(p, 3, (1, 2)),
        lambda p: 255 - p,
        lambda p: np.random.default_rng(0).integers(0, 256, p.shape, np.uint8),
        np.zeros_like,
        lambda p: np.full_like(p, 255),
    ],
    ids=["upside down", "90", "180", "270", "inverted", "noise", "black", "white"],
)
def test_images_out_of_distribution_are_detected(
    detector: OODDetector, alter: Callable[[np.ndarray], np.ndarray]
) -> None:
    """By the image alone: the features are those of images in distribution."""
    scores = detector.score(features_of(1, 100)[0], alter(scenes(1, 100)))
    assert (scores > 1).mean() >= 0.95


def test_features_out_of_distribution_are_detected(detector: OODDetector) -> None:
    features, _ = features_of(1, 50)
    views = detector.views(features + 100, scenes(1, 50))
    assert (views[:, 0] > 1).all()
    assert (detector.score(features + 100, scenes(1, 50)) == views.max(1)).all()


def test_brightness_and_contrast_do_not_matter(detector: OODDetector) -> None:
    features, _ = features_of(1, 50)
    pixels = scenes(1, 50).astype(float)
    views, darker = (detector.views(features, x) for x in (pixels, 0.6 * pixels + 20))
    assert darker == pytest.approx(views, rel=1e-3)


def test_images_without_an_orientation_are_accepted() -> None:
    """Noise looks the same in every orientation, which therefore detects few images."""
    random = np.random.default_rng(0)
    texture = random.integers(0, 256, (1200, 32, 32, 1)).astype(np.uint8)
    features, labels = features_of(0, 1200)
    found = ood.fit(
        features[:400], labels[:400], texture[:400], features[400:800], texture[400:800]
    )
    turned = np.rot90(texture[800:], 1, (1, 2))
    assert (found.score(features[800:], turned) > 1).mean() < 0.05  # 1 % expected, sd 0.7 %


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (50, 1), (10, 1)])
def test_any_size_and_colour(side: int, channels: int) -> None:
    found = fitted(side, channels)
    features = features_of(1, 40)[0]
    pixels = scenes(1, 40, side, channels)
    assert (found.score(features, pixels) > 1).mean() <= 0.1
    assert (found.score(features, pixels[:, ::-1]) > 1).mean() >= 0.95
    assert sum(array.nbytes for array in found.arrays().values()) < 2**20


def test_thumbnails_are_means_of_areas() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3)).astype(np.uint8)
    small = ood.thumbnails(pixels)
    means = pixels.reshape(3, 16, 4, 16, 2, 3).astype(float).mean((2, 4))
    assert small == pytest.approx(means, rel=1e-5)
    assert ood.thumbnails(small) == pytest.approx(small, rel=1e-6)
    odd = ood.thumbnails(pixels[:, :37, :21])
    assert odd.mean((1, 2)) == pytest.approx(pixels[:, :37, :21].mean((1, 2)), rel=1e-4)


def test_thumbnails_fit_as_images_do(detector: OODDetector) -> None:
    features, labels = features_of(0, 400)
    small = [ood.thumbnails(scenes(seed, n)) for seed, n in ((0, 400), (1, 300))]
    again = ood.fit(features, labels, small[0], features_of(1, 300)[0], small[1])
    for name, array in detector.arrays().items():
        assert again.arrays()[name] == pytest.approx(array, rel=1e-4, abs=1e-4), name


def test_every_patient_has_the_same_weight() -> None:
    features, labels = features_of(0, 200)
    held, pixels = features_of(1, 200)[0], scenes(1, 200)
    single = ood.fit(features, labels, scenes(0, 200), held, pixels, [""] * 200)
    names = [str(i) for i in range(200)]
    rows = np.repeat(np.arange(200), np.random.default_rng(0).integers(1, 5, 200))
    copied = ood.fit(
        features, labels, scenes(0, 200), held[rows], pixels[rows], [names[i] for i in rows]
    )
    assert copied.limits == pytest.approx(single.limits)


def test_a_few_images_are_enough() -> None:
    features, labels = features_of(0, 4)
    found = ood.fit(features, labels, scenes(0, 4), features[:2], scenes(0, 2))
    assert (found.score(features[:2], scenes(0, 2)) <= 1).all()
    # All equal: no variance in any direction.
    same = np.ones((5, 3)), np.zeros((5, 16, 16, 1), np.uint8)
    still = ood.fit(same[0], np.zeros(5, int), same[1], *same)
    assert (still.score(*same) <= 1).all()
    assert (still.score(same[0] + 1, same[1]) > 1).all()


def test_arrays_and_back(detector: OODDetector) -> None:
    arrays = {name: array.copy() for name, array in detector.arrays().items()}
    assert all(x.dtype == np.float32 and x.flags.c_contiguous for x in arrays.values())
    features, pixels = features_of(3, 30)[0], scenes(3, 30)
    again = OODDetector.from_arrays(arrays).score(features, pixels)
    assert again.tolist() == detector.score(features, pixels).tolist()
    assert again.dtype == np.float64


def broken(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(arrays[name])}


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: dict(list(arrays.items())[1:]),
        broken("limits", lambda x: x[:2]),
        broken("limits", lambda x: x * 0),
        broken("limits", lambda x: x * np.float32(np.nan)),
        broken("limits", lambda x: x.astype(float)),
        broken("features.means", lambda x: x[0]),
        broken("features.means", lambda x: x[:0]),
        broken("features.means", lambda x: x[:, :3]),
        broken("features.axes", lambda x: x[:3]),
        broken("features.variances", lambda x: -x),
        broken("image.rest", np.zeros_like),
        broken("image.rest", lambda x: x[None]),
        broken("image.axes", lambda x: x[:, :5].copy()),
        lambda arrays: {
            **arrays,
            **{f"image.{x}": arrays[f"features.{x}"] for x in ood._FIELDS},
        },
    ],
)
def test_damaged_arrays_are_rejected(
    detector: OODDetector, damage: Callable[[Arrays], Arrays]
) -> None:
    with pytest.raises(ClassifierError, match="detector is damaged"):
        OODDetector.from_arrays(damage(detector.arrays()))


def test_inputs_that_do_not_fit_are_rejected(detector: OODDetector) -> None:
    features, labels = features_of(0, 10)
    with pytest.raises(ClassifierError, match="expects 6 features and 1 channels"):
        detector.score(features[:, :5], scenes(0, 10))
    with pytest.raises(ClassifierError, match="expects 6 features and 1 channels"):
        detector.score(features, scenes(0, 10, channels=3))
    with pytest.raises(ClassifierError, match="not finite"):
        detector.score(features * np.nan, scenes(0, 10))
    with pytest.raises(ClassifierError, match="not finite"):
        ood.fit(features * np.nan, labels, scenes(0, 10), features, scenes(0, 10))
    with pytest.raises(DataError, match="at least 2 training images"):
        ood.fit(features[:1], labels[:1], scenes(0, 1), features, scenes(0, 10))
    with pytest.raises(DataError, match="at least 2 training images"):
        ood.fit(features, labels[:9], scenes(0, 10), features, scenes(0, 10))
    assert detector.score(features[:0], scenes(0, 0)).shape == (0,)
