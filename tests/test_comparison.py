"""Comparison of classifiers: references, simulations, conclusions."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lucency import metrics
from lucency.comparison import compare
from lucency.comparison.paired import (
    Outputs,
    auroc_difference,
    bootstrapped,
    figures,
    holm,
    mcnemar,
    patient_test,
    replicated,
)
from lucency.comparison.wording import conclusion, p_text
from lucency.errors import ConfigError, DataError, RunError
from lucency.evaluation import Predictions
from lucency.evaluation.ledger import test_set_id
from lucency.metrics import BoolArray, FloatArray, IntArray
from small_runs import TWO, write_plan, write_predicted_run


def two_rankings(
    rng: np.random.Generator, patients: int, each: int, gain: float = 0.0
) -> tuple[BoolArray, FloatArray, FloatArray, IntArray]:
    """Scores of two classifiers with errors shared by patient, by image, and of their own."""
    cluster = np.repeat(np.arange(patients), each)
    positive = np.repeat(rng.random(patients) < 0.6, each)
    positive[: 2 * each] = np.repeat([True, False], each)
    shared = 2 * positive + rng.normal(size=patients)[cluster] + 0.5 * rng.normal(size=len(cluster))
    drift = rng.normal(size=(2, patients))[:, cluster]
    own = shared + 0.6 * drift + 0.6 * rng.normal(size=(2, len(cluster)))
    return positive, own[:1], own[1:] + gain * positive, cluster


# --- decisions


def test_mcnemar_is_the_binomial_test_of_the_images_that_differ() -> None:
    first = np.array([True] * 20 + [False] * 8 + [True] * 50)
    second = np.array([False] * 20 + [True] * 8 + [True] * 50)
    # By hand: 2 * sum of C(28, k) for k <= 8, over 2^28.
    tail = sum(math.comb(28, k) for k in range(9))
    assert mcnemar(first, second) == pytest.approx(2 * tail / 2**28)
    assert mcnemar(first, second) == stats.binomtest(20, 28).pvalue
    assert mcnemar(first, first) == 1


@pytest.mark.parametrize("seed", range(5))
def test_with_an_image_per_patient_the_patient_test_is_mcnemars(seed: int) -> None:
    right = np.random.default_rng(seed).random((2, 60)) < 0.7
    assert patient_test(*right, np.arange(60)) == pytest.approx(mcnemar(*right))


@pytest.mark.parametrize("seed", range(5))
def test_the_patient_test_counts_every_way_to_swap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cluster = rng.integers(8, size=30)
    first, second = rng.random((2, 30)) < 0.6
    sums = np.bincount(cluster, second.astype(int) - first.astype(int), minlength=8)
    swapped = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=8)]
    expected = np.mean(np.array(swapped) >= abs(sums.sum()) - 1e-9)
    assert patient_test(first, second, cluster) == pytest.approx(expected)


def test_many_images_of_one_patient_count_once() -> None:
    first, second = np.zeros(30, bool), np.ones(30, bool)
    assert mcnemar(first, second) < 1e-8
    assert patient_test(first, second, np.zeros(30, np.int64)) == 1
    assert patient_test(first, second, np.repeat([0, 1], 15)) == 0.5


# --- rankings


def covariance_of_delong(positive: BoolArray, scores: FloatArray) -> FloatArray:
    """The 2 x 2 covariance of DeLong 1988, equations 4 to 6, from all pairs of images."""
    x, y = scores[:, positive], scores[:, ~positive]
    wins = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    v10, v01 = wins.mean(axis=2), wins.mean(axis=1)
    return np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]


@pytest.mark.parametrize("decimals", [9, 0])  # 0: many ties
@pytest.mark.parametrize("seed", range(3))
def test_paired_delong_is_that_of_all_pairs(seed: int, decimals: int) -> None:
    positive, first, second, cluster = two_rankings(np.random.default_rng(seed), 80, 1)
    first, second = first.round(decimals), second.round(decimals)
    found = auroc_difference(positive, first, second, cluster)
    area = [float(metrics.auroc(positive, scores[0])) for scores in (first, second)]
    assert found.value == pytest.approx(area[1] - area[0])
    (a, c), (_, b) = covariance_of_delong(positive, np.concatenate([first, second]))
    assert found.error == pytest.approx(math.sqrt(a + b - 2 * c), rel=1e-9)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.value) / found.error))
    assert (found.low, found.high) == pytest.approx(
        stats.norm.interval(0.95, found.value, found.error)
    )


def obuchowski(positive: BoolArray, scores: FloatArray, cluster: IntArray) -> float:
    """Variance of the difference after Obuchowski 1997, equations 4 to 7, loop by loop."""
    m, n = int(positive.sum()), int((~positive).sum())
    groups = np.unique(cluster)
    terms = np.zeros((2, 2, len(groups)))  # classifier, class, patient: sums of V - area
    for r, row in enumerate(scores):
        x, y = row[positive], row[~positive]
        wins = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
        area = wins.mean()
        for g, group in enumerate(groups):
            terms[r, 0, g] = (wins.mean(axis=1) - area)[cluster[positive] == group].sum()
            terms[r, 1, g] = (wins.mean(axis=0) - area)[cluster[~positive] == group].sum()
    i10, i01 = (len(np.unique(cluster[members])) for members in (positive, ~positive))
    i = len(groups)

    def covariance(r: int, s: int) -> float:
        s10 = i10 / ((i10 - 1) * m) * (terms[r, 0] * terms[s, 0]).sum()
        s01 = i01 / ((i01 - 1) * n) * (terms[r, 1] * terms[s, 1]).sum()
        s11 = i / (i - 1) * (terms[r, 0] * terms[s, 1]).sum()
        s11_other = i / (i - 1) * (terms[s, 0] * terms[r, 1]).sum()
        return float(s10 / m + s01 / n + (s11 + s11_other) / (m * n))

    return covariance(0, 0) + covariance(1, 1) - 2 * covariance(0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_clustered_delong_is_obuchowskis(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positive, first, second, cluster = two_rankings(rng, 40, 3)
    positive ^= rng.random(len(cluster)) < 0.2  # patients with images of both classes
    found = auroc_difference(positive, first, second, cluster)
    expected = obuchowski(positive, np.concatenate([first, second]), cluster)
    assert found.error**2 == pytest.approx(expected)
    assert found.method == "paired DeLong, clustered by patient"


def test_duplicated_images_change_nothing() -> None:
    positive, first, second, cluster = two_rankings(np.random.default_rng(4), 60, 1)
    once = auroc_difference(positive, first, second, cluster)
    doubled = [np.concatenate([x, x], axis=-1) for x in (positive, first, second, cluster)]
    twice = auroc_difference(*doubled)
    assert (twice.value, twice.error) == pytest.approx((once.value, once.error))


def test_swapping_and_rescaling_change_only_the_sign() -> None:
    positive, first, second, cluster = two_rankings(np.random.default_rng(5), 60, 2)
    found = auroc_difference(positive, first, second, cluster)
    swapped = auroc_difference(positive, np.exp(second), 3 * first - 7, cluster)
    assert swapped.value == pytest.approx(-found.value)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
    assert swapped.p == pytest.approx(found.p)


def test_seeds_are_averaged() -> None:
    positive, first, second, cluster = two_rankings(np.random.default_rng(6), 60, 2)
    mean = auroc_difference(positive, first, np.concatenate([first, second, second]), cluster)
    single = auroc_difference(positive, first, second, cluster)
    assert mean.value == pytest.approx(single.value * 2 / 3)
    assert mean.error == pytest.approx(single.error * 2 / 3)
    assert mean.p == pytest.approx(single.p)


def test_undefined_differences_are_unknown_not_certain() -> None:
    positive = np.array([True, True, False, False])
    perfect = np.array([[0.9, 0.8, 0.2, 0.1]])
    same = auroc_difference(positive, perfect, perfect / 2, np.arange(4))
    assert same.value == 0
    assert math.isnan(same.low)
    assert same.p == 1
    absent = auroc_difference(np.ones(4, bool), perfect, perfect, np.arange(4))
    assert math.isnan(absent.value)
    assert math.isnan(absent.p)
    lonely = auroc_difference(positive, perfect, perfect[:, ::-1], np.array([0, 0, 1, 1]))
    assert lonely.value == -1
    assert math.isnan(lonely.p)  # one patient of each class proves nothing


# --- everything else, by the bootstrap


def outputs_of(scores: FloatArray) -> Outputs:
    p = 1 / (1 + np.exp(1 - scores[0]))
    given = np.stack([1 - p, p], axis=1)
    return Outputs((p >= 0.5).astype(np.int64), given)


def test_figures_are_those_of_an_evaluation() -> None:
    positive, first, _, _ = two_rankings(np.random.default_rng(7), 50, 2)
    labels, outputs = positive.astype(np.int64), outputs_of(first)
    found = figures(labels, outputs, 1, np.ones((1, 100)))
    decided = outputs.decisions == 1
    expected = {
        "auroc": float(metrics.auroc(labels, first[0])),
        "accuracy": (decided == positive).mean(),
        "balanced_accuracy": (decided[positive].mean() + (~decided)[~positive].mean()) / 2,
        "sensitivity": decided[positive].mean(),
        "specificity": (~decided)[~positive].mean(),
        "brier": metrics.brier(labels, outputs.probabilities),
        "log_loss": metrics.log_loss(labels, outputs.probabilities),
    }
    assert {name: x[0] for name, x in found.items()} == pytest.approx(expected)


def test_the_bootstrap_pairs_and_agrees_with_delong_and_with_the_binomial() -> None:
    positive, first, second, cluster = two_rankings(np.random.default_rng(8), 300, 1)
    labels = positive.astype(np.int64)
    runs = {"first": outputs_of(first), "second": outputs_of(second)}
    drawn = replicated(labels, runs, 1, cluster)
    spread = {
        name: drawn["second"][1][name] - drawn["first"][1][name] for name in ("auroc", "accuracy")
    }
    delong = auroc_difference(positive, first, second, cluster)
    # The sd of 2,000 replicates has an error of 1.6 %; 12 % is far outside chance.
    assert spread["auroc"].std() == pytest.approx(delong.error, rel=0.12)
    right = [outputs.decisions == labels for outputs in runs.values()]
    gains = right[1].astype(float) - right[0]
    assert spread["accuracy"].std() == pytest.approx(gains.std() / math.sqrt(300), rel=0.12)


def test_a_bootstrap_p_value_agrees_with_its_interval() -> None:
    replicates = np.linspace(-0.024, 0.976, 1001)  # 2.5 % below 0
    inside = bootstrapped(0.5, replicates - 0.01, np.arange(3))
    outside = bootstrapped(0.5, replicates + 0.01, np.arange(3))
    assert inside.low < 0
    assert inside.p > 0.05
    assert outside.low > 0
    assert outside.p < 0.05
    assert bootstrapped(0.0, np.zeros(10), np.arange(3)).p == 1
    assert math.isnan(bootstrapped(0.0, np.full(10, np.nan), np.arange(3)).p)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, math.nan, 0.6])[::2] == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


# --- error rates


@pytest.mark.parametrize(("patients", "each"), [(200, 1), (80, 4)])
def test_equal_classifiers_differ_in_5_of_100(patients: int, each: int) -> None:
    # False positives are 4.3 to 5.2 % of 4,000 data sets in benchmarks/trust/comparison.py, 5.8 %
    # of 2,500 here. Of 500, at 5 or 6 %, they are outside 10 to 50 with a chance of 0.02 %.
    rng = np.random.default_rng([patients, each])
    alarms = {"ranking": 0, "decisions": 0}
    for _ in range(500):
        positive, first, second, cluster = two_rankings(rng, patients, each)
        alarms["ranking"] += auroc_difference(positive, first, second, cluster).p < 0.05
        right = [outputs_of(x).decisions == positive for x in (first, second)]
        alarms["decisions"] += patient_test(*right, cluster) < 0.05
    assert 10 <= alarms["ranking"] <= 50
    assert alarms["decisions"] <= 45  # exact tests of counts are below 5 %


def test_a_better_classifier_is_found() -> None:
    rng = np.random.default_rng(11)
    # At this gain about 98 of 100 data sets show it; below 80 is not chance.
    found = [auroc_difference(*two_rankings(rng, 200, 1, gain=1.0)) for _ in range(100)]
    assert sum(each.p < 0.05 and each.value > 0 for each in found) >= 80


def test_the_detectable_difference_is_detected_in_four_of_five() -> None:
    # Over 400 data sets the share has a standard deviation of 2 %.
    rng = np.random.default_rng(12)
    gain = 0.45
    found = [auroc_difference(*two_rankings(rng, 300, 1, gain=gain)) for _ in range(400)]
    true = float(np.mean([each.value for each in found]))
    detectable = float(np.median([each.detectable for each in found]))
    power = float(np.mean([each.p < 0.05 for each in found]))
    z = stats.norm.ppf(0.8) + stats.norm.ppf(0.975)
    expected = stats.norm.cdf(z * true / detectable - stats.norm.ppf(0.975))
    assert power == pytest.approx(expected, abs=0.09)


# --- run folders


def predictions(
    scores: FloatArray, positive: BoolArray, cluster: IntArray, split: str = "test"
) -> Predictions:
    outputs = outputs_of(scores)
    n = len(positive)
    return Predictions(
        split=split,
        classes=TWO,
        files=tuple(f"test/{i}.png" for i in range(n)),
        groups=tuple(f"p{k}" for k in cluster),
        labels=positive.astype(np.int64),
        decisions=outputs.decisions,
        probabilities=outputs.probabilities,
    )


@pytest.fixture(scope="module")
def scene() -> tuple[BoolArray, FloatArray, FloatArray, IntArray]:
    return two_rankings(np.random.default_rng(20), 100, 2)


def test_two_runs_and_the_conclusions(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    runs = [
        write_predicted_run(
            tmp_path / "old", predictions(first, positive, cluster), recipe="article"
        ),
        write_predicted_run(
            tmp_path / "new", predictions(second + 3 * positive, positive, cluster)
        ),
    ]
    found = compare(runs)
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.figure) == ("old", "new", "auroc")
    expected = auroc_difference(positive, first, second + 3 * positive, cluster)
    assert pair.p == pytest.approx(expected.p)
    assert pair.differences["auroc"].value == pytest.approx(expected.value)
    assert found.conclusions[0].startswith(
        f"new is better than old: AUROC higher by {expected.value:.3f}"
    )
    assert pair.decisions is not None
    right = [outputs_of(x).decisions == positive for x in (first, second + 3 * positive)]
    assert pair.decisions.only_second == (right[1] & ~right[0]).sum()
    assert "several seeds" in " ".join(found.conclusions)
    assert found.n == 200
    assert found.groups == 100
    back = compare(runs[::-1])
    assert back.conclusions[0].startswith("old is worse than new: AUROC lower by")
    for name, difference in pair.differences.items():
        assert back.pairs[0].differences[name].value == pytest.approx(-difference.value)


def test_the_json_is_strict_and_a_single_run_has_no_sd(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    runs = [
        write_predicted_run(
            tmp_path / "a", predictions(first, positive, cluster), recipe="article"
        ),
        write_predicted_run(tmp_path / "b", predictions(second, positive, cluster)),
    ]
    document = json.loads(json.dumps(compare(runs).to_json(), allow_nan=False))
    assert document["format"] == 2
    assert document["systems"][0]["metrics"]["auroc"]["sd"] is None
    assert document["pairs"][0]["differences"]["auroc"]["detectable"] > 0
    area = metrics.delong(positive, outputs_of(first).probabilities[:, 1], cluster)
    assert document["systems"][0]["metrics"]["auroc"]["low"] == area.low


def test_no_difference_names_the_detectable_one(tmp_path: Path, scene: Any) -> None:
    positive, first, _, cluster = scene
    nearly = first + 0.01 * np.random.default_rng(0).normal(size=first.shape)
    runs = [
        write_predicted_run(
            tmp_path / "a", predictions(first, positive, cluster), recipe="article"
        ),
        write_predicted_run(tmp_path / "b", predictions(nearly, positive, cluster)),
    ]
    found = compare(runs)
    assert found.conclusions[0].startswith("No difference between a and b is shown: AUROC")
    assert (
        "With 200 images of 100 patients, a true difference in AUROC below" in found.conclusions[1]
    )


def test_another_operating_point_is_no_better_classifier(tmp_path: Path, scene: Any) -> None:
    positive, first, _, cluster = scene
    even = predictions(first, positive, cluster)
    strict = replace(even, decisions=(even.probabilities[:, 1] >= 0.98).astype(np.int64))
    runs = [
        write_predicted_run(tmp_path / name, found, recipe=name)
        for name, found in (("even", even), ("strict", strict))
    ]
    found = compare(runs)
    assert found.pairs[0].p == 1
    assert "AUROC is the same" in found.conclusions[0]
    assert found.pairs[0].decisions is not None
    assert found.pairs[0].decisions.by_patient < 0.05
    assert "choose other operating points" in found.conclusions[-2]


def test_seeds_of_one_recipe_are_one_system(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    rng = np.random.default_rng(1)
    runs = [
        write_predicted_run(
            tmp_path / f"{name}-s{seed}",
            predictions(base + 0.2 * rng.normal(size=base.shape), positive, cluster),
            seed=seed,
            recipe=name,
        )
        for name, base in (("article", first), ("default", second))
        for seed in (0, 1, 2)
    ]
    found = compare(runs)
    assert [system.name for system in found.systems] == [
        "article-s0 (3 seeds)",
        "default-s0 (3 seeds)",
    ]
    assert found.systems[1].seeds == (0, 1, 2)
    auroc = found.systems[0].metrics["auroc"]
    assert auroc.estimate.value == pytest.approx(np.mean(auroc.per_run))
    assert auroc.sd == pytest.approx(np.std(auroc.per_run, ddof=1))
    assert found.pairs[0].decisions is None
    assert any("not other seeds" in sentence for sentence in found.conclusions)
    alone = compare(runs[:3])
    assert not alone.pairs
    assert "3 seeds of one system" in alone.conclusions[0]
    apart = compare(runs[:3], repeats=False)
    assert len(apart.pairs) == 2
    assert "corrected for 2 comparisons (Holm)" in apart.conclusions[-1]


def test_several_runs_are_corrected_by_holm(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    scores = [first, second, second + 0.5 * positive]
    runs = [
        write_predicted_run(tmp_path / f"r{i}", predictions(x, positive, cluster), recipe=f"r{i}")
        for i, x in enumerate(scores)
    ]
    pairs = compare(runs).pairs
    raw = [pair.differences["auroc"].p for pair in pairs]
    assert [pair.p for pair in pairs] == holm(raw)
    assert max(pair.p for pair in pairs) > min(raw)


def test_images_are_matched_by_content_not_by_name_or_order(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    contents = [f"{i:064x}" for i in range(len(positive))]
    mixed = np.random.default_rng(2).permutation(len(positive))
    here = predictions(first, positive, cluster)
    there = predictions(second[:, mixed], positive[mixed], cluster[mixed])
    plain = write_predicted_run(tmp_path / "b0", predictions(second, positive, cluster), contents)
    first_run = write_predicted_run(tmp_path / "a", here, contents, recipe="article")
    moved = write_predicted_run(tmp_path / "b", there, [contents[i] for i in mixed])
    a, b = compare([first_run, moved]), compare([first_run, plain])
    assert a.pairs[0].differences["auroc"] == b.pairs[0].differences["auroc"]
    assert a.pairs[0].decisions == b.pairs[0].decisions
    labels = [TWO[k] for k in positive.astype(int)]
    assert a.test_set == b.test_set == test_set_id(zip(contents, labels, strict=True))


def test_other_test_sets_are_refused_in_one_line(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    a = write_predicted_run(tmp_path / "a", predictions(first, positive, cluster), recipe="article")

    def refused(name: str, positive: BoolArray, cluster: IntArray, cut: int = 0) -> str:
        n = len(positive) - cut
        other = predictions(second[:, :n], positive[:n], cluster[:n])
        with pytest.raises(DataError) as caught:
            compare([a, write_predicted_run(tmp_path / name, other)])
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "of 200 and 198, 198 are shared" in refused("fewer", positive, cluster, cut=2)
    flipped = positive.copy()
    flipped[7] ^= True
    assert "the class of test/7.png is" in refused("label", flipped, cluster)
    assert "the patient of test/0.png is 'p0'" in refused("patient", positive, cluster + 1)
    with pytest.raises(DataError, match="two runs or more"):
        compare([a])
    with pytest.raises(DataError, match="the same classifier"):
        compare([a, a])
    with pytest.raises(ConfigError, match="Received: 'train'"):
        compare([a, a], split="train")


def test_validation_is_compared_only_when_asked_for(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    runs = [
        write_predicted_run(tmp_path / name, predictions(x, positive, cluster, "val"), recipe=name)
        for name, x in (("a", first), ("b", second))
    ]
    with pytest.raises(DataError, match="no test images"):
        compare(runs)
    assert "choices were based on" in compare(runs, split="val").warnings[0]


def test_damaged_runs_are_one_line(tmp_path: Path, scene: Any) -> None:
    positive, first, second, cluster = scene
    found = [predictions(x, positive, cluster) for x in (first, second)]
    a, b = (write_predicted_run(tmp_path / name, x) for name, x in zip("ab", found, strict=True))
    (b / "plan.json").write_text("[]")
    with pytest.raises(RunError, match=r"plan\.json cannot be read as a plan"):
        compare([a, b])
    (b / "plan.json").unlink()
    assert len(compare([a, b]).systems) == 2  # of which nothing is known
    write_plan(b)
    (b / "predictions.csv").write_text("x,y\n")
    with pytest.raises(RunError, match="Cannot read"):
        compare([a, b])


def test_three_classes_use_the_mean_over_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    classes = ("NORMAL", "bacteria", "virus")
    labels = rng.integers(3, size=150)
    runs, areas = [], []
    for name, skill in (("weak", 0.3), ("strong", 3.0)):
        raw = np.exp(rng.normal(size=(150, 3)) + skill * np.eye(3)[labels])
        given = raw / raw.sum(axis=1, keepdims=True)
        areas.append(metrics.macro_auroc(labels, given))
        files = tuple(f"{i}.png" for i in range(150))
        found = Predictions(
            "test", classes, files, ("",) * 150, labels, given.argmax(axis=1), given
        )
        runs.append(write_predicted_run(tmp_path / name, found, recipe=name))
    found_all = compare(runs)
    (pair,) = found_all.pairs
    assert pair.differences["auroc"].value == pytest.approx(areas[1] - areas[0])
    assert pair.differences["auroc"].method == "paired bootstrap"
    assert found_all.conclusions[0].startswith("strong is better than weak: AUROC higher by")
    assert found_all.groups is None
    assert "patients are unknown" in found_all.warnings[0]


def test_p_values_are_rounded() -> None:
    texts = {0.0001: "p < 0.001", 0.0082: "p = 0.008", 0.034: "p = 0.03", 0.36: "p = 0.36"}
    assert {p: p_text(p) for p in texts} == texts
    assert p_text(1.0) == "p = 1"
    assert p_text(math.nan) == "p unknown"


def test_a_difference_without_interval_is_no_conclusion() -> None:
    positive = np.array([True, True, False, False])
    perfect = np.array([[0.9, 0.8, 0.2, 0.1]])
    lonely = auroc_difference(positive, perfect, perfect[:, ::-1], np.array([0, 0, 1, 1]))
    assert conclusion("a", "b", "auroc", lonely, lonely.p).startswith("No conclusion on b")
