"""Verification of runs: valid runs pass, and every change is found by its check."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lucency.dataset import Entry
from lucency.evaluation import read_predictions, recompute_evaluation
from lucency.run_folder.checksums import write_checksums
from lucency.verify import Verification, verify
from lucency.verify.values import _walk
from small_runs import write_images, write_run

Change = Callable[[Path, Path], None]


def render(run: Path) -> str:
    return "<p>" + hashlib.sha256((run / "evaluation.json").read_bytes()).hexdigest() + "</p>"


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``data`` and the ``run`` that was made from it."""
    base = tmp_path_factory.mktemp("verify")
    entries = write_images(base / "data")
    run = write_run(base / "run", base / "data", entries)
    (run / "report.html").write_text(render(run))
    return base


@pytest.fixture
def copy(valid: Path, tmp_path: Path) -> Path:
    shutil.copytree(valid, tmp_path / "copy")
    return tmp_path / "copy"


def checked(base: Path) -> Verification:
    return verify(base / "run", base / "data", render=render)


def failures(base: Path) -> dict[str, str]:
    return {x.name: x.detail for x in checked(base).checks if not x.passed}


def test_a_valid_run_passes_every_check(valid: Path) -> None:
    found = checked(valid)
    assert [x.name for x in found.checks if not x.passed] == []
    assert found.passed
    names = ["files", "checksums", "split", "fingerprint", "decisions", "figures", "report"]
    assert [x.name for x in found.checks] == [*names, "images", "probabilities"]
    document = json.loads(json.dumps(found.to_json()))
    assert (document["format"], document["passed"], len(document["checks"])) == (2, True, 9)


def test_without_images_or_report_there_are_fewer_checks(valid: Path) -> None:
    assert [x.name for x in verify(valid / "run").checks][-1] == "figures"


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def flip_a_bit(base: Path) -> None:
    path = base / "run" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def edit_rows(base: Path, change: Callable[[list[list[str]]], None]) -> None:
    path = base / "run" / "predictions.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def embellish(base: Path) -> None:
    path = base / "run" / "evaluation.json"
    document = json.loads(path.read_text())
    document["test"]["metrics"]["accuracy"]["value"] += 0.01
    path.write_text(json.dumps(document))


def leave_out(base: Path) -> None:
    path = base / "run" / "evaluation.json"
    document = json.loads(path.read_text())
    del document["test"]["metrics"]["specificity"]
    path.write_text(json.dumps(document))


def better_answer(rows: list[list[str]]) -> None:
    wrong = next(row for row in rows[1:] if row[0] == "test" and row[3] != row[4])
    wrong[4] = wrong[3]


def other_probability(rows: list[list[str]]) -> None:
    p = float(rows[-1][6])
    rows[-1][6:] = [repr(p + 2e-6), repr(1 - (p + 2e-6))]


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (flip_a_bit, "checksums", "sha256 differs"),
        (lambda b: (b / "run/model.onnx").unlink(), "checksums", "cannot be read"),
        (
            lambda b: (b / "run/ood_detector.safetensors").touch(),
            "checksums",
            "not listed in classifier.json",
        ),
        (embellish, "figures", "the worst: test.metrics.accuracy.value, differs by 0.01"),
        (leave_out, "figures", "specificity (in one of the two only)"),
        (lambda b: (b / "run/evaluation.json").write_text("{"), "figures", "Cannot read"),
        (
            lambda b: (b / "run/evaluation.json").write_text("[1]"),
            "figures",
            "expected a JSON object",
        ),
        (lambda b: edit_rows(b, better_answer), "decisions", "1 decisions of test"),
        (lambda b: edit_rows(b, other_probability), "probabilities", "differs by 2e-06"),
        (lambda b: edit_rows(b, lambda rows: rows.pop()), "split", "1 images of test"),
        (lambda b: edit_rows(b, lambda rows: rows.append(rows[-1])), "split", "more than once"),
        (lambda b: replace_text(b / "run/report.html", "<p>", "<b>"), "report", "from byte 1 on"),
        (lambda b: (b / "run/report.html").unlink(), "report", "There is no"),
        (
            lambda b: replace_text(b / "run/split.csv", ",test-0-0,", ",other,"),
            "split",
            "('NORMAL', 'other') in split.csv",
        ),
        (
            lambda b: replace_text(b / "run/split.csv", ",train,", ",excluded,"),
            "fingerprint",
            "was changed",
        ),
        (
            lambda b: (b / "data/test/NORMAL/2.png").write_bytes(b"other"),
            "images",
            "1 of 12 images of test have changed: test/NORMAL/2.png",
        ),
        (lambda b: (b / "data/test/NORMAL/2.png").unlink(), "images", "are missing"),
        (lambda b: (b / "run/predictions.csv").unlink(), "split", "There is no"),
        (lambda b: (b / "run/split.csv").write_bytes(b"\x00\xff"), "split", "cannot be read"),
        (
            lambda b: (b / "run/classifier.json").write_text('{"format":2}'),
            "decisions",
            "is incomplete",
        ),
        (
            lambda b: (b / "run/classifier.json").write_text("[]"),
            "checksums",
            "classifier.json is damaged: expected a JSON object",
        ),
    ],
)
def test_tampering_is_found(
    copy: Path, change: Callable[[Path], object], check: str, says: str
) -> None:
    change(copy)
    assert says in failures(copy)[check]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: (run / "plan.json").write_bytes(b"{}"), "plan.json was changed"),
        (lambda run: (run / "split.csv").unlink(), "split.csv is missing"),
        (lambda run: (run / "history.csv").touch(), "history.csv is not in checksums.json"),
        (lambda run: (run / "checksums.json").unlink(), "There is no"),
        (lambda run: replace_text(run / "checksums.json", "split.csv", "../x"), "../x is missing"),
        (lambda run: replace_text(run / "checksums.json", ': "', ': "0'), "was changed"),
        (lambda run: (run / "checksums.json").write_text('{"format":2,"files":[]}'), "damaged"),
    ],
)
def test_every_file_has_a_checksum(copy: Path, change: Callable[[Path], object], says: str) -> None:
    change(copy / "run")
    assert says in failures(copy)["files"]


