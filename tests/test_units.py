"""One answer for all images of a patient: pooling, calibration, evaluation, prediction."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from benchmarks.dicom_files import dicom
from PIL import Image
from scipy import special

from conftest import Heard, call_lucency
from lucency.calibration import scaling, units
from lucency.calibration.conformal import Conformal, fit
from lucency.calibration.units import UnitRule
from lucency.classifier import ABSTAIN, Classifier, Prediction, Spec
from lucency.comparison import compare
from lucency.config import Config
from lucency.dataset import Entry
from lucency.dataset.groups import check_known, find_groups, find_new_groups
from lucency.dataset.units import check_units
from lucency.errors import ClassifierError, ConfigError, DataError, InputError
from lucency.estimator import LucencyClassifier
from lucency.evaluation import Predictions, evaluate_predictions, write_predictions
from lucency.evaluation.predictions import pooled
from lucency.pipeline.evaluate import choose_threshold
from lucency.pipeline.predict import adjustment, predict_units
from lucency.progress import SILENT
from lucency.serve.api.openapi import openapi
from lucency.serve.inference.service import Service
from lucency.tracking.tracker import of_evaluation
from lucency.training.calibrate import HeldOut, _unit
from serving import QUICK, Running, form, running, save_classifier
from small_runs import SIDE, TWO, brightness_network, spec_of, write_predicted_run

if TYPE_CHECKING:
    from lucency.training.plan import Plan

RULE = UnitRule("", 1.0, (0.0,), 0.5, "the more probable class", None, Conformal(()))


def probabilities(logits: np.ndarray) -> np.ndarray:
    p = special.expit(logits)
    return np.stack([1 - p, p], axis=1)


def drawn(
    patients: int, images: int, correlation: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Draw logits of images; those of a patient share a part of their noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, patients)
    own = rng.normal(size=(patients, 1)) * np.sqrt(correlation)
    each = rng.normal(size=(patients, images)) * np.sqrt(1 - correlation)
    logits = (2.0 * (2 * labels[:, None] - 1) + 2 * (own + each)).reshape(-1)
    names = [f"p{i}" for i in range(patients) for _ in range(images)]
    return logits, np.repeat(labels, images), names


def calibrated(classifier: Classifier, p: np.ndarray, held_out: HeldOut) -> UnitRule:
    plan = cast("Plan", SimpleNamespace(positive_from="", seed=0))
    return _unit(classifier, plan, Config(unit="patient"), p, held_out, SILENT)


def test_a_unit_has_the_mean_of_the_logits() -> None:
    logits = np.array([1.0, -0.5, 3.0])
    found = RULE.probabilities(probabilities(logits), np.array([0, 1, 0]))
    assert found[:, 1] == pytest.approx(special.expit([2.0, -0.5]))
    three = special.softmax(np.array([[1.0, 0, 2], [3, 1, 0]]), axis=1)
    rule = dataclasses.replace(RULE, bias=(0.0, 0.0, 0.0))
    mean = special.softmax(np.array([2.0, 0.5, 1.0]))
    assert rule.probabilities(three, np.zeros(2, np.int64))[0] == pytest.approx(mean)


def test_the_order_of_the_images_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    p = probabilities(rng.normal(size=50))
    unit = np.zeros(50, np.int64)
    expected = RULE.probabilities(p, unit)
    for _ in range(5):
        assert (RULE.probabilities(rng.permutation(p), unit) == expected).all()


def test_images_without_a_patient_stand_alone() -> None:
    names, unit = units.numbered(["b", "", "a", "", "b"])
    assert names == ("b", "", "a", "")
    assert unit.tolist() == [0, 1, 2, 3, 0]
    assert units.first_of(unit).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("correlation", "low", "high"), [(0.0, 0.1, 0.6), (1.0, 0.8, 1.25)])
def test_the_temperature_follows_how_much_images_agree_by_chance(
    correlation: float, low: float, high: float
) -> None:
    """Four images with independent errors say four times as much as one; copies say no more."""
    logits, labels, groups = drawn(4000, 4, correlation)
    held_out = HeldOut(logits[:, None], labels, groups)
    classifier = Classifier(dataclasses.replace(spec_of(), class_prior=(0.5, 0.5)), {})
    p = probabilities(logits)  # calibrated: logits of a class have mean 2 and variance 4
    rule = calibrated(classifier, p, held_out)
    assert low < rule.temperature < high


def test_sets_and_probabilities_of_units_hold_what_they_promise() -> None:
    logits, labels, groups = drawn(2000, 3, 0.4)
    half = len(labels) // 2
    classifier = Classifier(dataclasses.replace(spec_of(), class_prior=(0.5, 0.5)), {})
    held_out = HeldOut(logits[:half, None], labels[:half], groups[:half])
    p = probabilities(logits)
    rule = calibrated(classifier, p[:half], held_out)
    names, unit = units.numbered(groups[half:])
    found = rule.probabilities(p[half:], unit)
    truth = labels[half:][units.first_of(unit)]
    sets = rule.conformal.sets(found, 0.1)
    assert 0.87 < sets[np.arange(len(truth)), truth].mean() < 0.93
    assert len(names) == 1000
    confident = found.max(axis=1) > 0.9
    assert found[confident].max(axis=1).mean() == pytest.approx(
        (found[confident].argmax(axis=1) == truth[confident]).mean(), abs=0.02
    )


def test_the_rule_is_read_back_and_checked() -> None:
    logits, labels, groups = drawn(200, 2, 0.4)
    sets = fit(probabilities(logits), labels, groups)
    rule = dataclasses.replace(
        RULE, conformal=sets, validation={"sensitivity": 1, "specificity": 0}
    )
    document = json.loads(json.dumps(rule.to_json()))
    assert UnitRule.from_json(document, TWO) == dataclasses.replace(
        rule, validation={"sensitivity": 1.0, "specificity": 0.0}
    )
    for key, wrong in (
        ("temperature", 0), ("threshold", 2), ("bias", [0, 0]), ("rule", 3),
        ("validation", {"sensitivity": 2, "specificity": 0}), ("conformal", {}), ("bias", "ab"),
    ):  # fmt: skip
        with pytest.raises(ClassifierError):
            UnitRule.from_json({**document, key: wrong}, TWO)
    with pytest.raises(ClassifierError, match="incomplete"):
        UnitRule.from_json({}, TWO)


def predictions_of(logits: np.ndarray, labels: np.ndarray, groups: list[str]) -> Predictions:
    p = probabilities(logits)
    n = len(labels)
    return Predictions(
        split="test", classes=TWO, files=tuple(f"{i}.png" for i in range(n)),
        groups=tuple(groups), labels=labels, decisions=p.argmax(axis=1), probabilities=p,
        ood_scores=np.linspace(0, 2, n),
    )  # fmt: skip


def test_patients_are_evaluated_beside_images() -> None:
    logits, labels, groups = drawn(150, 3, 0.2)
    spec = dataclasses.replace(spec_of(), unit=with_sets().to_json(), class_prior=(0.5, 0.5))
    found = evaluate_predictions(Classifier(spec, {}), predictions_of(logits, labels, groups))
    patients = found.per_unit
    assert patients is not None
    assert (found.n, patients.n, patients.groups) == (450, 150, 150)
    assert patients.metrics["auroc"].value > found.metrics["auroc"].value + 0.01
    assert np.sum(patients.confusion) == 150
    assert found.to_json()["per_unit"]["n"] == 150
    plain = evaluate_predictions(
        Classifier(dataclasses.replace(spec, unit=None), {}), predictions_of(logits, labels, groups)
    )
    assert plain.per_unit is None
    assert {**plain.to_json(), "per_unit": patients.to_json()} == found.to_json()
    assert (patients.unit, patients.to_json()["unit"]) == ("patient", "patient")


def test_the_prediction_of_a_patient_has_the_median_ood_score() -> None:
    logits, labels, groups = drawn(2, 3, 0.2)
    found = pooled(predictions_of(logits, labels, groups), RULE)
    assert found.files == ("0.png", "3.png")
    assert found.ood_scores is not None
    assert found.ood_scores.tolist() == pytest.approx([0.4, 1.6])


def run_of(unit: UnitRule | None) -> Classifier:
    spec = dataclasses.replace(spec_of(), unit=unit and unit.to_json(), class_prior=(0.5, 0.5))
    return Classifier(spec, {}, brightness_network())


def with_sets() -> UnitRule:
    p = probabilities(np.linspace(-4, 4, 200))
    labels = (np.linspace(-4, 4, 200) > 0).astype(np.int64)
    return dataclasses.replace(RULE, conformal=fit(p, labels))


def test_predict_answers_for_patients(tmp_path: Path) -> None:
    for name, grey in (
        ("patient1_1.png", 250), ("patient1_2.png", 180), ("patient2_1.png", 10)
    ):  # fmt: skip
        Image.new("L", (SIDE, SIDE), grey).save(tmp_path / name)
    (tmp_path / "patient3_1.png").write_bytes(b"damaged")
    classifier = run_of(with_sets())
    images = classifier.predict(sorted(tmp_path.iterdir()))
    one, two, three = predict_units(classifier, images)
    assert [each.prediction.file for each in (one, two, three)] == [
        "patient1", "patient2", "patient3"
    ]  # fmt: skip
    assert [len(each.images) for each in (one, two, three)] == [2, 1, 1]
    logits = special.logit([each.probabilities[1] for each in one.images])
    assert one.prediction.probabilities[1] == pytest.approx(special.expit(logits.mean()))
    assert (one.prediction.decision, two.prediction.decision) == (TWO[1], TWO[0])
    assert three.prediction.reason == "no image of the patient can be read"
    document = one.to_json()
    assert document["patient"] == "patient1"
    assert [Path(each["file"]).name for each in document["images"]] == [
        "patient1_1.png", "patient1_2.png"
    ]  # fmt: skip


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0)])
def test_a_prevalence_moves_the_answer_for_a_patient_by_its_odds(order: tuple[int, ...]) -> None:
    """Bayes' rule on the answer itself, whatever temperature the images are pooled with."""
    rule = dataclasses.replace(with_sets(), temperature=0.4)
    classifier = run_of(rule)
    p = probabilities(np.array([0.3, -0.2, 0.9]))
    images = [Prediction(f"patient1_{i}.png", "", tuple(p[i])) for i in order]
    (found,) = predict_units(classifier, images)
    moved = found.adjusted(adjustment(classifier, 0.1)).prediction.probabilities
    odds = special.logit(found.prediction.probabilities[1]) + np.log(0.1 / 0.9)
    assert moved[1] == pytest.approx(special.expit(odds))
    assert found.prediction.probabilities[1] == pytest.approx(special.expit((1 / 3) / 0.4))


