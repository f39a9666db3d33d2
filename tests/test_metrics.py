"""Figures against scikit-learn and values by hand; intervals against simulations."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from lucency import metrics
from lucency.metrics import FloatArray, IntArray, influences

TOLERANCE = 1e-12


def near(a: object, b: object) -> None:
    np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)


def answers(seed: int, n: int = 300, classes: int = 2) -> tuple[IntArray, FloatArray]:
    """Draw labels and two-digit probabilities, so that many are equal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    raw = rng.gamma(1.0, size=(n, classes)) + np.eye(classes)[labels]
    rough = np.round(raw / raw.sum(1, keepdims=True), 2)
    rough[:, -1] = 1 - rough[:, :-1].sum(1)
    return labels, np.clip(rough, 0, 1)


# -- decisions ------------------------------------------------------------------------------------


def test_figures_by_hand() -> None:
    # 4 negatives, 6 positives; 3 and 5 right.
    confusion = np.array([[3.0, 1.0], [1.0, 5.0]])
    assert metrics.accuracy(confusion) == 0.8
    near(metrics.sensitivity(confusion), [3 / 4, 5 / 6])
    near(metrics.specificity(confusion), [5 / 6, 3 / 4])
    near(metrics.ppv(confusion), [3 / 4, 5 / 6])
    near(metrics.npv(confusion), [5 / 6, 3 / 4])
    near(metrics.f1(confusion), [6 / 8, 10 / 12])
    near(metrics.balanced_accuracy(confusion), (3 / 4 + 5 / 6) / 2)
    near(metrics.mcc(confusion), (3 * 5 - 1 * 1) / math.sqrt(4 * 6 * 4 * 6))


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_decisions_equal_scikit_learn(seed: int, classes: int) -> None:
    labels, probabilities = answers(seed, classes=classes)
    decided = probabilities.argmax(1)
    confusion = metrics.confusion_matrix(labels, decided, classes)
    near(confusion, reference.confusion_matrix(labels, decided))
    near(metrics.accuracy(confusion), reference.accuracy_score(labels, decided))
    near(metrics.balanced_accuracy(confusion), reference.balanced_accuracy_score(labels, decided))
    near(metrics.sensitivity(confusion), reference.recall_score(labels, decided, average=None))
    near(metrics.ppv(confusion), reference.precision_score(labels, decided, average=None))
    near(metrics.f1(confusion), reference.f1_score(labels, decided, average=None))
    near(metrics.mcc(confusion), reference.matthews_corrcoef(labels, decided))
    for k in range(classes):
        others = (labels != k, decided != k)
        near(metrics.specificity(confusion)[k], reference.recall_score(*others))
        near(metrics.npv(confusion)[k], reference.precision_score(*others))


def test_undefined_decisions_are_nan() -> None:
    all_negative = metrics.confusion_matrix([0, 0, 0], [0, 0, 0], 2)
    assert metrics.accuracy(all_negative) == 1
    assert metrics.specificity(all_negative)[1] == 1
    for undefined in (metrics.sensitivity, metrics.ppv, metrics.f1):
        assert np.isnan(undefined(all_negative)[1])
    assert np.isnan(metrics.balanced_accuracy(all_negative))
    assert np.isnan(metrics.mcc(all_negative))
    assert np.isnan(metrics.accuracy(metrics.confusion_matrix([], [], 2)))


@pytest.mark.parametrize("seed", range(5))
def test_likelihood_ratios_equal_scikit_learn(seed: int) -> None:
    labels, probabilities = answers(seed)
    decided = probabilities.argmax(1)
    confusion = metrics.confusion_matrix(labels, decided, 2)
    plus, minus = reference.class_likelihood_ratios(labels, decided)
    near((metrics.lr_plus(confusion)[1], metrics.lr_minus(confusion)[1]), (plus, minus))


