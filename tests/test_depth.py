"""Images of more than 8 bits: one depth for a whole data set, from its files to each prediction."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from benchmarks import small_network
from PIL import Image

from conftest import Heard, draw_image
from lucency import LucencyClassifier
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset, load_labelled
from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.explain.explanations import explain_files
from lucency.export.web import write_web
from lucency.imaging.notes import Note, describe_notes
from lucency.pipeline.train import run_training
from lucency.run_folder.files import PLAN
from lucency.serve.inference.service import Service
from serving import QUICK, running
from tiff_files import tiff

SIDE, PER_CLASS = 16, 12
FAST = Config(effort="quick", size=SIDE, epochs=1, precision="float32", folds=0, val_fraction=0.3)


def deep(random: np.random.Generator, bright: bool) -> np.ndarray:
    """Draw an image of 12 bits, whose largest values differ from image to image."""
    grey = np.asarray(draw_image(random, bright), np.uint16)
    noise = random.integers(0, 16, grey.shape, np.uint16)
    return (grey << 4) + noise


def draw(folder: Path, *, hot: int = 0) -> Path:
    """Write images of 12 bits into class folders; one pixel of one has the value ``hot``."""
    for k, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            values = deep(np.random.default_rng([k, i]), bright=k == 1)
            if hot and not (k or i):
                values[3, 3] = hot
            Image.fromarray(values).save(folder / name / f"patient{k}{i:02d}.png")
    return folder


def config(tmp_path: Path, **changes: object) -> Config:
    return dataclasses.replace(FAST, cache=str(tmp_path / "cache"), **changes)


def pixels_of(data: Dataset) -> dict[str, np.ndarray]:
    splits = [split for split in (data.train, data.val, data.test) if split]
    return {
        file: pixels
        for split in splits
        for file, pixels in zip(split.files, split.pixels(np.arange(len(split))), strict=True)
    }


# --- the data set


def test_one_bright_pixel_makes_no_image_darker_than_its_neighbours(tmp_path: Path) -> None:
    plain = load_dataset(draw(tmp_path / "a"), config(tmp_path))
    hot = load_dataset(draw(tmp_path / "b", hot=4100), config(tmp_path))
    assert (plain.train.cache.depth, hot.train.cache.depth) == (12, 14)
    ours, theirs = pixels_of(plain), pixels_of(hot)
    for file, pixels in ours.items():
        assert pixels.dtype == np.float32
        # All of them are darker by the same factor, the one with the bright pixel too.
        ratio = theirs[file][8:] / pixels[8:]
        assert np.abs(ratio - 4095 / 16383).max() < 1e-3


def test_values_between_grey_levels_reach_the_network(tmp_path: Path) -> None:
    data = load_dataset(draw(tmp_path / "a"), config(tmp_path), size=(40, 40))
    file, pixels = next(iter(pixels_of(data).items()))
    stored = np.asarray(Image.open(tmp_path / "a" / file), np.float64)
    assert np.abs(pixels[:, :, 0] - stored * 255 / 4095).max() < 0.003
    assert np.abs(pixels - pixels.round()).max() > 0.4
    again = load_dataset(tmp_path / "a", config(tmp_path), size=(40, 40))
    assert again.train.cache.decoded == 0
    assert np.array_equal(pixels_of(again)[file], pixels)


def test_a_stated_depth_clips_and_says_so(tmp_path: Path) -> None:
    data = load_dataset(draw(tmp_path / "a", hot=4100), config(tmp_path, depth=12))
    assert data.train.cache.depth == 12
    plain = load_dataset(draw(tmp_path / "b"), config(tmp_path))
    ours, theirs = pixels_of(data), pixels_of(plain)
    assert all(np.array_equal(ours[file][8:], theirs[file][8:]) for file in ours)
    (note,) = [note for note in data.audit.notes if "clipped" in note]
    assert note.startswith("1 image (dark/patient000.png) ")


def test_eight_bit_files_beside_deep_ones_keep_their_white(tmp_path: Path) -> None:
    folder = draw(tmp_path / "a")
    for i in range(3):
        white = np.full((40, 40), 255, np.uint8)
        white[i] = 0
        Image.fromarray(white).save(folder / "light" / f"white{i}.png")
    data = load_dataset(folder, config(tmp_path))
    assert data.train.cache.depth == 12
    assert pixels_of(data)["light/white0.png"][8:].min() == 255


@pytest.mark.parametrize("hot", [0, 255])
def test_sixteen_bit_files_of_eight_bits_are_eight_bits(tmp_path: Path, hot: int) -> None:
    for k, name in enumerate(("dark", "light")):
        (tmp_path / "a" / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            grey = np.asarray(draw_image(np.random.default_rng([k, i]), k == 1), np.uint16)
            grey[0, 0] = hot
            Image.fromarray(grey).save(tmp_path / "a" / name / f"patient{k}{i:02d}.png")
    data = load_dataset(tmp_path / "a", config(tmp_path))
    assert data.train.cache.depth == 8
    assert data.train.pixels([0]).dtype == np.uint8


def test_floats_from_0_to_1_are_a_depth(tmp_path: Path) -> None:
    for k, name in enumerate(("dark", "light")):
        (tmp_path / "a" / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            values = deep(np.random.default_rng([k, i]), k == 1) / np.float32(4095)
            data = tiff(values.astype(np.float32), more={339: (3, [3])})
            (tmp_path / "a" / name / f"patient{k}{i:02d}.tif").write_bytes(data)
    floats = load_dataset(tmp_path / "a", config(tmp_path))
    assert floats.train.cache.depth == 1
    words = load_dataset(draw(tmp_path / "b"), config(tmp_path))
    for file, pixels in pixels_of(words).items():
        assert np.abs(pixels_of(floats)[file.replace("png", "tif")] - pixels).max() < 0.01


def test_too_many_values_above_8_bits_stop_a_data_set_of_8(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"12-bit values up to [\d,]+, but a depth of 8 bits"):
        load_dataset(draw(tmp_path / "a"), config(tmp_path, depth=8))


@pytest.mark.parametrize("given", ["12", 12])
def test_the_depth_is_a_setting(given: object) -> None:
    assert Config.load(None, (), depth=given).depth == 12
    assert Config.load(None, ["depth=12"]).depth == 12
    for wrong in ("11", "x", True):
        with pytest.raises(ConfigError, match="depth must be one of 1, 8, 10"):
            Config.load(None, (), depth=wrong)


# --- the classifier


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Heard]]:
    """Yield a folder of images of 12 bits, a run that was trained on it, and what it said."""
    folder, heard = tmp_path_factory.mktemp("deep"), Heard()
    data = draw(folder / "images")
    with pytest.MonkeyPatch.context() as patch, small_network.small_network():
        patch.chdir(folder)
        run = run_training(data, config(folder, neighbours=4), run="deep", progress=heard)
        yield data, folder / run.folder, heard


@pytest.mark.slow
def test_the_depth_is_in_the_plan_and_in_the_classifier(trained: tuple[Path, Path, Heard]) -> None:
    _, run, heard = trained
    assert any(line.startswith("depth: 12 bits (") for line in heard.notes)
    assert PLAN.read(run)["depth"] == 12
    spec = json.loads((run / "classifier.json").read_text())
    assert spec["input"]["depth"] == 12
    assert Classifier.load(run).spec.dtype == "float32"


@pytest.mark.slow
def test_later_readers_use_the_depth(trained: tuple[Path, Path, Heard], tmp_path: Path) -> None:
    data, run, _ = trained
    classifier = Classifier.load(run)
    files = sorted(data.rglob("*.png"))[::5]
    split = load_labelled(
        data, classifier.classes, config(tmp_path), size=(SIDE, SIDE), colour=False, depth=12
    )
    places = [split.files.index(str(file.relative_to(data))) for file in files]
    expected = classifier.predict_pixels(split.pixels(places))
    found = np.array([each.probabilities for each in classifier.predict(files)])
    assert np.abs(found - expected).max() < 1e-6
    fresh = Classifier(classifier.spec, classifier.weights)  # by Keras
    assert np.abs(fresh.predict_with_keras(split.pixels(places)) - expected).max() < 1e-4
    assert classifier.reference_images
    assert classifier.reference_images.largest_difference(classifier.predict_pixels) < 1e-6
    shown = [*explain_files(classifier, files[:2])]
    assert all(each.image is not None and each.image.dtype == np.uint8 for each in shown)
    assert shown[0].prediction.probabilities == pytest.approx(expected[0], abs=1e-6)
    with running(Service(run, QUICK)) as served:
        (answer,) = served.ask("POST", "/v1/predict", files[0].read_bytes()).json["predictions"]
        assert [*answer["probabilities"].values()] == pytest.approx(expected[0], abs=1e-6)
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, SIDE, SIDE, 1]}
        tensor["data"] = split.pixels(places[:1]).ravel().tolist()
        path = f"/v2/models/{run.name}/infer"
        reply = served.ask("POST", path, json.dumps({"inputs": [tensor]}).encode()).json
        assert reply["outputs"][0]["data"] == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.slow
def test_values_above_the_depth_are_clipped_with_a_note(
    trained: tuple[Path, Path, Heard], tmp_path: Path
) -> None:
    classifier = Classifier.load(trained[1])
    bright = deep(np.random.default_rng(0), bright=True)
    bright[0, 0] = 5000
    Image.fromarray(bright).save(tmp_path / "bright.png")
    bright[0, 0] = 4095
    Image.fromarray(bright).save(tmp_path / "white.png")
    clipped, white = classifier.predict([tmp_path / "bright.png", tmp_path / "white.png"])
    assert clipped.notes == describe_notes(Note.CLIPPED)
    assert white.notes == ()
    assert clipped.probabilities == white.probabilities


@pytest.mark.slow
def test_a_page_without_a_server_refuses(trained: tuple[Path, Path, Heard], tmp_path: Path) -> None:
    run = trained[1]
    with pytest.raises(ClassifierError, match="12 bits, and a page without"):
        write_web(run, Classifier.load(run), tmp_path / "page")


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_the_estimator_takes_files_of_more_than_8_bits(trained: tuple[Path, Path, Heard]) -> None:
    files = sorted(trained[0].rglob("*.png"))
    estimator = LucencyClassifier(
        effort="quick", size=SIDE, epochs=1, settings={"precision": "float32"}
    )
    estimator.fit([*map(str, files)], [file.parent.name for file in files])
    assert estimator.classifier_.spec.depth == 12
    assert estimator.predict_proba([str(files[0])]).shape == (1, 2)
