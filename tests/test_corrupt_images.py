"""Corrupt images among valid ones, and mutated files by the thousand."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from benchmarks.reliability import corrupt_images, fuzz_images
from benchmarks.reliability.corrupt_cases import cases as all_cases
from benchmarks.reliability.corrupt_files import CUTS
from benchmarks.reliability.corrupt_images import _differences, _miscounted
from benchmarks.reliability.format_mutations import format_seeds
from benchmarks.reliability.image_mutations import mutated, seeds
from benchmarks.trial import Trial

from lucency.imaging.image import full_size

# To make them takes seconds, and the trials ask for them again and again.
cases = functools.cache(lambda: tuple(all_cases()))


def held(trials: list[Trial]) -> None:
    assert len(trials) > 1
    for each in trials:
        assert each.held, f"{each.name}: {[*each.failures]}"


def test_each_corrupt_image_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrupt_images, "cases", cases)
    held(corrupt_images.trials(tmp_path, quick=True))


def test_mutated_files_give_pixels_or_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held(fuzz_images.trials(tmp_path, quick=True))
    assert "1,500 of 1,500" in capsys.readouterr().out


def test_every_format_is_mutated() -> None:
    for kind, valid in format_seeds().items():
        assert all(full_size(data)[0] in (16, 48) for data in valid), kind
        some = [mutated(valid, number) for number in range(200)]
        assert len(set(some) - set(valid)) > 150


def test_there_are_many_cases() -> None:
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names) >= 70 + 2 * CUTS


def test_the_trial_detects_wrong_outcomes() -> None:
    known = {"a": "used", "b": "empty", "c": "ignored"}
    assert not _differences(known, {"a": "used", "b": "the file is empty"})
    assert "expected: used" in _differences(known, {"a": "damaged", "b": "empty"})[0]
    assert "not reported" in _differences(known, {"a": "used"})[0]
    assert "expected: ignored" in _differences(known, {"a": "used", "b": "empty", "c": "used"})[0]
    assert "one line" in _differences({"b": "empty"}, {"b": "empty\nor not"})[0]
    assert "not expected" in _differences({}, {"d": "used"})[0]
    assert _miscounted(3, 2, 1, 3) == []
    assert _miscounted(3, 2, 1, 4)
    assert _miscounted(4, 2, 1, 4)


def test_mutations_start_from_valid_files_and_are_reproducible() -> None:
    valid = seeds()
    assert {full_size(data) for data in valid} == {(40, 56), (48, 48), (56, 40), (48, 72)}
    some = [mutated(valid, number) for number in range(300)]
    assert some == [mutated(valid, number) for number in range(300)]
    assert len(set(some) - set(valid)) > 250