def test_likelihood_ratios_at_their_ends() -> None:
    no_alarm = np.array([[4.0, 0.0], [1.0, 5.0]])
    assert metrics.lr_plus(no_alarm)[1] == np.inf
    near(metrics.lr_minus(no_alarm)[1], 1 / 6)
    no_miss = np.array([[3.0, 1.0], [0.0, 6.0]])
    near((metrics.lr_plus(no_miss)[1], metrics.lr_minus(no_miss)[1]), (4, 0))
    nothing_decided = np.array([[4.0, 0.0], [6.0, 0.0]])
    assert np.isnan(metrics.lr_plus(nothing_decided)[1])
    assert metrics.lr_minus(nothing_decided)[1] == 1
    assert np.isnan(metrics.lr_plus(np.array([[4.0, 1.0], [0.0, 0.0]]))).all()


# -- scores ---------------------------------------------------------------------------------------


def test_ranking_by_hand() -> None:
    # Positives 3, 1; negatives 2, 1, 0: pairs won 1+1+1, 0+1/2+1 of 6.
    labels, scores = [1, 0, 1, 0, 0], [3.0, 2.0, 1.0, 1.0, 0.0]
    near(metrics.auroc(labels, scores), 4.5 / 6)
    # Precision 1/1 at the first positive, 2/4 at the second.
    near(metrics.average_precision(labels, scores), (1 + 2 / 4) / 2)
    cuts = metrics.rank(labels, scores).cut()
    near(cuts.tpr_at(np.array([0, 1 / 3, 2 / 3, 1.0])), [[0.5, 0.5, 1, 1]])
    near(cuts.precision_at(np.array([0, 0.5, 0.51, 1.0])), [[1, 1, 0.5, 0.5]])


@pytest.mark.parametrize("seed", range(10))
def test_scores_equal_scikit_learn_with_and_without_weights(seed: int) -> None:
    labels, probabilities = answers(seed)
    scores = probabilities[:, 1]
    assert len(np.unique(scores)) < len(scores)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(labels))).astype(float)
    pairs = [
        (metrics.auroc, reference.roc_auc_score),
        (metrics.average_precision, reference.average_precision_score),
    ]
    for ours, theirs in pairs:
        near(ours(labels, scores), theirs(labels, scores))
        expected = [theirs(labels, scores, sample_weight=row) for row in weights]
        near(ours(labels, scores, weights), expected)
    ours_roc = metrics.roc_curve(labels, scores)
    theirs_roc = reference.roc_curve(labels, scores, drop_intermediate=False)
    ours_pr = metrics.pr_curve(labels, scores)
    theirs_pr = reference.precision_recall_curve(labels, scores)
    for a, b in zip((*ours_roc, *ours_pr), (*theirs_roc, *theirs_pr), strict=True):
        near(a, b)


@pytest.mark.parametrize("classes", [2, 4])
def test_macro_auroc_equals_scikit_learn(classes: int) -> None:
    labels, probabilities = answers(1, classes=classes)
    scores = probabilities[:, 1] if classes == 2 else probabilities
    expected = reference.roc_auc_score(labels, scores, multi_class="ovr")
    near(metrics.macro_auroc(labels, probabilities), expected)
    assert math.isnan(metrics.macro_auroc(np.minimum(labels, classes - 2), probabilities))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_probabilities_equal_scikit_learn(seed: int, classes: int) -> None:
    labels, probabilities = answers(seed, classes=classes)
    probabilities = (probabilities + 0.01) / (1 + 0.01 * classes)
    weights = np.random.default_rng(seed).random(len(labels))
    given_ = probabilities[:, 1] if classes == 2 else probabilities
    for row in (None, weights):
        expected = reference.brier_score_loss(labels, given_, sample_weight=row)
        near(metrics.brier(labels, probabilities, row), expected)
        expected = reference.log_loss(labels, probabilities, sample_weight=row)
        near(metrics.log_loss(labels, probabilities, row), expected)


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    near(metrics.log_loss([1], np.array([[1.0, 0.0]])), -math.log(1e-15))
    assert metrics.log_loss([0], np.array([[1.0, 0.0]])) == 0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_ranking(label: int) -> None:
    labels, scores = [label] * 3, [0.1, 0.2, 0.3]
    assert np.isnan(metrics.auroc(labels, scores))
    assert math.isnan(metrics.delong(labels, scores).value)
    assert np.isnan(metrics.rank(labels, scores).cut().tpr_at(np.array([0.5]))).all()
    assert np.isnan(metrics.average_precision(labels, scores)) == (label == 0)