def saved_run(run: Path, rule: UnitRule) -> Path:
    classifier = run_of(rule)
    weights = {"w": np.ones(classifier.spec.weight_count, np.float32)}
    Classifier(classifier.spec, weights, classifier.onnx).save(run)
    return run


def predicted_files(tmp_path: Path, *names: str) -> tuple[Path, list[str]]:
    """Save a run with answers for patients, and write bright images."""
    run, folder = tmp_path / "run", tmp_path / "2024"
    saved_run(run, with_sets())
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (SIDE, SIDE), 240).save(folder / name)
    return run, [str(folder / name) for name in names]


def test_the_command_names_patients(tmp_path: Path) -> None:
    run, files = predicted_files(tmp_path, "patient1_1.png", "patient1_2.png", "patient2_1.png")
    found = call_lucency("predict", run, *files, "--csv")
    rows = [*csv.DictReader(io.StringIO(found.stdout))]
    assert [row["patient"] for row in rows] == ["patient1", "patient2"]
    assert all(row["decision"] == TWO[1] for row in rows)
    found = call_lucency("predict", run, *files, "--json")
    assert [len(each["images"]) for each in json.loads(found.stdout)] == [2, 1]


def test_the_command_fails_where_no_image_can_be_read(tmp_path: Path) -> None:
    run, (file,) = predicted_files(tmp_path, "patient1_1.png")
    Path(file).write_bytes(b"damaged")
    for options in ([], ["--csv"], ["--json"]):
        assert call_lucency("predict", run, file, *options).returncode == 2


