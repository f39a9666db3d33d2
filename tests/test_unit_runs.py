"""Whole runs with one answer for all images of a patient: folds, and grades with a cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import call_lucency, draw_folder
from lucency.run_folder.files import EVALUATION

pytestmark = pytest.mark.usefixtures("small_network")
GRADES = ("grade0", "grade1", "grade2")


def trained(folder: Path, *options: object) -> Path:
    """Train for one epoch, and return the run folder."""
    run = folder.parent / "run"
    quick = ("--effort", "quick", "--start", "scratch", "--set", "epochs=1", "--set", "size=24")
    command = ("train", folder, "--unit", "patient", "--run", run, "--quiet", *quick, *options)
    found = call_lucency(*command, cwd=folder.parent)
    assert found.returncode == 0, found.stderr
    return run


def test_folds_have_answers_for_patients(tmp_path: Path) -> None:
    run = trained(draw_folder(tmp_path / "spots", 24), "--folds", "3")
    document = dict(EVALUATION.read(run))
    of_folds = document["cross_validation"]
    assert (of_folds["n"], of_folds["per_unit"]["n"]) == (40, 20)
    assert call_lucency("verify", run).returncode == 0
    assert "One answer for each patient" in (run / "report.html").read_text()
    assert "with one answer for each patient" in (run / "model_card.md").read_text()
    of_folds["per_unit"]["metrics"]["auroc"]["value"] -= 0.01
    (run / "evaluation.json").write_text(json.dumps(document))
    found = call_lucency("verify", run)
    assert found.returncode == 3
    assert "per_unit.metrics.auroc" in found.stdout + found.stderr


def test_grades_of_patients_have_a_cut(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "spots", 16, GRADES)
    run = trained(folder, "--task", "ordinal", "--positive-from", "grade1")
    unit = json.loads((run / "classifier.json").read_text())["unit"]
    assert unit["cut"]["from"] == "grade1"
    found = call_lucency("predict", run, folder, "--json")
    patients = json.loads(found.stdout)
    assert len(patients) == 24
    assert all(each["cut"]["from"] == "grade1" for each in patients)
    assert call_lucency("verify", run).returncode == 0
