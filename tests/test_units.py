"""One answer for all images of a patient: pooling, calibration, evaluation, prediction."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from PIL import Image
from scipy import special
from tests.small_runs import SIDE, TWO, brightness_network, spec_of

from lucency.calibration import units
from lucency.calibration.conformal import Conformal, fit
from lucency.calibration.units import UnitRule
from lucency.classifier import Classifier, Prediction
from lucency.config import Config
from lucency.dataset import Entry
from lucency.dataset.groups import check_units
from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.evaluation import Predictions, evaluate_predictions
from lucency.evaluation.predictions import pooled
from lucency.pipeline.predict import predict_patients
from lucency.progress import SILENT
from lucency.training.calibrate import HeldOut, _unit

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
    plan = cast("Plan", SimpleNamespace(positive_from=""))
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
    assert UnitRule.from_json(document, 2) == dataclasses.replace(
        rule, validation={"sensitivity": 1.0, "specificity": 0.0}
    )
    for key, wrong in (
        ("temperature", 0), ("threshold", 2), ("bias", [0, 0]), ("regex", "a\n"), ("rule", 3),
        ("validation", {"sensitivity": 2, "specificity": 0}), ("conformal", {}), ("bias", "ab"),
    ):  # fmt: skip
        with pytest.raises(ClassifierError):
            UnitRule.from_json({**document, key: wrong}, 2)
    with pytest.raises(ClassifierError, match="incomplete"):
        UnitRule.from_json({}, 2)


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
    patients = found.per_patient
    assert patients is not None
    assert (found.n, patients.n, patients.groups) == (450, 150, 150)
    assert patients.metrics["auroc"].value > found.metrics["auroc"].value + 0.01
    assert np.sum(patients.confusion) == 150
    assert found.to_json()["per_patient"]["n"] == 150
    plain = evaluate_predictions(
        Classifier(dataclasses.replace(spec, unit=None), {}), predictions_of(logits, labels, groups)
    )
    assert plain.per_patient is None
    assert plain.to_json() == {**found.to_json(), "per_patient": None}


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
    one, two, three = predict_patients(classifier, images)
    assert [each.prediction.file for each in (one, two, three)] == [
        "patient1", "patient2", "patient3"
    ]  # fmt: skip
    assert [len(each.images) for each in (one, two, three)] == [2, 1, 1]
    logits = special.logit([each.probabilities[1] for each in one.images])
    assert one.prediction.probabilities[1] == pytest.approx(special.expit(logits.mean()))
    assert (one.prediction.decision, two.prediction.decision) == (TWO[1], TWO[0])
    assert three.prediction.reason == "no image of the patient can be read"
    document = one.to_json(TWO)
    assert document["patient"] == "patient1"
    assert [Path(each["file"]).name for each in document["images"]] == [
        "patient1_1.png", "patient1_2.png"
    ]  # fmt: skip


def test_a_patient_is_no_answer_of_a_classifier_of_images() -> None:
    with pytest.raises(ClassifierError, match="--unit patient"):
        run_of(None).predict_unit("a", [Prediction("a.png", "", (0.5, 0.5))])


def test_the_images_of_a_patient_must_have_one_class() -> None:
    several = [
        Entry(f"{k}_{label}.png", label, group=f"p{k}") for k in range(7) for label in ("a", "b")
    ]
    with pytest.raises(DataError, match=r"7 patients have several: p0 \(a, b\), .*p4.* and 2 more"):
        check_units(several)
    check_units([Entry("1.png", "a", group="p"), Entry("2.png", "a", group="p")])


def test_the_unit_is_an_image_or_a_patient() -> None:
    with pytest.raises(ConfigError, match="unit must be one of image, patient"):
        Config.load(None, unit="hospital")
