"""The ledger: nothing is lost, nothing is hidden, nothing about patients is written."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lucency.dataset import read_split
from lucency.errors import RunError
from lucency.evaluation.ledger import (
    LedgerEntries,
    LedgerEntry,
    evaluations_of,
    expected_chance_gain,
    ledger_path,
    record,
    test_set_id,
)
from lucency.progress import Progress

SET = test_set_id([("aa", "NORMAL")])


class Listener(Progress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "state" / "test_evaluations.jsonl"
    monkeypatch.setenv("LUCENCY_LEDGER", str(path))
    return path


# --- what a test set is


def test_a_test_set_is_its_contents_and_classes_in_any_order() -> None:
    entries = [("aa", "NORMAL"), ("bb", "PNEUMONIA"), ("bb", "PNEUMONIA")]
    same = test_set_id(entries)
    assert same == test_set_id(reversed(entries))
    assert same == test_set_id([(sha.upper(), label) for sha, label in entries])
    assert re.fullmatch("[0-9a-f]{64}", same)
    others = [
        entries[:2],  # an image that is there twice is there twice
        [("aa", "PNEUMONIA"), ("bb", "PNEUMONIA"), ("bb", "PNEUMONIA")],
        [("aa", "NORMAL"), ("bc", "PNEUMONIA"), ("bb", "PNEUMONIA")],
        [("aa", "NORMAL,bb"), ("bb", "PNEUMONIA")],
    ]
    assert len({same, *map(test_set_id, others)}) == 5


# --- the file


def test_an_evaluation_is_on_disk_when_record_returns(ledger: Path) -> None:
    first = record(SET, 319, "train", classifier="c1", run="quick-s0")
    assert first.number == 1
    assert first.recorded
    (line,) = ledger.read_text().splitlines()
    row = json.loads(line)
    assert row.keys() == {"when", "test_set", "n", "what", "classifier", "run", "lucency"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["when"])
    assert (row["n"], row["what"], row["run"]) == (319, "train", "quick-s0")
    second = record(SET, 319, "evaluate", classifier="c2", run="quick-s1")
    assert (second.number, second.classifiers) == (2, 2)
    assert second.evaluations[0] == first.evaluations[0]
    assert ledger.read_text().startswith(line)
    assert evaluations_of(SET) == second
    if os.name == "posix":
        assert ledger.stat().st_mode & 0o077 == 0


def test_test_sets_are_counted_separately(ledger: Path) -> None:
    record("other", 5, "train", classifier="c", run="r")
    assert record(SET, 319, "train", classifier="c", run="r").number == 1
    assert evaluations_of("other").number == 1
    assert evaluations_of("unknown").number == 0


def test_without_a_ledger_there_are_no_evaluations(ledger: Path) -> None:
    assert evaluations_of(SET) == LedgerEntries(SET, ())
    assert not ledger.exists()


def test_damaged_lines_are_counted_kept_and_reported(ledger: Path) -> None:
    record(SET, 3, "train", classifier="c1", run="r")
    good = ledger.read_bytes()
    damage = b'{"when": 1}\nnot json\n\xff\xfe\n[]\n' + b'{"cut of'
    ledger.write_bytes(good + damage)
    listener = Listener()
    found = record(SET, 3, "train", classifier="c2", run="r", progress=listener)
    assert (found.number, found.damaged) == (2, 5)
    assert "5 lines" in listener.warnings[0]
    assert "5 lines of the ledger cannot be read" in found.sentence
    # The line that a crash cut off does not merge with the new one, and nothing is deleted.
    assert ledger.read_bytes().startswith(good + damage + b"\n{")
    assert evaluations_of(SET).number == 2


def test_keys_of_later_versions_are_ignored(ledger: Path) -> None:
    record(SET, 3, "train", classifier="c1", run="r")
    row = json.loads(ledger.read_text()) | {"who": "somebody"}
    ledger.write_text(json.dumps(row) + "\n")
    assert evaluations_of(SET).number == 1
    assert evaluations_of(SET).damaged == 0


@pytest.mark.parametrize("obstacle", ["folder", "under a file", "huge"])
def test_a_ledger_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    path = tmp_path / "here"
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "under a file":
        path.write_text("")
        path /= "test_evaluations.jsonl"
    else:
        with path.open("wb") as file:
            file.truncate(2**26 + 1)
    monkeypatch.setenv("LUCENCY_LEDGER", str(path))
    listener = Listener()
    found = record(SET, 3, "train", classifier="c", run="r", progress=listener)
    assert not found.recorded
    assert found.number == 1
    assert found.to_json()["recorded"] is False
    assert "not recorded" in found.sentence
    (warning,) = listener.warnings
    assert str(path) in warning
    assert "LUCENCY_LEDGER" in warning
    with pytest.raises(RunError, match="cannot be read"):
        evaluations_of(SET)


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_pipe_is_not_a_ledger_and_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    monkeypatch.setenv("LUCENCY_LEDGER", str(path))
    assert not record(SET, 3, "train", classifier="c", run="r").recorded


def test_concurrent_writers_lose_no_line(ledger: Path) -> None:
    program = (
        "import sys\n"
        "from lucency.evaluation.ledger import record\n"
        "for i in range(25):\n"
        "    record('s', 3, 'train', classifier=f'{sys.argv[1]}-{i}', run='r' * 3000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, name]) for name in "abc"]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    found = evaluations_of("s")
    assert (found.number, found.classifiers, found.damaged) == (75, 75, 0)


# --- where it is


def test_the_ledger_is_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUCENCY_LEDGER", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setattr(sys, "platform", "linux")
    assert ledger_path() == tmp_path / ".local/state/lucency/test_evaluations.jsonl"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert ledger_path() == tmp_path / "state/lucency/test_evaluations.jsonl"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert ledger_path() == tmp_path / "Library/Application Support/lucency/test_evaluations.jsonl"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert ledger_path() == tmp_path / "local/lucency/test_evaluations.jsonl"


# --- what it means


def entries_of(classifiers: list[str], **more: bool | int) -> LedgerEntries:
    made = [
        LedgerEntry("2026-01-01T00:00:00Z", SET, 319, "train", x, "r", "0") for x in classifiers
    ]
    return LedgerEntries(SET, tuple(made), **more)


def test_the_sentence() -> None:
    assert "once: this is its first recorded evaluation" in entries_of(["a"]).sentence
    several = entries_of([*"aabbcdee"]).sentence
    assert several == (
        "This test set has been evaluated 8 times, with 5 classifiers: the more evaluations, the "
        "more the best result owes to chance."
    )
    assert entries_of(["a", "a"]).sentence.endswith("2 times, with 1 classifier.")
    assert entries_of([]).sentence.startswith("No evaluation")
    assert "1 line of the ledger" in entries_of(["a"], damaged=1).sentence


def test_the_json_names_the_test_set_once() -> None:
    document = entries_of(["a", "b"]).to_json()
    assert (document["format"], document["test_set"], document["n"]) == (2, SET, 319)
    assert document["evaluations"][1].keys() == {"when", "what", "classifier", "run"}


@pytest.mark.parametrize(
    ("classifiers", "errors"),
    [(1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi))],
)
def test_expected_chance_gain_by_hand(classifiers: int, errors: float) -> None:
    # The expected largest of 2 and 3 standard normal numbers are known in closed form.
    assert expected_chance_gain(classifiers, 0.02) == pytest.approx(0.02 * errors, abs=1e-9)


def test_expected_chance_gain_is_that_of_coin_tosses() -> None:
    # Twenty classifiers that toss a coin on 100 images; the mean of 20,000 best has an error of
    # 0.0002, and a binomial is a normal but for 0.002.
    best = np.random.default_rng(0).binomial(100, 0.5, size=(20_000, 20)).max(axis=1) / 100
    assert expected_chance_gain(20, 0.05) == pytest.approx(best.mean() - 0.5, abs=0.003)


def test_chance_gain_needs_two_classifiers() -> None:
    assert entries_of(["a", "a"]).chance_gain(0.014) == ""
    assert entries_of(["a", "b"]).chance_gain(math.nan) == ""
    text = entries_of([*"abcde"]).chance_gain(0.014)
    assert "5 equally good classifiers" in text
    assert "about 1.6 percentage points" in text  # 1.163 * 1.4


# --- what was tested


def test_a_split_file_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text('file,class,group,split,sha256\n"a,1.png",NORMAL,p1,test,aa\n')
    (entry,) = read_split(path)
    assert (entry.file, entry.label, entry.group, entry.split, entry.sha256) == (
        "a,1.png", "NORMAL", "p1", "test", "aa",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["", "file,class\na,b\n", "file,class,group,split,sha256\na,b\n"])
def test_a_damaged_split_file_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.csv"
    with pytest.raises(RunError, match="There is no"):
        read_split(path)
    path.write_text(text)
    with pytest.raises(RunError, match="cannot be read"):
        read_split(path)
