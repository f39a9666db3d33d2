"""Model files are hostile: all kinds are refused, and the watch over them sees what it should."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import hostile
from benchmarks.kind import Kind
from benchmarks.sandbox import Outcome

REFUSED = Outcome(2, "lucency: no.\n", "ClassifierError: no.", True, (), 0.1, 1.0)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the watch needs inotify and /proc"
)
def test_every_kind_of_hostile_folder_is_refused(tmp_path: Path) -> None:
    found = {trial.name: trial for trial in hostile.trials(tmp_path, True)}
    failures = [line for trial in found.values() for line in trial.failures]
    assert failures == []
    assert all(trial.held for trial in found.values())
    assert found["hostile run folders are refused"].n >= 200
    assert found["sound run folders are taken"].n >= 5
    assert found["what is done on purpose is seen"].n >= 12


def test_every_kind_is_another() -> None:
    names = [kind.name for kind in hostile.kinds()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"code": 0}, "was accepted"),
        ({"code": 1}, "ended with 1"),
        ({"code": None}, "ended with None"),
        ({"said": "Traceback\nlucency: no.\n"}, "ended with 2"),
        ({"said": "lucency: no.\nand more\n"}, "more than a line"),
        ({"raised": "", "refused": False}, "raised no LucencyError"),
        ({"raised": "ValueError: no", "refused": False}, "raised no LucencyError"),
        ({"raised": "ClassifierError: one\ntwo"}, "raised no LucencyError"),
        ({"forbidden": ("os.system true",)}, "os.system"),
        ({"seconds": 2.1}, "took 2.1 s"),
        ({"growth": 97.0}, "took 97 MiB"),
    ],
)
def test_what_a_hostile_folder_brings_about_is_a_failure(
    change: dict[str, object], says: str | None
) -> None:
    outcome = dataclasses.replace(REFUSED, **change)
    found = hostile.complaints(Kind("bad", lambda *_: None), outcome)
    assert len(found) == (says is not None)
    assert all(says in line and line.startswith("bad: ") for line in found if says)


def test_a_sound_folder_that_is_refused_is_a_failure() -> None:
    control = Kind("good", lambda *_: None, accepted=True)
    assert len(hostile.complaints(control, REFUSED)) == 1
    taken = dataclasses.replace(REFUSED, code=0, said="", raised="", refused=False)
    assert hostile.complaints(control, taken) == []