binary = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@settings(deadline=None, max_examples=60)
@given(binary)
def test_auroc_is_invariant(rows: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(x) for x in zip(*rows, strict=True))
    area = float(metrics.auroc(labels, scores))
    near(metrics.auroc(labels[::-1], scores[::-1]), area)
    near(metrics.auroc(labels, np.exp(scores)), area)
    near(metrics.auroc(~labels, -scores), area)
    near(metrics.auroc(labels, -scores), 1 - area)
    twice = metrics.auroc(np.tile(labels, 2), np.tile(scores, 2))
    near(metrics.auroc(labels, scores, np.full(len(labels), 2.0)), twice)


@settings(deadline=None, max_examples=60)
@given(binary)
def test_curves_at_fixed_points_lie_on_the_whole_curves(rows: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(x) for x in zip(*rows, strict=True))
    cuts = metrics.rank(labels, scores).cut()
    fpr, tpr, _ = metrics.roc_curve(labels, scores)
    highest = [tpr[fpr == x].max() for x in fpr]
    near(cuts.tpr_at(fpr)[0], highest)
    precision, recall, _ = metrics.pr_curve(labels, scores)
    reached = recall > 0
    first = [precision[recall == x][-1] for x in recall[reached]]
    near(cuts.precision_at(recall[reached])[0], first)


