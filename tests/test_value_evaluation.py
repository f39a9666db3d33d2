"""The evaluation of predicted numbers: its figures, its document, and what it leaves alone."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lucency import metrics
from lucency.evaluation import (
    Evaluation,
    Predictions,
    cross_validation,
    evaluate_arrays,
    evaluate_predictions,
)
from lucency.evaluation.selective import COVERAGE
from lucency.evaluation.values import error_coverage
from lucency.verify.values import figures
from small_values import RULE, classifier_of, draw_values, fitted, write_value_run


@pytest.fixture(scope="module")
def found() -> Predictions:
    return draw_values(0)


@pytest.fixture(scope="module")
def evaluation(found: Predictions) -> Evaluation:
    return evaluate_predictions(classifier_of(fitted(tolerance=22.5)), found)


def numbers(found: Predictions) -> tuple[np.ndarray, np.ndarray]:
    assert found.values is not None
    assert found.predicted is not None
    return found.values, found.predicted


def test_figures_stand_beside_the_mean_of_the_training_numbers(
    found: Predictions, evaluation: Evaluation
) -> None:
    true, predicted = numbers(found)
    estimate = evaluation.metrics["mean_absolute_error"]
    assert estimate.value == pytest.approx(abs(true - predicted).mean())
    assert (
        estimate.low < estimate.value < estimate.high < evaluation.baseline["mean_absolute_error"]
    )
    assert evaluation.baseline["value"] == RULE.mean
    assert evaluation.baseline["mean_absolute_error"] == pytest.approx(abs(true - 48).mean())
    assert evaluation.baseline["r2"] <= 0
    assert (evaluation.n, evaluation.groups) == (120, 60)
    assert evaluation.operating_point["rule"] == "the mean of the predicted distribution"


def test_intervals_are_measured_on_patients_and_by_thirds(
    found: Predictions, evaluation: Evaluation
) -> None:
    true, _ = numbers(found)
    rule = fitted(tolerance=22.5)
    ends = rule.intervals(found.probabilities)
    assert ends is not None
    covered = (ends[:, 0] <= true) & (true <= ends[:, 1])
    measured = evaluation.metrics["interval_coverage"]
    assert measured.value == pytest.approx(covered.mean())  # two images of each patient
    assert measured.method == "Clopper-Pearson over patients"
    assert evaluation.metrics["interval_width"].value == pytest.approx(np.diff(ends).mean())
    assert evaluation.values is not None
    thirds = evaluation.values["thirds"]
    assert [row["n"] for row in thirds] == [40, 40, 40]
    assert thirds[0]["high"] <= thirds[1]["low"]
    parts = [row["n"] * row["metrics"]["mean_absolute_error"].value for row in thirds]
    assert sum(parts) / 120 == pytest.approx(evaluation.metrics["mean_absolute_error"].value)


def test_quantiles_are_compared_with_the_share_of_numbers_below(
    found: Predictions, evaluation: Evaluation
) -> None:
    true, _ = numbers(found)
    assert evaluation.values is not None
    for row in evaluation.values["quantiles"]:
        quantile = RULE.quantiles(found.probabilities, [row["level"]])[:, 0]
        assert row["below"].value == pytest.approx((true <= quantile).mean())
    shares = [row["below"].value for row in evaluation.values["quantiles"]]
    assert shares == sorted(shares)


def test_no_answer_where_the_interval_is_wider_than_the_tolerance(
    found: Predictions, evaluation: Evaluation
) -> None:
    rule = fitted(tolerance=22.5)
    ends = rule.intervals(found.probabilities)
    assert ends is not None
    assert found.ood_scores is not None
    wide, outside = np.diff(ends)[:, 0] > 22.5, found.ood_scores > 1
    counted = evaluation.selective["abstention"]
    assert counted["n"] == 120
    assert counted["out_of_distribution"] == outside.sum() == 3
    assert counted["ambiguous"] == (wide & ~outside).sum() > 5
    assert counted["predicted"] == (~wide & ~outside).sum()
    error = counted["metrics"]["mean_absolute_error"].value
    assert error < evaluation.metrics["mean_absolute_error"].value
    none = evaluate_predictions(classifier_of(replace(RULE, offset=None, tolerance=1.0)), found)
    assert none.selective["abstention"]["predicted"] == 0
    assert math.isnan(none.selective["abstention"]["metrics"]["mean_absolute_error"].value)
    assert math.isnan(none.metrics["interval_coverage"].value)


def test_the_error_of_the_narrowest_intervals_by_hand() -> None:
    errors, widths = np.array([1.0, 2.0, 6.0, 3.0]), np.array([1.0, 2.0, 3.0, 2.0])
    weights = metrics.bootstrap_weights(np.arange(4), 50)
    curve = error_coverage(errors, widths, weights)
    risk = dict(zip(np.round(COVERAGE, 2).tolist(), curve["risk"], strict=True))
    assert risk[0.25] == 1
    assert risk[0.5] == pytest.approx((1 + 2.5) / 2)  # two are equally wide
    assert risk[0.75] == pytest.approx(2)
    assert risk[1.0] == 3
    assert curve["low"][-1] < 3 < curve["high"][-1]


def test_groups_of_images_are_evaluated_by_themselves(found: Predictions) -> None:
    site = ["a" if i < 50 else "b" for i in range(120)]
    whole = evaluate_predictions(classifier_of(), found, attributes={"site": site})
    true, predicted = numbers(found)
    row = whole.subgroups[0]
    assert (row["attribute"], row["value"], row["n"], row["groups"]) == ("site", "a", 50, 25)
    error = abs(true - predicted)[:50].mean()
    assert row["metrics"]["mean_absolute_error"].value == pytest.approx(error)


def test_the_document_is_strict_json_and_verify_computes_it_again(
    tmp_path: Path, found: Predictions
) -> None:
    run = write_value_run(tmp_path / "run", found, fitted())
    document = json.loads((run / "evaluation.json").read_text(), parse_constant=pytest.fail)
    values = document["test"]["values"]
    assert values["name"] == "age"
    assert len(values["points"]["true"]) == 120
    assert document["test"]["metrics"]["r2"]["value"] > 0.8
    assert "values computed again" in figures(run)


def test_a_large_split_keeps_500_points_from_end_to_end() -> None:
    large = draw_values(0, patients=700)
    document = evaluate_predictions(classifier_of(), large).to_json()
    points = document["values"]["points"]
    assert len(points["true"]) == len(points["predicted"]) == 500
    assert large.values is not None
    assert (points["true"][0], points["true"][-1]) == (large.values.min(), large.values.max())


def test_equal_numbers_have_no_r2() -> None:
    found = draw_values(0, patients=10)
    same = replace(found, values=np.full(20, 55.0))
    document = evaluate_predictions(classifier_of(), same).to_json()
    assert document["metrics"]["r2"] == {
        "value": None, "low": None, "high": None, "method": "undefined"
    }  # fmt: skip
    assert document["baseline"]["r2"] is None
    assert [row["n"] for row in document["values"]["thirds"]] == [20]


def test_every_fold_has_its_figures(found: Predictions, evaluation: Evaluation) -> None:
    held_out = [str(i // 2 % 4) for i in range(120)]
    folds = cross_validation(evaluation, found, held_out, "site")
    assert [fold.n for fold in folds.folds] == [30] * 4
    true, predicted = numbers(found)
    first = np.array(held_out) == "0"
    error = abs(true - predicted)[first].mean()
    assert folds.folds[0].metrics["mean_absolute_error"].value == pytest.approx(error)
    assert list(folds.spread) == ["mean_absolute_error", "root_mean_squared_error", "r2"]
    assert folds.next is not None
    assert folds.next["mean_absolute_error"]["low"] >= 0
    assert json.dumps(folds.to_json(), allow_nan=False)


def test_other_tasks_have_no_key_for_numbers() -> None:
    document = evaluate_arrays(
        np.array([0, 1, 1, 0]), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]), None,
        classes=("a", "b"), positive="b", threshold=0.5,
    ).to_json()  # fmt: skip
    assert "values" not in document
    assert {"grades", "labels"} <= document.keys()
