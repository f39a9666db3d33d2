"""From probabilities to estimates and files, and back."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from lucency.classifier import Outputs, Spec
from lucency.errors import ClassifierError, ConfigError, DataError, RunError
from lucency.evaluation import (
    Evaluation,
    Predictions,
    evaluate,
    evaluate_arrays,
    evaluate_predictions,
    predict,
    read_evaluation,
    read_predictions,
    write_evaluation,
    write_predictions,
)
from lucency.metrics import FloatArray, IntArray, clopper_pearson, decide, delong
from lucency.progress import SILENT, Progress

TWO = ("NORMAL", "PNEUMONIA")
THREE = ("NORMAL", "bacteria", "virus")


def answers(n: int, classes: int, seed: int = 0) -> tuple[IntArray, FloatArray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    raw = np.exp(rng.normal(size=(n, classes)) + 2 * np.eye(classes)[labels])
    return labels, raw / raw.sum(1, keepdims=True)


def measured(n: int = 200, classes: tuple[str, ...] = TWO, **options: Any) -> Evaluation:
    labels, probabilities = answers(n, len(classes))
    settings = {
        "groups": None,
        "positive": "PNEUMONIA" if classes == TWO else None,
        "threshold": 0.4,
    } | options
    return evaluate_arrays(labels, probabilities, classes=classes, **settings)


@pytest.fixture(scope="module")
def single() -> Evaluation:
    return measured()


@pytest.fixture(scope="module")
def several() -> Evaluation:
    return measured(groups=[f"p{i // 3}" for i in range(200)])


@pytest.fixture(scope="module")
def three() -> Evaluation:
    return measured(classes=THREE)


@dataclass(frozen=True)
class Fake:
    """A classifier that knows its answers, and the split that it is asked for."""

    classes: tuple[str, ...]
    name: str
    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: IntArray
    answers: FloatArray
    targets: None = None
    values: None = None
    units: tuple[str, ...] = ()

    @property
    def spec(self) -> Spec:
        return Spec(
            classes=self.classes, positive="PNEUMONIA", threshold=0.3, size=(8, 8), channels=1,
            architecture="default", network_channels=1, parameters={}, rule="at 0.3",
            class_prior=(0.5, 0.5),
        )  # fmt: skip

    def infer_split(self, split: Fake, progress: Progress) -> Outputs:
        assert split is self
        progress.note("asked")
        return Outputs(self.answers, np.linspace(0, 1.5, len(self.answers)))


def fake(n: int = 60) -> Fake:
    labels, probabilities = answers(n, 2)
    files = tuple(f"test/{i}.png" for i in range(n))
    groups = tuple(str(i // 2) for i in range(n))
    return Fake(TWO, "test", files, groups, labels, probabilities)


# -- figures --------------------------------------------------------------------------------------


def test_two_classes_equal_scikit_learn(single: Evaluation) -> None:
    labels, probabilities = answers(200, 2)
    scores = probabilities[:, 1]
    decided = (scores >= 0.4).astype(int)
    expected = {
        "auroc": reference.roc_auc_score(labels, scores),
        "accuracy": reference.accuracy_score(labels, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, decided),
        "sensitivity": reference.recall_score(labels, decided),
        "specificity": reference.recall_score(labels, decided, pos_label=0),
        "ppv": reference.precision_score(labels, decided),
        "npv": reference.precision_score(labels, decided, pos_label=0),
        "f1": reference.f1_score(labels, decided),
        "mcc": reference.matthews_corrcoef(labels, decided),
        "average_precision": reference.average_precision_score(labels, scores),
        "brier": reference.brier_score_loss(labels, scores),
        "log_loss": reference.log_loss(labels, scores),
        "lr_plus": reference.class_likelihood_ratios(labels, decided)[0],
        "lr_minus": reference.class_likelihood_ratios(labels, decided)[1],
    }
    found = {name: x.value for name, x in single.metrics.items()}
    assert found.pop("ece") == single.calibration["ece"]
    odds = np.log(scores / (1 - scores))
    fitted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(odds[:, None], labels)
    assert found.pop("calibration_slope") == pytest.approx(fitted.coef_[0, 0], rel=1e-6)
    moved = scores * math.exp(found.pop("calibration_intercept"))
    assert (moved / (moved + 1 - scores)).mean() == pytest.approx(labels.mean(), rel=1e-12)
    assert found == pytest.approx(expected, rel=1e-12)
    assert np.array(single.confusion).tolist() == (
        reference.confusion_matrix(labels, decided).tolist()
    )


def test_more_classes_are_means_over_each(three: Evaluation) -> None:
    labels, probabilities = answers(200, 3)
    decided = probabilities.argmax(1)
    truth = np.eye(3)[labels]
    expected = {
        "auroc": reference.roc_auc_score(labels, probabilities, multi_class="ovr"),
        "accuracy": reference.accuracy_score(labels, decided),
        "sensitivity": reference.recall_score(labels, decided, average="macro"),
        "ppv": reference.precision_score(labels, decided, average="macro"),
        "f1": reference.f1_score(labels, decided, average="macro"),
        "mcc": reference.matthews_corrcoef(labels, decided),
        "average_precision": reference.average_precision_score(truth, probabilities),
        "brier": reference.brier_score_loss(labels, probabilities),
    }
    found = {name: three.metrics[name].value for name in expected}
    assert found == pytest.approx(expected, rel=1e-12)
    assert set(three.curves) == set(THREE)
    for name, part in three.per_class.items():
        k = THREE.index(name)
        assert part["n"] == (labels == k).sum()
        assert part["metrics"]["auroc"] == delong(labels == k, probabilities[:, k])
    assert three.operating_point["threshold"] is None


def test_every_interval_holds_its_value(
    single: Evaluation, several: Evaluation, three: Evaluation
) -> None:
    for evaluation in (single, several, three):
        parts = [part["metrics"] for part in evaluation.per_class.values()]
        for estimates in (evaluation.metrics, *parts):
            for name, x in estimates.items():
                if name == "ece":
                    assert math.isnan(x.low)
                    assert math.isnan(x.high)
                else:
                    assert x.low < x.value < x.high, name
                if not name.startswith(("lr_", "calibration_", "ece")):
                    assert x.high - x.low < 0.5, name


def test_methods_follow_the_patients(single: Evaluation, several: Evaluation) -> None:
    labels, probabilities = answers(200, 2)
    right = int(((probabilities[:, 1] >= 0.4) == labels).sum())
    accuracy = single.metrics["accuracy"]
    assert (accuracy.low, accuracy.high) == clopper_pearson(right, 200)
    assert (single.groups, several.groups) == (None, 67)
    names = ("auroc", "accuracy", "ppv", "f1")
    assert [single.metrics[x].method for x in names] == [
        "DeLong, logit",
        "Clopper-Pearson",
        "Clopper-Pearson",
        "linearised, logit",
    ]
    assert [several.metrics[x].method for x in names] == [
        "DeLong, logit, clustered by patient",
        "Clopper-Pearson, clustered by patient",
        "Clopper-Pearson, clustered by patient",
        "linearised, logit, clustered by patient",
    ]


def test_copies_of_images_narrow_nothing() -> None:
    labels, probabilities = answers(100, 2)
    options: dict[str, Any] = {"classes": TWO, "positive": "PNEUMONIA", "threshold": 0.5}
    clusters = [str(i) for i in range(100)]
    once = evaluate_arrays(labels, probabilities, clusters, **options)
    four = np.tile(labels, 4), np.tile(probabilities, (4, 1)), clusters * 4
    fourfold = evaluate_arrays(*four, **options)
    unknown = evaluate_arrays(*four[:2], None, **options)
    for name, x in once.metrics.items():
        if name != "ece":  # its bins depend on n
            width = fourfold.metrics[name].high - fourfold.metrics[name].low
            assert fourfold.metrics[name].value == pytest.approx(x.value)
            # Half an image more in each cell weighs less among four times as many.
            assert 0.8 < width / (x.high - x.low) < 1.15, name
            assert unknown.metrics[name].high - unknown.metrics[name].low < 0.65 * width, name


def test_images_without_a_group_stand_alone(single: Evaluation) -> None:
    assert measured(groups=[""] * 200) == single
    some = measured(groups=["a", "a", *[""] * 198])
    assert some.groups == 199
    assert some.metrics["accuracy"].method == "Clopper-Pearson, clustered by patient"


def test_swapping_the_classes_mirrors_everything(single: Evaluation) -> None:
    labels, probabilities = answers(200, 2)
    mirrored = evaluate_arrays(
        1 - labels, probabilities[:, ::-1], None, classes=TWO[::-1], positive=TWO[1], threshold=0.4
    )
    for name, x in single.metrics.items():
        assert mirrored.metrics[name].value == pytest.approx(x.value, rel=1e-12)
        assert mirrored.metrics[name].high == pytest.approx(x.high, rel=1e-9, nan_ok=True)


def test_seed_decides_the_bootstrap_alone(single: Evaluation) -> None:
    assert measured(seed=0) == single
    other = measured(seed=1)
    assert other.metrics == single.metrics
    bands = [np.array(x.curves["PNEUMONIA"]["roc"]["low"]) for x in (single, other)]
    assert (bands[0] != bands[1]).any()
    assert abs(bands[0] - bands[1]).mean() < 0.01


def test_no_mistake_is_no_certainty() -> None:
    labels = np.repeat([0, 1], 20)
    probabilities = np.eye(2)[labels] * 0.98 + 0.01
    options: dict[str, Any] = {"classes": TWO, "positive": "PNEUMONIA", "threshold": 0.5}
    alone = evaluate_arrays(labels, probabilities, None, **options).metrics
    assert alone["accuracy"].low == pytest.approx(0.025 ** (1 / 40))
    assert alone["auroc"].low == pytest.approx(0.025 ** (1 / 20))
    pairs = [str(i // 2) for i in range(40)]
    paired = evaluate_arrays(labels, probabilities, pairs, **options).metrics
    assert paired["accuracy"].method == "Clopper-Pearson, clustered by patient"
    assert paired["accuracy"].low == pytest.approx(0.025 ** (1 / 20))
    assert paired["sensitivity"].low == pytest.approx(0.025 ** (1 / 10))
    assert 0.8 < paired["f1"].low < paired["f1"].value == paired["f1"].high == 1
    assert 1 < paired["lr_plus"].low < paired["lr_plus"].value == math.inf
    precision = paired["average_precision"]
    assert precision.method == "linearised, logit, clustered by patient, no variation"
    assert math.isnan(precision.low)


def test_an_absent_class_is_undefined_and_still_strict_json() -> None:
    labels, probabilities = np.zeros(30, int), np.tile([0.7, 0.3], (30, 1))
    found = evaluate_arrays(
        labels, probabilities, None, classes=TWO, positive="PNEUMONIA", threshold=0.5
    )
    text = json.dumps(found.to_json(), allow_nan=False)
    undefined = {"value": None, "low": None, "high": None, "method": "undefined"}
    for name in ("auroc", "sensitivity", "ppv", "f1", "mcc", "balanced_accuracy"):
        assert json.loads(text)["metrics"][name] == undefined
    assert found.metrics["accuracy"].value == found.metrics["specificity"].value == 1
    assert found.curves == {}
    assert found.baseline == {"class": "NORMAL", "accuracy": 1.0}


def test_one_image_can_be_evaluated() -> None:
    found = evaluate_arrays(
        np.array([1]), np.array([[0.2, 0.8]]), None, classes=TWO, positive=TWO[1], threshold=0.5
    )
    assert found.metrics["accuracy"].low == pytest.approx(0.025)
    json.dumps(found.to_json(), allow_nan=False)


# -- curves, bins, baseline -----------------------------------------------------------------------


def test_curves_have_bands_around_them(single: Evaluation, three: Evaluation) -> None:
    assert list(single.curves) == ["PNEUMONIA"]
    labels, probabilities = answers(200, 2)
    fpr, tpr, _ = reference.roc_curve(labels, probabilities[:, 1])
    for pair in (*single.curves.values(), *three.curves.values()):
        for curve, across, up in ((pair["roc"], "fpr", "tpr"), (pair["pr"], "recall", "precision")):
            assert {len(points) for points in curve.values()} == {101}
            assert (np.diff(curve[across]) > 0).all()
            assert (np.array(curve["low"]) <= np.array(curve["high"])).all()
            inside = np.less_equal(curve["low"], curve[up]) & np.less_equal(
                curve[up], curve["high"]
            )
            assert inside.mean() > 0.9
    roc = single.curves["PNEUMONIA"]["roc"]
    assert (roc["fpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 1, 1)
    area = np.trapezoid(roc["tpr"], roc["fpr"])
    assert area == pytest.approx(reference.auc(fpr, tpr), abs=0.005)


def test_bins_hold_every_image_and_bars_hold_the_fraction(
    single: Evaluation, several: Evaluation, three: Evaluation
) -> None:
    for evaluation in (single, several, three):
        bins = evaluation.calibration["bins"]
        assert [b["n"] for b in bins] == [20] * 10
        assert all(b["low"] <= b["fraction"] <= b["high"] for b in bins)
        gaps = [b["n"] * abs(b["mean_probability"] - b["fraction"]) for b in bins]
        assert evaluation.calibration["ece"] <= math.sqrt(
            sum(g**2 / b["n"] for g, b in zip(gaps, bins, strict=True)) / 200
        )
    # Nobody in the lowest bin is positive: the bar must not be a point.
    assert single.calibration["bins"][0]["high"] == clopper_pearson(0, 20)[1]
    assert several.calibration["bins"][0]["high"] > single.calibration["bins"][0]["high"]


def test_only_an_error_above_its_null_band_shows_anything() -> None:
    rng = np.random.default_rng(2)
    claimed = rng.random(500)
    both = np.stack([1 - claimed, claimed], axis=1)
    options: dict[str, Any] = {"classes": TWO, "positive": TWO[1], "threshold": 0.5}
    honest = evaluate_arrays((rng.random(500) < claimed).astype(int), both, None, **options)
    assert honest.metrics["ece"].value <= honest.calibration["chance"]["high"]
    assert honest.metrics["calibration_slope"].low < 1 < honest.metrics["calibration_slope"].high
    sure = evaluate_arrays((rng.random(500) < claimed**3).astype(int), both, None, **options)
    assert sure.metrics["ece"].value > sure.calibration["chance"]["high"]
    assert sure.metrics["calibration_intercept"].high < 0


def test_baseline_is_the_most_frequent_class() -> None:
    labels, probabilities = np.repeat([0, 1], [234, 390]), np.tile([0.4, 0.6], (624, 1))
    found = evaluate_arrays(
        labels, probabilities, None, classes=TWO, positive=TWO[1], threshold=0.5
    )
    assert found.baseline == {"class": "PNEUMONIA", "accuracy": 0.625}
    assert found.metrics["accuracy"].value == 0.625
    assert found.confusion == ((0, 234), (0, 390))


# -- decisions and refusals -----------------------------------------------------------------------


def test_decisions() -> None:
    given = np.array([[0.5, 0.5], [0.51, 0.49], [0.2, 0.8]])
    assert decide(given, 1, 0.5).tolist() == [1, 0, 1]
    assert decide(given, 0, 0.2).tolist() == [0, 0, 0]
    assert decide(given, None, None).tolist() == [0, 0, 1]
    with pytest.raises(ConfigError, match="threshold"):
        decide(given, 1, None)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"positive": "PNEUMONI"}, ConfigError, "Did you mean 'PNEUMONIA'"),
        ({"positive": "virus", "classes": THREE}, ConfigError, "exactly two"),
        ({"labels": np.zeros(0, int), "probabilities": np.zeros((0, 2))}, DataError, "no image"),
        ({"labels": np.array([0, 2])}, DataError, "0..1"),
        ({"groups": ["a"]}, DataError, "2 images"),
        ({"probabilities": np.full((2, 3), 1 / 3)}, ClassifierError, "shape"),
        ({"probabilities": np.array([[0.5, 0.5], [np.nan, 1]])}, ClassifierError, "1 of 2"),
        ({"probabilities": np.array([[-3.0, 4.0], [1, 2]])}, ClassifierError, "2 of 2"),
    ],
)
def test_refuses_what_cannot_be_measured(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {
        "labels": np.array([0, 1]),
        "probabilities": np.eye(2),
        "groups": None,
        "classes": TWO,
        "positive": "PNEUMONIA",
        "threshold": 0.5,
    } | change
    with pytest.raises(error, match=message):
        evaluate_arrays(**arguments)


def test_a_classifier_is_asked_once_and_heard() -> None:
    class Listener(Progress):
        notes: list[str] = []  # noqa: RUF012

        def note(self, line: str) -> None:
            self.notes.append(line)

    classifier, progress = fake(), Listener()
    found = evaluate(classifier, classifier, progress)
    assert progress.notes == ["asked"]
    predictions = predict(classifier, classifier, SILENT)
    assert (
        predictions.decisions.tolist()
        == (predictions.probabilities[:, 1] >= 0.3).astype(int).tolist()
    )
    assert (found.n, found.groups, found.positive) == (60, 30, "PNEUMONIA")
    plain = evaluate_arrays(
        predictions.labels,
        predictions.probabilities,
        predictions.groups,
        classes=TWO,
        positive=TWO[1],
        threshold=0.3,
    )
    assert found.metrics == plain.metrics
    assert found.operating_point == {"rule": "at 0.3", "threshold": 0.3, "validation": None}


# -- files ----------------------------------------------------------------------------------------


def test_evaluation_round_trip(tmp_path: Path, single: Evaluation) -> None:
    path = tmp_path / "evaluation.json"
    write_evaluation(path, validation=single, test=None)
    found = read_evaluation(path)
    assert found["format"] == 2
    assert (found["classes"], found["positive"], found["test"]) == (list(TWO), "PNEUMONIA", None)
    assert found["validation"] == single.to_json()
    assert set(found["validation"]["metrics"]["auroc"]) == {"value", "low", "high", "method"}
    write_evaluation(path, test=single)
    assert read_evaluation(path)["validation"] is None
    with pytest.raises(DataError, match="neither"):
        write_evaluation(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2}', "\xff"])
def test_a_damaged_evaluation_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "evaluation.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"again|training run") as caught:
        read_evaluation(path)
    assert str(path) in str(caught.value)
    with pytest.raises(RunError, match="There is no"):
        read_evaluation(tmp_path / "absent.json")


def awkward(split: str) -> Predictions:
    classes = ('a,"b"', "ünï\r\n", "\rp_x", " ")
    files = ("x.png", "a,b.png", 'q"\n.png', os.fsdecode(b"caf\xe9.png"))
    labels, probabilities = answers(4, 4, seed=len(split))
    probabilities[0, 0] = 5e-324
    order = np.array([3, 2, 1, 0])
    return Predictions(split, classes, files, ("", "1", "p,2", "é"), labels, order, probabilities)


def test_predictions_round_trip_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    written = (awkward("val"), awkward("test"))
    write_predictions(path, iter(written))
    for before, after in zip(written, read_predictions(path), strict=True):
        for name, value in vars(before).items():
            np.testing.assert_array_equal(getattr(after, name), value)
            assert type(getattr(after, name)) is type(value)
        assert after.probabilities.dtype == np.float64
        assert after.labels.dtype == np.int64


def test_predictions_are_plain_columns(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    one = Predictions(
        "test", TWO, ("x.png",), ("7",), np.array([0]), np.array([1]), np.array([[0.1, 0.9]])
    )
    write_predictions(path, [one])
    assert path.read_text().splitlines() == [
        "split,file,group,label,decision,ood_score,p_NORMAL,p_PNEUMONIA",
        "test,x.png,7,NORMAL,PNEUMONIA,,0.1,0.9",
    ]


def test_figures_can_be_recomputed_from_the_predictions(tmp_path: Path) -> None:
    classifier = fake()
    write_predictions(tmp_path / "p.csv", [predict(classifier, classifier)])
    (predictions,) = read_predictions(tmp_path / "p.csv")
    assert predictions.ood_scores is not None
    assert evaluate_predictions(classifier, predictions) == evaluate(classifier, classifier)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:0],
        lambda text: text.replace("decision", "answer"),
        lambda text: text.replace("0.9", "many"),
        lambda text: text.replace("PNEUMONIA,,0.1", "PNEUMONIE,,0.1"),
        lambda text: text.replace(",,0.1", ",far,0.1"),
        lambda text: text.replace(",0.9", ""),
        lambda text: text + '"half',
    ],
)
def test_damaged_predictions_are_refused(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "predictions.csv"
    one = Predictions(
        "test", TWO, ("x.png",), ("7",), np.array([0]), np.array([1]), np.array([[0.1, 0.9]])
    )
    write_predictions(path, [one])
    path.write_text(change(path.read_text()))
    with pytest.raises(RunError, match="Cannot read") as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)


def test_missing_predictions_and_mixed_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no"):
        read_predictions(tmp_path / "absent.csv")
    with pytest.raises(ConfigError, match="share their classes"):
        write_predictions(tmp_path / "p.csv", [])
    other = replace(awkward("val"), classes=("a", "b", "c", "d"))
    with pytest.raises(ConfigError, match="share their classes"):
        write_predictions(tmp_path / "p.csv", [awkward("test"), other])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: Evaluation
) -> None:
    path = tmp_path / "evaluation.json"
    write_evaluation(path, test=single)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="disk is full"):
        write_evaluation(path, validation=single)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
