"""Temperatures, probabilities, bins and calibration errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from lucency import metrics
from lucency.calibration import reliability, scaling
from lucency.errors import ClassifierError, DataError


def drawn(true: float, classes: int, n: int = 20_000, seed: int = 0) -> tuple:
    """Draw labels from softmax(logits / true)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 3
    chances = special.softmax(logits / true, axis=1).cumsum(1)
    return logits, (rng.random((n, 1)) > chances[:, :-1]).sum(1)


# -- probabilities --------------------------------------------------------------------------------


def test_two_classes_keep_small_values_in_both_columns() -> None:
    found = scaling.probabilities([-800.0, -40.0, 0.0, 40.0])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[1], [1, math.exp(-40)], rtol=1e-15)
    np.testing.assert_allclose(found[3], [math.exp(-40), 1], rtol=1e-15)
    assert found[2].tolist() == [0.5, 0.5]
    assert found[0].tolist() == [1, 0]


def test_one_column_is_the_softmax_of_two() -> None:
    odds = np.linspace(-30, 30, 61)
    two = np.stack([np.zeros_like(odds), odds], axis=1)
    expected = scaling.probabilities(two, 1.7)
    np.testing.assert_allclose(scaling.probabilities(odds, 1.7), expected, rtol=1e-13)
    np.testing.assert_array_equal(
        scaling.probabilities(odds[:, None], 1.7), scaling.probabilities(odds, 1.7)
    )


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 4)),
        elements=st.floats(-1e4, 1e4, width=32),
    ),
    st.floats(0.05, 20),
)
def test_rows_sum_to_one_and_the_order_stays(logits: np.ndarray, divisor: float) -> None:
    found = scaling.probabilities(logits, divisor)
    assert found.shape == (len(logits), max(2, logits.shape[1]))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-14)
    if logits.shape[1] > 1:
        chosen = np.take_along_axis(found, logits.argmax(1)[:, None], axis=1)[:, 0]
        np.testing.assert_array_equal(chosen, found.max(1))


def best_temperature(*given: Any) -> float:
    found = scaling.fit(*given)
    assert not any(found.bias)
    return found.temperature


# -- temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_finds_the_temperature_that_the_labels_were_drawn_with(classes: int, true: float) -> None:
    logits, labels = drawn(true, classes)
    # Its standard error is below 2 % here: 8 % fails with a chance below 1 in 10,000.
    assert best_temperature(logits, labels) == pytest.approx(true, rel=0.08)


def test_no_temperature_nearby_is_more_likely() -> None:
    logits, labels = drawn(2.0, 3, n=500)
    best = best_temperature(logits, labels)

    def loss(divisor: float) -> float:
        found = scaling.probabilities(logits, divisor)
        return float(-np.log(found[np.arange(500), labels]).sum())

    assert loss(best) < min(loss(best * 1.15), loss(best / 1.15))


def test_binary_logits_have_the_temperature_of_their_two_columns() -> None:
    logits, labels = drawn(2.5, 2, n=500)
    odds = logits[:, 1] - logits[:, 0]
    expected = best_temperature(logits, labels)
    for shaped in (odds, odds[:, None], odds.astype(np.float32)):
        assert best_temperature(shaped, labels) == pytest.approx(expected, rel=1e-5)


def test_a_weight_of_two_is_an_image_twice() -> None:
    logits, labels = drawn(2.0, 3, n=300)
    weights = np.random.default_rng(1).integers(0, 3, 300)
    repeated = np.repeat(np.arange(300), weights)
    assert best_temperature(logits, labels, weights) == pytest.approx(
        best_temperature(logits[repeated], labels[repeated]), rel=1e-6
    )


def test_the_ends_of_the_interval() -> None:
    odds, labels = np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0, 0, 1, 1])
    assert 0.05 < best_temperature(odds, labels) < 1
    assert best_temperature(odds, 1 - labels) == pytest.approx(20)
    assert best_temperature(np.zeros(4), labels) == 1
    assert best_temperature(odds * 1e6, 1 - labels) == pytest.approx(20)