# -- intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (8, 16), (390, 624), (1, 2)])
def test_clopper_pearson_equals_scipy(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
    near(metrics.clopper_pearson(successes, n), tuple(expected))


def test_clopper_pearson_by_hand() -> None:
    low, high = metrics.clopper_pearson(10, 10)
    near(low, 0.025 ** (1 / 10))
    assert high == 1
    assert metrics.clopper_pearson(0, 0) == (0, 1)


def delong_slowly(labels: IntArray, scores: FloatArray) -> tuple[float, float]:
    """Return AUROC and variance from all pairs, as DeLong et al. (1988) write it."""
    above, below = scores[labels == 1], scores[labels == 0]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    variance = wins.mean(1).var(ddof=1) / len(above) + wins.mean(0).var(ddof=1) / len(below)
    return float(wins.mean()), float(variance)


@pytest.mark.parametrize("seed", range(5))
def test_delong_equals_all_pairs(seed: int) -> None:
    labels, probabilities = answers(seed, n=80)
    area, variance = delong_slowly(labels, probabilities[:, 1])
    found = metrics.delong(labels, probabilities[:, 1])
    near(found.value, area)
    _, freedom = metrics.standard_error(
        influences.of_auroc(labels, probabilities[:, 1]).influence, np.arange(80)
    )
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(variance) / (area * (1 - area))
    near(special.logit([found.low, found.high]), special.logit(area) + reach * np.array([-1, 1]))
    assert found.method == "DeLong, logit"


def test_delong_of_groups_of_one_is_plain() -> None:
    labels, probabilities = answers(3, n=80)
    shuffled = np.random.default_rng(0).permutation(80)
    assert metrics.delong(labels, probabilities[:, 1], shuffled) == metrics.delong(
        labels, probabilities[:, 1]
    )


def test_copies_of_an_image_do_not_narrow_the_clustered_interval() -> None:
    labels, probabilities = answers(4, n=80)
    scores = probabilities[:, 1]
    once = metrics.delong(labels, scores)
    thrice = metrics.delong(np.tile(labels, 3), np.tile(scores, 3), np.tile(np.arange(80), 3))
    near((thrice.value, thrice.low, thrice.high), (once.value, once.low, once.high))
    assert thrice.method == "DeLong, logit, clustered by patient"


def test_perfect_separation_is_not_certainty() -> None:
    labels, scores = np.repeat([0, 1], [20, 10]), np.arange(30.0)
    found = metrics.delong(labels, scores)
    assert (found.value, found.high) == (1, 1)
    near(found.low, 0.025 ** (1 / 10))
    assert found.method == "exact, 10 independent pairs"
    worst = metrics.delong(labels, -scores)
    near((worst.low, worst.high), (0, 1 - found.low))
    by_patient = metrics.delong(labels, scores, np.repeat(np.arange(15), 2))
    assert by_patient.method == "exact, 5 independent pairs"


def test_delong_of_little_or_nothing_says_little() -> None:
    lone = metrics.delong([1, 0, 0, 0], [0.5, 0.1, 0.4, 0.9])
    assert lone.value == pytest.approx(2 / 3)
    assert lone.high - lone.low > 0.8
    constant = metrics.delong([1, 1, 0, 0], [0.5] * 4)
    assert (constant.value, constant.low < 0.1, constant.high > 0.9) == (0.5, True, True)
    one_patient = metrics.delong([1, 1, 0, 0], [4, 3, 2, 1], ["a"] * 4)
    assert (one_patient.low, one_patient.high) == (0, 1)


def test_a_share_of_groups_of_one_is_exact() -> None:
    hits = np.arange(16) < 8
    found = metrics.proportion(hits, np.arange(16))
    near((found.low, found.high), tuple(stats.binomtest(8, 16).proportion_ci(0.95, "exact")))
    assert (found.value, found.method) == (0.5, "Clopper-Pearson")
    assert metrics.proportion([], []) == metrics.UNDEFINED


def test_a_share_of_copies_is_that_of_the_groups() -> None:
    # 60 of 80 patients, each with 3 alike images: as many independent images as patients, but one
    # because their variance is estimated, and a little fewer for its degrees of freedom.
    hits, cluster = np.repeat(np.arange(80) < 60, 3), np.repeat(np.arange(80), 3)
    n = 79 * (stats.t.ppf(0.975, 239) / stats.t.ppf(0.975, 79)) ** 2
    found = metrics.proportion(hits, cluster)
    near((found.low, found.high), metrics.clopper_pearson(0.75 * n, n))
    assert found.method == "Clopper-Pearson, clustered by patient"


def test_a_share_without_variation_counts_patients() -> None:
    found = metrics.proportion(np.ones(12), np.repeat(np.arange(4), 3))
    near((found.value, found.low, found.high), (1, 0.025 ** (1 / 4), 1))
    # Of one large and nine lone patients, 19^2 / (10^2 + 9) are left.
    uneven = metrics.proportion(np.zeros(19), np.maximum(np.arange(19) - 9, 0))
    near(uneven.high, 1 - 0.025 ** (109 / 361))
    one = metrics.proportion([1, 0, 1], [7, 7, 7])
    assert one.low < 0.05
    assert one.high > 0.95


def test_groups_balanced_by_luck_do_not_narrow_a_share() -> None:
    balanced = metrics.proportion(np.tile([1, 0], 40), np.repeat(np.arange(40), 2))
    low, high = metrics.clopper_pearson(40, 80)
    assert balanced.low <= low < high <= balanced.high


def test_the_spread_of_a_mean_is_the_textbook_one() -> None:
    terms = np.random.default_rng(0).normal(size=40)
    error, freedom = metrics.standard_error(influences.of_mean(terms).influence, np.arange(40))
    near(error, stats.sem(terms))
    squares = (terms - terms.mean()) ** 2
    near(freedom, min(39, 3 * squares.sum() ** 2 / (squares**2).sum() - 1))
    near(
        metrics.t_interval(terms.mean(), error, freedom, "plain"),
        stats.t.interval(0.95, freedom, terms.mean(), error),
    )


def test_copies_leave_the_spread_as_it_is() -> None:
    terms, cluster = np.random.default_rng(1).random(30), np.arange(30) // 2
    once = metrics.standard_error(influences.of_mean(terms).influence, cluster)
    twice = influences.of_mean(np.tile(terms, 2)).influence
    near(metrics.standard_error(twice, np.tile(cluster, 2)), once)


def test_a_mistake_of_one_patient_has_few_degrees_of_freedom() -> None:
    terms = (np.arange(50) == 7).astype(float)
    assert metrics.standard_error(influences.of_mean(terms).influence, np.arange(50))[1] < 3
    assert metrics.standard_error(influences.of_mean(np.ones(50)).influence, np.arange(50)) == (
        0,
        1,
    )
    assert np.isnan(metrics.standard_error(np.zeros(3), [5, 5, 5])).all()


@pytest.mark.parametrize(
    ("scale", "value", "forth"),
    [("log", 2.0, np.log), ("logit", 0.9, special.logit), ("Fisher", 0.8, np.arctanh)],
)
def test_intervals_are_symmetric_on_their_scale(
    scale: metrics.Scale, value: float, forth: Callable[..., FloatArray]
) -> None:
    low, high = metrics.t_interval(value, 0.01, 30, scale)
    near((forth(low) + forth(high)) / 2, forth(value))
    # A small error reaches as far as it does without a scale.
    assert high - low == pytest.approx(0.02 * stats.t.ppf(0.975, 30), rel=0.02)
    for undefined in (metrics.t_interval(1.0 if scale != "log" else 0.0, 0.1, 9, scale),
                      metrics.t_interval(value, 0.0, 9, scale)):  # fmt: skip
        assert np.isnan(undefined).all()


def derivatives(figure: Callable[[FloatArray], float], weights: FloatArray) -> FloatArray:
    """Return the central differences of a figure of weights."""
    steps = 1e-5 * np.eye(len(weights))
    return np.array([(figure(weights + s) - figure(weights - s)) / 2e-5 for s in steps])


@pytest.mark.parametrize("classes", [2, 3])
def test_influences_of_decisions_are_derivatives(classes: int) -> None:
    labels, probabilities = answers(2, n=60, classes=classes)
    given = influences.add_half_counts(labels, probabilities.argmax(1), np.arange(60), classes)
    near(given.weights.sum(), 60 + classes)

    def table(weights: FloatArray) -> FloatArray:
        return metrics.confusion_matrix(given.labels, given.decisions, classes, weights)

    names = ("sensitivity", "specificity", "ppv", "npv", "f1", "lr_plus", "lr_minus")
    pairs = [
        (
            getattr(influences, f"of_{name}")(given, 1),
            lambda weights, name=name: getattr(metrics, name)(table(weights))[1],
        )
        for name in names
    ]
    pairs.append((influences.of_mcc(given, classes), lambda weights: metrics.mcc(table(weights))))
    for found, figure in pairs:
        near(found.value, figure(given.weights))
        expected = derivatives(figure, given.weights) * np.sqrt(given.weights)
        np.testing.assert_allclose(found.influence, expected, atol=1e-7)


def test_influences_of_rankings_are_derivatives() -> None:
    labels, probabilities = answers(3, n=60)
    scores = probabilities[:, 1]
    for linear, figure in (
        (influences.of_auroc, metrics.auroc),
        (influences.of_average_precision, metrics.average_precision),
    ):
        found = linear(labels, scores)
        near(found.value, figure(labels, scores))
        expected = derivatives(lambda w, f=figure: float(f(labels, scores, w)), np.ones(60))
        np.testing.assert_allclose(found.influence, expected, atol=1e-8)


def test_an_infinite_ratio_has_a_finite_lower_end() -> None:
    given = influences.add_half_counts(
        np.repeat([0, 1], 20), np.repeat([0, 1], 20), np.arange(40), 2
    )
    found = metrics.linearised(math.inf, influences.of_lr_plus(given, 1), given.cluster, "log")
    assert 1 < found.low < found.high == math.inf
    none = metrics.linearised(0.0, influences.of_lr_minus(given, 1), given.cluster, "log")
    assert none.low == 0 < none.high < 1


# -- recalibration --------------------------------------------------------------------------------


def claims(seed: int, n: int = 400) -> tuple[FloatArray, IntArray]:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0.3, 2, n)
    return special.expit(odds), (rng.random(n) < special.expit(0.6 * odds - 0.4)).astype(np.int64)