def test_evaluate_knows_the_patients_of_another_folder(tmp_path: Path) -> None:
    """By the expression of the training; an image that it does not match stands alone."""
    for k, name in enumerate(TWO):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            shade = Image.new("L", (SIDE, SIDE), 40 + 140 * k + 10 * i)
            shade.save(tmp_path / "data" / name / f"q{2 * k + i // 2}_{i}.png")
    (tmp_path / "data" / TWO[0] / "q0_0.png").rename(tmp_path / "data" / TWO[0] / "other.png")
    run = saved_run(tmp_path / "run", dataclasses.replace(with_sets(), regex=r"(q\d+)_"))
    command = ("evaluate", run, tmp_path / "data", "--json")
    found = call_lucency(*command)
    assert found.returncode == 0, found.stderr
    evaluation = json.loads(found.stdout)
    assert (evaluation["n"], evaluation["per_unit"]["n"]) == (8, 5)
    assert "No patient is known for 1 of 8 images" in found.stderr
    (tmp_path / "data" / TWO[0] / "q1_2.png").rename(tmp_path / "data" / TWO[1] / "q1_2.png")
    wrong = call_lucency(*command)
    assert wrong.returncode == 2
    assert f"q1 ({TWO[0]}, {TWO[1]})" in wrong.stderr.splitlines()[-1]


