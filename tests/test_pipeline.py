"""A training run: its files, and that all ways to use its classifier agree."""

from __future__ import annotations

import ast
import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import small_network

from conftest import draw_folder
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.errors import BackendError, ClassifierError, LucencyError
from lucency.evaluation import read_evaluation, read_predictions
from lucency.pipeline.train import Run, run_training

FAST = Config(effort="quick", size=32, epochs=4, batch=8, precision="float32", folds=0)


@pytest.fixture(scope="module")
def run(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = dataclasses.replace(
        FAST, cache=str(folder.parent / "cache"), neighbours=10, operating_point="youden"
    )
    with small_network.small_network():
        return run_training(small_folder, config, run=str(folder), command="lucency train tiny")


pytestmark = pytest.mark.slow


@pytest.mark.backend
def test_a_run_folder_is_complete(run: Run) -> None:
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "audit.json", "checklist.json", "checksums.json", "classifier.json", "evaluation.json",
        "explanation.json", "history.csv", "images", "model.onnx", "model_card.md",
        "neighbours.safetensors", "ood_detector.safetensors", "plan.json", "predictions.csv",
        "reference_images.safetensors", "report.html", "robustness.json", "split.csv",
        "test_evaluations.json", "weights.safetensors",
    }  # fmt: skip
    assert not [p for p in run.folder.parent.iterdir() if p.name.startswith(".")]
    with (run.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]


def test_the_reference_images_are_validation_images_of_every_class(run: Run) -> None:
    classifier = Classifier.load(run.folder)
    reference_images = classifier.reference_images
    assert reference_images is not None
    held = {each.tobytes() for each in run.data.val.pixels(np.arange(len(run.data.val)))}
    assert all(each.tobytes() in held for each in reference_images.pixels)
    assert (
        len({each.tobytes() for each in reference_images.pixels}) > len(reference_images.pixels) / 2
    )
    assert reference_images.largest_difference(classifier.predict_pixels) < 1e-6
    assert set(classifier.decide(reference_images.probabilities.astype(np.float64))) == {0, 1}


def test_the_neighbours_are_training_images_of_every_class(run: Run) -> None:
    classifier = Classifier.load(run.folder)
    assert classifier.keeps_neighbours
    kept = classifier.neighbours
    assert kept is not None
    assert np.bincount(kept.labels).tolist() == [5, 5]
    held = {each.tobytes() for each in run.data.train.pixels(np.arange(len(run.data.train)))}
    assert all(each.tobytes() in held for each in kept.images)  # 32 pixels: not made smaller
    outputs = classifier.infer(kept.images)
    assert outputs.embeddings is not None
    for i, embedding in enumerate(outputs.embeddings):
        first = kept.nearest(embedding, 1)[0]
        assert first.distance < 1e-3
        assert first.label == kept.classes[kept.labels[i]]


@pytest.mark.backend
def test_the_parity_certificate_covers_the_test_split(run: Run) -> None:
    assert run.data.test is not None
    assert run.parity.passed
    assert run.parity.split == "test"
    assert run.parity.n == len(run.data.test)
    assert run.parity.max_abs_difference <= 1e-4
    document = json.loads((run.folder / "classifier.json").read_text())
    assert document["onnx"]["parity"] == dataclasses.asdict(run.parity)


def test_evaluation_json_holds_every_figure(run: Run) -> None:
    document = read_evaluation(run.folder / "evaluation.json")
    assert document["format"] == 2
    test = document["test"]
    assert test["n"] == len(run.data.test or ())
    assert test["classes"] == ["dark", "light"]
    assert test["metrics"]["auroc"]["value"] > 0.9
    for name in (
        "accuracy",
        "balanced_accuracy",
        "sensitivity",
        "specificity",
        "brier",
        "log_loss",
    ):
        assert set(test["metrics"][name]) == {"value", "low", "high", "method"}


def test_predictions_hold_every_image_of_validation_and_test(run: Run) -> None:
    splits = {each.split: each for each in read_predictions(run.folder / "predictions.csv")}
    assert splits["val"].files == run.data.val.files
    assert run.data.test is not None
    assert splits["test"].files == run.data.test.files
    with (run.folder / "predictions.csv").open() as file:
        assert next(csv.reader(file)) == [
            "split", "file", "group", "label", "decision", "ood_score", "p_dark", "p_light",
        ]  # fmt: skip