@pytest.mark.parametrize("seed", range(3))
def test_slope_and_intercept_are_most_likely(seed: int) -> None:
    probability, outcomes = claims(seed)
    odds = special.logit(probability)
    slope = metrics.calibration_slope(probability, outcomes)
    fitted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(odds[:, None], outcomes)
    assert slope is not None
    assert slope.value == pytest.approx(fitted.coef_[0, 0], rel=1e-6)
    intercept = metrics.calibration_intercept(probability, outcomes)
    assert intercept is not None
    near(special.expit(odds + intercept.value).mean(), outcomes.mean())


def test_influences_of_slope_and_intercept_are_what_leaving_out_changes() -> None:
    probability, outcomes = claims(0)
    for figure in (metrics.calibration_slope, metrics.calibration_intercept):
        whole = figure(probability, outcomes)
        assert whole is not None
        near(whole.influence.sum(), 0)
        for i in range(20):
            left = figure(np.delete(probability, i), np.delete(outcomes, i))
            assert left is not None
            change = whole.value - left.value
            assert whole.influence[i] == pytest.approx(change, rel=0.1, abs=1e-5)


def test_separated_outcomes_have_no_slope() -> None:
    probability = np.array([0.1, 0.2, 0.7, 0.9])
    assert metrics.calibration_slope(probability, [0, 0, 1, 1]) is None
    assert metrics.calibration_slope(probability, [1, 1, 0, 0]) is None
    assert metrics.calibration_slope(np.full(4, 0.3), [0, 1, 1, 0]) is None
    assert metrics.calibration_slope(probability, [1, 1, 1, 1]) is None
    assert metrics.calibration_intercept(probability, [0, 0, 0, 0]) is None
    certain = metrics.calibration_slope([0.0, 1.0, 1.0, 0.0, 0.4], [0, 1, 0, 1, 1])
    assert certain is not None
    assert math.isfinite(certain.value)


