"""Maps, their colours and the tests of them; the page and the command."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from lucency.classifier import ActivationMap, Classifier, Prediction, Spec
from lucency.classifier.activation_map import DEFAULT_SCALE, NOT_TESTED, signed, trust_of
from lucency.cli import main
from lucency.errors import ClassifierError, RunError
from lucency.explain import explain_files, occlusion_maps, overlay, with_legend, write_explanations
from lucency.explain.deletion import CENTRE, MAP, RANDOM, hiding_curves
from lucency.explain.drawing import AGAINST, FOR, enlarged
from lucency.explain.explanations import Explanation, has_maps
from lucency.explain.faithfulness import sentence
from lucency.explain.occlusion import patch_means
from lucency.explain.sample import Sample, log_odds, mean_of
from lucency.explain.similarity import border_shares, rank_correlations, similarities
from lucency.imaging.image import read_image
from lucency.metrics import Estimate, cluster_numbers
from small_runs import SIDE, TWO, brightness_network, spec_of, write_images, write_run
from web_sites import labelled

TESTED = {"method": "class activation map", "scale": 2.5, "informative": False, "sentence": "So."}


def opened(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def brightness() -> Classifier:
    return Classifier(spec_of(), {}, brightness_network())


def grey(side: int = 16, level: int = 100) -> Any:
    return np.full((side, side, 1), level, np.uint8)


# Colours


def test_an_empty_map_looks_empty() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (20, 30, 1), np.uint8)
    drawn = opened(overlay(image, np.zeros((3, 4)), 5.0))
    np.testing.assert_array_equal(drawn, np.repeat(image, 3, axis=2))
    faint = opened(overlay(image, random.normal(0, 1e-3, (3, 4)), 5.0))
    assert np.abs(faint - drawn).max() <= 1


def test_the_scale_is_that_of_the_classifier() -> None:
    half, full = (opened(overlay(grey(), np.full((2, 2), x), 4.0)) for x in (2.0, 4.0))
    moved = [np.abs(each - 100).mean() for each in (half, full)]
    assert moved[0] == pytest.approx(moved[1] / 2, abs=1)
    clipped = opened(overlay(grey(), np.full((2, 2), 400.0), 4.0))
    np.testing.assert_array_equal(clipped, full)


def test_the_sign_is_the_hue_and_the_place_is_kept() -> None:
    values = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, -1.0]])
    drawn = opened(overlay(grey(30), values, 1.0))
    for corner, colour in ((drawn[2, 2], FOR), (drawn[-3, -3], AGAINST)):
        np.testing.assert_array_equal(corner > 100, np.array(colour) > 100)
    np.testing.assert_array_equal(drawn[2, -3], [100] * 3)


def test_enlarging_keeps_the_centres() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    large = enlarged(values, (9, 12))
    np.testing.assert_allclose(large[1::3, 1::3], values, atol=1e-5)


def test_a_legend_can_be_drawn_for_any_name() -> None:
    for name in ("PNEUMONIA", "肺炎", "x" * 300, "<b>"):
        sheet = opened(with_legend(overlay(grey(), np.ones((2, 2)), 3.0), 3.0, name, "note"))
        assert sheet.shape[1] == 256
        assert sheet.shape[0] > 16 + 60


# What a classifier's map is


def test_two_classes_get_the_map_of_the_positive_one() -> None:
    units = np.random.default_rng(0).normal(size=(3, 2, 2, 1)).astype(np.float32)
    probabilities = np.array([[0.9, 0.1]] * 3)
    for positive, sign, of in ((TWO[1], 1, 1), (TWO[0], -1, 0), (None, 1, 1)):
        maps, classes = signed(
            units, probabilities, dataclasses.replace(spec_of(), positive=positive)
        )
        np.testing.assert_array_equal(maps, sign * units[..., 0])
        assert classes.tolist() == [of] * 3


def test_more_classes_get_the_most_probable_one_minus_the_others() -> None:
    units = np.zeros((1, 1, 2, 3), np.float32)
    units[0, 0] = [[1, 4, 2], [5, 0, 1]]
    maps, classes = signed(units, np.array([[0.1, 0.7, 0.2]]), spec_of(("a", "b", "c")))
    assert classes.tolist() == [1]
    np.testing.assert_allclose(maps[0], [[4 - 1.5, 0 - 3.0]])


@pytest.mark.parametrize(
    ("shape", "value"), [((1, 2, 2, 2), 0), ((1, SIDE + 1, 2, 1), 0), ((1, 2, 2, 1), np.nan)]
)
def test_invalid_maps_are_rejected(shape: tuple[int, ...], value: float) -> None:
    with pytest.raises(ClassifierError, match="activation map is invalid"):
        signed(np.full(shape, value, np.float32), np.array([[0.5, 0.5]]), spec_of())


def test_a_map_as_json_keeps_its_sign_and_four_decimals() -> None:
    found = ActivationMap("x", "method", 2.0, np.array([[-1.23456789, 0.5]], np.float32))
    document = Prediction("f", "x", (0.4, 0.6), activation_map=found).to_json(("y", "x"))
    assert document["activation_map"] == {
        "class": "x", "method": "method", "scale": 2.0, "values": [[-1.2346, 0.5]],
    }  # fmt: skip
    assert "activation_map" not in Prediction("f", "x", (0.4, 0.6)).to_json(("y", "x"))


def test_the_summary_of_maps_is_stored_and_checked() -> None:
    spec = dataclasses.replace(spec_of(), explanation=TESTED)
    document = json.loads(json.dumps(spec.to_json()))
    assert Spec.from_json(document).explanation == TESTED
    assert trust_of(spec) == (False, "So.")
    for key, value in (("scale", 0), ("informative", 1), ("sentence", "a\x1b"), ("method", 3)):
        with pytest.raises(ClassifierError, match="wrong value"):
            Spec.from_json(document | {"explanation": TESTED | {key: value}})
    del document["explanation"]  # as in an older run
    older = Spec.from_json(document)
    assert older.explanation is None
    assert trust_of(older) == (None, NOT_TESTED)


def test_a_file_without_maps_predicts_as_before() -> None:
    classifier = brightness()
    pixels = np.zeros((2, SIDE, SIDE, 1), np.uint8)
    assert classifier.infer(pixels, maps=True).maps is None
    assert not has_maps(classifier)
    assert classifier.predictions(classifier.infer(pixels), ["a", "b"])[0].activation_map is None
    with pytest.raises(ClassifierError, match="--method occlusion"):
        next(explain_files(classifier, [Path("none.png")]))


# Occlusion, deletion and insertion


def test_log_odds_are_the_logits_of_the_class_minus_the_others() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (5, 4))
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    of = np.array([0, 1, 2, 3, 0])
    others = (logits.sum(axis=1) - logits[range(5), of]) / 3
    np.testing.assert_allclose(log_odds(odds, of), logits[range(5), of] - others)
    assert np.isfinite(log_odds(np.array([[0.0, 1.0]]), np.array([1]))).all()


def bright_spot() -> Any:
    pixels = np.full((1, SIDE, SIDE, 1), 60, np.uint8)
    pixels[0, :2, -2:] = 250
    return pixels


def test_occlusion_finds_the_evidence() -> None:
    (found,) = occlusion_maps(brightness().predict_pixels, bright_spot(), np.array([1]), grid=4)
    assert np.unravel_index(found.argmax(), found.shape) == (0, 3)
    (against,) = occlusion_maps(brightness().predict_pixels, bright_spot(), np.array([0]), grid=4)
    np.testing.assert_allclose(against, -found, atol=1e-5)
    warm = occlusion_maps(brightness().predict_pixels, bright_spot(), np.array([1]), 2.0, 4)
    np.testing.assert_allclose(warm[0], 2 * found, atol=1e-5)


def test_occlusion_of_a_flat_image_is_nothing() -> None:
    flat = np.full((2, SIDE, SIDE, 1), 90, np.uint8)
    found = occlusion_maps(brightness().predict_pixels, flat, np.array([1, 1]))
    np.testing.assert_allclose(found, 0, atol=1e-6)
    np.testing.assert_allclose(patch_means(np.full((1, 12, 12), 3.0, np.float32)), 3)


def spots(count: int = 12) -> tuple[Sample, Any]:
    """Images with a bright spot off the centre, maps of it, and a function that predicts by it."""
    random = np.random.default_rng(0)
    side, pixels, maps = 32, np.full((count, 32, 32, 1), 50, np.uint8), np.zeros((count, 8, 8))
    for k in range(count):
        y, x = random.choice([0, 1, 6, 7], 2)
        pixels[k, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = 255
        maps[k, y, x] = 1

    def predict(given: Any) -> Any:
        p = given.reshape(len(given), side * side).max(axis=1) / 255
        return np.stack([1 - p, p], axis=1)

    ones = np.ones(count, np.int64)
    return Sample(pixels, np.arange(count), ones, maps.astype(np.float32), ones), predict


def test_a_map_of_the_evidence_beats_the_baselines() -> None:
    sample, predict = spots()
    found = hiding_curves(predict, sample, seed=0)
    gains = {name: curves.gain.mean() for name, curves in found.items()}
    assert gains[MAP] > max(gains[RANDOM], gains[CENTRE]) + 0.2
    assert abs(gains[RANDOM]) < 0.2
    for curves in found.values():  # from all to nothing, and back
        np.testing.assert_array_equal(curves.deletion[:, 0], curves.insertion[:, -1])
        np.testing.assert_array_equal(curves.deletion[:, -1], curves.insertion[:, 0])
    turned = dataclasses.replace(sample, maps=-sample.maps)
    assert hiding_curves(predict, turned, seed=0)[MAP].gain.mean() == pytest.approx(
        -gains[MAP], abs=0.05
    )


def test_maps_have_the_sign_of_the_decision() -> None:
    sample, _ = spots(2)
    other = dataclasses.replace(sample, decided=np.array([0, 1]))
    np.testing.assert_array_equal(other.sides, sample.maps * np.array([-1, 1])[:, None, None])


# Likeness


def test_rank_correlation_equals_scipy() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 4, 5, 6)).round(1)
    expected = [stats.spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlations(a, b), expected)
    np.testing.assert_array_equal(rank_correlations(a, np.zeros_like(a)), 0)


def test_similarity_is_one_for_equal_maps_and_none_for_others() -> None:
    a = np.random.default_rng(0).normal(size=(3, 8, 8))
    np.testing.assert_allclose(similarities(a, a), 1)
    np.testing.assert_allclose(similarities(a, a + 7), 1)  # the mean is the answer, not the place
    np.testing.assert_allclose(similarities(a, -a), -1, atol=0.1)
    assert np.abs(similarities(a, np.zeros_like(a))).max() < 0.1
    np.testing.assert_allclose(similarities(3 * a, 3 * a[::-1]), similarities(a, a[::-1]))


def test_the_border_of_a_uniform_map_has_its_share() -> None:
    shares, uniform = border_shares(np.ones((2, 100, 100)))
    assert uniform == pytest.approx(1 - 0.7**2)
    np.testing.assert_allclose(shares, uniform)
    inside = np.zeros((1, 100, 100))
    inside[0, 50, 50] = -3
    assert border_shares(inside)[0].tolist() == [0]
    assert np.isnan(border_shares(np.zeros((1, 10, 10)))[0][0])


def test_images_of_one_patient_count_together() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=10), 4)
    alone = mean_of(values, np.arange(40))
    together = mean_of(values, cluster_numbers([f"p{i // 4}" for i in range(40)]))
    assert together.value == alone.value
    assert together.high - together.low > 1.8 * (alone.high - alone.low)
    assert cluster_numbers(["a", "", "a", ""]).tolist() == [0, 1, 0, 2]


def test_the_result_is_a_sentence() -> None:
    good = Estimate(0.1, 0.02, 0.18, "m")
    assert sentence(good, True, 64).startswith("Informative: on 64 validation images")
    assert "shuffled" in sentence(good, False, 64)
    for other in (Estimate(0.1, -0.01, 0.2, "m"), Estimate(0.1, math.nan, math.nan, "m")):
        assert sentence(other, True, 64).startswith("Uninformative: on 64")


# The page and the command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    return write_run(tmp_path / "a run", data, write_images(data))


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["lucency", *map(str, arguments)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.png"
    path.write_text("no image")
    return path


def test_the_command_writes_a_page_and_overlays(
    run: Path, bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    image = run.parent / "data/test/NORMAL/0.png"
    for number in (1, 2):  # a second one has a folder of its own
        assert called(monkeypatch, "explain", run, image, bad, "-q") == 0
        out, err = capsys.readouterr()
        folder = Path("explained") / f"a-run-{number}"
        assert {each.name for each in folder.iterdir()} == {"explained.html", "001-0.png"}
        assert f"Open the page: {folder / 'explained.html'}" in err
        assert "Unreadable:" in err
        assert "occlusion" in err  # this network has no map of its own
        assert str(folder / "001-0.png") in out
    page = (folder / "explained.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "bad.png" in page
    assert opened((folder / "001-0.png").read_bytes()).shape[1] == 256


def test_errors_are_one_line(
    run: Path, bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    image = run.parent / "data/test/NORMAL/0.png"
    assert called(monkeypatch, "explain", run, bad, "-q") == 2
    assert not Path("explained").exists()
    capsys.readouterr()
    for extra, says in (
        (("--method", "cam"), "has no activation maps"),
        (("--method", "gradient"), "must be one of cam, occlusion"),
        (("--out", run), "exists already"),
        (("--label", "PNEUMONIA"), "this one answers with one of 2 classes"),
    ):
        assert called(monkeypatch, "explain", run, image, "-q", *extra) == 2
        assert says in capsys.readouterr().err


def test_the_json_of_both_commands(
    run: Path, bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    image = run.parent / "data/test/NORMAL/0.png"
    assert called(monkeypatch, "explain", run, image, bad, "--json", "-q") == 0
    first, second = (document := json.loads(capsys.readouterr().out))["predictions"]
    assert document["explanation"] is None
    assert first["activation_map"]["class"] == TWO[1]
    assert first["activation_map"]["scale"] == DEFAULT_SCALE
    assert np.array(first["activation_map"]["values"]).shape == (12, 12)
    assert Path(first["overlay"]).exists()
    assert second["activation_map"] is second["overlay"] is second["probabilities"] is None
    assert called(monkeypatch, "predict", run, image, "--json", "--explain") == 0
    assert json.loads(capsys.readouterr().out)[0]["activation_map"] is None


def test_one_of_several_labels_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    labelled(("a", "b"), 1).save(tmp_path / "run")
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (48, 40), np.uint8)).save("x.png")
    given = Classifier.load(tmp_path / "run")
    pixels = read_image(tmp_path / "x.png", given.spec.size, False)[None]
    units = given._onnx_session().run(["probabilities", "activation_map"], pixels)
    for method in ("cam", "occlusion"):
        maps = {}
        for name in ("a", "b", None):
            arguments = ("--method", method, *(("--label", name) if name else ()))
            called(monkeypatch, "explain", "run", "x.png", "--json", "-q", *arguments)
            (found,) = json.loads(capsys.readouterr().out)["predictions"]
            maps[name] = found["activation_map"]
        assert (maps["a"]["class"], maps["b"]["class"]) == ("a", "b")
        best = max("ab", key=lambda name: found["probabilities"][name])
        assert maps[None] == maps[best]
        assert maps["a"]["values"] != maps["b"]["values"]
        if method == "cam":
            expected = units["activation_map"][0, :, :, 1]
            np.testing.assert_allclose(maps["b"]["values"], expected, atol=1e-4)
    assert called(monkeypatch, "explain", "run", "x.png", "--label", "c") == 2
    assert "--label must be one of a, b. Received: 'c'" in capsys.readouterr().err


def test_names_from_data_are_text_on_the_page(tmp_path: Path) -> None:
    evil = '<img src=x onerror="alert(1)">'
    spec = dataclasses.replace(spec_of((evil, "b")), explanation=TESTED | {"sentence": evil})
    found = ActivationMap(evil, "cam", 1.0, np.ones((2, 2), np.float32))
    prediction = Prediction(
        f"/x/{evil}.png", "", (0.5, 0.5), f"ambiguous: {evil}", activation_map=found
    )
    broken = Prediction(f"{evil}\u202e", "", (), evil)
    shown = [Explanation(prediction, grey(), (16, 16)), Explanation(broken)]
    classifier = Classifier(spec, {})
    overlays = write_explanations(classifier, evil, shown, tmp_path / "out")
    assert [path.parent for path in overlays.values()] == [tmp_path / "out"]
    page = (tmp_path / "out/explained.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img" in page
    assert "\u202e" not in page
    assert "Uninformative map" in page
    with pytest.raises(RunError, match="exists already"):
        write_explanations(classifier, evil, shown, tmp_path / "out")
