"""Figures against scikit-learn and values by hand; intervals against simulations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from lucency import metrics
from lucency.metrics import FloatArray, IntArray

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
    near((found.high - found.low) / 2, stats.norm.ppf(0.975) * math.sqrt(variance))
    assert found.method == "DeLong"


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
    assert thrice.method == "DeLong, clustered by patient"


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
    owner = np.repeat(np.arange(60), 4)
    labels = np.where(owner % 3 == 2, rng.integers(2, size=240), owner % 3)
    own = rng.normal(size=60)[owner] * math.sqrt(correlated)
    scores = labels + own + rng.normal(size=240) * math.sqrt(1 - correlated)
    return labels, scores, owner


def covered(correlated: float, by_patient: bool) -> int:
    rng = np.random.default_rng(7)
    truth, hits = stats.norm.cdf(1 / math.sqrt(2)), 0
    for _ in range(RUNS):
        labels, scores, owner = clustered_scores(rng, correlated)
        found = metrics.delong(labels, scores, owner if by_patient else None)
        hits += found.low <= truth <= found.high
    return hits


def test_delong_covers_the_truth() -> None:
    assert FEWEST <= covered(0.0, by_patient=False) <= MOST


def test_clustered_delong_covers_the_truth_and_plain_does_not() -> None:
    assert FEWEST <= covered(0.7, by_patient=True) <= MOST
    assert covered(0.7, by_patient=False) < 0.86 * RUNS


def test_patient_bootstrap_covers_the_truth() -> None:
    rng = np.random.default_rng(11)
    owner, hits = np.repeat(np.arange(60), 4), 0
    for seed in range(RUNS):
        chance = rng.choice([0.5, 0.9], size=60)[owner]
        right = (rng.random(240) < chance).astype(float)
        (weights,) = metrics.bootstrap_weights(owner, 400, seed)
        low, high = metrics.percentiles(weights @ right / weights.sum(1))
        hits += low <= 0.7 <= high
    assert FEWEST <= hits <= MOST
