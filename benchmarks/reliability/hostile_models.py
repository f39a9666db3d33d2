"""Hostile run folders: each must be rejected, run no code, open no other file, and stay cheap.

A valid run folder is copied and corrupted in one way at a time. Each copy is given to
``Classifier.load`` and ``predict`` and to the command line, in a guarded process. It must be
rejected with one line and exit code 2, within limits of time and memory.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.command import run_json
from benchmarks.reliability.hostile import (
    arrays,
    file_types,
    guard_self_test,
    json_files,
    onnx_files,
    process_guard,
)
from benchmarks.reliability.hostile.sample_run import PREDICT, REDRAW, Case, write_run
from benchmarks.trial import Trial

MOST_SECONDS = 2.0  # beyond start-up
MOST_GROWTH = 96.0  # MiB beyond those of the imports
_MODULES = (file_types, json_files, arrays, onnx_files)
_COMMANDS = (PREDICT, "evaluate", REDRAW, "verify")


def cases() -> list[Case]:
    """Return all hostile folders, and the controls, which must be accepted."""
    controls = [Case(f"unchanged: {name}", _unchanged, name, accepted=True) for name in _COMMANDS]
    return [*controls, *(case for module in _MODULES for case in module.cases())]


def trials(folder: Path, quick: bool) -> list[Trial]:
    """Test every case in a separate process; the full version tests each three times.

    Args:
        folder: An empty folder to work in.
        quick: Whether once is enough.
    """
    return [Trial(**trial) for trial in run_json(__name__, folder, 1 if quick else 3)]


def main() -> None:
    """Test everything in this process, which has imported nothing else; print trials as JSON."""
    folder, repeats = Path(sys.argv[1]), int(sys.argv[2])
    found = run_cases(cases(), folder, repeats)
    count, missed = guard_self_test.unreported(folder, complaints)
    accepted = Case("planted", lambda place, _: (place / "more").write_text("x"))
    (result, _) = run_cases([accepted], folder / "planted", 1)
    if not any("was accepted" in line for line in result.failures):
        missed.append(f"a folder that was accepted was not reported: {result.failures}")
    found.append(Trial("forbidden actions are reported", count + 1, missed))
    found.append(Trial("ONNX Runtime's memory is bounded", 1, guard_self_test.unbounded()))
    print(json.dumps([dataclasses.asdict(trial) for trial in found]))


def run_cases(given: Sequence[Case], folder: Path, repeats: int) -> list[Trial]:
    """Return one trial of the hostile cases and one of the controls.

    It forks this process, which should have few threads and no heavy imports.
    """
    process_guard.warm_up()
    valid = write_run(folder / "valid")
    os.environ["LUCENCY_LEDGER"] = str(folder / "ledger" / "test_evaluations.jsonl")
    outcomes = [
        (case, _outcome(case, valid, folder / f"{number}-{repeat}"))
        for repeat in range(repeats)
        for number, case in enumerate(given)
    ]
    hostile = [pair for pair in outcomes if not pair[0].accepted]
    controls = [pair for pair in outcomes if pair[0].accepted]
    return [
        _trial("hostile run folders are rejected", hostile),
        _trial("valid run folders are accepted", controls),
    ]


def _unchanged(run: Path, canary: Path) -> None:
    """Leave the folder as it is."""


def _outcome(case: Case, valid: Path, place: Path) -> process_guard.Outcome:
    copy, canary = place / "run", place / "canary" / "secret"
    canary.parent.mkdir(parents=True)
    canary.write_text("no process may read this")
    shutil.copytree(valid, copy)
    image = valid.parent / "image.png"
    case.corrupt(copy, canary)
    command, call = [*case.command.split(), str(copy)], None
    if case.command == PREDICT:
        command, call = [*command, str(image)], _predicting(copy, image)
    ledger = Path(os.environ["LUCENCY_LEDGER"]).parent
    try:
        return process_guard.guarded(command, call, [copy, image, ledger], [canary])
    finally:
        shutil.rmtree(place)


def _predicting(run: Path, image: Path) -> Callable[[], object]:
    def call() -> object:
        from lucency.classifier import Classifier

        return Classifier.load(run).predict([image])

    return call


def complaints(case: Case, outcome: process_guard.Outcome) -> list[str]:
    """Return what a process did wrong, one line each."""
    found = [*outcome.forbidden]
    if outcome.seconds > MOST_SECONDS:
        found.append(f"took {outcome.seconds:.1f} s; at most {MOST_SECONDS:g} are allowed")
    if outcome.growth > MOST_GROWTH:
        found.append(f"took {outcome.growth:.0f} MiB more; at most {MOST_GROWTH:g} are allowed")
    found += _of_control(outcome, case.command) if case.accepted else _of_hostile(case, outcome)
    return [f"{case.name}: {' '.join(line.split())[:300]}" for line in found]


def _of_control(outcome: process_guard.Outcome, command: str) -> Iterable[str]:
    expected = 3 if command.startswith("verify") else 0  # some checks need a trained run
    if outcome.code != expected or outcome.raised:
        yield f"was rejected with {outcome.code}: {outcome.raised or outcome.errors}"


def _of_hostile(case: Case, outcome: process_guard.Outcome) -> Iterable[str]:
    if outcome.code == 0:
        yield "was accepted"
    elif outcome.code != 2 or not outcome.errors.startswith("lucency: "):
        yield f"ended with {outcome.code}: {outcome.errors}"
    elif outcome.errors.count("\n") != 1 or len(outcome.errors) > 1500:
        yield f"printed more than one line: {outcome.errors}"
    if case.command == PREDICT and not (outcome.rejected and "\n" not in outcome.raised):
        yield f"raised no LucencyError of one line: {outcome.raised or 'nothing'}"


def _trial(name: str, outcomes: Sequence[tuple[Case, process_guard.Outcome]]) -> Trial:
    slowest = max((outcome.seconds for _, outcome in outcomes), default=0.0)
    largest = max((outcome.growth for _, outcome in outcomes), default=0.0)
    return Trial(
        name,
        len(outcomes),
        [line for case, outcome in outcomes for line in complaints(case, outcome)],
        f"{len({case.name for case, _ in outcomes})} cases; the slowest took {slowest:.2f} s, the "
        f"largest {largest:.0f} MiB",
        sum(outcome.seconds for _, outcome in outcomes),
    )


if __name__ == "__main__":
    main()
