"""Grades, the classes with an order: the task, its model, its figures and a whole run."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import small_network as small
from benchmarks.trust.grade_coverage import Setting, covered
from PIL import Image
from scipy import special, stats
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from conftest import Heard, call_lucency
from lucency import metrics
from lucency.calibration import scaling
from lucency.calibration.conformal import Conformal, fit
from lucency.classifier import Classifier, Prediction, Spec
from lucency.classifier.prediction import at_cut, predicted
from lucency.comparison import compare
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.dataset.batches import training_batches
from lucency.dataset.survey import survey
from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.evaluation import Predictions, evaluate_predictions
from lucency.export.description import _decision as described
from lucency.metrics import FloatArray, IntArray, influences
from lucency.task import CLASSES, check_grades, counts_up, in_order, task_of
from lucency.training.linear_head import Examples, cross_fit, fit_head, mean_head
from lucency.training.ordinal import ordinal_heads, scales
from lucency.training.plan import make_plan
from small_runs import spec_of, write_predicted_run
from test_shards import needs_jax

GRADES = ("none", "mild", "moderate", "severe")  # in another order than by name
ORDER = ",".join(GRADES)
ORDINAL = task_of("ordinal")
SMALL: dict[str, Any] = {
    "effort": "quick", "size": 16, "epochs": 2, "batch": 16, "folds": 0, "order": ORDER,
    "precision": "float32", "start": "scratch",
}  # fmt: skip


def draw_grades(folder: Path, each: int = 24, grades: tuple[str, ...] = GRADES) -> Path:
    """Draw noise with a spot that is the brighter, the higher the grade; two images a patient."""
    y, x = np.mgrid[:40, :40] / 40
    for k, name in enumerate(grades):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            random = np.random.default_rng([k, i])
            a, b = random.uniform(0.35, 0.65, 2)
            spot = np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.02)
            grey = 60 + 45 * k * spot + random.normal(0, 12, (40, 40))
            image = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
            image.save(folder / name / f"patient{k}{i // 2:03d}_{i % 2}.png")
    return folder


def has_one_score(kernel: Any, rtol: float = 1e-5) -> bool:
    """Return whether a kernel (d, grades) is one score times the scale of each grade."""
    of = scales(kernel.shape[1])
    score = kernel @ of / (of @ of)
    error = np.abs(kernel - np.outer(score, of)).max()
    return bool(np.abs(score).max() > 0 and error <= rtol * np.abs(kernel).max())


# -- the task --------------------------------------------------------------------------------------


def test_the_decision_is_the_median_grade() -> None:
    p = np.array([
        [0.5, 0.1, 0.1, 0.3], [0.49, 0.0, 0.02, 0.49], [0.4, 0.05, 0.05, 0.5], [0, 0, 0, 1.0],
    ])  # fmt: skip
    assert ORDINAL.decide(p, None, None).tolist() == [0, 2, 2, 3]
    assert CLASSES.decide(p, None, None).tolist() == [0, 0, 3, 3]


def test_no_decision_has_a_smaller_expected_error() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(5), 500)
    grades = np.arange(5)
    expected = p @ abs(grades[:, None] - grades)
    chosen = expected[np.arange(500), ORDINAL.decide(p, None, None)]
    np.testing.assert_allclose(chosen, expected.min(axis=1), atol=1e-12)


@pytest.mark.parametrize(
    ("inside", "decision", "clear"),
    [
        ("0100", 1, True), ("0110", 1, True), ("0110", 2, True), ("0110", 3, False),
        ("1110", 1, False), ("0010", 1, False), ("0000", 1, False), ("1111", 2, False),
    ],
)  # fmt: skip
def test_at_most_two_neighbours_are_clear(inside: str, decision: int, *, clear: bool) -> None:
    sets = np.array([[each == "1" for each in inside]])
    assert ORDINAL.is_clear(sets, np.array([decision])).tolist() == [clear]
    assert CLASSES.is_clear(sets, np.array([decision])).tolist() == [inside == "0100"]


def test_maps_show_evidence_for_the_highest_grade() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    assert ORDINAL.evidence_class(p).tolist() == [2, 2]
    assert ORDINAL.evidence_side(p).tolist() == [0, 2]
    assert CLASSES.evidence_class(p).tolist() == CLASSES.evidence_side(p).tolist() == [0, 1]


def test_an_order_names_each_class_once() -> None:
    assert in_order(("mild", "none", "severe"), "") == ("mild", "none", "severe")
    assert in_order(("mild", "none", "severe"), "none, mild ,severe") == ("none", "mild", "severe")
    for wrong in ("none,mild", "none,mild,severe,dead", "none,mild,mild,severe"):
        with pytest.raises(DataError, match="--order must name each class once, lowest first"):
            in_order(("mild", "none", "severe"), wrong)


@pytest.mark.parametrize(
    ("classes", "counts"),
    [
        (("0", "1", "2"), True), (("grade1", "grade2", "grade3"), True), (("1", "2"), False),
        (("0", "1", "3"), False), (("a1", "b2", "c3"), False), (("a", "b", "c"), False),
        (("9", "10", "11"), True),
    ],
)  # fmt: skip
def test_classes_that_count_are_recognised(classes: tuple[str, ...], *, counts: bool) -> None:
    assert counts_up(classes) == counts


def test_tasks_have_names() -> None:
    assert task_of("classification") is CLASSES
    with pytest.raises(ConfigError, match="task must be one of classification, ordinal"):
        task_of("segmentation")
    check_grades(("a", "b", "c"))
    with pytest.raises(ConfigError, match="need 3 classes or more"):
        check_grades(("a", "b"))


# -- the model -------------------------------------------------------------------------------------


def planted(n: int, seed: int = 0) -> tuple[FloatArray, IntArray, FloatArray, FloatArray]:
    """Draw features and grades of the adjacent-categories model; return its score and bias too."""
    random = np.random.default_rng(seed)
    x, score, bias = random.normal(size=(n, 3)), np.array([1.0, -0.5, 0.0]), np.array([0, 1, 0.5])
    p = special.softmax(np.outer(x @ score, scales(3)) + bias, axis=1)
    labels = (random.random((n, 1)) > np.cumsum(p, axis=1)).sum(axis=1)
    return x, labels, score, bias - bias.mean()


def test_the_planted_model_is_found() -> None:
    x, labels, score, bias = planted(20_000)
    ((kernel, found),) = ordinal_heads(x, labels, np.ones(len(x)), [1e6], 3)
    assert has_one_score(kernel)
    # Standard errors are about 0.015.
    np.testing.assert_allclose(kernel[:, 2], score, atol=0.06)
    np.testing.assert_allclose(found, bias, atol=0.06)


def test_the_minimum_is_that_of_another_optimiser() -> None:
    """The log odds of each grade against the one below, written out; minimised by a simplex."""
    from scipy import optimize

    x, labels, _, _ = planted(60)
    x, weights = x[:, :1], np.linspace(0.5, 2, 60)

    def loss(values: FloatArray) -> float:
        slope, *steps = values
        odds = slope * x + np.array(steps)  # grade k+1 against k
        logits = np.concatenate([np.zeros((60, 1)), np.cumsum(odds, axis=1)], axis=1)
        own = special.log_softmax(logits, axis=1)[np.arange(60), labels]
        return float(-(weights * own).sum() + 2 * slope**2 / 0.3 / 2)  # 2: the squared scales

    exact = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 10_000}
    best = optimize.minimize(loss, np.zeros(3), method="Nelder-Mead", options=exact).x
    ((kernel, bias),) = ordinal_heads(x, labels, weights, [0.3], 3)
    assert kernel[0, 2] == pytest.approx(best[0], abs=1e-4)
    assert np.diff(bias) == pytest.approx(best[1:], abs=1e-4)


def test_two_grades_are_a_logistic_regression() -> None:
    random = np.random.default_rng(1)
    x, labels = random.normal(size=(80, 4)), random.integers(2, size=80)
    weights = random.uniform(0.5, 2, 80)
    for strength, (kernel, bias) in zip(
        (0.01, 1.0), ordinal_heads(x, labels, weights, (0.01, 1.0), 2), strict=True
    ):
        # The same difference of the logits, of which each grade has a half: half the penalty.
        model = LogisticRegression(C=2 * strength, tol=1e-10, max_iter=1000)
        model.fit(x, labels, sample_weight=weights)
        np.testing.assert_allclose(kernel[:, 1] - kernel[:, 0], model.coef_[0], atol=1e-4)
        assert bias[1] - bias[0] == pytest.approx(model.intercept_[0], abs=1e-4)


def test_a_grade_without_an_image_has_a_column() -> None:
    x, labels, _, _ = planted(200)
    ((kernel, bias),) = ordinal_heads(x, np.minimum(labels, 1), np.ones(200), [0.1], 3)
    assert (kernel.shape, bias.shape) == ((3, 3), (3,))
    assert special.softmax(x @ kernel + bias, axis=1)[:, 2].max() < 0.01


def graded_examples(n: int = 240, d: int = 40, ordinal: bool = True) -> Examples:
    """Return two noisy views of features, the first of which grows with the grade."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 4
    features = random.normal(size=(n, d)).astype(np.float32)
    features[:, 0] += labels
    noise = random.normal(size=(2, n, d)).astype(np.float32) / 10
    return Examples(features + noise, labels, np.ones(4), ordinal)


