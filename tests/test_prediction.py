"""When a classifier abstains, and what it then says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lucency.calibration.conformal import Conformal, Threshold
from lucency.classifier import Classifier, Outputs, Prediction
from lucency.classifier.prediction import joined, judged
from small_runs import SIDE, brightness_network, spec_of

CLASSES = ("healthy", "ill")


def judge(row: tuple[float, float], candidates: tuple[bool, bool], ood_score: float) -> Prediction:
    decision = int(row[1] >= 0.5)
    return judged("a.png", CLASSES, np.array(row), decision, np.array(candidates), ood_score)


def test_a_clear_image_is_answered() -> None:
    answer = judge((0.1, 0.9), (False, True), 0.4)
    assert (answer.decision, answer.reason) == ("ill", "")
    assert answer.prediction_set == ("ill",)


@pytest.mark.parametrize(
    ("candidates", "words"),
    [
        ((True, True), "ambiguous: healthy or ill"),
        ((False, False), "no class fits"),
        ((True, False), "ill by the threshold, healthy by validation"),
    ],
)
def test_it_abstains_unless_the_set_is_the_decision(
    candidates: tuple[bool, bool], words: str
) -> None:
    answer = judge((0.4, 0.6), candidates, 0.4)
    assert answer.decision == ""
    assert words in answer.reason
    assert answer.probabilities == (0.4, 0.6)


@pytest.mark.parametrize("ood_score", [1.0001, 40.0, float("nan"), float("inf")])
def test_it_abstains_from_what_it_was_not_trained_on(ood_score: float) -> None:
    answer = judge((0.0, 1.0), (False, True), ood_score)
    assert answer.decision == ""
    assert "out of distribution" in answer.reason


def test_the_limit_itself_is_answered() -> None:
    assert judge((0.0, 1.0), (False, True), 1.0).decision == "ill"


def test_without_sets_and_gate_it_always_answers() -> None:
    answer = judged("a.png", CLASSES, np.array([0.49, 0.51]), 1, None, None)
    assert (answer.decision, answer.prediction_set, answer.ood_score) == ("ill", (), None)


def test_batches_are_joined_and_cut() -> None:
    parts = [Outputs(np.full((2, 2), 0.5), np.array([i, i + 0.5])) for i in (0.0, 1.0)]
    whole = joined(parts, 3)
    assert whole.probabilities.shape == (3, 2)
    assert whole.ood_scores is not None
    assert whole.ood_scores.tolist() == [0.0, 0.5, 1.0]
    assert joined([Outputs(np.full((2, 2), 0.5))]).ood_scores is None


@pytest.mark.parametrize(("patients", "decided"), [(18, "PNEUMONIA"), (19, "")])
def test_validation_that_cannot_rule_a_class_out_does_not_silence_the_classifier(
    patients: int, decided: str
) -> None:
    scores = (0.6, 0.6 if decided == "" else 1.0)  # with 19 patients a quantile of 95 % exists
    rule = Threshold(0.05, "class-conditional", scores, (40, patients))
    spec = dataclasses.replace(spec_of(), conformal=Conformal((rule,)).to_json())
    classifier = Classifier(spec, {}, brightness_network())
    said = classifier.infer(np.full((1, SIDE, SIDE, 1), 130, np.uint8))  # 52 %
    (prediction,) = classifier.judge(said, ["grey"])
    assert prediction.decision == decided
    assert bool(prediction.reason) == (decided == "")
