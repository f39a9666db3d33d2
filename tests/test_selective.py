"""Risk over coverage, the promise of prediction sets, and what is left after abstaining."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from lucency import metrics
from lucency.calibration.conformal import Conformal, Threshold, expected_coverage, fit
from lucency.evaluation.selective import COVERAGE, abstention, conformal_coverage, risk_coverage
from lucency.metrics import BoolArray, Estimate, FloatArray, IntArray

ONCE = [np.ones((1, 4))]


def draw(seed: int, n: int, classes: int = 2) -> tuple[FloatArray, IntArray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    logits = random.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]
    raised = np.exp(1.5 * logits)
    return raised / raised.sum(1, keepdims=True), labels


def test_risk_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    curve = risk_coverage(p, np.array([0, 1, 1, 1]), np.array([0, 0, 1, 0]), ONCE)
    risk = dict(zip(np.round(curve["coverage"], 2), curve["risk"], strict=True))
    # Wrong are the second and the last by certainty.
    assert [risk[c] for c in (0.25, 0.5, 0.75, 1.0)] == pytest.approx(
        [0, 1 / 2, 1 / 3, 1 / 2], abs=1e-6
    )
    assert risk[0.3] == pytest.approx(0.05 / 0.3, abs=1e-6)


def test_at_full_coverage_risk_is_the_error() -> None:
    p, labels = draw(0, 300)
    decisions = p.argmax(1)
    weights = metrics.bootstrap_weights(np.arange(300), 300)
    curve = risk_coverage(p, labels, decisions, weights)
    assert curve["risk"][-1] == pytest.approx((labels != decisions).mean(), abs=1e-6)
    assert curve["coverage"] == pytest.approx(COVERAGE.tolist())
    assert curve["low"][-1] < curve["risk"][-1] < curve["high"][-1]
    # A classifier that knows when it is right: the surer half errs less.
    assert curve["risk"][49] < curve["risk"][-1]


def test_equally_certain_images_come_in_no_order() -> None:
    p = np.tile([0.7, 0.3], (40, 1))
    labels = np.r_[np.zeros(30, int), np.ones(10, int)]
    for order in (np.arange(40), np.arange(40)[::-1]):
        curve = risk_coverage(p, labels[order], np.zeros(40, int), [np.ones((1, 40))])
        assert curve["risk"] == pytest.approx([0.25] * 100)


def test_weighing_is_repeating() -> None:
    p, labels = draw(1, 30)
    times = np.random.default_rng(1).integers(0, 4, 30)
    decisions = p.argmax(1)
    weighed = risk_coverage(p, labels, decisions, [times[None].astype(float)])
    again = np.repeat(np.arange(30), times)
    ones = [np.ones((1, len(again)))]
    assert weighed["low"] == pytest.approx(
        risk_coverage(p[again], labels[again], decisions[again], ones)["risk"], abs=1e-5
    )


def test_coverage_by_hand() -> None:
    conformal = Conformal((Threshold(0.1, "marginal", (0.5, 0.5), (50, 50)),))
    p = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.6, 0.4]])
    (found,) = conformal_coverage(conformal, p, np.array([0, 1, 0, 1]), np.arange(4))
    assert found["coverage"].value == 0.5
    assert (found["mean_size"], found["singletons"], found["empty"]) == (1.25, 0.75, 0.0)
    assert found["coverage"].method == "Clopper-Pearson"
    assert (found["coverage"].low, found["coverage"].high) == metrics.clopper_pearson(2, 4)
    low, high = expected_coverage(50, 4, 0.1)
    assert found["expected"] == {"low": low, "high": high}
    assert [part["coverage"].value for part in found["per_class"]] == [0.5, 0.5]
    assert [part["expected"] for part in found["per_class"]] == [None, None]


def test_every_patient_weighs_the_same() -> None:
    conformal = Conformal((Threshold(0.1, "marginal", (0.5, 0.5), (50, 50)),))
    p = np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    (found,) = conformal_coverage(conformal, p, np.zeros(4, int), np.array([0, 1, 1, 1]))
    assert found["coverage"].value == 0.5
    assert found["coverage"].method == "Clopper-Pearson over patients"
    assert (found["coverage"].low, found["coverage"].high) == metrics.clopper_pearson(1, 2)


def test_sets_without_a_class_are_counted() -> None:
    conformal = Conformal((Threshold(0.5, "marginal", (0.2, 0.2), (50, 50)),))
    p = np.array([[0.9, 0.1], [0.5, 0.5]])
    (found,) = conformal_coverage(conformal, p, np.zeros(2, int), np.arange(2))
    assert (found["empty"], found["mean_size"]) == (0.5, 0.5)


def test_too_few_patients_are_named() -> None:
    p, labels = draw(2, 60, 3)
    rare = labels != 2
    rare[np.flatnonzero(labels == 2)[:5]] = True
    conformal = fit(p[rare], labels[rare], alphas=(0.1,))
    marginal, conditional = conformal_coverage(conformal, p, labels, np.arange(60))
    assert (marginal["unlimited"], conditional["unlimited"]) == ([], [2])
    assert conditional["per_class"][2]["coverage"].value == 1.0
    assert conditional["per_class"][2]["expected"] == {"low": 1.0, "high": 1.0}


@pytest.mark.parametrize("kind", [0, 1])
def test_measured_coverage_is_in_the_expected_range(kind: int) -> None:
    """95 % of the time; of 100 simulations fewer than 88 happen once in 500 at most."""
    inside = 0
    for seed in range(100):
        p, labels = draw(seed, 400)
        conformal = fit(p[:200], labels[:200], alphas=(0.1,))
        cluster = np.arange(200)
        found = conformal_coverage(conformal, p[200:], labels[200:], cluster)[kind]
        inside += found["expected"]["low"] <= found["coverage"].value <= found["expected"]["high"]
    assert inside >= 88


def answers() -> tuple[IntArray, IntArray, BoolArray, BoolArray]:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    decisions = np.array([0, 0, 1, 1, 1, 0, 1, 0])
    sets = np.eye(2, dtype=bool)[decisions]
    sets[4] = True  # both classes
    sets[5] = False  # none
    sets[6] = sets[6, ::-1]  # the other class
    outside = np.array([True, False, False, False, True, False, False, False])
    return labels, decisions, sets, outside


def measure(positive: int | None, cluster: IntArray | None = None) -> dict[str, Any]:
    patients = np.arange(8) if cluster is None else cluster
    weights = metrics.bootstrap_weights(patients, 300)
    return abstention(*answers(), positive, weights, patients)


def test_abstention_by_hand() -> None:
    found = measure(1)
    # Left: 1 (right), 2 (false alarm), 3 (found), 7 (right).
    assert [found[x] for x in ("n", "predicted", "out_of_distribution", "ambiguous")] == [
        8,
        4,
        2,
        2,
    ]
    rates = found["metrics"]
    assert rates["accuracy"].value == 0.75
    assert rates["sensitivity"].value == 1.0
    assert rates["specificity"].value == pytest.approx(2 / 3)
    assert (rates["specificity"].low, rates["specificity"].high) == metrics.clopper_pearson(2, 3)
    assert json.dumps({x: y.to_json() for x, y in rates.items()}, allow_nan=False)


def test_images_of_one_patient_are_drawn_together() -> None:
    rates = measure(1, np.array([0, 1, 2, 2, 3, 3, 4, 1]))["metrics"]
    assert rates["accuracy"].method == "Clopper-Pearson, clustered by patient"
    assert rates["accuracy"].low < metrics.clopper_pearson(3, 4)[0]


def test_without_a_positive_class_rates_are_means() -> None:
    rates = measure(None)["metrics"]
    assert rates["sensitivity"].value == rates["specificity"].value == pytest.approx(5 / 6)
    assert rates["sensitivity"].method == "bootstrap"


def test_nothing_answered_is_unknown() -> None:
    labels, decisions, sets, _ = answers()
    weights = metrics.bootstrap_weights(np.arange(8), 20)
    everything = np.ones(8, bool)
    found = abstention(labels, decisions, sets, everything, 1, weights, np.arange(8))
    assert (found["predicted"], found["out_of_distribution"], found["ambiguous"]) == (0, 8, 0)
    assert all(isinstance(x, Estimate) for x in found["metrics"].values())
    assert all(math.isnan(x.value) for x in found["metrics"].values())


def test_abstaining_helps_who_knows_its_doubts() -> None:
    """Answered images are decided right more often, by far more than a standard error of 0.01."""
    p, labels = draw(7, 4000)
    conformal = fit(p[:2000], labels[:2000], alphas=(0.05,))
    rest, truth, cluster = p[2000:], labels[2000:], np.arange(2000)
    sets = conformal.sets(rest, 0.05, "class-conditional")
    weights = metrics.bootstrap_weights(cluster, 50)
    decisions = rest.argmax(1)
    found = abstention(truth, decisions, sets, np.zeros(2000, bool), 1, weights, cluster)
    assert found["predicted"] + found["ambiguous"] == 2000
    assert found["metrics"]["accuracy"].value > (truth == decisions).mean() + 0.03