def test_what_cannot_be_calibrated_is_rejected() -> None:
    with pytest.raises(DataError, match="no images"):
        best_temperature(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(ClassifierError, match="not finite"):
        best_temperature([0.0, math.nan], [0, 1])


# -- reliability ----------------------------------------------------------------------------------


def test_reliability_by_hand() -> None:
    # 20 images: two bins of ten.
    probability = np.repeat([0.1, 0.8], 10)
    outcomes = np.array([1] * 2 + [0] * 8 + [1] * 7 + [0] * 3)
    low, high = reliability.reliability(probability, outcomes)
    assert (low.n, low.fraction, high.n, high.fraction) == (10, 0.2, 10, 0.7)
    assert (low.mean_probability, high.mean_probability) == pytest.approx((0.1, 0.8))
    found = reliability.expected_calibration_error(probability, outcomes)
    assert found == pytest.approx((0.1 + 0.1) / 2)
    weights = np.stack([np.repeat([1.0, 0.0], 10), np.repeat([1.0, 3.0], 10)])
    found = reliability.expected_calibration_error(probability, 1 - outcomes, weights)
    assert found == pytest.approx([0.7, (0.7 + 3 * 0.5) / 4])


@pytest.mark.parametrize(
    ("n", "bins"), [(1, 1), (19, 1), (20, 2), (57, 5), (100, 10), (10_007, 10)]
)
def test_bins_have_equal_sizes_and_increase(n: int, bins: int) -> None:
    probability = np.random.default_rng(n).random(n)
    found = reliability.equal_mass_bins(probability)
    sizes = np.bincount(found)
    assert len(sizes) == bins
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(found[np.argsort(probability)]) >= 0).all()


def test_equal_probabilities_share_a_bin_in_any_order() -> None:
    rng = np.random.default_rng(0)
    probability = np.round(rng.random(200), 1)
    found = reliability.equal_mass_bins(probability)
    for value in np.unique(probability):
        assert len(np.unique(found[probability == value])) == 1
    assert np.unique(found).tolist() == list(range(found.max() + 1))
    order = rng.permutation(200)
    np.testing.assert_array_equal(reliability.equal_mass_bins(probability[order]), found[order])
    assert reliability.equal_mass_bins(np.full(50, 0.3)).max() == 0


def test_debiased_error_by_hand() -> None:
    # Two bins of ten: gaps of 0.1 and -0.1, whose variance is f (1 - f) / 9.
    probability = np.repeat([0.1, 0.8], 10)
    outcomes = np.array([1] * 2 + [0] * 8 + [1] * 7 + [0] * 3)
    squares = 0.1**2 - 0.2 * 0.8 / 9, 0.1**2 - 0.7 * 0.3 / 9
    assert sum(squares) < 0
    assert reliability.debiased_error(probability, outcomes) == 0
    opposite = 0.7**2 - 0.2 * 0.8 / 9, 0.5**2 - 0.7 * 0.3 / 9
    found = reliability.debiased_error(probability, 1 - outcomes)
    assert found == pytest.approx(math.sqrt(sum(opposite) / 2), rel=1e-12)


def test_debiased_error_is_over_pairs_of_different_patients() -> None:
    rng = np.random.default_rng(3)
    probability, cluster = rng.random(60), rng.integers(25, size=60)
    outcomes = rng.random((4, 60)) < probability**4
    bins, squares = reliability.equal_mass_bins(probability), np.zeros(4)
    for members in (np.flatnonzero(bins == b) for b in range(6)):
        gaps = (outcomes - probability)[:, members]
        others = cluster[members][:, None] != cluster[members]
        products = np.einsum("si,ij,sj->s", gaps, others.astype(float), gaps)
        squares += len(members) / 60 * products / others.sum()
    found = reliability.debiased_error(probability, outcomes, cluster)
    np.testing.assert_allclose(found, np.sqrt(np.maximum(squares, 0)), rtol=1e-12)
    order = rng.permutation(60)
    again = reliability.debiased_error(probability[order], outcomes[:, order], cluster[order])
    np.testing.assert_allclose(again, found, rtol=1e-12)


def test_one_patient_has_no_debiased_error() -> None:
    probability = np.linspace(0.1, 0.9, 12)
    assert np.isnan(reliability.debiased_error(probability, probability > 0.5, [3] * 12))
    assert np.isnan(reliability.chance_error(probability, [3] * 12)[1])


def test_the_debiased_square_is_right_on_average_and_the_plain_one_too_large() -> None:
    # All probabilities are 0.5 and the frequency is 0.6: the error is 0.1 for every n.
    rng = np.random.default_rng(0)
    probability, outcomes = np.full(50, 0.5), rng.random((4000, 50)) < 0.6
    squares = reliability.debiased_error(probability, outcomes) ** 2
    plain = [reliability.expected_calibration_error(probability, row) for row in outcomes[:500]]
    # Negative squares are set to 0, which adds a little; the plain error is much too large.
    assert 0.01 <= squares.mean() < 0.013
    assert np.mean(np.square(plain)) > 0.0135