def test_an_expression_searches_below_the_folder_and_need_not_match() -> None:
    """The year in the path of the folder is no patient."""
    classifier = run_of(dataclasses.replace(with_sets(), regex=r"(\d+)"))
    files = ["/2024/x/7_a.png", "/2024/x/7_b.png", "/2024/x/8.png", "/2024/x/a.png", "/1/b.png"]
    images = [Prediction(file, "", (0.2, 0.8)) for file in files]
    progress = Heard()
    found = predict_units(classifier, images, [Path("/2024/x")], progress)
    assert [(each.prediction.file, len(each.images)) for each in found] == [
        ("7", 2), ("8", 1), ("/2024/x/a.png", 1), ("/1/b.png", 1)
    ]  # fmt: skip
    assert "No patient is known for 2 of 5 images" in progress.warnings[0]


def test_all_dicom_files_of_a_prediction_may_be_of_one_patient() -> None:
    files = [f"{i}.dcm" for i in range(5)]
    found = find_new_groups(files, patients=["x"] * 5)
    assert (found.source, {*found.keys}) == ("dicom", {"0.dcm"})
    assert "5 of 5 DICOM files have the same one" in found.warnings[0]
    assert find_groups(files, patients=["x"] * 5).source == "none"  # for training, a placeholder
    assert find_new_groups(files, patients=["x", "x", "y", "y", ""]).keys == (
        "0.dcm", "0.dcm", "2.dcm", "2.dcm", "4.dcm"
    )  # fmt: skip
    assert find_new_groups(["a.png", "b.png"]).keys == ("a.png", "b.png")


def write_dicom_patients(folder: Path) -> None:
    folder.mkdir()
    ramp = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
    for name, patient in (("1", "Doe"), ("2", "Roe"), ("3", "Doe"), ("4", "Doe"), ("5", "Poe")):
        (folder / f"{name}.dcm").write_bytes(dicom(ramp, PatientID=patient, BitsStored=12))


def test_dicom_files_are_of_the_patients_in_their_headers(tmp_path: Path) -> None:
    """PatientID itself is nowhere in what is printed."""
    write_dicom_patients(tmp_path / "dicom")
    run = saved_run(tmp_path / "run", with_sets())
    found = call_lucency("predict", run, tmp_path / "dicom", "--json")
    patients = [
        (Path(each["patient"]).name, len(each["images"])) for each in json.loads(found.stdout)
    ]
    assert patients == [("1.dcm", 3), ("2.dcm", 1), ("5.dcm", 1)]
    assert "oe" not in (found.stdout + found.stderr).replace(str(tmp_path), "")


def test_the_order_of_the_rows_changes_no_figure() -> None:
    logits, labels, groups = drawn(60, 3, 0.2)
    p = predictions_of(logits, labels, groups)
    order = np.random.default_rng(0).permutation(len(labels))
    moved = dataclasses.replace(
        p, files=tuple(p.files[i] for i in order), groups=tuple(p.groups[i] for i in order),
        labels=labels[order], decisions=p.decisions[order], probabilities=p.probabilities[order],
    )  # fmt: skip
    rule = dataclasses.replace(with_sets(), temperature=0.7)
    one, other = pooled(p, rule), pooled(moved, rule)
    places = [other.groups.index(name) for name in one.groups]
    assert (other.probabilities[places] == one.probabilities).all()


