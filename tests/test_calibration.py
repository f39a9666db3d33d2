"""Temperatures, probabilities, bins and calibration errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

from lucency.calibration import temperature
from lucency.errors import ClassifierError, DataError


def drawn(true: float, classes: int, n: int = 20_000, seed: int = 0) -> tuple:
    """Draw labels from softmax(logits / true)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 3
    chances = special.softmax(logits / true, axis=1).cumsum(1)
    return logits, (rng.random((n, 1)) > chances[:, :-1]).sum(1)


# -- probabilities --------------------------------------------------------------------------------


def test_two_classes_keep_small_values_in_both_columns() -> None:
    found = temperature.probabilities([-800.0, -40.0, 0.0, 40.0])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[1], [1, math.exp(-40)], rtol=1e-15)
    np.testing.assert_allclose(found[3], [math.exp(-40), 1], rtol=1e-15)
    assert found[2].tolist() == [0.5, 0.5]
    assert found[0].tolist() == [1, 0]


def test_one_column_is_the_softmax_of_two() -> None:
    odds = np.linspace(-30, 30, 61)
    two = np.stack([np.zeros_like(odds), odds], axis=1)
    expected = temperature.probabilities(two, 1.7)
    np.testing.assert_allclose(temperature.probabilities(odds, 1.7), expected, rtol=1e-13)
    np.testing.assert_array_equal(
        temperature.probabilities(odds[:, None], 1.7), temperature.probabilities(odds, 1.7)
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
    found = temperature.probabilities(logits, divisor)
    assert found.shape == (len(logits), max(2, logits.shape[1]))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-14)
    if logits.shape[1] > 1:
        chosen = np.take_along_axis(found, logits.argmax(1)[:, None], axis=1)[:, 0]
        np.testing.assert_array_equal(chosen, found.max(1))


# -- temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_finds_the_temperature_that_the_labels_were_drawn_with(classes: int, true: float) -> None:
    logits, labels = drawn(true, classes)
    # Its standard error is below 2 % here: 8 % fails with a chance below 1 in 10,000.
    assert temperature.fit_temperature(logits, labels) == pytest.approx(true, rel=0.08)


def test_no_temperature_nearby_is_more_likely() -> None:
    logits, labels = drawn(2.0, 3, n=500)
    best = temperature.fit_temperature(logits, labels)

    def loss(divisor: float) -> float:
        found = temperature.probabilities(logits, divisor)
        return float(-np.log(found[np.arange(500), labels]).sum())

    assert loss(best) < min(loss(best * 1.001), loss(best / 1.001))


def test_binary_logits_have_the_temperature_of_their_two_columns() -> None:
    logits, labels = drawn(2.5, 2, n=500)
    odds = logits[:, 1] - logits[:, 0]
    expected = temperature.fit_temperature(logits, labels)
    for shaped in (odds, odds[:, None], odds.astype(np.float32)):
        assert temperature.fit_temperature(shaped, labels) == pytest.approx(expected, rel=1e-5)


def test_a_weight_of_two_is_an_image_twice() -> None:
    logits, labels = drawn(2.0, 3, n=300)
    weights = np.random.default_rng(1).integers(0, 3, 300)
    repeated = np.repeat(np.arange(300), weights)
    assert temperature.fit_temperature(logits, labels, weights) == pytest.approx(
        temperature.fit_temperature(logits[repeated], labels[repeated]), rel=1e-6
    )


def test_the_ends_of_the_interval() -> None:
    odds, labels = np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0, 0, 1, 1])
    assert temperature.fit_temperature(odds, labels) == pytest.approx(0.05)
    assert temperature.fit_temperature(odds, 1 - labels) == pytest.approx(20)
    assert temperature.fit_temperature(np.zeros(4), labels) == 1
    assert temperature.fit_temperature(odds * 1e6, 1 - labels) == pytest.approx(20)


def test_what_cannot_be_calibrated_is_rejected() -> None:
    with pytest.raises(DataError, match="no images"):
        temperature.fit_temperature(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(ClassifierError, match="not finite"):
        temperature.fit_temperature([0.0, math.nan], [0, 1])


# -- reliability ----------------------------------------------------------------------------------


def test_reliability_by_hand() -> None:
    # 20 images: two bins of ten.
    probability = np.repeat([0.1, 0.8], 10)
    outcomes = np.array([1] * 2 + [0] * 8 + [1] * 7 + [0] * 3)
    low, high = temperature.reliability(probability, outcomes)
    assert (low.n, low.fraction, high.n, high.fraction) == (10, 0.2, 10, 0.7)
    assert (low.mean_probability, high.mean_probability) == pytest.approx((0.1, 0.8))
    found = temperature.expected_calibration_error(probability, outcomes)
    assert found == pytest.approx((0.1 + 0.1) / 2)
    weights = np.stack([np.repeat([1.0, 0.0], 10), np.repeat([1.0, 3.0], 10)])
    found = temperature.expected_calibration_error(probability, 1 - outcomes, weights)
    assert found == pytest.approx([0.7, (0.7 + 3 * 0.5) / 4])


@pytest.mark.parametrize(
    ("n", "bins"), [(1, 1), (19, 1), (20, 2), (57, 5), (100, 10), (10_007, 10)]
)
def test_bins_have_equal_sizes_and_increase(n: int, bins: int) -> None:
    probability = np.random.default_rng(n).random(n)
    found = temperature.equal_mass_bins(probability)
    sizes = np.bincount(found)
    assert len(sizes) == bins
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(found[np.argsort(probability)]) >= 0).all()


