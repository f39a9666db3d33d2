"""Two classifiers of numbers on the same images: differences, conclusions, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import call_lucency
from lucency import metrics
from lucency.comparison import compare
from lucency.comparison.paired import Outputs, value_figures
from lucency.errors import DataError
from lucency.evaluation import Predictions
from small_runs import write_predicted_run
from small_values import RULE, draw_values, fitted, write_value_run

WIDE = replace(  # another run's bins
    RULE, edges=(0.0, 20.0, 35.0, 50.0, 70.0, 100.0), centres=(10.0, 27.5, 42.5, 60.0, 85.0)
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with large errors, and one with small errors and other bins."""
    folder = tmp_path_factory.mktemp("compared")
    poor = write_value_run(
        folder / "poor", draw_values(0, noise=12.0), fitted(noise=12.0), start="scratch"
    )
    return poor, write_value_run(folder / "good", draw_values(1, noise=5.0, rule=WIDE), WIDE)


def error_of(found: Predictions) -> float:
    assert found.values is not None
    assert found.predicted is not None
    return float(abs(found.predicted - found.values).mean())


def test_the_smaller_error_is_better_by_a_paired_interval(runs: tuple[Path, Path]) -> None:
    found = compare(runs)
    (pair,) = found.pairs
    difference = pair.differences["mean_absolute_error"]
    expected = error_of(draw_values(1, noise=5.0, rule=WIDE)) - error_of(draw_values(0, noise=12.0))
    assert difference.value == pytest.approx(expected)
    assert difference.low < expected < difference.high < 0
    assert difference.method == "paired patient bootstrap"
    assert pair.figure == "mean_absolute_error"
    assert pair.conclusions[0].startswith("good is better than poor: mean absolute error lower by ")
    assert pair.decisions is None
    assert list(pair.differences) == [
        "mean_absolute_error", "root_mean_squared_error", "r2", "concordance", "interval_coverage"
    ]  # fmt: skip
    assert pair.differences["r2"].low > 0
    assert (found.classes, found.groups, found.n) == ((), 60, 120)
    assert json.dumps(found.to_json(), allow_nan=False)


def test_the_order_of_runs_changes_the_sign_and_the_verdict(runs: tuple[Path, Path]) -> None:
    found = compare([runs[1], runs[0]]).pairs[0]
    assert found.differences["mean_absolute_error"].value > 0
    assert found.conclusions[0].startswith("poor is worse than good: mean absolute error higher")


def test_figures_are_those_of_the_evaluation(runs: tuple[Path, Path]) -> None:
    system = compare(runs).systems[0]
    document = json.loads((runs[0] / "evaluation.json").read_text())["test"]["metrics"]
    for name, figure in system.metrics.items():
        assert figure.estimate.value == pytest.approx(document[name]["value"])


def test_coverage_weighs_patients_equally_in_every_replicate() -> None:
    found = draw_values(0, patients=4, each=3)
    assert found.values is not None
    true, cluster = found.values[:7], np.array([0, 0, 0, 1, 2, 2, 2])
    ends = np.stack([true - 1, true + np.array([1.0, 1, -0.5, 1, -0.5, -0.5, 1])], axis=1)
    outputs = Outputs(found.labels[:7], found.probabilities[:7], true, ends)
    weights = np.concatenate([np.ones((1, 7)), [[2.0, 2, 2, 0, 1, 1, 1]]])
    shares = value_figures(true, outputs, cluster, weights)["interval_coverage"]
    assert shares == pytest.approx([(2 / 3 + 1 + 1 / 3) / 3, (2 * 2 / 3 + 1 / 3) / 3])
    covered = (ends[:, 0] <= true) & (true <= ends[:, 1])
    assert shares[0] == pytest.approx(metrics.coverage(covered, cluster).value)


def test_equal_errors_show_no_difference(tmp_path: Path) -> None:
    one = write_value_run(tmp_path / "one", draw_values(3), start="scratch")
    two = write_value_run(tmp_path / "two", draw_values(3))
    (pair,) = compare([one, two]).pairs
    assert pair.differences["mean_absolute_error"].p == 1
    assert "mean absolute error is the same" in pair.conclusions[0]


def test_seeds_are_one_system_with_the_spread_of_the_error(tmp_path: Path) -> None:
    runs = [
        write_value_run(tmp_path / f"seed-{k}", draw_values(k), seed=k, effort="quick")
        for k in (1, 2)
    ]
    found = compare(runs)
    assert not found.pairs
    assert "compare: mean absolute error " in found.conclusions[0]
    printed = call_lucency("compare", *runs)
    assert printed.returncode == 0, printed.stderr
    assert "Mean absolute error over 2 seeds: " in printed.stdout


def test_other_numbers_and_other_tasks_are_refused_in_one_line(
    tmp_path: Path, runs: tuple[Path, Path]
) -> None:
    found = draw_values(0)
    assert found.values is not None
    moved = replace(found, values=np.where(np.arange(120) == 5, 41.5, found.values))
    other = write_value_run(tmp_path / "other", moved)
    with pytest.raises(
        DataError, match=r"cannot be compared: the number of test/5\.png is"
    ) as raised:
        compare([runs[0], other])
    assert "41.5" in str(raised.value)
    assert "\n" not in str(raised.value)
    classes = replace(found, values=None, predicted=None)
    classified = write_predicted_run(
        tmp_path / "classes", classes, [f"{i:064x}" for i in range(120)]
    )
    for pair in ([runs[0], classified], [classified, runs[0]]):
        with pytest.raises(DataError, match="poor predicts a number, and classes does not"):
            compare(pair)


def test_the_terminal_shows_errors_with_three_digits(runs: tuple[Path, Path]) -> None:
    printed = call_lucency("compare", *runs)
    assert printed.returncode == 0, printed.stderr
    for name in ("Mean absolute error", "R2", "Coverage of the intervals", "good minus poor"):
        assert name in printed.stdout
    assert "good is better than poor" in " ".join(printed.stdout.split())
