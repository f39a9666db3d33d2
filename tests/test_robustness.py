"""Corruptions against images made by hand, and predictions before and after them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import r2_score, roc_auc_score

from lucency.calibration.values import ValueRule
from lucency.config import Config
from lucency.dataset import Dataset, Split, load_dataset
from lucency.errors import DataError
from lucency.evaluation.robustness import evaluate_robustness
from lucency.evaluation.robustness.corruptions import (
    Pixels,
    blur,
    brighten,
    gamma,
    mark,
    noise,
    pixel_corruptions,
    rotate,
    zoom,
)
from lucency.evaluation.robustness.reencode import FILE_CORRUPTIONS
from lucency.evaluation.robustness.robustness import STANDARD
from lucency.imaging import image

SIZE = 32


class Mean:
    """Predicts "light" from a mean brightness of 110; may have three classes."""

    def __init__(self, classes: tuple[str, ...], positive: str | None) -> None:
        self.classes = classes
        self.positive = positive
        self.value: ValueRule | None = None

    def predict_pixels(self, pixels: Pixels) -> NDArray[np.float64]:
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert len(pixels) <= 64
        p = 1 / (1 + np.exp(-(pixels.mean(axis=(1, 2, 3)) - 110) / 10))
        rest = (1 - p) / (len(self.classes) - 1)
        return np.stack([*[rest] * (len(self.classes) - 1), p], axis=1)

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        return probabilities.argmax(axis=1)


@pytest.fixture(scope="module")
def spots(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return the tiny data set, decoded."""
    cache = str(tmp_path_factory.mktemp("robust"))
    return load_dataset(tiny_folder, Config(cache=cache), size=(SIZE, SIZE), colour=False)


@pytest.fixture(scope="module")
def part(spots: Dataset) -> Split:
    """Return its test split."""
    assert spots.test is not None
    return spots.test


LIGHT = Mean(("dark", "light"), "light")