def test_equal_probabilities_share_a_bin_in_any_order() -> None:
    rng = np.random.default_rng(0)
    probability = np.round(rng.random(200), 1)
    found = temperature.equal_mass_bins(probability)
    for value in np.unique(probability):
        assert len(np.unique(found[probability == value])) == 1
    assert np.unique(found).tolist() == list(range(found.max() + 1))
    order = rng.permutation(200)
    np.testing.assert_array_equal(temperature.equal_mass_bins(probability[order]), found[order])
    assert temperature.equal_mass_bins(np.full(50, 0.3)).max() == 0


def test_debiased_error_by_hand() -> None:
    # Two bins of ten: gaps of 0.1 and -0.1, whose variance is f (1 - f) / 9.
    probability = np.repeat([0.1, 0.8], 10)
    outcomes = np.array([1] * 2 + [0] * 8 + [1] * 7 + [0] * 3)
    squares = 0.1**2 - 0.2 * 0.8 / 9, 0.1**2 - 0.7 * 0.3 / 9
    assert sum(squares) < 0
    assert temperature.debiased_error(probability, outcomes) == 0
    opposite = 0.7**2 - 0.2 * 0.8 / 9, 0.5**2 - 0.7 * 0.3 / 9
    found = temperature.debiased_error(probability, 1 - outcomes)
    assert found == pytest.approx(math.sqrt(sum(opposite) / 2), rel=1e-12)


def test_debiased_error_is_over_pairs_of_different_patients() -> None:
    rng = np.random.default_rng(3)
    probability, cluster = rng.random(60), rng.integers(25, size=60)
    outcomes = rng.random((4, 60)) < probability**4
    bins, squares = temperature.equal_mass_bins(probability), np.zeros(4)
    for members in (np.flatnonzero(bins == b) for b in range(6)):
        gaps = (outcomes - probability)[:, members]
        others = cluster[members][:, None] != cluster[members]
        products = np.einsum("si,ij,sj->s", gaps, others.astype(float), gaps)
        squares += len(members) / 60 * products / others.sum()
    found = temperature.debiased_error(probability, outcomes, cluster)
    np.testing.assert_allclose(found, np.sqrt(np.maximum(squares, 0)), rtol=1e-12)
    order = rng.permutation(60)
    again = temperature.debiased_error(probability[order], outcomes[:, order], cluster[order])
    np.testing.assert_allclose(again, found, rtol=1e-12)


def test_one_patient_has_no_debiased_error() -> None:
    probability = np.linspace(0.1, 0.9, 12)
    assert np.isnan(temperature.debiased_error(probability, probability > 0.5, [3] * 12))
    assert np.isnan(temperature.chance_error(probability, [3] * 12)[1])


def test_the_debiased_square_is_right_on_average_and_the_plain_one_too_large() -> None:
    # All probabilities are 0.5 and the frequency is 0.6: the error is 0.1 for every n.
    rng = np.random.default_rng(0)
    probability, outcomes = np.full(50, 0.5), rng.random((4000, 50)) < 0.6
    squares = temperature.debiased_error(probability, outcomes) ** 2
    plain = [temperature.expected_calibration_error(probability, row) for row in outcomes[:500]]
    # Negative squares are set to 0, which adds a little; the plain error is much too large.
    assert 0.01 <= squares.mean() < 0.013
    assert np.mean(np.square(plain)) > 0.0135


@pytest.mark.parametrize("images", [1, 3])
def test_the_error_of_calibrated_probabilities_is_in_the_chance_range(images: int) -> None:
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(400 // images), images)
    probability = rng.random(cluster.max() + 1)[cluster]
    band = temperature.chance_error(probability, cluster)
    assert band == temperature.chance_error(probability, cluster)
    uniform = rng.random((1000, cluster.max() + 1))[:, cluster]
    errors = temperature.debiased_error(probability, uniform < probability, cluster)
    inside = (errors <= band[1]).mean()
    # Binomial(1000, 0.95), and the band's own error: outside with a chance below 1 in 10,000.
    assert band[0] == 0
    assert 0.91 <= inside <= 0.985
    # Without patients the range for correlated outcomes would be too narrow.
    alone = temperature.chance_error(probability)[1]
    assert (errors <= alone).mean() < 0.9 or images == 1
    off = temperature.debiased_error(probability, uniform < probability**3, cluster)
    assert off.min() > band[1]


def test_smoothing_bounds_confidence_if_every_prediction_is_correct() -> None:
    labels = np.repeat([0, 1], 20)
    logits = np.where(labels == 1, 3.0, -3.0)
    assert temperature.fit_temperature(logits, labels) == pytest.approx(0.05)
    smoothed = temperature.fit_temperature(logits, labels, smooth=True)
    # By hand: the most likely accuracy is 21 of 22, with log odds of log 21.
    assert smoothed == pytest.approx(3.0 / np.log(21), rel=1e-5)


def test_smoothing_vanishes_with_more_images() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, 40_000)
    labels = (random.random(40_000) < 1 / (1 + np.exp(-logits / 1.7))).astype(np.int64)
    plain, smoothed = (
        temperature.fit_temperature(logits, labels, smooth=smooth) for smooth in (False, True)
    )
    assert smoothed == pytest.approx(plain, rel=2e-3)
