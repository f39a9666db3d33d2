"""``lucency check`` and the leak check of training: results, page, and no partial files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Heard, draw_folder
from lucency.config import Config
from lucency.errors import ConfigError, LeakError, RunError
from lucency.pipeline.check import run_check
from lucency.pipeline.evaluate import evaluate_run
from lucency.pipeline.train import run_training

FAST = Config(effort="quick", size=32, epochs=2, precision="float32", folds=0)


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Return a folder with train and test splits that share nothing."""
    draw_folder(tmp_path / "data/train", 20)
    whole = draw_folder(tmp_path / "whole", 32)
    for name in ("dark", "light"):
        (tmp_path / "data/test" / name).mkdir(parents=True)
        for file in sorted((whole / name).iterdir())[20:]:
            shutil.move(file, tmp_path / "data/test" / name)
    return tmp_path / "data"


def add_leak(splits: Path) -> str:
    """Add a mirrored and re-encoded copy of a test image to train."""
    source = sorted((splits / "test/light").iterdir())[0]
    target = splits / "train/light/patient9000_0.jpeg"
    Image.open(source).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(target, quality=95)
    return str(target.relative_to(splits))


def test_a_clean_folder_passes(splits: Path, tmp_path: Path) -> None:
    done = run_check(splits, FAST, out=tmp_path / "check")
    assert done.passed
    names = {path.name for path in done.folder.iterdir()}
    assert names == {"audit.json", "check.html", "images", "split.csv"}
    audit = json.loads((done.folder / "audit.json").read_text())
    assert audit["leaks"]["status"] == "passed"
    assert {each["probe"] for each in audit["probes"]} >= {"file", "border", "tone", "name"}
    assert "Passed" in done.page.read_text()


def test_a_leak_fails_the_check_and_is_shown(splits: Path, tmp_path: Path) -> None:
    copy = add_leak(splits)
    done = run_check(splits, FAST, out=tmp_path / "check")
    assert not done.passed
    (pair,) = done.audit["leaks"]["pairs"]
    assert (pair["second"], pair["kind"]) == (copy, "mirrored")
    shown = json.loads((done.folder / "images/index.json").read_text())["images"]
    assert [each["file"] for each in shown if each["kind"] == "leak"] == [pair["first"], copy]
    assert copy.rpartition("/")[2] in done.page.read_text()


def test_training_stops_on_a_leak_and_writes_only_the_page(
    splits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = add_leak(splits)
    with pytest.raises(LeakError, match=copy) as stopped:
        run_training(splits, FAST)
    assert "--on-leak drop" in str(stopped.value)
    assert str(Path("checks/data/check.html")) in str(stopped.value)
    assert Path("checks/data/check.html").is_file()
    assert not list(tmp_path.glob("runs/*"))


def test_a_check_replaces_an_earlier_check_and_nothing_else(splits: Path, tmp_path: Path) -> None:
    first = run_check(splits, FAST, out=tmp_path / "check")
    before = first.page.read_bytes()
    assert run_check(splits, FAST, out=tmp_path / "check").page.read_bytes() == before
    (tmp_path / "check/thesis.txt").write_text("mine")
    for data in (splits, tmp_path / "none"):  # it fails before it reads anything
        with pytest.raises(RunError, match=r"thesis\.txt"):
            run_check(data, FAST, out=tmp_path / "check")
    assert (tmp_path / "check/thesis.txt").read_text() == "mine"
    with pytest.raises(RunError, match=r"thesis\.txt is a file"):
        run_check(splits, FAST, out=tmp_path / "check/thesis.txt")


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
@pytest.mark.usefixtures("small_network")
def test_evaluation_with_other_options(splits: Path, tmp_path: Path) -> None:
    """Another threshold, prevalence and subgroups leave the run folder unchanged."""
    run = run_training(splits, FAST, run=str(tmp_path / "run")).folder
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    table = tmp_path / "machines.csv"
    files = [*run_files(run)]
    table.write_text(
        "file,machine\n" + "".join(f"{f},{'ab'[i % 2]}\n" for i, f in enumerate(files))
    )
    config = Config(operating_point="specificity>=0.5", prevalence=0.03, subgroups=str(table))
    done = evaluate_run(run, None, config, choose=True)
    assert done.test_evaluations is not None
    assert done.test_evaluations.number == 2
    found = done.evaluation
    assert found.operating_point["validation"]["specificity"] >= 0.5
    assert 0.03 in [each["prevalence"] for each in found.predictive_values]
    assert [(each["attribute"], each["value"]) for each in found.subgroups] == [
        ("machine", "a"),
        ("machine", "b"),
    ]
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    with pytest.raises(ConfigError, match="one of balanced"):
        evaluate_run(run, None, Config(operating_point="best"), choose=True)


def run_files(run: Path) -> list[str]:
    rows = (run / "predictions.csv").read_text().splitlines()[1:]
    return [row.split(",")[1] for row in rows]


def test_a_time_budget_is_left_to_training(small_folder: Path, tmp_path: Path) -> None:
    heard = Heard()
    config = dataclasses.replace(FAST, effort="20min", cache=str(tmp_path))
    run_check(small_folder, config, out=tmp_path / "check", progress=heard)
    assert any("what --effort 20min buys" in line and "32 px" in line for line in heard.notes)


@pytest.mark.parametrize(
    ("settings", "decision"),
    [({}, "start: decided on held-out images"), ({"precision": "float32"}, "start: from scratch")],
)
def test_the_start_is_announced_as_training_will_decide_it(
    settings: dict[str, Any],
    decision: str,
    small_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lucency.pipeline.start.is_installed", lambda _: True)
    heard = Heard()
    config = Config(effort="quick", cache=str(tmp_path), **settings)
    run_check(small_folder, config, out=tmp_path / "check", progress=heard)
    assert any(line.startswith(f"Training would decide {decision}") for line in heard.notes)
