"""When a classifier abstains, and the reason that it gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lucency.calibration.conformal import Conformal, Threshold
from lucency.classifier import Classifier, Outputs, Prediction
from lucency.classifier.prediction import concatenated, predicted
from small_runs import SIDE, brightness_network, spec_of

CLASSES = ("healthy", "ill")


def predict(row: tuple[float, float], in_set: tuple[bool, bool], ood_score: float) -> Prediction:
    decision = int(row[1] >= 0.5)
    return predicted("a.png", CLASSES, np.array(row), decision, np.array(in_set), ood_score)


def test_a_clear_image_gets_a_decision() -> None:
    prediction = predict((0.1, 0.9), (False, True), 0.4)
    assert (prediction.decision, prediction.reason) == ("ill", "")
    assert prediction.prediction_set == ("ill",)


@pytest.mark.parametrize(
    ("in_set", "words"),
    [
        ((True, True), "ambiguous: healthy or ill"),
        ((False, False), "no class fits"),
        ((True, False), "ill by the threshold, healthy by validation"),
    ],
)
def test_it_abstains_unless_the_set_is_the_decision(in_set: tuple[bool, bool], words: str) -> None:
    prediction = predict((0.4, 0.6), in_set, 0.4)
    assert prediction.decision == ""
    assert words in prediction.reason
    assert prediction.probabilities == (0.4, 0.6)


@pytest.mark.parametrize("ood_score", [1.0001, 40.0, float("nan"), float("inf")])
def test_it_abstains_if_the_image_is_out_of_distribution(ood_score: float) -> None:
    prediction = predict((0.0, 1.0), (False, True), ood_score)
    assert prediction.decision == ""
    assert "out of distribution" in prediction.reason


def test_an_ood_score_at_the_limit_is_accepted() -> None:
    assert predict((0.0, 1.0), (False, True), 1.0).decision == "ill"


def test_without_sets_and_detector_it_never_abstains() -> None:
    found = predicted("a.png", CLASSES, np.array([0.49, 0.51]), 1, None, None)
    assert (found.decision, found.prediction_set, found.ood_score) == ("ill", (), None)


def test_outputs_of_batches_are_concatenated_and_truncated() -> None:
    maps = np.arange(8.0, dtype=np.float32).reshape(2, 2, 2)
    batches = [
        Outputs(np.full((2, 2), 0.5), np.array([i, i + 0.5]), maps, np.array([0, 1]))
        for i in (0.0, 1.0)
    ]
    whole = concatenated(batches, 3)
    assert whole.probabilities.shape == (3, 2)
    assert whole.ood_scores is not None
    assert whole.ood_scores.tolist() == [0.0, 0.5, 1.0]
    assert whole.maps is not None
    np.testing.assert_array_equal(whole.maps, maps[[0, 1, 0]])
    assert whole.map_classes is not None
    assert whole.map_classes.tolist() == [0, 1, 0]
    assert concatenated([Outputs(np.full((2, 2), 0.5))]).ood_scores is None


@pytest.mark.parametrize(("patients", "decided"), [(18, "PNEUMONIA"), (19, "")])
def test_a_class_that_validation_cannot_rule_out_does_not_make_the_classifier_abstain(
    patients: int, decided: str
) -> None:
    scores = (0.6, 0.6 if decided == "" else 1.0)  # with 19 patients a quantile of 95 % exists
    rule = Threshold(0.05, "class-conditional", scores, (40, patients))
    spec = dataclasses.replace(spec_of(), conformal=Conformal((rule,)).to_json())
    classifier = Classifier(spec, {}, brightness_network())
    outputs = classifier.infer(np.full((1, SIDE, SIDE, 1), 130, np.uint8))  # 52 %
    (prediction,) = classifier.predictions(outputs, ["grey"])
    assert prediction.decision == decided
    assert bool(prediction.reason) == (decided == "")