def test_heads_of_features_have_one_score() -> None:
    known = graded_examples()
    heads, logits = cross_fit(known, np.arange(240) // 2 % 5)
    whole = fit_head(known, [str(i // 2) for i in range(240)], seed=0)
    for head in (*heads, whole, mean_head(heads)):
        assert has_one_score(head.kernel)
    free, _ = cross_fit(known._replace(ordinal=False), np.arange(240) // 2 % 5)
    assert not has_one_score(mean_head(free).kernel)
    decided = ORDINAL.decide(scaling.probabilities(logits[0]), None, None)
    assert reference.cohen_kappa_score(known.labels, decided, weights="quadratic") > 0.6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(draw_grades(tmp_path_factory.mktemp("graded") / "g"), Config(**SMALL))


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision",
    ["float32", "mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.backend)],
)
def test_every_step_ends_with_one_score(data: Dataset, precision: str) -> None:
    """Also with accumulated gradients."""
    from lucency.training.step import Stepper
    from lucency.training.trainer import build_network

    with small.small_network():
        plan = make_plan(data.train, Config(**SMALL | {"precision": precision}))
        network = build_network(plan, 4)
    kernel = network.get_layer("logits").kernel
    assert not has_one_score(np.array(kernel))
    stepper = Stepper(network, plan, 4)
    batches = training_batches(data.train, plan.batch, plan.augmentation, 0, 0)
    for batch in (next(batches), next(batches)):
        before = np.array(kernel)
        stepper.train(batch, 1e-2)
        assert has_one_score(np.array(kernel))
        assert not np.array_equal(before, np.array(kernel))
        if stepper.micro == plan.batch:
            stepper.shrink()


@needs_jax
@pytest.mark.slow
@pytest.mark.backend
@pytest.mark.filterwarnings("ignore:The structure of:UserWarning")
def test_shards_end_with_one_score(data: Dataset) -> None:
    from lucency.training.train import train

    with small.small_network():
        found = train(data.train, data.val, Config(**SMALL | {"shards": 2}))
    assert has_one_score(found.weights["logits/kernel"])


def test_the_images_must_be_in_the_order_of_the_grades(data: Dataset) -> None:
    assert data.classes == GRADES
    assert make_plan(data.train, Config(**SMALL)).task == "ordinal"
    other = Config(**SMALL | {"order": ",".join(GRADES[::-1])})
    with pytest.raises(ConfigError, match="loaded in another order of the classes: none, mild"):
        make_plan(data.train, other)


def test_the_time_that_is_measured_is_of_the_same_order(data: Dataset) -> None:
    assert survey(data.root, Config(**SMALL)).classes == GRADES


# -- figures ---------------------------------------------------------------------------------------


def decided(n: int, seed: int = 0, grades: int = 5) -> tuple[IntArray, IntArray]:
    random = np.random.default_rng(seed)
    labels = random.integers(grades, size=n)
    return labels, np.clip(labels + random.integers(-2, 3, n), 0, grades - 1)


@pytest.mark.parametrize("grades", [3, 5])
def test_kappa_is_that_of_scikit_learn(grades: int) -> None:
    for seed in range(5):
        labels, decisions = decided(50, seed, grades)
        expected = reference.cohen_kappa_score(labels, decisions, weights="quadratic")
        table = metrics.confusion_matrix(labels, decisions, grades)
        assert float(metrics.quadratic_kappa(table)) == pytest.approx(expected)
        assert influences.of_quadratic_kappa(labels, decisions).value == pytest.approx(expected)
        error = float(metrics.mean_absolute_error(table))
        assert error == pytest.approx(reference.mean_absolute_error(labels, decisions))


def test_kappa_of_one_grade_is_undefined() -> None:
    same = np.full(20, 2)
    assert np.isnan(metrics.quadratic_kappa(metrics.confusion_matrix(same, same, 4)))
    assert np.isnan(influences.of_quadratic_kappa(same, same).value)


def test_the_influence_on_kappa_is_its_derivative() -> None:
    labels, decisions = decided(40)

    def kappa(weights: FloatArray) -> float:
        return float(
            metrics.quadratic_kappa(metrics.confusion_matrix(labels, decisions, 5, weights))
        )

    steps = 1e-5 * np.eye(40)
    expected = [(kappa(1 + step) - kappa(1 - step)) / 2e-5 for step in steps]
    found = influences.of_quadratic_kappa(labels, decisions).influence
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_the_interval_of_kappa_is_that_of_the_jackknife() -> None:
    labels, decisions = decided(400)
    found = influences.of_quadratic_kappa(labels, decisions)
    without = [
        influences.of_quadratic_kappa(np.delete(labels, i), np.delete(decisions, i)).value
        for i in range(400)
    ]
    jackknife = np.sqrt(399 * np.var(without))
    assert np.sqrt((found.influence**2).sum()) == pytest.approx(jackknife, rel=0.02)


def test_intervals_contain_the_true_value() -> None:
    """``python -m benchmarks grade_coverage`` does the same with 2,000 test sets of more kinds."""
    for inside in covered(Setting(5, 200, 2, 0.8), 400, many=100_000).values():
        # An interval of 93 to 97 % is outside of this for one seed in 100,000.
        assert stats.binom.ppf(5e-6, 400, 0.93) <= inside <= stats.binom.isf(5e-6, 400, 0.97)


def graded_spec(**changed: Any) -> Spec:
    cut = {"from": "moderate", "threshold": 0.4, "rule": "r", "validation": None}
    spec = dataclasses.replace(
        spec_of(GRADES), task="ordinal", cut=cut, class_prior=(0.4, 0.3, 0.2, 0.1)
    )
    return dataclasses.replace(spec, **changed)


def graded_predictions(n: int = 200, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    labels = random.integers(4, size=n)
    logits = np.outer(labels - 1.5 + random.normal(size=n), scales(4))
    p = special.softmax(logits + np.array([0, 0.5, 0.5, 0]), axis=1)
    return Predictions(
        split="test", classes=GRADES, files=tuple(f"{i}.png" for i in range(n)),
        groups=tuple(f"p{i // 2}" for i in range(n)), labels=labels,
        decisions=ORDINAL.decide(p, None, None), probabilities=p,
    )  # fmt: skip


def test_the_evaluation_has_the_figures_of_grades_and_of_the_cut() -> None:
    found = graded_predictions()
    classifier = Classifier(graded_spec(), {})
    evaluation = evaluate_predictions(classifier, found, prevalence=0.1)
    kappa = reference.cohen_kappa_score(found.labels, found.decisions, weights="quadratic")
    assert evaluation.metrics["quadratic_kappa"].value == pytest.approx(kappa)
    apart = abs(found.labels - found.decisions)
    assert evaluation.metrics["mean_absolute_error"].value == pytest.approx(apart.mean())
    assert evaluation.metrics["within_one"].value == pytest.approx((apart <= 1).mean())
    assert evaluation.grades is not None
    assert [each["from"] for each in evaluation.grades["cuts"]] == [*GRADES[1:]]
    at_cut, higher = evaluation.grades["positive"], found.probabilities[:, 2:].sum(axis=1)
    positive = found.labels >= 2
    area = reference.roc_auc_score(positive, higher)
    assert evaluation.grades["cuts"][1]["metrics"]["auroc"].value == pytest.approx(area)
    assert at_cut.metrics["auroc"].value == pytest.approx(area)
    assert at_cut.metrics["sensitivity"].value == pytest.approx((higher >= 0.4)[positive].mean())
    assert at_cut.positive == "moderate or higher"
    json.dumps(evaluation.to_json(), allow_nan=False)
    plain = Classifier(graded_spec(task="classification", cut=None), {})
    assert evaluate_predictions(plain, found).grades is None


# -- prediction sets and predictions ---------------------------------------------------------------


def test_sets_of_grades_have_no_gaps_and_their_coverage() -> None:
    random = np.random.default_rng(0)
    short, sizes = [], []
    for _ in range(200):
        labels = random.integers(4, size=400)
        logits = random.normal(size=(400, 4)) * 1.5
        logits[np.arange(400), labels] += 1.5
        p = special.softmax(logits, axis=1)
        sets = fit(p[:200], labels[:200], alphas=(0.1,), runs=True)
        assert Conformal.from_json(json.loads(json.dumps(sets.to_json())), 4) == sets
        for each in sets.thresholds:
            inside, free = each.sets(p[200:]), dataclasses.replace(each, runs=False).sets(p[200:])
            steps = np.diff(inside.astype(int), axis=1, prepend=0, append=0)
            assert ((steps == 1).sum(axis=1) <= 1).all()
            assert (free <= inside).all()
            filled = inside & ~free  # only grades between two of the set
            assert not (filled[:, 0] | filled[:, -1]).any()
            assert (free.any(axis=1) == inside.any(axis=1)).all()
            short.append(inside[np.arange(200), labels[200:]].mean())
            sizes.append((inside.sum(), free.sum()))
    assert np.mean(short) >= 0.9 - 0.01
    assert any(inside > free for inside, free in sizes)


def predict(row: list[float], in_set: str, ood_score: float = 0.5) -> Prediction:
    p, inside = np.array(row), np.array([each == "1" for each in in_set])
    decision = int(ORDINAL.decide(p[None], None, None)[0])
    found = predicted("a.png", GRADES, p, decision, inside, ood_score, ORDINAL)
    return dataclasses.replace(found, cut=at_cut(graded_spec().cut, GRADES, found))


@pytest.mark.parametrize(
    ("in_set", "reason"),
    [
        ("0100", ""), ("0110", ""), ("1100", ""),
        ("1110", "ambiguous: none to moderate"),
        ("0011", "ambiguous: moderate to severe"),
        ("0010", "ambiguous: mild by the median, moderate by validation"),
        ("0000", "ambiguous: no class fits well"),
    ],
)  # fmt: skip
def test_it_abstains_where_more_than_two_neighbours_remain(in_set: str, reason: str) -> None:
    found = predict([0.3, 0.3, 0.3, 0.1], in_set)
    assert (found.decision, found.reason) == ("" if reason else "mild", reason)
    assert found.cut is not None
    assert found.cut["from"] == "moderate"
    assert found.cut["probability"] == pytest.approx(0.4)
    assert found.cut["positive"] == (None if reason else True)


def test_outside_of_the_distribution_nothing_is_positive() -> None:
    found = predict([0.0, 0.1, 0.2, 0.7], "0011", ood_score=2.0)
    assert found.decision == ""
    assert found.cut is not None
    assert found.cut["positive"] is None


def test_a_cut_is_one_of_the_grades_above_the_lowest() -> None:
    document = graded_spec().to_json()
    assert Spec.from_json(document).cut == graded_spec().cut
    wrong: list[dict[str, Any]] = [
        {"cut": {**document["cut"], "from": "none"}}, {"cut": {**document["cut"], "from": "x"}},
        {"cut": {**document["cut"], "threshold": 2}}, {"cut": {"from": "mild"}}, {"cut": "mild"},
        {"task": "classification"}, {"task": "regression"}, {"task": 3},
    ]  # fmt: skip
    for change in wrong:
        with pytest.raises(ClassifierError, match=r"classifier\.json"):
            Spec.from_json({**document, **change})


def test_an_export_says_from_which_grade_on_an_image_is_positive() -> None:
    found = described(graded_spec())
    assert found.startswith("the median grade: ")
    assert found.endswith(
        "; positive if moderate and the grades above it together have a probability of at least "
        "0.4 (r)"
    )
    assert described(graded_spec(cut=None)) == ORDINAL.decision


# -- a comparison ----------------------------------------------------------------------------------


def test_grades_and_classes_are_compared_in_the_order_of_the_grades(tmp_path: Path) -> None:
    found = graded_predictions()
    order = np.argsort(GRADES)  # by name
    places = np.argsort(order)
    p = graded_predictions(seed=1).probabilities[:, order]
    by_name = dataclasses.replace(
        found, classes=tuple(np.array(GRADES)[order]), labels=places[found.labels],
        decisions=p.argmax(axis=1), probabilities=p,
    )  # fmt: skip
    contents = [f"{i:064x}" for i in range(200)]
    write_predicted_run(tmp_path / "classes", by_name, contents, task="classification")
    graded = write_predicted_run(tmp_path / "grades", found, contents, task="ordinal")
    document = json.loads((graded / "classifier.json").read_text())
    (graded / "classifier.json").write_text(json.dumps({**document, "task": "ordinal"}))
    for runs in (("classes", "grades"), ("grades", "classes")):
        compared = compare([tmp_path / name for name in runs])
        assert compared.classes == GRADES
        kappa = {each.runs[0]: each.metrics["quadratic_kappa"] for each in compared.systems}
        for name, decisions in (("grades", found.decisions), ("classes", order[p.argmax(axis=1)])):
            expected = reference.cohen_kappa_score(found.labels, decisions, weights="quadratic")
            assert kappa[name].estimate.value == pytest.approx(expected), name


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--order", "none,mild,moderate"), "--order must name each class once, lowest first"),
        (("--order", ORDER, "--positive-from", "none"), "one of the grades above the lowest: mild"),
        (("--order", ORDER, "--positive-from", "worst"), "Received: 'worst'"),
        (("--order", ORDER, "--operating-point", "youden"), "--operating-point needs a grade"),
        (("--order", ORDER, "--prevalence", "0.1"), "--prevalence needs a grade"),
        (("--order", ORDER, "--recipe", "article"), "--task ordinal needs --recipe default"),
        (("--order", ORDER, "--positive", "severe"), "use --positive-from"),
        (("--order", ORDER, "--task", "classification"), "leave out --task classification"),
        (("--positive-from", "mild"), "add --task ordinal"),
        (("--task", "ordinl"), "Did you mean 'ordinal'"),
    ],
)
def test_one_line_says_what_is_wrong(
    data: Dataset, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = call_lucency("train", data.root, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not [each for each in tmp_path.rglob("*") if each.name != "runs"]


def test_two_classes_are_no_grades(tmp_path: Path) -> None:
    draw_grades(tmp_path / "two", 20, GRADES[:2])
    done = call_lucency("train", "two", "--task", "ordinal", cwd=tmp_path)
    assert done.returncode == 2
    assert "need 3 classes or more. Received: mild, none." in done.stderr


# -- whole runs ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_class_folders_to_predictions(tmp_path: Path) -> None:
    folder = draw_grades(tmp_path / "graded", 60)
    settings = ("--effort", "quick", "--start", "scratch", "--folds", 0, "--set", "size=16",
                "--set", "epochs=10", "--set", "batch=8", "--set", "learning_rate=0.01",
                "--cache", tmp_path / "cache")  # fmt: skip
    run = tmp_path / "run"
    with small.small_network():
        done = call_lucency(
            "train", folder, "--order", ORDER, "--positive-from", "moderate", "--operating-point",
            "sensitivity>=0.9", "--run", run, *settings,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Quadratic weighted kappa" in done.stdout
        assert "\nmoderate or higher, from a probability of 0." in done.stdout
        classes = tmp_path / "classes"
        done = call_lucency("train", folder, "--run", classes, *settings)
        assert done.returncode == 0, done.stderr
    classifier = Classifier.load(run)
    assert classifier.classes == GRADES
    assert has_one_score(classifier.weights["logits/kernel"])
    assert not has_one_score(Classifier.load(classes).weights["logits/kernel"])
    test = json.loads((run / "evaluation.json").read_text())["test"]
    assert test["metrics"]["quadratic_kappa"]["value"] > 0.5
    report = (run / "report.html").read_text()
    for words in (
        "Quadratic weighted kappa", "Within one grade", "ordinal, 4 grades", "The other grades",
        "moderate or higher</bdi> at the threshold or above", "the highest grade",
    ):  # fmt: skip
        assert words in report, words
    assert "4 grades, the lowest first: none, mild" in (run / "model_card.md").read_text()
    assert call_lucency("verify", run).returncode == 0
    files = sorted(folder.rglob("*.png"))[::40]
    rows = json.loads(call_lucency("predict", run, *files, "--json").stdout)
    table = csv.DictReader(io.StringIO(call_lucency("predict", run, *files, "--csv").stdout))
    for document, row in zip(rows, table, strict=True):
        p = np.array([document["probabilities"][name] for name in GRADES])
        assert document["cut"]["probability"] == pytest.approx(p[2:].sum())
        side = p[2:].sum() >= classifier.spec.cut["threshold"] if classifier.spec.cut else None
        assert document["cut"]["positive"] == (side if document["decision"] else None)
        if document["decision"]:
            assert document["decision"] == GRADES[int(ORDINAL.decide(p[None], None, None)[0])]
        assert row["positive"] == ("" if document["cut"]["positive"] is None else str(side).lower())
        assert float(row["positive_probability"]) == document["cut"]["probability"]
    done = call_lucency("evaluate", run, "--operating-point", "specificity>=0.9", "--json")
    assert done.returncode == 0, done.stderr
    done = call_lucency("evaluate", classes, "--operating-point", "youden")
    assert "--positive-from" in done.stderr
    done = call_lucency("compare", run, classes, "--json")
    assert done.returncode == 0, done.stderr
    assert "quadratic_kappa" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_joined_folds_and_starts_have_one_score(tmp_path: Path) -> None:
    """The kernel is that of two networks from scratch and one whose last stage was fine-tuned."""
    from lucency.pipeline.train import run_training
    from lucency.verify import verify

    config = Config(
        effort="quick", start="ensemble", size=16, epochs=2, fine_tune=True, folds=2, order=ORDER,
        cache=str(tmp_path / "cache"),
    )  # fmt: skip
    folder = draw_grades(tmp_path / "graded", 20)
    with small.small_network():
        done = run_training(folder, config, run=str(tmp_path / "run"), progress=Heard())
    classifier = Classifier.load(done.folder)
    assert classifier.spec.architecture == "ensemble"
    assert classifier.spec.parameters["members"] == 2
    assert has_one_score(classifier.weights["logits/kernel"])
    assert done.folds is not None
    assert set(done.folds.folds[0].metrics) == {
        "quadratic_kappa", "mean_absolute_error", "log_loss"
    }  # fmt: skip
    assert verify(done.folder).passed