# -- bootstrap ------------------------------------------------------------------------------------


def test_bootstrap_draws_whole_groups() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "d"])
    weights = np.concatenate(list(metrics.bootstrap_weights(groups, 400, seed=1)))
    assert weights.shape == (400, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3, 5]].sum(1) == 4).all()
    again = np.concatenate(list(metrics.bootstrap_weights(groups, 400, seed=1)))
    assert (weights == again).all()
    assert (weights != np.concatenate(list(metrics.bootstrap_weights(groups, 400, 2)))).any()


def test_bootstrap_comes_in_pieces_that_fit_in_memory() -> None:
    first = next(metrics.bootstrap_weights(np.arange(100_000)))
    assert first.shape[1] == 100_000
    assert first.nbytes <= 2 * 2**20
    wide = next(metrics.bootstrap_weights(np.arange(10), width=2**18))
    assert wide.shape == (1, 10)


def test_percentiles_leave_undefined_replicates_out() -> None:
    some = np.append(np.arange(1001.0), [np.nan] * 500)
    near(metrics.percentiles(some), (25, 975))
    mostly = np.append(np.arange(10.0), [np.nan] * 11)
    assert np.isnan(metrics.percentiles(mostly)).all()


def test_json_is_strict() -> None:
    found = metrics.Estimate(np.float64(0.5), math.nan, math.inf, "none").to_json()
    text = json.dumps(found, allow_nan=False)
    assert json.loads(text) == {"value": 0.5, "low": None, "high": None, "method": "none"}