def compared_run(folder: Path, found: Predictions, unit: UnitRule | None, **plan: Any) -> Path:
    folder.mkdir()
    contents = [hashlib.sha256(file.encode()).hexdigest() for file in found.files]
    run = write_predicted_run(folder, found, contents, **plan)
    path = run / "classifier.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "unit": unit and unit.to_json()}))
    return run


def test_runs_are_compared_on_patients_where_all_have_answers_for_them(tmp_path: Path) -> None:
    logits, labels, groups = drawn(40, 3, 0.2)
    others = drawn(40, 3, 0.2, seed=1)[0] * (2 * labels - 1)
    one = compared_run(tmp_path / "one", predictions_of(logits, labels, groups), with_sets())
    found = predictions_of(others, labels, groups)
    two = compared_run(tmp_path / "two", found, with_sets(), effort="standard")
    three = compared_run(tmp_path / "three", found, None, effort="thorough")
    of_patients = compare([one, two])
    assert (of_patients.unit, of_patients.n, of_patients.images) == ("patient", 40, 120)
    rule, unit = with_sets(), np.repeat(np.arange(40), 3)
    p = rule.probabilities(probabilities(logits), unit)
    accuracy = of_patients.systems[0].metrics["accuracy"].estimate.value
    assert accuracy == pytest.approx(((p[:, 1] >= rule.threshold) == labels[::3]).mean())
    of_images = compare([one, three])
    assert (of_images.unit, of_images.n, of_images.images) == ("image", 120, 120)
    assert of_images.test_set == of_patients.test_set


