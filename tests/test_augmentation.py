from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from lucency.augmentation import Augmentation, draw, generator
from lucency.augmentation.layer import Augment

pytestmark = pytest.mark.backend

SIZE = (24, 32)
WIDE = Augmentation(
    flip_horizontal=True, flip_vertical=True, rotation=20, zoom=0.2, stretch=0.1, shift=0.1,
    gamma=0.5, gain=0.3, offset=0.1, sharpness=0.9, rectangles=3,
)  # fmt: skip


@pytest.fixture(name="pixels")
def _pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (6, *SIZE, 1), dtype=np.uint8)


def apply(policy: Augmentation, pixels: NDArray[np.uint8], seed: int = 0) -> NDArray[np.float32]:
    drawn = draw(policy, seed, 0, range(len(pixels)), SIZE)
    return np.asarray(Augment(policy)([pixels, *drawn.arrays]))


def test_an_empty_policy_changes_nothing(pixels: NDArray[np.uint8]) -> None:
    np.testing.assert_allclose(apply(Augmentation(), pixels), pixels, atol=1e-3)


def test_flips_are_exact_mirrors(pixels: NDArray[np.uint8]) -> None:
    policy = Augmentation(flip_horizontal=True)
    mirrored = 0
    for before, after in zip(pixels, apply(policy, pixels), strict=True):
        flipped = np.allclose(after, before[:, ::-1], atol=1e-2)
        assert flipped or np.allclose(after, before, atol=1e-2)
        mirrored += flipped
    assert 0 < mirrored < len(pixels)


def test_vertical_flip(pixels: NDArray[np.uint8]) -> None:
    results = apply(Augmentation(flip_vertical=True), pixels)
    upside = [np.allclose(a, b[::-1], atol=1e-2) for a, b in zip(results, pixels, strict=True)]
    assert any(upside)
    assert not all(upside)


def test_tone_curve_by_hand(pixels: NDArray[np.uint8]) -> None:
    policy = Augmentation(gamma=0.5, gain=0.3, offset=0.1)
    tone = draw(policy, 3, 0, range(6), SIZE).tone
    share = np.maximum(pixels / 255, 1e-6)
    gamma, gain, offset, _ = tone.T[:, :, None, None, None]
    expected = 255 * np.clip(share**gamma * gain + offset, 0, 1)
    np.testing.assert_allclose(apply(policy, pixels, seed=3), expected, atol=0.05)


def test_detail_by_hand(pixels: NDArray[np.uint8]) -> None:
    policy = Augmentation(sharpness=0.9)
    added = draw(policy, 3, 0, range(6), SIZE).tone[:, 3]
    assert -0.3 <= added.min() < added.max() <= 0.9
    inner = pixels[:, 1:-1, 1:-1].astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(pixels.astype(float), (3, 3), (1, 2))
    expected = inner + added[:, None, None, None] * (inner - windows.mean((-1, -2)))
    found = apply(policy, pixels, seed=3)[:, 1:-1, 1:-1]
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=0.05)


def test_detail_is_added_on_average_and_flat_images_do_not_change() -> None:
    drawn = draw(Augmentation(sharpness=1.5), 0, 0, range(4000), SIZE).tone[:, 3]
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    flat = np.full((6, *SIZE, 1), 77, np.uint8)
    np.testing.assert_allclose(apply(Augmentation(sharpness=1.5), flat), 77, atol=1e-3)


def test_numbers_do_not_depend_on_the_rest_of_the_batch() -> None:
    together = draw(WIDE, 5, 2, [3, 9, 4], SIZE)
    alone = draw(WIDE, 5, 2, [9], SIZE)
    for name in ("affine", "tone", "rectangles"):
        np.testing.assert_array_equal(getattr(together, name)[1:2], getattr(alone, name))


@pytest.mark.parametrize(("seed", "epoch", "item"), [(6, 2, 9), (5, 3, 9), (5, 2, 8)])
def test_other_seeds_epochs_and_images_differ(seed: int, epoch: int, item: int) -> None:
    base = draw(WIDE, 5, 2, [9], SIZE).tone
    assert not np.array_equal(draw(WIDE, seed, epoch, [item], SIZE).tone, base)


def test_streams_do_not_overlap() -> None:
    first = generator(1, 2, 3, 0).random(1000)
    second = generator(1, 2, 3, 1).random(1000)
    assert not np.isin(first, second).any()


def test_values_cover_their_ranges() -> None:
    drawn = draw(WIDE, 0, 0, range(2000), SIZE)
    exponents = np.log(drawn.tone[:, 0])
    assert np.abs(exponents).max() <= 0.5
    assert exponents.min() < -0.45
    assert exponents.max() > 0.45
    zooms = np.sqrt(np.abs(np.linalg.det(drawn.affine[:, [0, 1, 3, 4]].reshape(-1, 2, 2))))
    assert zooms.min() >= 0.8 * 0.9 - 1e-6
    assert zooms.max() <= 1.2 * 1.1 + 1e-6


def test_rectangles_stay_near_the_borders() -> None:
    boxes = draw(WIDE, 0, 0, range(500), SIZE).rectangles
    centres = (boxes[..., :2] + boxes[..., 2:4]) / 2
    depth = np.minimum(centres, 1 - centres).min(axis=-1)
    assert depth.max() <= 0.22 + 1e-6
    values = boxes[..., 4]
    assert ((values <= 0.2) | (values >= 0.7)).all()
    assert 0.4 < (values >= 0.7).mean() < 0.6


def test_values_stay_pixel_values(pixels: NDArray[np.uint8]) -> None:
    result = apply(WIDE, pixels)
    assert result.dtype == np.float32
    assert result.shape == pixels.shape
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 255.01


def test_augmented_images_show_nothing_outside_that_images_in_use_never_show() -> None:
    """At each border, the darkest and brightest pixels of an image stay those of the image."""
    policy = Augmentation(flip_horizontal=True, rotation=10, zoom=0.15, stretch=0.3, shift=0.06)
    pixels = np.random.default_rng(1).integers(90, 160, (64, *SIZE, 1), dtype=np.uint8)
    shown = apply(policy, pixels)
    for border in (shown[:, :2], shown[:, -2:], shown[:, :, :2], shown[:, :, -2:]):
        assert border.min() >= 90 - 0.01
        assert border.max() <= 160 + 0.01
        assert border.mean() == pytest.approx(pixels.mean(), abs=2)
    black = apply(dataclasses.replace(policy, fill="constant"), pixels)
    assert (black[:, :2].min(axis=(1, 2, 3)) < 80).mean() > 0.5  # what this test would find


def test_a_quarter_of_the_images_has_no_rectangle() -> None:
    pixels = np.full((400, *SIZE, 1), 128, np.uint8)
    shown = apply(Augmentation(rectangles=2), pixels)
    unchanged = (abs(shown - 128) < 0.01).all(axis=(1, 2, 3))
    assert unchanged.mean() == pytest.approx(0.25, abs=0.08)
