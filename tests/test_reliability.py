"""Small samples of the reliability benchmarks; `make bench-reliability` runs the full ones."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import pytest
from benchmarks import __main__ as program
from benchmarks.reliability import corrupt_checkpoints, faults, kills
from benchmarks.trial import Trial, WarningRecorder, timed

# Others have their own tests: corrupt_images, hostile_models and fuzz_images. Running out of memory
# takes minutes; test_resume.py injects it.
HERE = ("kills", "faults", "corrupt_checkpoints", "memory_growth", "planted_words", "changed_runs")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, sends signals"),
]


def test_every_benchmark_has_a_quick_test() -> None:
    others = {
        *("out_of_memory", "corrupt_images", "hostile_models", "fuzz_images"),
        "cluster_kills",  # in test_cluster.py
        "fold_kills",  # in test_trials.py
    }
    assert {*program.GROUPS["reliability"]} == {*HERE} | others


@pytest.mark.parametrize("name", HERE)
def test_guarantees_hold(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"benchmarks.reliability.{name}")
    found = timed(module.trials, tmp_path, True)
    for trial in found:
        assert trial.held, (trial.name, trial.failures)
        assert trial.seconds > 0


def test_results_are_written_and_a_broken_guarantee_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process; others run ``python -m benchmarks`` in test_benchmarks.py."""
    options = ["corrupt_checkpoints", "--quick", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert int(ended.value.code or 0) == 0
    assert "held: a checkpoint with one bit changed" in capsys.readouterr().out
    with (tmp_path / "reliability.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["benchmark"], row["n"], row["failures"]) for row in rows] == [
        ("corrupt_checkpoints", "20", "0"),
        ("corrupt_checkpoints", "100", "0"),
    ]
    assert all(row["commit"] and row["processor"] for row in rows)
    monkeypatch.setattr(corrupt_checkpoints, "flipped", lambda data, _: data)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert int(ended.value.code or 0) == 1
    assert "FAILED: a checkpoint with one bit changed" in capsys.readouterr().out


def test_an_untested_guarantee_does_not_hold() -> None:
    assert not Trial("x", 0).held
    assert not Trial("x", 5, ["lost"]).held


def test_repeated_training_is_counted_from_the_last_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [
        ("start", 0, 0, 0.0), ("resume", 0, 0, 1.0), ("saved", 0, 0, 1.1), ("step", 0, 0, 1.5),
        ("saved", 0, 3, 2.0), ("step", 0, 0, 2.1), ("step", 0, 0, 2.2), ("saving", 0, 0, 2.3),
        ("start", 0, 0, 9.0), ("resume", 0, 3, 9.5), ("saved", 0, 6, 9.6), ("step", 0, 0, 20.0),
        ("start", 0, 0, 30.0), ("resume", 0, 3, 31.0),
    ]  # fmt: skip
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    first, second = kills.repeats(kills.events(log))
    assert first == (pytest.approx(0.2), "")
    assert second[1].startswith("resumed from (0, 3), although (0, 6) had been saved")


def test_a_fault_is_injected_where_it_says(tmp_path: Path) -> None:
    from lucency.errors import RunError
    from lucency.io import write_bytes

    fault = faults.Fault("fsync", f"{tmp_path.name}/.b.tmp in io.atomic._create", 28, False)
    with faults.failing(fault):
        write_bytes(tmp_path / "a", b"a")
        with pytest.raises(RunError, match="disk is full"):
            write_bytes(tmp_path / "b", b"b")
        write_bytes(tmp_path / "b", b"b")
    with pytest.raises(RuntimeError, match="never reached"), faults.failing(fault):
        write_bytes(tmp_path / "a", b"a")


def test_a_corrupt_checkpoint_that_is_accepted_is_reported(tmp_path: Path) -> None:
    progress = WarningRecorder()
    checkpoints, newest = corrupt_checkpoints.written(tmp_path, progress)
    (file, *_) = sorted(newest.iterdir())
    assert list(corrupt_checkpoints._one(checkpoints, progress, file, lambda data: data)) == [
        "the previous checkpoint was not used",
        "0 warnings",
    ]