def test_many_patients_take_no_longer_than_their_images() -> None:
    """A pass over all images for each of 50,000 patients would take minutes."""
    n = 100_000
    logits, labels, groups = drawn(n // 2, 2, 0.5)
    start = time.monotonic()
    found = pooled(predictions_of(logits, labels, groups), RULE)
    assert len(found.files) == n // 2
    classifier = run_of(with_sets())
    images = [Prediction(f"patient{i // 2}_{i % 2}.png", "", (0.4, 0.6)) for i in range(4000)]
    assert len(predict_units(classifier, images)) == 2000
    assert time.monotonic() - start < 30


def test_a_bias_is_fitted_where_patients_need_one() -> None:
    """Logits of images that lean to one class lean for patients too."""
    logits, labels, groups = drawn(3000, 3, 0.3)
    classifier = Classifier(dataclasses.replace(spec_of(), class_prior=(0.5, 0.5)), {})
    rule = calibrated(classifier, probabilities(logits + 1), HeldOut(logits, labels, groups))
    assert rule.bias[0] == pytest.approx(-1, abs=0.15)
    rule = calibrated(classifier, probabilities(logits), HeldOut(logits, labels, groups))
    assert rule.bias == (0.0,)


def test_another_rule_moves_the_threshold_of_patients_too(tmp_path: Path) -> None:
    logits, labels, groups = drawn(200, 3, 0.3)
    val = dataclasses.replace(predictions_of(logits, labels, groups), split="val")
    write_predictions(tmp_path / "predictions.csv", [val])
    classifier = run_of(with_sets())
    choose_threshold(classifier, tmp_path, Config(operating_point="sensitivity>=0.95"))
    of_patients = classifier.unit
    assert of_patients is not None
    assert (of_patients.rule, classifier.spec.rule) == (classifier.spec.rule, of_patients.rule)
    p = pooled(val, of_patients)
    found = (p.probabilities[p.labels == 1, 1] >= of_patients.threshold).mean()
    assert found >= 0.95
    assert of_patients.validation == pytest.approx(
        {"sensitivity": found, "specificity": of_patients.validation["specificity"]}
        if of_patients.validation else {}
    )  # fmt: skip
    assert of_patients.threshold != classifier.threshold


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": float("nan")}, {"temperature": True}, {"bias": {"0": 1}}, {"bias": None},
        {"bias": [float("inf")]}, {"rule": "a" * 1001}, {"regex": None}, {"cut": {"from": []}},
        {"cut": {"from": "other", "threshold": 0.5, "rule": "", "validation": None}}, {"cut": "x"},
        {"cut": {"from": TWO[0], "threshold": 0.5, "rule": "", "validation": None}},
        {"conformal": None}, {"conformal": {"score": "x", "thresholds": []}}, {"validation": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_hostile_rule_is_one_clear_error(change: dict[str, Any]) -> None:
    document = spec_of().to_json()
    document["unit"] = {**with_sets().to_json(), **change}
    with pytest.raises(ClassifierError, match=r"classifier\.json"):
        Spec.from_json(document)


def test_a_rule_that_is_no_object_is_one_clear_error() -> None:
    for wrong in ("x", 3, [], [1], True):
        with pytest.raises(ClassifierError):
            Spec.from_json({**spec_of().to_json(), "unit": wrong})


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    run = save_classifier(tmp_path_factory.mktemp("serve") / "run")
    path = run / "classifier.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "unit": with_sets().to_json()}))
    with running(Service(run, QUICK)) as found:
        yield found


def png(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (SIDE, SIDE), grey).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_form_has_one_answer_for_its_images(service: Running, order: tuple[int, ...]) -> None:
    files = [png(250), b"damaged", png(150)]
    body, kind = form(*(files[i] for i in order))
    found = service.ask("POST", "/v1/predict", body, content_type=kind).json
    of_images = [each for each in found["predictions"] if "error" not in each]
    assert (len(found["predictions"]), len(of_images)) == (3, 2)
    logits = [special.logit(each["probabilities"][TWO[1]]) for each in of_images]
    assert found["patient"]["probabilities"][TWO[1]] == pytest.approx(
        special.expit(np.mean(logits))
    )
    assert found["patient"]["decision"] == TWO[1]
    assert found["patient"]["prediction_set"] == [TWO[1]]
    evidence = found["patient"]["evidence"]
    assert found["patient"].keys() == of_images[0].keys() | {"evidence"}
    changes = np.abs(np.mean(logits) - np.array(logits[::-1]))
    places = [i for i, each in enumerate(found["predictions"]) if "error" not in each]
    # Two changes of one size: the image that speaks for the answer decides.
    assert evidence["image"] == places[int(np.argmax(logits))]
    assert evidence["change"] == pytest.approx(changes.max())
    assert (evidence["images"], evidence["agree"]) == (2, 2)


def test_a_form_without_a_readable_image_has_no_answer(service: Running) -> None:
    body, kind = form(b"damaged", b"")
    found = service.ask("POST", "/v1/predict", body, content_type=kind).json["patient"]
    assert (found["decision"], found["probabilities"]) == (None, None)
    assert found["reason"] == "no image of the patient can be read"


def test_one_image_in_the_body_is_of_no_patient(service: Running) -> None:
    found = service.ask("POST", "/v1/predict", png(250)).json
    assert found.keys() == {"classifier", "predictions"}


def test_the_openapi_document_describes_the_answer_for_a_patient() -> None:
    document = openapi()["components"]["schemas"]["Predictions"]
    of_image = document["properties"]["predictions"]["items"]["oneOf"][0]
    assert document["properties"]["patient"] == of_image
    assert "patient" not in document["required"]


def test_the_service_describes_the_rule_to_the_page(service: Running) -> None:
    found = service.ask("GET", "/v1/classifier").json["unit"]
    sets = with_sets().conformal.deciding(*ABSTAIN)
    assert sets is not None
    assert found == {
        "name": "patient", "plural": "patients", "pooling": 0.0, "temperature": 1.0, "bias": [0.0],
        "threshold": 0.5, "rule": "the more probable class",
        "scores": list(sets.scores), "cut": None,
    }  # fmt: skip


def test_the_images_of_some_patient_must_be_known() -> None:
    alone = [Entry("1.png", "a", group="1.png"), Entry("2.png", "b", group="")]
    with pytest.raises(DataError, match="--group-regex"):
        check_known(alone)
    check_known([*alone, Entry("3.png", "a", group="p")])
    check_units([Entry("1.png", "a"), Entry("2.png", "b")], "patient")


def test_training_stops_where_no_patient_is_known(tmp_path: Path) -> None:
    for name in TWO:
        for i in range(6):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            shade = Image.new("L", (SIDE, SIDE), 20 * i)
            shade.save(tmp_path / "data" / name / f"{name[0]}{'abcdef'[i]}.png")
    command = ("train", tmp_path / "data", "--unit", "patient", "--cache", tmp_path / "cache")
    found = call_lucency(*command, cwd=tmp_path)
    assert found.returncode == 2
    assert "known to show the same patient" in found.stderr.splitlines()[-1]
    assert not [*tmp_path.glob("runs/[!.]*")]


def test_trackers_log_patients_beside_images() -> None:
    metrics = {"auroc": {"value": 0.9, "low": 0.8, "high": None}}
    of_patients = {"metrics": metrics, "unit": "patient"}
    found = of_evaluation({"test": {"metrics": {}, "per_unit": of_patients}, "validation": None})
    assert found == {"test_patients/auroc": 0.9, "test_patients/auroc_low": 0.8}


def test_an_estimator_has_no_answers_for_patients() -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    with pytest.raises(InputError, match="unit"):
        LucencyClassifier(settings={"unit": "patient"}).fit(images, [0, 1, 0, 1])


def test_a_patient_is_no_answer_of_a_classifier_of_images() -> None:
    with pytest.raises(ClassifierError, match="--unit patient"):
        run_of(None).predict_unit("a", [Prediction("a.png", "", (0.5, 0.5))])


def test_the_images_of_a_patient_must_have_one_class() -> None:
    several = [
        Entry(f"{k}_{label}.png", label, group=f"p{k}") for k in range(7) for label in ("a", "b")
    ]
    with pytest.raises(DataError, match=r"7 patients have several: p0 \(a, b\), .*p4.* and 2 more"):
        check_units(several, "patient")
    check_units([Entry("1.png", "a", group="p"), Entry("2.png", "a", group="p")], "patient")


def test_the_unit_is_an_image_or_a_patient() -> None:
    with pytest.raises(ConfigError, match="unit must be one of image, patient, study"):
        Config.load(None, unit="hospital")


# Pooling


def test_log_sum_exp_pooling_lies_between_mean_and_maximum() -> None:
    logits, unit = np.array([2.0, -1.0, 0.5]), np.zeros(3, np.int64)
    p = probabilities(logits)

    def pooled_at(r: float) -> float:
        return float(units.pooled_logits(p, unit, r)[0, 0])

    assert pooled_at(0) == pytest.approx(0.5)
    assert pooled_at(1) == pytest.approx(np.log(np.exp(logits).mean()))
    assert pooled_at(1e-4) == pytest.approx(0.5, abs=1e-3)
    assert pooled_at(100) == pytest.approx(2 - np.log(3) / 100)
    assert pooled_at(-100) == pytest.approx(-1 + np.log(3) / 100)
    three = special.softmax(np.array([[1.0, 0, 2], [3, 1, 0]]), axis=1)
    centred = np.log(three) - np.log(three).mean(axis=1, keepdims=True)
    found = units.pooled_logits(three, np.zeros(2, np.int64), 2.0)[0]
    assert found == pytest.approx(np.log(np.exp(2 * centred).mean(axis=0)) / 2)
    assert units.pooled_logits(three[:1], np.zeros(1, np.int64), 2.0)[0] == pytest.approx(
        centred[0]
    )


@pytest.mark.parametrize("sharpness", [4.0, -1.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_the_order_of_the_images_changes_no_bit_of_any_pooling(
    classes: int, sharpness: float
) -> None:
    rng = np.random.default_rng(0)
    p, unit = rng.dirichlet(np.full(classes, 0.2), 50), np.zeros(50, np.int64)
    expected = units.pooled_logits(p, unit, sharpness)
    for _ in range(5):
        assert (units.pooled_logits(rng.permutation(p), unit, sharpness) == expected).all()


def with_one_finding(images: int, seed: int = 0, swapped: bool = False) -> tuple[Any, ...]:
    """Draw 120 patients: in every other one, a single image shows the finding."""
    rng = np.random.default_rng(seed)
    labels = np.arange(120) % 2
    logits = rng.normal(-1.5, 1, (120, images))
    logits[labels == 1, 0] = rng.normal(3, 1, 60)
    logits, names = logits.reshape(-1), [f"p{i}" for i in range(120) for _ in range(images)]
    if swapped:
        logits, labels = -logits, 1 - labels
    return probabilities(logits), np.repeat(labels, images), names


@pytest.mark.parametrize("swapped", [False, True])
def test_the_pooling_is_chosen_where_one_image_shows_the_finding(swapped: bool) -> None:
    """The sharpness is above 0 where the finding is the second class, and below where the first."""
    p, labels, names = with_one_finding(6, swapped=swapped)
    rule = units.fit(p, labels, names, (0.5, 0.5))
    assert (rule.pooling < 0) if swapped else (rule.pooling > 0)
    assert "log loss on 120 held-out units with several images" in rule.pooling_rule
    new, truth, names = with_one_finding(6, seed=1, swapped=swapped)
    _, unit = units.numbered(names)
    first = truth[units.first_of(unit)]
    losses = [
        -np.log(each.probabilities(new, unit)[np.arange(120), first]).mean()
        for each in (rule, units.fit(p, labels, [""] * len(p), (0.5, 0.5)))
    ]
    assert losses[0] < losses[1] - 0.1


def test_the_mean_is_kept_where_all_images_show_the_finding() -> None:
    """False alarms of the choice: the mean is the best pooling of these logits."""
    kept = 0
    for seed in range(4):
        logits, labels, names = drawn(150, 3, 0.2, seed)
        rule = units.fit(probabilities(logits), labels, names, (0.5, 0.5), seed=seed)
        kept += rule.pooling == 0
    assert kept >= 3
    alone = units.fit(probabilities(logits), labels, [""] * len(labels), (0.5, 0.5))
    assert alone.pooling == 0
    assert alone.pooling_rule.startswith("too few held-out units with several images")


def test_the_pooling_is_not_chosen_for_the_number_of_images() -> None:
    """Most units of one class have a single image: pooling above the mean would tell that."""
    logits, labels, names = drawn(200, 3, 0.2)
    place = np.arange(len(labels))
    kept = np.flatnonzero((labels == 1) | (place % 3 == 0) | (place < 150))
    p, groups = probabilities(logits[kept]), [names[i] for i in kept]
    rule = units.fit(p, labels[kept], groups, (0.5, 0.5))
    assert rule.pooling == 0
    _, unit = units.numbered(groups)
    truth = labels[kept][units.first_of(unit)]
    patients = [*map(str, range(200))]
    losses = [
        scaling.out_of_fold(
            units.pooled_logits(p, unit, r), truth, np.ones(200), groups=patients, seed=0
        )
        for r in (4.0, 0.0)
    ]
    assert losses[0] is not None
    assert losses[1] is not None
    assert scaling.is_better(losses[0], losses[1], np.arange(200))  # on all units


def test_a_rule_without_pooling_has_the_mean() -> None:
    document = RULE.to_json()
    del document["pooling"], document["pooling_rule"]
    assert UnitRule.from_json(document, TWO) == RULE
    for wrong in (101, "1", None, True):
        with pytest.raises(ClassifierError):
            UnitRule.from_json({**document, "pooling": wrong}, TWO)


def test_the_decisive_image_is_the_one_with_the_finding() -> None:
    logits = np.array([-1.0, 4.0, -1.0, -1.0, -8.0])
    p = probabilities(logits)
    rule = dataclasses.replace(RULE, pooling=4.0)
    found = units.evidence(rule, p, 1, (logits > 0).astype(np.int64))
    assert found.decisive == 1
    unit = np.zeros(4, np.int64)
    whole = special.logit(rule.probabilities(p, np.zeros(5, np.int64))[0, 1])
    for i, change in enumerate(found.changes):
        without = special.logit(rule.probabilities(np.delete(p, i, axis=0), unit)[0, 1])
        assert change == pytest.approx(whole - without)
    mean = units.evidence(RULE, p, 1, (logits > 0).astype(np.int64))
    assert mean.decisive == 4