def test_training_and_prediction_agree(run: Run) -> None:
    """The same file has the same probability in the run, the API, Keras and a new process."""
    stored = read_predictions(run.folder / "predictions.csv")[-1]
    file = run.data.root / stored.files[0]
    classifier = Classifier.load(run.folder)
    (predicted,) = classifier.predict([file])
    np.testing.assert_allclose(predicted.probabilities, stored.probabilities[0], atol=1e-6)
    assert run.data.test is not None
    keras = classifier.predict_with_keras(run.data.test.pixels([0]))
    np.testing.assert_allclose(keras[0], stored.probabilities[0], atol=1e-4)
    script = "from lucency.cli import main; main()"
    command = [sys.executable, "-c", script, "predict", str(run.folder), str(file), "--json"]
    (row,) = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    np.testing.assert_allclose(
        list(row["probabilities"].values()), stored.probabilities[0], atol=1e-6
    )


def test_predicting_imports_no_keras(run: Run) -> None:
    file = run.data.root / run.data.val.files[0]
    script = (
        "import sys; from lucency import Classifier;"
        f"print(Classifier.load({str(run.folder)!r}).predict([{str(file)!r}])[0].probabilities);"
        "sys.exit(bool({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert sum(ast.literal_eval(done.stdout.decode())) == pytest.approx(1)


@pytest.mark.backend
def test_keras_can_train_the_network_further(run: Run) -> None:
    model = Classifier.load(run.folder).keras_model
    model.compile("sgd", "binary_crossentropy")
    pixels = run.data.train.pixels(range(8)).astype(np.float32)
    model.fit(pixels, run.data.train.labels[:8, None].astype(np.float32), verbose=0)


def test_a_classifier_survives_saving_and_loading(run: Run, tmp_path: Path) -> None:
    first = Classifier.load(run.folder)
    first.save(tmp_path)
    second = Classifier.load(tmp_path)
    assert second.spec == first.spec
    assert second.onnx == first.onnx
    assert all(np.array_equal(second.weights[name], first.weights[name]) for name in first.weights)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.onnx"])
def test_a_flipped_bit_raises(run: Run, tmp_path: Path, name: str) -> None:
    Classifier.load(run.folder).save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ClassifierError, match=name):
        Classifier.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, "has format 3; this version of Lucency reads format 2"),
        ({"format": 1}, "Train again with this version"),
        ({"classes": ["dark"]}, "classes"),
        ({"classes": ["dark", "dark"]}, "classes"),
        ({"temperature": 0}, "from 0.001 to 1000"),
        ({"temperature": "1"}, "expected a number"),
        ({"input": {"height": 10**9, "width": 32, "channels": 1}}, "from 1 to 2048"),
        ({"positive": "bird"}, "must be one of two classes"),
        (
            {"architecture": {"name": "pretrained", "channels": 3, "parameters": {"weights": "x"}}},
            "must not have weights",
        ),
        ({"operating_point": {}}, "KeyError"),
    ],
)
def test_an_invalid_classifier_json_raises(
    run: Run, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    Classifier.load(run.folder).save(tmp_path)
    path = tmp_path / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ClassifierError, match=message) as caught:
        Classifier.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_raise(run: Run) -> None:
    classifier = Classifier.load(run.folder)
    name = max(classifier.weights, key=lambda name: classifier.weights[name].shape[-1:])
    classifier.weights[name] = classifier.weights[name][..., :1]
    with pytest.raises(ClassifierError, match="do not fit"):
        _ = classifier.keras_model


def test_an_onnx_file_that_differs_from_keras_raises(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lucency import export

    classifier = Classifier.load(run.folder)
    original = Classifier.predict_pixels

    def biased(self: Classifier, pixels: np.ndarray) -> np.ndarray:
        return np.clip(original(self, pixels) + np.array([2e-4, -2e-4]), 0, 1)

    monkeypatch.setattr(Classifier, "predict_pixels", biased)
    with pytest.raises(BackendError, match="disagrees with Keras"):
        export.to_onnx(classifier, run.data.val)


def test_a_failure_leaves_no_files(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lucency.training.fit.fit", full)
    config = dataclasses.replace(FAST, cache=str(tmp_path / "cache"))
    with pytest.raises(LucencyError, match="No space left") as caught:
        run_training(small_folder, config, run=str(tmp_path / "runs" / "x"))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.usefixtures("small_network")
def test_three_classes(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "three", 20, ("10", "2", "x"))
    config = dataclasses.replace(FAST, epochs=1, cache=str(tmp_path / "cache"))
    done = run_training(folder, config, run=str(tmp_path / "run"))
    assert done.data.classes == ("2", "10", "x")
    classifier = Classifier.load(done.folder)
    assert classifier.positive is None
    (prediction,) = classifier.predict([folder / done.data.train.files[0]])
    assert len(prediction.probabilities) == 3
    assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-9)
    document = read_evaluation(done.folder / "evaluation.json")
    assert set(document["test"]["per_class"]) == {"2", "10", "x"}
