"""The tables read by pandas, and the examples of docs/how-to/scikit-learn.md."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import draw_folder
from lucency.classifier import Classifier, Prediction
from lucency.cli.predict import _print_csv
from lucency.dataset import Entry
from lucency.dataset.split_file import write_entries
from lucency.evaluation import Predictions, write_predictions
from lucency.evaluation.ledger import LedgerEntries, LedgerEntry
from lucency.io import write_json
from lucency.pipeline.train import _History
from lucency.progress import SILENT
from small_runs import write_images, write_run
from test_docs import ROOT, blocks
from test_estimator import fake_training

pd = pytest.importorskip("pandas", reason="pandas is not installed")

PAGE = ROOT / "docs/how-to/scikit-learn.md"
# What a table must keep apart: missing values, numbers and words that look like them.
FILES = ("a,b.png", 'says "x".png', "two\nlines.png", "007")
GROUPS = ("007", "", "1e5", "NA")
CLASSES = ("NA", "True")
MISSING = [False, True, False, False]


@dataclasses.dataclass(frozen=True)
class Row:
    epoch: int
    learning_rate: float
    val_auroc: float
    loss: float = 0.5
    accuracy: float = 0.5
    val_loss: float = 0.5
    val_accuracy: float = 0.5
    seconds: float = 1.0
    images_per_second: float = 1.0


@pytest.fixture(scope="module")
def read() -> Any:
    """Return the function that the page reads with."""
    names: dict[str, Any] = {}
    (block,) = [each for each in blocks(PAGE, "python") if "def read" in each]
    exec(block.partition("predictions =")[0], names)  # noqa: S102
    return names["read"]


def test_predictions(read: Any, tmp_path: Path) -> None:
    given = np.array([[0.25, 0.75], [1 / 3, 2 / 3], [1.0, 0.0], [1e-300, 1.0]])
    labels = np.array([0, 1, 0, 1])
    for ood_scores in (None, np.array([0.5, 1.5, 0.25, 2.0])):
        found = Predictions("test", CLASSES, FILES, GROUPS, labels, labels, given, ood_scores)
        write_predictions(tmp_path / "predictions.csv", [found])
        table = read(tmp_path / "predictions.csv")
        assert table["file"].tolist() == [*FILES]
        assert table["group"].isna().tolist() == MISSING
        assert table["group"].dropna().tolist() == ["007", "1e5", "NA"]
        assert table["label"].tolist() == ["NA", "True"] * 2
        np.testing.assert_array_equal(table[["p_NA", "p_True"]].to_numpy(), given)
        assert table["ood_score"].dtype == np.float64
        assert table["ood_score"].isna().all() == (ood_scores is None)


def test_the_split(read: Any, tmp_path: Path) -> None:
    entries = [
        Entry(file, "NA", "train", group, "0" * 63 + str(i))
        for i, (file, group) in enumerate(zip(FILES, GROUPS, strict=True))
    ]
    write_entries(entries, tmp_path / "split.csv")
    table = read(tmp_path / "split.csv").set_index("file")
    assert [*table["group"].fillna("")[[*FILES]]] == [*GROUPS]
    assert set(table["class"]) == {"NA"}
    assert table["sha256"].str.len().tolist() == [64] * 4


def test_the_history(read: Any, tmp_path: Path) -> None:
    history = _History(tmp_path / "history.csv", SILENT)
    for row in (Row(1, 1e-3, float("nan")), Row(2, 5e-4, 0.75)):
        history(row)  # type: ignore[arg-type]
    table = read(tmp_path / "history.csv")
    assert table["epoch"].dtype == np.int64
    assert table["learning_rate"].tolist() == [1e-3, 5e-4]
    assert table["val_auroc"].dtype == np.float64
    assert table["val_auroc"].isna().tolist() == [True, False]


def test_what_predict_prints(read: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _print_csv(CLASSES, [
        Prediction(FILES[0], "NA", (0.75, 0.25)),
        Prediction(FILES[1], "", (), "the file is empty, get it again"),
        Prediction(FILES[2], "", (0.5, 0.5), 'ambiguous: "NA" or True'),
    ], "file")  # fmt: skip
    (tmp_path / "answers.csv").write_text(capsys.readouterr().out, newline="")
    table = read(tmp_path / "answers.csv")
    assert table["file"].tolist() == [*FILES[:3]]
    assert table["decision"].isna().tolist() == [False, True, True]
    assert table["decision"][0] == "NA"
    assert table["p_NA"].dtype == np.float64
    assert table["p_NA"].isna().tolist() == [False, True, False]
    assert table["reason"].isna().tolist() == [True, False, False]


def test_the_examples_of_the_page_do_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folder(tmp_path / "chest_xray", 40)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    write_run(run, tmp_path / "data", write_images(tmp_path / "data"))
    history = _History(run / "history.csv", SILENT)
    history(Row(1, 1e-3, 0.9, loss=0.5, val_loss=0.75))  # type: ignore[arg-type]
    entry = LedgerEntry("2026-11-26T12:50:09Z", "f", 12, "train", "c", "mine", "0.1.0")
    write_json(run / "test_evaluations.json", LedgerEntries("f", (entry,)).to_json())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lucency.training.train.train", fake_training)
    names: dict[str, Any] = {"__name__": "example"}
    for block in blocks(PAGE, "python"):
        small = block.replace('effort="quick"', 'effort="quick", size=16')
        exec(compile(small, str(PAGE), "exec"), names)  # noqa: S102
    assert isinstance(names["estimator"].classifier_, Classifier)
    assert names["search"].best_score_ > 0.8
    assert len(names["scores"]) == 2
    assert str(names["evaluations"]["when"][0]) == "2026-11-26 12:50:09+00:00"
