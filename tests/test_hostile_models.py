"""Hostile run folders: all are rejected, and the process guard reports forbidden actions."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.reliability import hostile_models
from benchmarks.reliability.hostile.process_guard import Outcome
from benchmarks.reliability.hostile.sample_run import Case

REJECTED = Outcome(2, "lucency: no.\n", "ClassifierError: no.", True, (), 0.1, 1.0)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the process guard needs inotify and /proc"
)
def test_every_hostile_folder_is_rejected(tmp_path: Path) -> None:
    found = {trial.name: trial for trial in hostile_models.trials(tmp_path, True)}
    failures = [line for trial in found.values() for line in trial.failures]
    assert failures == []
    assert all(trial.held for trial in found.values())
    assert found["hostile run folders are rejected"].n >= 200
    assert found["valid run folders are accepted"].n >= 5
    assert found["forbidden actions are reported"].n >= 12


def test_every_case_has_its_own_name() -> None:
    names = [case.name for case in hostile_models.cases()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"code": 0}, "was accepted"),
        ({"code": 1}, "ended with 1"),
        ({"code": None}, "ended with None"),
        ({"errors": "Traceback\nlucency: no.\n"}, "ended with 2"),
        ({"errors": "lucency: no.\nand more\n"}, "more than one line"),
        ({"raised": "", "rejected": False}, "raised no LucencyError"),
        ({"raised": "ValueError: no", "rejected": False}, "raised no LucencyError"),
        ({"raised": "ClassifierError: one\ntwo"}, "raised no LucencyError"),
        ({"forbidden": ("os.system true",)}, "os.system"),
        ({"seconds": 2.1}, "took 2.1 s"),
        ({"growth": 97.0}, "took 97 MiB"),
    ],
)
def test_effects_of_a_hostile_folder_are_failures(
    change: dict[str, object], expected: str | None
) -> None:
    outcome = dataclasses.replace(REJECTED, **change)
    found = hostile_models.complaints(Case("bad", lambda *_: None), outcome)
    assert len(found) == (expected is not None)
    assert all(expected in line and line.startswith("bad: ") for line in found if expected)


def test_a_rejected_valid_folder_is_a_failure() -> None:
    control = Case("good", lambda *_: None, accepted=True)
    assert len(hostile_models.complaints(control, REJECTED)) == 1
    taken = dataclasses.replace(REJECTED, code=0, errors="", raised="", rejected=False)
    assert hostile_models.complaints(control, taken) == []