# -- coverage -------------------------------------------------------------------------------------
# Each simulation counts how many of its intervals hold the truth. The bounds are such that an
# interval that really covers 93 to 97 % fails with a chance below 1 in 10,000 for any seed, and one
# that covers 80 % (as the plain interval does on clustered data) fails almost surely.

RUNS = 800
FEWEST = stats.binom.ppf(5e-5, RUNS, 0.93)
MOST = stats.binom.ppf(1 - 5e-5, RUNS, 0.97)


def clustered_scores(
    rng: np.random.Generator, correlated: float
) -> tuple[IntArray, FloatArray, IntArray]:
    """Draw 60 patients with 4 images; a patient's own part makes them alike. True AUROC 0.76."""
    cluster = np.repeat(np.arange(60), 4)
    labels = np.where(cluster % 3 == 2, rng.integers(2, size=240), cluster % 3)
    own = rng.normal(size=60)[cluster] * math.sqrt(correlated)
    scores = labels + own + rng.normal(size=240) * math.sqrt(1 - correlated)
    return labels, scores, cluster


def covered(correlated: float, by_patient: bool) -> int:
    rng = np.random.default_rng(7)
    truth, hits = stats.norm.cdf(1 / math.sqrt(2)), 0
    for _ in range(RUNS):
        labels, scores, cluster = clustered_scores(rng, correlated)
        found = metrics.delong(labels, scores, cluster if by_patient else None)
        hits += found.low <= truth <= found.high
    return hits


def test_delong_covers_the_truth() -> None:
    assert FEWEST <= covered(0.0, by_patient=False) <= MOST


def test_clustered_delong_covers_the_truth_and_plain_does_not() -> None:
    assert FEWEST <= covered(0.7, by_patient=True) <= MOST
    assert covered(0.7, by_patient=False) < 0.86 * RUNS


def test_patient_bootstrap_covers_the_truth() -> None:
    rng = np.random.default_rng(11)
    cluster, hits = np.repeat(np.arange(60), 4), 0
    for seed in range(RUNS):
        chance = rng.choice([0.5, 0.9], size=60)[cluster]
        right = (rng.random(240) < chance).astype(float)
        (weights,) = metrics.bootstrap_weights(cluster, 400, seed)
        low, high = metrics.percentiles(weights @ right / weights.sum(1))
        hits += low <= 0.7 <= high
    assert FEWEST <= hits <= MOST


@pytest.mark.parametrize("classes", [2, 4])
def test_folds_keep_patients_together_and_classes_apart_from_none(classes: int) -> None:
    groups = np.arange(240) // 3
    labels = groups % classes
    folds = metrics.group_folds(labels, groups, classes, seed=1)
    assert folds is not None
    assert all(len(np.unique(folds[groups == each])) == 1 for each in np.unique(groups))
    for k in range(metrics.FOLDS):
        assert set(labels[folds == k]) == set(labels[folds != k]) == set(range(classes))
    again = metrics.group_folds(labels.astype(np.int32), groups, classes, seed=1)
    assert np.array_equal(folds, again)
    assert not np.array_equal(folds, metrics.group_folds(labels, groups, classes, seed=2))


def test_there_are_no_folds_where_a_class_has_fewer_patients() -> None:
    labels = np.array([0] * 40 + [1] * 40)
    groups = np.concatenate([np.arange(40), np.arange(100, 140) // 10])  # four patients
    assert metrics.group_folds(labels, groups, 2, seed=0) is None
    assert metrics.group_folds(labels, np.arange(80), 3, seed=0) is None  # a class is absent
