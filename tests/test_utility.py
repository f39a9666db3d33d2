"""Predictive values and net benefit at a stated prevalence: by hand, by Bayes, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lucency import metrics
from lucency.errors import ConfigError
from lucency.evaluation.utility import (
    PREVALENCES,
    THRESHOLDS,
    decision_curve,
    predictive_values,
    with_prior,
)
from lucency.metrics import BoolArray, Estimate, FloatArray, IntArray

Images = tuple[BoolArray, BoolArray, IntArray]


def counted(tp: int, fn: int, fp: int, tn: int) -> Images:
    positive = np.repeat([True, True, False, False], [tp, fn, fp, tn])
    decided = np.repeat([True, False, True, False], [tp, fn, fp, tn])
    return positive, decided, np.arange(len(positive))


def at(images: Images, prevalence: float) -> tuple[Estimate, Estimate]:
    (found,) = predictive_values(*images, (prevalence,))
    assert found["prevalence"] == prevalence
    return found["ppv"], found["npv"]


def test_predictive_values_by_hand() -> None:
    # sensitivity 0.9, specificity 0.8, prevalence 0.1: 0.09 / 0.27 and 0.72 / 0.73
    ppv, npv = at(counted(90, 10, 20, 80), 0.1)
    assert ppv.value == pytest.approx(1 / 3)
    assert npv.value == pytest.approx(72 / 73)
    assert ppv.method == npv.method == "Jeffreys"


def test_at_the_samples_own_prevalence_they_are_the_plain_ones() -> None:
    positive, decided, cluster = counted(37, 5, 11, 80)
    ppv, npv = at((positive, decided, cluster), 42 / 133)
    confusion = metrics.confusion_matrix(positive, decided, 2)
    assert ppv.value == pytest.approx(metrics.ppv(confusion)[1])
    assert npv.value == pytest.approx(metrics.npv(confusion)[1])


def test_intervals_hold_the_value_and_rise_with_prevalence() -> None:
    images = counted(90, 10, 20, 80)
    rows = predictive_values(*images, (0.5, 0.01, 0.2, 0.5))
    assert [row["prevalence"] for row in rows] == [0.01, 0.2, 0.5]
    for row in rows:
        assert row["ppv"].low < row["ppv"].value < row["ppv"].high
        assert row["npv"].low < row["npv"].value < row["npv"].high
    assert [row["ppv"].low for row in rows] == sorted(row["ppv"].low for row in rows)
    assert len(predictive_values(*images)) == len(PREVALENCES)


def test_what_is_missed_and_what_is_found_trade_places() -> None:
    """Calling the other class positive exchanges both predictive values."""
    positive, decided, cluster = counted(50, 7, 12, 61)
    ppv, npv = at((positive, decided, cluster), 0.3)
    other_ppv, other_npv = at((~positive, ~decided, cluster), 0.7)
    assert (other_ppv.value, other_ppv.low) == pytest.approx((npv.value, npv.low))
    assert (other_npv.value, other_npv.high) == pytest.approx((ppv.value, ppv.high))


def test_no_false_alarm_is_not_certainty() -> None:
    ppv, npv = at(counted(50, 0, 0, 50), 0.05)
    assert (ppv.value, ppv.high) == (npv.value, npv.high) == (1.0, 1.0)
    assert 0.3 < ppv.low < 0.8
    assert 0.99 < npv.low < 1.0
    none_found, _ = at(counted(0, 50, 10, 40), 0.05)
    assert (none_found.value, none_found.low) == (0.0, 0.0)
    assert none_found.high > 0


def test_nothing_called_positive_has_no_predictive_value() -> None:
    ppv, npv = at(counted(0, 50, 0, 50), 0.2)
    assert math.isnan(ppv.value)
    assert ppv.method == "undefined"
    assert npv.value == pytest.approx(0.8)
    absent, _ = at(counted(5, 5, 0, 0), 0.2)
    assert math.isnan(absent.value)
    assert math.isnan(absent.low)


def test_copies_of_an_image_add_no_certainty() -> None:
    positive, decided, cluster = counted(90, 10, 20, 80)
    single = at((positive, decided, cluster), 0.1)[0]
    copied = at((np.repeat(positive, 4), np.repeat(decided, 4), np.repeat(cluster, 4)), 0.1)[0]
    assert copied.method == "Jeffreys, clustered by patient"
    assert copied.value == pytest.approx(single.value)
    # The design effect is estimated with 99 instead of 100 degrees of freedom.
    assert copied.high - copied.low == pytest.approx(single.high - single.low, rel=0.02)


@pytest.mark.parametrize(("patients", "most"), [(200, 1), (624, 1), (200, 5)])
def test_intervals_cover(patients: int, most: int) -> None:
    """Both intervals cover in 93 to 97 % of 600 simulations, give or take their own noise.

    The share has a standard error of 0.009, so the margin of 0.03 is more than 3 of them: a false
    alarm once in 1,000 for each of the six.
    """
    random, hits = np.random.default_rng(patients + most), np.zeros(2)
    ppv_true, npv_true = 0.09 / (0.09 + 0.135), 0.765 / (0.765 + 0.01)
    for _ in range(600):
        cluster = np.repeat(np.arange(patients), random.integers(1, most + 1, patients))
        sick = random.random(patients) < 0.6
        # Beta-binomial: images of one patient agree with each other.
        alike = 3.0 if most > 1 else 1e6
        right = np.where(
            sick,
            random.beta(0.9 * alike, 0.1 * alike, patients),
            random.beta(0.85 * alike, 0.15 * alike, patients),
        )
        positive = sick[cluster]
        decided = (random.random(len(cluster)) < right[cluster]) == positive
        ppv, npv = at((positive, decided, cluster), 0.1)
        hits += ppv.low <= ppv_true <= ppv.high, npv.low <= npv_true <= npv.high
    assert (hits / 600 > 0.92).all()
    assert (hits / 600 < 0.98).all()


def test_patients_with_equal_shares_of_hits_count_every_image() -> None:
    positive = np.repeat([True, False], 8)
    decided = np.tile([True, False], 8)  # half of the images of each patient
    single = at((positive, decided, np.arange(16)), 0.3)
    pairs = at((positive, decided, np.arange(16) // 2), 0.3)
    assert [(x.low, x.high) for x in pairs] == [(x.low, x.high) for x in single]


@pytest.mark.parametrize("prevalence", [0.0, 1.0, -0.1, 2.0, math.nan])
def test_a_prevalence_is_a_share(prevalence: float) -> None:
    with pytest.raises(ConfigError, match=r"between 0 and 1\. Received"):
        predictive_values(*counted(5, 5, 5, 5), (0.1, prevalence))
    with pytest.raises(ConfigError, match=r"between 0 and 1\. Received"):
        decision_curve(np.ones(2), np.array([True, False]), prevalence, [np.ones((1, 2))])


def images(seed: int, n: int = 150) -> tuple[FloatArray, BoolArray]:
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    p = 1 / (1 + np.exp(-random.normal(np.where(positive, 1.0, -1.0), 1.0)))
    return p.round(2), positive


def test_net_benefit_by_definition() -> None:
    p, positive = images(0)
    n, share = len(p), positive.mean()
    curve = decision_curve(p, positive, share, metrics.bootstrap_weights(np.arange(n), 200))
    for t, benefit in zip(curve["threshold"], curve["model"], strict=True):
        accepted = p >= t
        tp, fp = (accepted & positive).sum(), (accepted & ~positive).sum()
        assert benefit == pytest.approx(tp / n - fp / n * t / (1 - t), abs=1e-6)
    everyone = share - (1 - share) * THRESHOLDS / (1 - THRESHOLDS)
    assert curve["all"] == pytest.approx(everyone, abs=1e-6)
    assert (np.array(curve["low"]) <= curve["model"]).all()
    assert (np.array(curve["model"]) <= curve["high"]).all()


def test_another_prevalence_is_another_share_of_the_same_images() -> None:
    p, positive = images(1)
    weights = np.where(positive, 0.05 / positive.mean(), 0.95 / (1 - positive.mean()))
    curve = decision_curve(p, positive, 0.05, [np.ones((1, len(p)))])
    for t, benefit in zip(curve["threshold"], curve["model"], strict=True):
        accepted = (p >= t) * weights / len(p)
        expected = accepted[positive].sum() - accepted[~positive].sum() * t / (1 - t)
        assert benefit == pytest.approx(expected, abs=1e-6)


def test_treating_all_is_a_model_that_says_1() -> None:
    _, positive = images(2)
    curve = decision_curve(np.ones(len(positive)), positive, 0.2, [np.ones((1, len(positive)))])
    assert curve["model"] == pytest.approx(curve["all"], abs=1e-6)
    none = decision_curve(np.zeros(len(positive)), positive, 0.2, [np.ones((1, len(positive)))])
    assert set(none["model"]) == {0.0}


def test_a_band_of_replicates() -> None:
    p, positive = images(3, 60)
    rows = np.concatenate(list(metrics.bootstrap_weights(np.arange(60), 400)))
    curve = decision_curve(p, positive, 0.3, iter((rows[:150], rows[150:])))
    i = list(THRESHOLDS).index(0.5)
    tpr = (rows * (positive & (p >= 0.5))).sum(1) / (rows * positive).sum(1)
    fpr = (rows * (~positive & (p >= 0.5))).sum(1) / (rows * ~positive).sum(1)
    expected = np.quantile(0.3 * tpr - 0.7 * fpr, [0.025, 0.975])
    assert [curve["low"][i], curve["high"][i]] == pytest.approx(expected, abs=1e-6)


def test_priors_by_bayes() -> None:
    # odds of 1 at shares of 1:1 become odds of 1:9
    assert with_prior([[0.5, 0.5]], (0.5, 0.5), (0.9, 0.1)) == pytest.approx(np.array([[0.9, 0.1]]))
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(3), 20)
    there = with_prior(p, (0.2, 0.3, 0.5), (0.6, 0.3, 0.1))
    assert there.sum(1) == pytest.approx(np.ones(20))
    assert with_prior(there, (0.6, 0.3, 0.1), (0.2, 0.3, 0.5)) == pytest.approx(p)


def test_corrected_probabilities_are_calibrated() -> None:
    """Two normal classes: the corrected posterior is the posterior at the new shares, exactly."""
    x = np.linspace(-3, 3, 50)
    densities = np.stack([stats.norm.pdf(x, -1), stats.norm.pdf(x, 1)], axis=1)
    given, wanted = densities * [0.5, 0.5], densities * [0.95, 0.05]
    corrected = with_prior(given / given.sum(1, keepdims=True), (0.5, 0.5), (0.95, 0.05))
    assert corrected == pytest.approx(wanted / wanted.sum(1, keepdims=True))


@pytest.mark.parametrize("shares", [(0.5, 0.6), (0.0, 1.0), (1.0,), (0.2, 0.3, 0.5)])
def test_shares_that_are_none(shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match="2 class shares above 0 that sum to 1"):
        with_prior([[0.5, 0.5]], (0.5, 0.5), shares)
