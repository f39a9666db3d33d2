"""Prediction sets: the quantile by hand and by definition, coverage by simulation, patients."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lucency.calibration.conformal import (
    ALPHAS,
    Conformal,
    Threshold,
    expected_coverage,
    fit,
    needed_patients,
)
from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.metrics import FloatArray, IntArray


def two_columns(true_first: FloatArray) -> FloatArray:
    return np.stack([true_first, 1 - true_first], axis=1)


def draw(
    random: np.random.Generator, patients: int, most: int = 1
) -> tuple[FloatArray, IntArray, IntArray]:
    """Draw three classes; patients differ in difficulty and in number of images."""
    images = random.integers(1, most + 1, patients)
    cluster = np.repeat(np.arange(patients), images)
    labels = random.choice(3, patients, p=[0.6, 0.3, 0.1])[cluster]
    logits = (
        random.normal(size=(len(cluster), 3)) + 1.5 * random.normal(size=(patients, 3))[cluster]
    )
    # Patients with many images are harder: weighting by image would cover too much.
    logits[np.arange(len(cluster)), labels] += 2.5 - images[cluster] / 3
    raised = np.exp(logits)
    return raised / raised.sum(1, keepdims=True), labels, cluster


def test_the_quantile_by_hand() -> None:
    # Scores 0.1 ... 0.9: ceil(10 * 0.8) = 8th; ceil(10 * 0.9) = 9th; ceil(10 * 0.95) = 10th of 9.
    probabilities = two_columns(1 - np.arange(1, 10) / 10)
    found = fit(probabilities, np.zeros(9, int), alphas=(0.2, 0.1, 0.05))
    scores = [each.scores[0] for each in found.thresholds if each.kind == "marginal"]
    assert scores == pytest.approx([0.8, 0.9, 1.0])
    assert [each.unlimited[0] for each in found.thresholds[::2]] == [False, False, True]


@pytest.mark.parametrize("alpha", [0.5, 0.1, 0.05, 0.01])
@pytest.mark.parametrize("n", [1, 9, 19, 20, 99, 250])
def test_single_images_give_the_usual_quantile(n: int, alpha: float) -> None:
    scores = np.random.default_rng(n).random(n)
    rank = math.ceil(round((n + 1) * (1 - alpha), 9))
    expected = np.sort(scores)[rank - 1] if rank <= n else 1.0
    found = fit(two_columns(1 - scores), np.zeros(n, int), alphas=(alpha,)).thresholds[0]
    assert found.scores == pytest.approx((expected, expected))
    assert found.unlimited[0] == (rank > n) == (n < needed_patients(alpha))


def test_the_images_of_a_patient_share_its_weight() -> None:
    # Three patients weigh 1/4 each: 0.1 and 0.2 together, 0.5, 0.9; 3/4 is reached at 0.9.
    probabilities = two_columns(1 - np.array([0.1, 0.2, 0.5, 0.9]))
    groups = ["a", "a", "b", "c"]
    found = fit(probabilities, np.zeros(4, int), groups, alphas=(0.25, 0.5, 0.75, 0.9))
    scores = [each.scores[0] for each in found.thresholds if each.kind == "marginal"]
    assert scores == pytest.approx([0.9, 0.5, 0.2, 0.1])
    assert found.thresholds[0].patients == (3, 3)


def test_copies_of_an_image_change_nothing() -> None:
    probabilities, labels, cluster = draw(np.random.default_rng(0), 80)
    copies = np.repeat(np.arange(80), np.random.default_rng(1).integers(1, 9, 80))
    again = fit(probabilities[copies], labels[copies], cluster[copies])
    assert again == fit(probabilities, labels, cluster)


def test_an_image_without_a_patient_is_a_patient_of_its_own() -> None:
    probabilities, labels, _ = draw(np.random.default_rng(2), 50)
    assert fit(probabilities, labels, [""] * 50) == fit(probabilities, labels)
    assert fit(probabilities, labels, ["x"] * 50).thresholds[0].patients == (1, 1, 1)


def test_each_class_has_its_own_quantile() -> None:
    probabilities, labels, cluster = draw(np.random.default_rng(3), 300)
    conditional = fit(probabilities, labels, cluster, (0.1,)).thresholds[1]
    for k in range(3):
        alone = fit(probabilities[labels == k], labels[labels == k], alphas=(0.1,)).thresholds[0]
        assert conditional.scores[k] == alone.scores[0]
        assert conditional.patients[k] == (labels == k).sum()


def test_an_absent_class_is_in_every_set() -> None:
    found = fit(two_columns(np.full(40, 0.9)), np.zeros(40, int))
    assert found.thresholds[1].patients == (40, 0)
    assert found.thresholds[1].unlimited == (False, True)
    assert found.sets(two_columns(np.array([0.95, 1.0])), 0.1).tolist() == [[True, True]] * 2


def test_smaller_alphas_give_larger_sets() -> None:
    probabilities, labels, cluster = draw(np.random.default_rng(4), 200, 4)
    found = fit(probabilities, labels, cluster, (0.2, 0.1, 0.05))
    for kind in ("marginal", "class-conditional"):
        narrow, middle, wide = (found.sets(probabilities, a, kind) for a in (0.2, 0.1, 0.05))
        assert (narrow <= middle).all()
        assert (middle <= wide).all()
        assert narrow.sum() < wide.sum()


@pytest.mark.parametrize("kind", ["marginal", "class-conditional"])
@pytest.mark.parametrize("most", [1, 6])
def test_coverage_is_in_its_range(most: int, kind: str) -> None:
    """At least 1 - alpha on average, and in the 99.8 % band but for 2 of 1,000.

    Of 200 simulations 0.4 are expected outside, exactly so for one image a patient: more than 5
    have a chance of 1e-5. The mean of 200 coverages has a standard error below 0.0025; it falls
    short of 1 - alpha by 4 of them once in 30,000.
    """
    random, outside, coverages = np.random.default_rng(most), 0, []
    for _ in range(200):
        probabilities, labels, cluster = draw(random, 240, most)
        known, new = cluster < 120, cluster >= 120
        found = fit(probabilities[known], labels[known], cluster[known], (0.1,))
        threshold = next(each for each in found.thresholds if each.kind == kind)
        sets = threshold.sets(probabilities[new])
        covered = sets[np.arange(new.sum()), labels[new]]
        among = np.ones(new.sum(), bool) if kind == "marginal" else labels[new] == 0
        patients, patient = np.unique(cluster[new][among], return_inverse=True)
        share = np.bincount(patient, covered[among]) / np.bincount(patient)
        low, high = expected_coverage(threshold.patients[0], len(patients), 0.1, 0.998)
        coverages.append(share.mean())
        outside += not low <= coverages[-1] <= high
    assert outside <= 5
    assert np.mean(coverages) >= 0.9 - 0.01


def test_the_range_is_that_of_the_beta_binomial() -> None:
    low, high = expected_coverage(99, None, 0.1)
    assert (low, high) == pytest.approx(stats.beta.interval(0.95, 90, 10))
    # With many tested patients, the beta-binomial converges to the beta distribution.
    assert expected_coverage(99, 10**4, 0.1) == pytest.approx((low, high), abs=2e-3)
    few = expected_coverage(99, 50, 0.1)
    assert few[0] < low < high < few[1]


def test_the_range_by_simulation() -> None:
    # 20,000 draws: a share of 0.975 has a standard error of 0.0011; 5 of them do not occur.
    random = np.random.default_rng(0)
    true = np.sort(random.random((20_000, 49)), axis=1)[:, math.ceil(50 * 0.8) - 1]
    measured = random.binomial(60, true) / 60
    low, high = expected_coverage(49, 60, 0.2)
    assert (measured < low).mean() <= 0.025 + 0.0055
    assert (measured > high).mean() <= 0.025 + 0.0055
    assert (measured <= low).mean() >= 0.025 - 0.0055


def test_too_few_patients_give_full_coverage() -> None:
    assert expected_coverage(18, 100, 0.05) == (1.0, 1.0)
    assert expected_coverage(19, 100, 0.05)[0] < 1
    assert [needed_patients(alpha) for alpha in (0.5, 0.1, 0.05, 0.01)] == [1, 9, 19, 99]


def test_json_and_back() -> None:
    probabilities, labels, cluster = draw(np.random.default_rng(5), 60, 3)
    found = fit(probabilities, labels, cluster)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Conformal.from_json(document, 3) == found
    assert [each.alpha for each in found.thresholds] == [a for a in ALPHAS for _ in range(2)]


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0},
        {"alpha": "a"},
        {"kind": "other"},
        {"scores": [0.5]},
        {"scores": [0.5, math.nan]},
        {"scores": [0.5, 1.5]},
        {"scores": 0.5},
        {"patients": [1, -1]},
        {"patients": None},
    ],
)
def test_invalid_json_is_rejected(change: dict[str, Any]) -> None:
    document = Conformal((Threshold(0.1, "marginal", (0.5, 0.5), (20, 20)),)).to_json()
    document["thresholds"][0].update(change)
    with pytest.raises(ClassifierError, match="prediction sets"):
        Conformal.from_json(document, 2)
    with pytest.raises(ClassifierError, match="prediction sets"):
        Conformal.from_json({"score": "other", "thresholds": []}, 2)


def test_the_error_of_an_unknown_alpha_lists_those_fitted() -> None:
    found = fit(two_columns(np.full(40, 0.9)), np.zeros(40, int), alphas=(0.1,))
    with pytest.raises(ConfigError, match=r"marginal 0\.1, class-conditional 0\.1\. Received: mar"):
        found.sets(two_columns(np.ones(1)), 0.2, "marginal")
    with pytest.raises(ConfigError, match="alpha must be between 0 and 1"):
        fit(two_columns(np.ones(1)), [0], alphas=(1.0,))
    with pytest.raises(DataError, match="no images"):
        fit(np.ones((0, 2)), [])
