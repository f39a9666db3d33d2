"""Every kind of bad image among good ones, and spoiled files by the thousand."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import bad_images, fuzz
from benchmarks.bad_files import CUTS
from benchmarks.bad_images import _differences, _miscounted
from benchmarks.bad_kinds import kinds
from benchmarks.mutations import mutated, seeds
from benchmarks.trial import Trial

from lucency.imaging.image import full_size


def held(trials: list[Trial]) -> None:
    assert len(trials) > 1
    for each in trials:
        assert each.held, f"{each.name}: {[*each.failures]}"


def test_every_kind_of_bad_image_is_told(tmp_path: Path) -> None:
    held(bad_images.trials(tmp_path, quick=True))


def test_spoiled_files_are_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held(fuzz.trials(tmp_path, quick=True))
    assert "1,500 of 1,500" in capsys.readouterr().out


def test_there_are_many_kinds() -> None:
    names = [kind.name for kind in kinds()]
    assert len(set(names)) == len(names) >= 70 + 2 * CUTS


def test_the_trial_notices_what_is_wrong() -> None:
    known = {"a": "used", "b": "empty", "c": "ignored"}
    assert not _differences(known, {"a": "used", "b": "the file is empty"})
    assert "expected: used" in _differences(known, {"a": "damaged", "b": "empty"})[0]
    assert "never mentioned" in _differences(known, {"a": "used"})[0]
    assert "expected: ignored" in _differences(known, {"a": "used", "b": "empty", "c": "used"})[0]
    assert "one line" in _differences({"b": "empty"}, {"b": "empty\nor not"})[0]
    assert "from nowhere" in _differences({}, {"d": "used"})[0]
    assert _miscounted(3, 2, 1, 3) == []
    assert _miscounted(3, 2, 1, 4)
    assert _miscounted(4, 2, 1, 4)


def test_mutations_start_from_sound_files_and_can_be_repeated() -> None:
    sound = seeds()
    assert {full_size(data) for data in sound} == {(40, 56), (48, 48), (56, 40), (48, 72)}
    some = [mutated(sound, number) for number in range(300)]
    assert some == [mutated(sound, number) for number in range(300)]
    assert len(set(some) - set(sound)) > 250
