"""The report, the terminal and the model card of predicted numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lucency import plots
from lucency.cli.console import terminal
from lucency.cli.console.results import _show_counts, show_evaluation
from lucency.evaluation import cross_validation, evaluate_predictions, write_evaluation
from lucency.evaluation.result import Evaluation
from lucency.report import render, values
from lucency.report.model_card import write_model_card
from lucency.tracking.tracker import of_evaluation
from lucency.verify import files
from lucency.verify.mismatch import Mismatch
from lucency.verify.values import figures
from small_values import classifier_of, draw_values, fitted, write_value_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("values") / "run"
    return write_value_run(folder, draw_values(0), fitted(tolerance=22.5))


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return render(run)


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_the_first_screen_says_how_far_answers_are_off_and_what_the_mean_gives(page: str) -> None:
    found = plain(page)
    lead = re.search(
        r"Predicts age to within ([\d.]+) on average \(MAE ([\d.]+), 95 % ([\d.]+) to ([\d.]+), "
        r"n = 120 images of 60 patients\); always answering the mean gives ([\d.]+)\.",
        found,
    )
    assert lead
    _, error, low, high, mean = map(float, lead.groups())
    assert low < error < high < mean
    assert "regression, 10 bins of the axis" in found
    assert "promised: 90 %; mean width" in found
    assert "always the mean: −0.0" in found  # R2
    assert re.search(r"differ from it by −[\d.]+ to [\d.]+", found)


def test_every_section_has_its_drawing_and_no_class_is_named(page: str) -> None:
    found = plain(page)
    titles = re.findall(r'role="img"[^>]*><title>([^<]+)</title>', page)
    assert titles[:2] == ["Predicted and true age, test", "Bland-Altman plot, test"]
    assert "Calibration of the quantiles, test" in titles
    assert "Error over the share answered, test" in titles
    for word in ("AUROC", "onfusion matrix", "sensitivity", "hreshold:", "most frequent class"):
        assert word not in found.partition("Evidence and origin")[0], word
    for term in ("mean-absolute-error", "bland-altman", "prediction-intervals"):
        assert f'id="glossary-{term}"' in page
    assert "Interval wider than the tolerance of 22.5:" in found


def test_the_largest_errors_come_first_with_their_numbers(page: str, run: Path) -> None:
    found = draw_values(0)
    assert found.values is not None
    assert found.predicted is not None
    worst = int(np.abs(found.predicted - found.values).argmax())
    first = plain(page).partition("Largest errors")[2]
    shown = re.search(r"true ([\d.]+) predicted ([\d.]+) \([+−][\d.]+\) (\S+)", first)
    assert shown
    assert shown[3] == found.files[worst]
    assert float(shown[1]) == pytest.approx(found.values[worst], abs=0.05)
    assert float(shown[2]) == pytest.approx(found.predicted[worst], abs=0.05)
    assert run.is_dir()


def test_the_same_files_give_the_same_page_and_missing_ones_a_sentence(
    run: Path, page: str, tmp_path: Path
) -> None:
    assert render(run) == page
    for file in ("plan.json", "evaluation.json"):
        (tmp_path / file).write_bytes((run / file).read_bytes())
    assert "This run holds no predictions of its test split" in plain(render(tmp_path))


def test_no_better_than_the_mean_and_less_coverage_than_promised_are_warnings(
    tmp_path: Path,
) -> None:
    found = draw_values(0)
    assert found.values is not None
    turned = replace(found, values=found.values[::-1].copy())
    text = plain(render(write_value_run(tmp_path / "run", turned, fitted())))
    assert "not shown to be smaller than that of always answering the mean" in text
    assert re.search(r"Prediction intervals promised 90 %; they hold .* less often", text)


def test_without_intervals_and_with_folds_the_page_is_drawn(tmp_path: Path) -> None:
    found = replace(draw_values(0), split="out_of_fold")
    run = write_value_run(tmp_path / "run", found, replace(fitted(), offset=None))
    whole = evaluate_predictions(classifier_of(replace(fitted(), offset=None)), found)
    held_out = [str(i // 2 % 4) for i in range(120)]
    folds = cross_validation(whole, found, held_out, "site")
    write_evaluation(run / "evaluation.json", folds=folds)
    text = plain(render(run))
    assert "oo few held-out patients for prediction intervals" in text
    assert "Out of fold, on 120 images of 60 patients: Mean absolute error" in text or (
        "Cross-validation" in text
    )
    assert "Another site" in text
    assert "in grades" not in text


@pytest.mark.parametrize(
    ("value", "like", "n", "expected"),
    [
        (0.0213, 0.0213, 1000, "0.0213"), (0.0213, 0.0213, 29, "0.021"),
        (-3.456, 12.0, 1000, "−3.5"),
        (1234.5, 1234.5, 1000, "1234"), (0.0, 0.0, 1000, "0.00"), (None, 1.0, 1000, "–"),
        (0.3, 20.0, 29, "0"), (-0.001, 1.0, 1000, "0.00"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_of_the_largest(
    value: float | None, like: float, n: int, expected: str
) -> None:
    assert values.of_number(value, like, n) == expected


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.predicted_values([], [], title="t", name="n"),
        lambda: plots.predicted_values([3.0], [3.0], title="t", name="n"),
        lambda: plots.agreement(
            [], [], title="t", name="n", bias=plots.Estimate(None),
            limits=(plots.Estimate(None), plots.Estimate(None)),
        ),
        lambda: plots.quantile_calibration([], title="t"),
        lambda: plots.error_coverage({"coverage": [], "risk": []}, title="t", name="n", split="s"),
        lambda: plots.error_coverage({"coverage": [1], "risk": [0]}, title="", name="", split=""),
        lambda: plots.value_forest([], title="t", name="n", whole=None),
    ],
)  # fmt: skip
def test_nothing_and_one_image_draw(draw: Callable[[], str]) -> None:
    drawing = draw()
    ElementTree.fromstring(drawing)  # noqa: S314
    assert "nan" not in drawing


def test_points_and_limits_lie_on_one_scale() -> None:
    drawing = plots.agreement(
        [1.0, 3.0], [2.0, 4.0], title="t", name="n", bias=plots.Estimate(1.0, 0.5, 1.5),
        limits=(plots.Estimate(-1.0), plots.Estimate(3.0)),
    )  # fmt: skip
    rows = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawing)]
    bias = re.search(r'd="M[\d.]+ ([\d.]+)L[\d.]+ \1" fill="none" stroke="var\(--ink', drawing)
    assert bias
    assert rows == [float(bias[1])] * 2
    assert "bias 1 (0.5 to 1.5); lower limit -1; upper limit 3" in drawing


def test_the_evaluation_read_back_is_what_was_written(run: Path) -> None:
    document = json.loads((run / "evaluation.json").read_text())["test"]
    found: Evaluation = evaluate_predictions(classifier_of(fitted(tolerance=22.5)), draw_values(0))
    assert document == json.loads(json.dumps(found.to_json()))


ROBUSTNESS = {
    "format": 2, "split": "test", "n": 120,
    "rows": [
        {"corruption": name, "severity": severity, "mean_absolute_error": error,
         "root_mean_squared_error": 1.2 * error, "r2": 0.9, "interval_coverage": share,
         "mean_abs_difference": 0.0, "max_abs_difference": most}
        for name, severity, error, share, most in (
            ("none", "as they are", 4.45, 0.9, 0.0), ("blur", "sigma 2 pixels", 5.5, 0.8, 4.0),
            ("inversion", "black for white", 31.25, None, 60.0),
        )
    ],
}  # fmt: skip


def test_corruptions_show_the_error_and_the_largest_first(tmp_path: Path) -> None:
    run = write_value_run(tmp_path / "run", draw_values(0), fitted())
    (run / "robustness.json").write_text(json.dumps(ROBUSTNESS))
    text = plain(render(run))
    assert "The corruption with the largest error: inversion, black for white (31.2)" in text
    rows = text.partition("The corruptions with the largest errors")[2]
    order = [rows.index(name) for name in ("inversion", "blur", "unchanged")]
    assert order == sorted(order)
    assert "Coverage of the intervals Mean difference Largest" in rows


def test_the_model_card_has_the_figures_of_numbers(tmp_path: Path) -> None:
    run = write_value_run(tmp_path / "run", draw_values(0), fitted())
    (run / "robustness.json").write_text(json.dumps(ROBUSTNESS))
    write_model_card(run)
    card = (run / "model_card.md").read_text()
    for line in (
        "a number, age: in training from 0 to 100, 48 on average",
        "mean absolute error 4.45 (95 % interval 3.74 to 5.30)",
        "interval coverage 89.2 % (95 % interval 78.5 to 95.7)",
        "always answering 48, the mean of the training numbers, has a mean absolute error of 14.6",
        "prediction intervals promised 90 % hold 89.2 %",
        "limits of agreement: -12.2",
        "mean absolute error 4.45 without any, and largest with inversion black for white (31.2)",
    ):
        assert line in card, line
    assert "misclassified in the test split" not in card


def test_the_terminal_prints_the_error_beside_that_of_the_mean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = evaluate_predictions(classifier_of(fitted(tolerance=22.5)), draw_values(0))
    show_evaluation(found, "Test")
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"Mean absolute error 4\.45 3\.74 to 5\.30", printed)
    assert re.search(r"R2 0\.902 0\.848 to 0\.937", printed)
    assert "Coverage of the intervals 89.2% 78.5% to 95.7%" in printed
    assert "Predicts age to within 4.45 on average. Baseline: always answering the mean" in printed
    assert "Answered, with an interval of at most 22.5: 71 of 120 images." in printed
    assert "accuracy" not in printed


def test_verify_computes_numbers_and_figures_again(tmp_path: Path) -> None:
    run = write_value_run(tmp_path / "run", draw_values(0), fitted())
    assert "120 decisions follow" in files.decisions(run)
    assert "120 images with equal files" in files.split(run)
    path = run / "predictions.csv"
    table = path.read_text().splitlines()
    row = table[3].split(",")
    row[4] = repr(float(row[4]) + 0.01)
    path.write_text("\n".join([*table[:3], ",".join(row), *table[4:]]) + "\n")
    with pytest.raises(Mismatch, match="1 predicted numbers of test do not follow"):
        files.decisions(run)
    with pytest.raises(Mismatch, match="do not follow from predictions"):
        figures(run)
    row[4], row[3] = table[3].split(",")[4], "1.5"
    path.write_text("\n".join([*table[:3], ",".join(row), *table[4:]]) + "\n")
    with pytest.raises(Mismatch, match="truth and patient"):
        files.split(run)


def test_trackers_log_the_error_and_r2(run: Path) -> None:
    logged = of_evaluation(json.loads((run / "evaluation.json").read_text()))
    assert logged["test/mean_absolute_error"] == pytest.approx(4.45, abs=0.01)
    assert logged["test/r2_low"] < logged["test/r2"] < logged["test/r2_high"]


def test_sixteen_bins_have_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    bins = {f"{i} to {i + 1}": i for i in range(16)}
    _show_counts({"train": bins, "test": dict.fromkeys(bins, 1200)}, terminal.console())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["train", "test"]
    assert lines[1:] == [[str(i), "to", str(i + 1), str(i), "1,200"] for i in range(16)]