def drawn_image(side: int = 9) -> Pixels:
    """Return one grey image with a bright block right of its centre."""
    pixels = np.zeros((1, side, side, 1), np.uint8)
    pixels[0, side // 2, side // 2 + 1 : side // 2 + 3] = 200
    return pixels


def test_a_quarter_turn_is_rot90() -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(rotate(pixels, 90), np.rot90(pixels, axes=(1, 2)))
    np.testing.assert_array_equal(rotate(pixels, -90), np.rot90(pixels, -1, axes=(1, 2)))


def test_rotating_and_zooming_leave_a_flat_image_alone() -> None:
    flat = np.full((1, 10, 14, 1), 77, np.uint8)
    for changed in (rotate(flat, 10), zoom(flat, 0.9), zoom(flat, 1.2), blur(flat, 2.0)):
        np.testing.assert_array_equal(changed, flat)


def test_zooming_in_enlarges_the_centre() -> None:
    y, x = np.mgrid[-10:11, -10:11]
    disc = (200 * (x**2 + y**2 <= 25)).astype(np.uint8)[None, :, :, None]
    # The area grows with the square of the factor; a disc of radius 5 has coarse edges.
    ratio = zoom(disc, 1.2).sum(dtype=np.int64) / disc.sum(dtype=np.int64)
    assert ratio == pytest.approx(1.44, rel=0.05)


def test_gamma_and_brightness_by_hand() -> None:
    pixels = np.array([0, 64, 128, 255], np.uint8).reshape(1, 2, 2, 1)
    assert gamma(pixels, 1.4).ravel().tolist() == [0, 37, 97, 255]
    assert gamma(pixels, 0.7).ravel().tolist() == [0, 97, 157, 255]
    assert brighten(pixels, 20).ravel().tolist() == [20, 84, 148, 255]
    assert brighten(pixels, -20).ravel().tolist() == [0, 44, 108, 235]


def test_noise_has_its_standard_deviation_and_its_seed() -> None:
    flat = np.full((4, 64, 64, 3), 128, np.uint8)
    changed = noise(flat, 10, seed=3)
    np.testing.assert_array_equal(changed, noise(flat, 10, seed=3))
    assert (changed != noise(flat, 10, seed=4)).any()
    assert (changed == changed[..., :1]).all()
    # 16,384 pixels: the standard deviation's own error is 0.055; 6 of them, for any seed.
    assert changed[..., 0].std() == pytest.approx(10, abs=0.34)


def test_blur_keeps_the_mean_of_a_periodic_pattern_and_lowers_its_contrast() -> None:
    board = (255 * (np.indices((32, 32)).sum(0) % 2)).astype(np.uint8)[None, :, :, None]
    changed = blur(board, 1.0)
    assert changed.mean() == pytest.approx(127.5, abs=1)
    assert changed.std() < 0.1 * board.std()


@pytest.mark.parametrize("shape", [(64, 64, 1), (64, 48, 3), (8, 8, 1)])
def test_markers_are_white_small_and_near_the_border(shape: tuple[int, ...]) -> None:
    pixels = np.zeros((40, *shape), np.uint8)
    marked = mark(pixels, seed=0)
    assert not pixels.any(), "the images themselves stay as they are"
    assert set(np.unique(marked)) == {0, 255}
    share = (marked > 0).mean(axis=(1, 2, 3))
    assert (share > 0).all()
    assert (share < 0.08).all()
    height, width = shape[:2]
    inner = marked[:, height // 3 : -(height // 3), width // 3 : -(width // 3)]
    assert not inner.any()
    assert len({image.tobytes() for image in marked}) >= 4, "at random places"


def test_every_corruption_keeps_shape_and_type_and_changes_something() -> None:
    random = np.random.default_rng(0)
    for shape in ((2, 16, 16, 1), (2, 16, 12, 3)):
        pixels = random.integers(30, 220, shape, dtype=np.uint8)
        before = pixels.copy()
        for corruption in pixel_corruptions(seed=0):
            corrupted = corruption.apply(pixels)
            assert corrupted.shape == shape, corruption.name
            assert corrupted.dtype == np.uint8, corruption.name
            assert (corrupted != pixels).any(), corruption.name
        np.testing.assert_array_equal(pixels, before)
    names = [(each.name, each.severity) for each in (*pixel_corruptions(0), *FILE_CORRUPTIONS)]
    assert len(set(names)) == len(names) == 36
    assert len(STANDARD) == 14
    assert set(names) > STANDARD
    assert {name for name, _ in names} - {name for name, _ in STANDARD} == {
        "saved as PNG",
        "half size and back",
    }


def every_row(spots: Dataset, part: Split) -> list[dict[str, Any]]:
    rows = evaluate_robustness(LIGHT, part, root=spots.root, corruptions="all")["rows"]
    assert len(rows) == 37
    return rows


def differences(row: dict[str, Any]) -> tuple[float, float, float]:
    return row["mean_abs_difference"], row["max_abs_difference"], row["flipped_predictions"]


def test_standard_corruptions_are_rows_of_all(spots: Dataset, part: Split) -> None:
    rows = evaluate_robustness(LIGHT, part, root=spots.root)["rows"]
    names = {(row["corruption"], row["severity"]) for row in rows}
    assert names == STANDARD | {("none", "as they are")}
    everything = every_row(spots, part)
    assert [row for row in everything if (row["corruption"], row["severity"]) in names] == rows


def test_numbers_have_their_errors_under_each_corruption(spots: Dataset, part: Split) -> None:
    reader = Mean(("0 to 4", "4 to 8"), None)
    reader.value = ValueRule("size", (0.0, 4.0, 8.0), (2.0, 6.0), mean=4.0, offset=0.5)
    true = np.linspace(1, 7, len(part))
    measured = replace(part, values=true)
    found = evaluate_robustness(reader, measured, root=spots.root)
    rows = {(row["corruption"], row["severity"]): row for row in found["rows"]}
    pixels = part.pixels(np.arange(len(part)))
    before, after = (
        2 + 4 * reader.predict_pixels(np.ascontiguousarray(x))[:, 1]
        for x in (pixels, brighten(pixels, -40))
    )
    dark = rows["brightness", "-40 of 255"]
    assert dark["mean_absolute_error"] == pytest.approx(abs(after - true).mean())
    assert dark["mean_abs_difference"] == pytest.approx(abs(after - before).mean())
    assert rows["none", "as they are"]["r2"] == pytest.approx(r2_score(true, before))
    assert 0 < rows["none", "as they are"]["interval_coverage"] <= 1
    assert "auroc" not in dark
    assert "flipped_predictions" not in dark
    json.dumps(found, allow_nan=False)


def test_robustness_compares_with_the_uncorrupted(spots: Dataset, part: Split) -> None:
    found = evaluate_robustness(LIGHT, part, root=spots.root)
    assert (found["format"], found["split"], found["n"]) == (2, "test", len(part))
    rows = {(row["corruption"], row["severity"]): row for row in found["rows"]}
    pixels = part.pixels(np.arange(len(part)))
    p = LIGHT.predict_pixels(np.ascontiguousarray(pixels[:64]))[:, 1]
    assert len(pixels) <= 64
    first = found["rows"][0]
    assert first["auroc"] == pytest.approx(roc_auc_score(part.labels, p))
    assert first["accuracy"] == pytest.approx(((p > 0.5) == part.labels).mean())
    assert differences(first) == (0, 0, 0)
    mirrored = rows["mirrored", "left for right"]
    assert mirrored["max_abs_difference"] == pytest.approx(0, abs=1e-12)
    dark = rows["brightness", "-40 of 255"]
    after = LIGHT.predict_pixels(brighten(pixels, -40))[:, 1]
    assert dark["mean_abs_difference"] == pytest.approx(abs(after - p).mean())
    assert dark["flipped_predictions"] == pytest.approx(((after > 0.5) != (p > 0.5)).mean())
    assert dark["flipped_predictions"] > 0
    json.dumps(found, allow_nan=False)


def test_saving_as_png_changes_nothing(spots: Dataset, part: Split) -> None:
    rows = every_row(spots, part)
    for name in ("decoded whole", "saved as PNG"):
        (row,) = [row for row in rows if row["corruption"] == name]
        assert differences(row) == (0, 0, 0)
    qualities = [row for row in rows if row["corruption"] == "saved as JPEG"]
    assert len(qualities) == 4
    assert all(row["max_abs_difference"] > 0 for row in qualities)


def test_jpeg_is_what_pillow_makes_of_the_file(spots: Dataset, part: Split) -> None:
    rows = evaluate_robustness(LIGHT, part, root=spots.root)["rows"]
    (row,) = [row for row in rows if row["severity"] == "quality 30"]
    moved = []
    for file in part.files:
        saved = io.BytesIO()
        with Image.open(spots.root / file) as whole:
            whole.save(saved, "JPEG", quality=30)
        seen = [
            image.read_image(source, (SIZE, SIZE), colour=False)
            for source in (saved.getvalue(), spots.root / file)
        ]
        p = LIGHT.predict_pixels(np.stack(seen))[:, 1]
        moved.append(abs(p[0] - p[1]))
    assert row["mean_abs_difference"] == pytest.approx(np.mean(moved))
    assert row["max_abs_difference"] == pytest.approx(np.max(moved))


def test_the_limit_draws_evenly_and_the_seed_repeats(spots: Dataset, part: Split) -> None:
    found = evaluate_robustness(LIGHT, part, root=spots.root, limit=10, seed=5)
    assert found["n"] == 10
    assert found == evaluate_robustness(LIGHT, part, root=spots.root, limit=10, seed=5)
    assert found != evaluate_robustness(LIGHT, part, root=spots.root, limit=10, seed=6)
    assert found["rows"][0]["auroc"] is not None, "both classes are drawn"


def test_three_classes_give_means_and_an_absent_one_no_ranking(spots: Dataset, part: Split) -> None:
    three = Mean(("dark", "other", "light"), None)
    rows = evaluate_robustness(three, part, root=spots.root, limit=20)["rows"]
    assert all(row["auroc"] is None for row in rows)
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_a_missing_file_is_one_line(spots: Dataset, part: Split, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="restore the file") as raised:
        evaluate_robustness(LIGHT, part, root=tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    with pytest.raises(DataError, match="at least one image"):
        evaluate_robustness(LIGHT, part, root=spots.root, limit=0)
