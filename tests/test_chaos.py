"""Small samples of every trial of reliability; the full ones are `make chaos`."""

from __future__ import annotations

import csv
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import damage, faults, kills
from benchmarks.chaos import PARTS
from benchmarks.trial import Heard, Trial, timed

ROOT = Path(__file__).parent.parent
# Those with tests of their own: bad_images, hostile and fuzz. Memory that runs out for real takes
# minutes; test_resume.py has it injected.
HERE = ("kills", "faults", "damage", "memory_growth")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, sends signals"),
]


def test_every_part_has_a_quick_test() -> None:
    assert set(PARTS) == {*HERE, "out_of_memory", "bad_images", "hostile", "fuzz"}


@pytest.mark.parametrize("part", HERE)
def test_promises_hold(part: str, tmp_path: Path) -> None:
    found = timed(importlib.import_module(f"benchmarks.{part}").trials, tmp_path, True)
    for trial in found:
        assert trial.held, (trial.name, trial.failures)
        assert trial.seconds > 0


def test_results_are_written_and_a_broken_promise_is_exit_code_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", "damage", "--quick", "--results"]
    done = subprocess.run(
        [*command, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "held: a checkpoint with one bit changed" in done.stdout
    with (tmp_path / "chaos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["part"], row["n"], row["failures"]) for row in rows] == [
        ("damage", "20", "0"),
        ("damage", "100", "0"),
    ]
    assert all(row["commit"] and row["processor"] for row in rows)
    broken = (
        "import benchmarks.damage as d, benchmarks.chaos as c\n"
        "d.flipped = lambda data, _: data\n"
        "c.main()\n"
    )
    command = [sys.executable, "-c", broken, "damage", "--quick", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAILED: a checkpoint with one bit changed" in done.stdout


def test_a_promise_that_nobody_tried_has_not_held() -> None:
    assert not Trial("x", 0).held
    assert not Trial("x", 5, ["lost"]).held


def test_work_done_again_is_counted_from_the_last_checkpoint(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [
        ("start", 0, 0, 0.0), ("from", 0, 0, 1.0), ("saved", 0, 0, 1.1), ("step", 0, 0, 1.5),
        ("saved", 0, 3, 2.0), ("step", 0, 0, 2.1), ("step", 0, 0, 2.2), ("saving", 0, 0, 2.3),
        ("start", 0, 0, 9.0), ("from", 0, 3, 9.5), ("saved", 0, 6, 9.6), ("step", 0, 0, 20.0),
        ("start", 0, 0, 30.0), ("from", 0, 3, 31.0),
    ]  # fmt: skip
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    first, second = kills.repeats(kills.events(log))
    assert first == (pytest.approx(0.2), "")
    assert second[1].startswith("began at (0, 3), though (0, 6) had been saved")


def test_a_fault_is_injected_where_it_says(tmp_path: Path) -> None:
    from lucency.errors import RunError
    from lucency.io import write_bytes

    fault = faults.Fault("fsync", f"{tmp_path.name}/.b.tmp in files.writing._create", 28, False)
    with faults.failing(fault):
        write_bytes(tmp_path / "a", b"a")
        with pytest.raises(RunError, match="disk is full"):
            write_bytes(tmp_path / "b", b"b")
        write_bytes(tmp_path / "b", b"b")
    with pytest.raises(RuntimeError, match="never reached"), faults.failing(fault):
        write_bytes(tmp_path / "a", b"a")


def test_a_damaged_checkpoint_that_is_believed_would_be_reported(tmp_path: Path) -> None:
    heard = Heard()
    checkpoints, newest = damage.written(tmp_path, heard)
    (file, *_) = sorted(newest.iterdir())
    assert list(damage._one(checkpoints, heard, file, lambda data: data)) == [
        "the one before it was not used",
        "told 0 times",
    ]