@pytest.mark.parametrize("images", [1, 3])
def test_the_error_of_calibrated_probabilities_is_in_the_chance_range(images: int) -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(400 // images), images)
    probability = rng.random(cluster.max() + 1)[cluster]
    band = reliability.chance_error(probability, cluster)
    assert band == reliability.chance_error(probability, cluster)
    uniform = rng.random((1000, cluster.max() + 1))[:, cluster]
    errors = reliability.debiased_error(probability, uniform < probability, cluster)
    inside = (errors <= band[1]).mean()
    # Binomial(1000, 0.95), and the band's own error: outside with a chance below 1 in 10,000.
    assert band[0] == 0
    assert 0.91 <= inside <= 0.985
    # Without patients the range for correlated outcomes would be too narrow.
    alone = reliability.chance_error(probability)[1]
    assert (errors <= alone).mean() < 0.9 or images == 1
    off = reliability.debiased_error(probability, uniform < probability**3, cluster)
    assert off.min() > band[1]


def test_smoothing_bounds_confidence_if_every_prediction_is_correct() -> None:
    labels = np.repeat([0, 1], 20)
    logits = np.where(labels == 1, 3.0, -3.0)
    smoothed = best_temperature(logits, labels)
    # By hand: the most likely accuracy is 21 of 22, with log odds of log 21.
    assert smoothed == pytest.approx(3.0 / np.log(21), rel=1e-5)


@pytest.mark.parametrize("classes", [3, 10])
def test_many_classes_do_not_make_correct_predictions_less_confident(classes: int) -> None:
    labels = np.repeat(np.arange(classes), 20)
    logits = 3.0 * np.eye(classes)[labels]
    found = scaling.probabilities(logits, best_temperature(logits, labels))
    assert found.max(axis=1) == pytest.approx(21 / 22, rel=1e-5)  # as with two classes


def test_smoothing_vanishes_with_more_images() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, 40_000)
    labels = (random.random(40_000) < 1 / (1 + np.exp(-logits / 1.7))).astype(np.int64)
    twice = best_temperature(np.tile(logits, 2), np.tile(labels, 2))
    assert best_temperature(logits, labels) == pytest.approx(twice, rel=1e-3)


# -- bias -----------------------------------------------------------------------------------------


def leaning(n: int, lean: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return logits of a network that leans to one class, labels, and groups of two images."""
    random = np.random.default_rng(seed)
    truth = random.normal(0, 2, n)
    labels = (random.random(n) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    return 1.5 * truth - lean, labels, [str(i // 2) for i in range(n)]


def test_a_network_that_leans_gets_temperature_and_bias_back() -> None:
    odds, labels, groups = leaning(6000, 3.0)
    found = scaling.fit(odds, labels, groups=groups)
    assert found.temperature == pytest.approx(1.5, rel=0.1)
    assert found.bias[0] == pytest.approx(3.0, abs=0.2)
    assert found.log_loss[1] < found.log_loss[0] - 0.1
    probability = scaling.probabilities(found(odds))[:, 1]
    assert metrics.calibration_intercept(probability, labels).value == pytest.approx(0, abs=0.01)


def test_several_classes_get_their_bias_back() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (4000, 4))
    chance = scaling.probabilities(logits)
    labels = (random.random((len(chance), 1)) > chance.cumsum(axis=1)).sum(axis=1)
    lean = np.array([1.0, -2.0, 0.5, 0.5])
    found = scaling.fit(2 * logits - lean, labels, groups=[str(i) for i in range(len(labels))])
    assert found.temperature == pytest.approx(2, rel=0.1)
    np.testing.assert_allclose(found.bias, lean, atol=0.4)
    assert sum(found.bias) == pytest.approx(0, abs=1e-9)


def test_a_bias_that_chance_would_give_is_not_used() -> None:
    used = [any(fitted(seed).bias) for seed in range(10)]
    assert sum(used) <= 4  # chance alone makes it look better now and then


def fitted(seed: int) -> scaling.Scaling:
    odds, labels, groups = leaning(60, 0.0, seed)
    return scaling.fit(odds, labels, groups=groups)


def test_too_few_groups_get_a_temperature_alone() -> None:
    odds, labels, _ = leaning(200, 3.0)
    found = scaling.fit(odds, labels, groups=["a", "b"] * 100)
    assert not any(found.bias)
    assert math.isnan(found.log_loss[0])


def test_with_a_bias_no_other_scaling_nearby_is_more_likely() -> None:
    odds, labels, groups = leaning(500, 2.0)
    found = scaling.fit(odds, labels, groups=groups)

    def loss(temperature: float, bias: float) -> float:
        p = scaling.probabilities((odds + bias) / temperature)
        return float(-np.log(p[np.arange(500), labels]).mean())

    least = loss(found.temperature, found.bias[0])
    for factor in (0.9, 1.1):
        assert least < loss(found.temperature * factor, found.bias[0])
        assert least < loss(found.temperature, found.bias[0] * factor)