def test_authors_may_edit_their_documents_and_other_files_may_lie_there(copy: Path) -> None:
    run = copy / "run"
    for name in ("model_card.md", "checklist.json"):
        (run / name).write_text("made")
    write_checksums(run)
    (run / "model_card.md").write_text("edited")
    (run / "notes.txt").write_text("my own")
    (check, *_) = verify(run).checks
    assert check.passed
    assert "checksums.json: unchanged, apart from model_card.md, for its author" in check.detail


def test_an_empty_folder_fails_every_check_and_raises_nothing(tmp_path: Path) -> None:
    found = verify(tmp_path, tmp_path, render=render)
    assert not any(x.passed for x in found.checks)
    assert not found.passed
    assert all("\n" not in x.detail for x in found.checks)


def test_only_the_check_concerned_fails(copy: Path) -> None:
    embellish(copy)
    (copy / "run" / "report.html").write_text(render(copy / "run"))
    assert failures(copy).keys() == {"files", "figures"}
    write_checksums(copy / "run")
    assert failures(copy).keys() == {"figures"}


def test_paths_outside_the_data_folder_are_not_read(copy: Path) -> None:
    for name in ("split.csv", "predictions.csv"):
        replace_text(copy / "run" / name, "test/NORMAL/0.png", "../../outside.png")
    failed = failures(copy)
    assert "no paths below the data folder" in failed["images"]
    assert "no paths below the data folder" in failed["probabilities"]


def test_a_missing_split_is_found(copy: Path) -> None:
    edit_rows(copy, lambda rows: rows.__setitem__(slice(13, None), []))
    assert "predictions.csv has no rows of test" in failures(copy)["split"]


def test_the_walk_finds_every_kind_of_difference() -> None:
    stated = {"a": [1, 2.0, "x", None, True], "b": {"c": 1}, "e": [1], "f": 1, "g": float("nan")}
    computed = {"a": [1, 2.5, "y", 0, 1], "b": {"d": 1}, "e": [1, 2], "f": "1", "g": 1.0}
    apart = {name: difference for name, difference in _walk("", stated, computed) if difference}
    assert apart.pop("a[1]") == 0.5
    assert apart.keys() == {
        "a[2]", "a[3]", "a[4]", "e (1 entries, expected 2)", "f", "g",
        "b.c (in one of the two only)", "b.d (in one of the two only)",
    }  # fmt: skip
    assert set(apart.values()) == {float("inf")}


def test_figures_are_computed_without_reading_them(copy: Path) -> None:
    before = recompute_evaluation(copy / "run")
    embellish(copy)
    assert recompute_evaluation(copy / "run") == before
    assert len(read_predictions(copy / "run" / "predictions.csv")) == 2


@pytest.mark.real
def test_radiographs_give_the_same_probabilities_again(radiographs: Path, tmp_path: Path) -> None:
    data = radiographs / "chest_xray_native"
    entries = []
    for place, name in enumerate(("NORMAL", "PNEUMONIA")):
        files = sorted(path for path in data.rglob("*.jpeg") if path.parent.name == name)[:12]
        for i, path in enumerate(files):
            sha = hashlib.sha256(path.read_bytes()).hexdigest()
            file = path.relative_to(data).as_posix()
            entries.append(Entry(file, name, ("val", "test")[i % 2], f"{place}-{i // 4}", sha))
    run = write_run(tmp_path / "run", data, entries)
    found = verify(run, data)
    assert [x.detail for x in found.checks if not x.passed] == []
    assert "12 images of test predicted again" in found.checks[-1].detail
