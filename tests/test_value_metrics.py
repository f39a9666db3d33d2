"""Metrics of predicted numbers against scikit-learn, SciPy and values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.trust.value_coverage import Setting, covered, interval_coverage
from scipy import stats
from sklearn import metrics as reference

from lucency import metrics
from lucency.metrics import FloatArray, IntArray
from lucency.metrics.values import of_limit, of_pearson, of_unexplained


def numbers(
    seed: int, patients: int = 80, each: int = 3
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Draw true and predicted numbers that patients have a part of, and the patients."""
    random = np.random.default_rng(seed)
    shape = (patients, each)
    true = 50 + 9 * (random.normal(size=(patients, 1)) + 0.5 * random.normal(size=shape))
    error = 1 + 3 * (random.normal(size=(patients, 1)) + random.normal(size=shape))
    return true.ravel(), (true + error).ravel(), np.repeat(np.arange(patients), each)


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_scikit_learn_with_and_without_weights(seed: int) -> None:
    true, predicted, cluster = numbers(seed)
    weights = np.stack([np.ones(len(true)), *next(metrics.bootstrap_weights(cluster, 3))])
    found = metrics.value_figures(true, predicted, weights)
    for i, row in enumerate(weights):
        expected = {
            "mean_absolute_error": reference.mean_absolute_error(
                true, predicted, sample_weight=row
            ),
            "root_mean_squared_error": reference.root_mean_squared_error(
                true, predicted, sample_weight=row
            ),
            "r2": reference.r2_score(true, predicted, sample_weight=row),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(found[name][i], value, rtol=1e-10)
        covariance = np.cov(true, predicted, aweights=row, ddof=0)
        apart = np.average(true - predicted, weights=row)
        lin = 2 * covariance[0, 1] / (np.trace(covariance) + apart**2)
        np.testing.assert_allclose(found["concordance"][i], lin, rtol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_estimates_equal_the_figures_and_scipy(seed: int) -> None:
    true, predicted, cluster = numbers(seed)
    found = metrics.value_estimates(true, predicted, cluster)
    plain = metrics.value_figures(true, predicted, np.ones(len(true)))
    for name, value in plain.items():
        np.testing.assert_allclose(found[name].value, value, rtol=1e-10)
    np.testing.assert_allclose(found["pearson"].value, stats.pearsonr(true, predicted)[0])
    errors = predicted - true
    np.testing.assert_allclose(found["mean_error"].value, errors.mean())
    reach = 1.96 * stats.tstd(errors)
    np.testing.assert_allclose(found["agreement_low"].value, errors.mean() - reach)
    np.testing.assert_allclose(found["agreement_high"].value, errors.mean() + reach)
    assert all(each.low < each.value < each.high for each in found.values())
    assert all("clustered by patient" in each.method for each in found.values())


@pytest.mark.parametrize("name", ["r2", "pearson", "concordance", "agreement_high", "mean_error"])
def test_an_influence_is_the_change_by_an_image(name: str) -> None:
    true, predicted, _ = numbers(3, 60, 1)
    n, i = len(true), 7
    linear = {
        "r2": of_unexplained,
        "pearson": of_pearson,
        "concordance": metrics.influences.of_concordance,
        "agreement_high": lambda t, p: of_limit(p - t, 1),
        "mean_error": lambda t, p: metrics.influences.of_mean(p - t),
    }[name]
    found = linear(true, predicted)
    assert abs(found.influence.sum()) < 1e-9
    # One more copy of an image among a thousand copies of each.
    copies = np.repeat(np.arange(n), 1000)
    more = np.append(copies, i)
    changed = (
        linear(true[more], predicted[more]).value - linear(true[copies], predicted[copies]).value
    )
    expected = found.influence[i] / 1000
    assert changed == pytest.approx(expected, rel=0.03)


def test_the_interval_of_independent_means_is_the_t_interval() -> None:
    true, predicted, cluster = numbers(1, 90, 1)
    errors = predicted - true
    low, high = stats.t.interval(0.95, 89, errors.mean(), stats.sem(errors))
    found = metrics.value_estimates(true, predicted, cluster)["mean_error"]
    # The degrees of freedom are Satterthwaite's, fewer than 89.
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03 * (high - low))


def test_limits_of_agreement_are_as_wide_as_bland_and_altman_say() -> None:
    true, predicted, cluster = numbers(2, 400, 1)
    errors = predicted - true
    found = metrics.value_estimates(true, predicted, cluster)["agreement_low"]
    error = errors.std(ddof=1) * math.sqrt(1 / 400 + 1.96**2 / (2 * 399))
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_pinball_loss_and_shares_below_quantiles() -> None:
    true, quantiles = np.array([1.0, 4.0]), np.array([[0.0, 3.0], [5.0, 8.0]])
    levels = np.array([0.1, 0.9])
    # 0.1 * 1 and 0.1 * 2; 0.9 * 1 and 0.1 * 4
    np.testing.assert_allclose(metrics.pinball_losses(true, quantiles, levels), [0.15, 0.65])
    random = np.random.default_rng(0)
    y, q = random.normal(size=200), random.normal(size=(200, 2))
    losses = metrics.pinball_losses(y, q, levels)
    expected = [
        reference.mean_pinball_loss(y, q[:, k], alpha=level) for k, level in enumerate(levels)
    ]
    assert losses.mean() == pytest.approx(np.mean(expected))
    shares = metrics.below_quantiles(true, quantiles, [0, 1])
    assert [each.value for each in shares] == [0.5, 1.0]


def test_coverage_weighs_patients_equally() -> None:
    found = metrics.coverage(np.array([True, True, True, False]), [0, 0, 0, 1])
    assert found.value == 0.5
    assert found.method == "Clopper-Pearson over patients"
    assert math.isnan(metrics.coverage(np.zeros(0, bool), []).value)


def test_what_is_undefined_is_nan_with_its_reason() -> None:
    same, predicted = np.full(5, 3.0), np.array([1.0, 2.0, 3.0, 4.0, 6.0])
    found = metrics.value_estimates(same, predicted, np.arange(5))
    for name in ("r2", "pearson", "concordance"):
        assert math.isnan(found[name].value)
        assert found[name].method == "undefined"
    assert found["mean_absolute_error"].value == pytest.approx(7 / 5)
    weights = np.ones((2, 5))
    assert np.isnan(metrics.value_figures(same, predicted, weights)["r2"]).all()
    one = metrics.value_estimates(predicted, same, np.zeros(5, int))
    assert one["mean_absolute_error"].value == pytest.approx(7 / 5)
    assert all(math.isnan(each.low) for each in one.values())
    assert "no variation" in one["mean_absolute_error"].method
    alone = metrics.value_estimates(np.array([2.0]), np.array([2.5]), np.array([0]))
    assert alone["mean_error"].value == 0.5
    assert math.isnan(alone["agreement_low"].value)


def test_perfect_predictions_have_no_error_and_no_interval() -> None:
    true = np.array([1e9 + 1, 1e9 + 2, 1e9 + 4])
    found = metrics.value_estimates(true, true.copy(), np.arange(3))
    assert found["mean_absolute_error"].value == found["root_mean_squared_error"].value == 0
    assert found["r2"].value == 1
    assert math.isnan(found["r2"].low)
    assert metrics.value_figures(true, true.copy(), np.ones(3))["r2"] == 1


@pytest.mark.parametrize("setting", [Setting(90, 1, "growing"), Setting(120, 2, "normal")], ids=str)
def test_intervals_contain_the_true_value(setting: Setting) -> None:
    """``python -m benchmarks value_coverage`` does the same with 2,000 test sets of more kinds."""
    for name, held in covered(setting, 200, many=100_000).items():
        # An interval that contains the truth in 93 % fails here once in 100,000 seeds.
        assert held >= stats.binom.ppf(1e-5, 200, 0.93), name


def test_prediction_intervals_hold_what_they_promise() -> None:
    shares = np.array([interval_coverage(1, 0.5, seed)[0] for seed in range(40)])
    # The mean of 40 test sets of 100 patients, each with another calibration: sd about 0.0065.
    assert abs(shares.mean() - 0.9) < 5 * 0.0065
