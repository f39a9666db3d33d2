"""Hostile run folders: none may be taken, run code, open another file, or take memory or time.

A sound run folder is made, copied and spoiled in one way at a time. Each copy is given to
``Classifier.load`` and ``predict`` and to the command line, in a process that is watched. It must
be refused by one line and exit code 2.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks import (
    hostile_arrays,
    hostile_json,
    hostile_onnx,
    hostile_places,
    planted,
    sandbox,
)
from benchmarks.child import run
from benchmarks.kind import PREDICT, Kind
from benchmarks.trial import Trial
from benchmarks.victim import sound_run

MOST_SECONDS = 2.0  # beyond start-up
MOST_GROWTH = 96.0  # MiB beyond what the process holds once everything is imported
_MODULES = (hostile_places, hostile_json, hostile_arrays, hostile_onnx)
_COMMANDS = (PREDICT, "evaluate", "report", "verify")


def kinds() -> list[Kind]:
    """Return all kinds of hostile folders, and the controls, which must be taken."""
    controls = [Kind(f"untouched: {name}", _untouched, name, accepted=True) for name in _COMMANDS]
    return [*controls, *(kind for module in _MODULES for kind in module.kinds())]


def trials(folder: Path, quick: bool) -> list[Trial]:
    """Try every kind, in a process of its own; the full version tries each three times.

    Args:
        folder: An empty folder to work in.
        quick: Whether once is enough.
    """
    command = (sys.executable, "-m", "benchmarks.hostile", str(folder), "1" if quick else "3")
    return [Trial(**trial) for trial in json.loads(run(*command).output)]


def main() -> None:
    """Try everything here, where nothing else has been imported, and print the trials as JSON."""
    folder, repeats = Path(sys.argv[1]), int(sys.argv[2])
    found = tried(kinds(), folder, repeats)
    count, missed = planted.unseen(folder, complaints)
    accepted = Kind("planted", lambda place, _: (place / "more").write_text("x"))
    (judged, _) = tried([accepted], folder / "planted")
    if not any("was accepted" in line for line in judged.failures):
        missed.append(f"a folder that was accepted was not reported: {judged.failures}")
    found.append(Trial("what is done on purpose is seen", count + 1, missed))
    found.append(Trial("ONNX Runtime's memory is bounded", 1, planted.unbounded()))
    print(json.dumps([dataclasses.asdict(trial) for trial in found]))


def tried(given: Sequence[Kind], folder: Path, repeats: int = 1) -> list[Trial]:
    """Return one trial of the hostile kinds and one of the controls.

    It forks this process, which should have few threads and have imported nothing heavy.
    """
    sandbox.warm_up()
    sound = sound_run(folder / "sound")
    os.environ["LUCENCY_LEDGER"] = str(folder / "ledger" / "test_evaluations.jsonl")
    outcomes = [
        (kind, _outcome(kind, sound, folder / f"{number}-{repeat}"))
        for repeat in range(repeats)
        for number, kind in enumerate(given)
    ]
    hostile = [pair for pair in outcomes if not pair[0].accepted]
    controls = [pair for pair in outcomes if pair[0].accepted]
    return [
        _trial("hostile run folders are refused", hostile),
        _trial("sound run folders are taken", controls),
    ]


def _untouched(run: Path, canary: Path) -> None:
    """Leave the folder as it is."""


def _outcome(kind: Kind, sound: Path, place: Path) -> sandbox.Outcome:
    copy, canary = place / "run", place / "canary" / "secret"
    canary.parent.mkdir(parents=True)
    canary.write_text("nobody may read this")
    shutil.copytree(sound, copy)
    image = sound.parent / "image.png"
    kind.spoil(copy, canary)
    command, call = [kind.command, str(copy)], None
    if kind.command == PREDICT:
        command, call = [*command, str(image)], _predicting(copy, image)
    ledger = Path(os.environ["LUCENCY_LEDGER"]).parent
    try:
        return sandbox.watched(command, call, [copy, image, ledger], [canary])
    finally:
        shutil.rmtree(place)


def _predicting(run: Path, image: Path) -> Callable[[], object]:
    def call() -> object:
        from lucency.classifier import Classifier

        return Classifier.load(run).predict([image])

    return call


def complaints(kind: Kind, outcome: sandbox.Outcome) -> list[str]:
    """Return what a process did that it should not have done, one line each."""
    found = [*outcome.forbidden]
    if outcome.seconds > MOST_SECONDS:
        found.append(f"took {outcome.seconds:.1f} s; at most {MOST_SECONDS:g} are allowed")
    if outcome.growth > MOST_GROWTH:
        found.append(f"took {outcome.growth:.0f} MiB more; at most {MOST_GROWTH:g} are allowed")
    found += _of_control(outcome, kind.command) if kind.accepted else _of_refusal(kind, outcome)
    return [f"{kind.name}: {' '.join(line.split())[:300]}" for line in found]


def _of_control(outcome: sandbox.Outcome, command: str) -> Iterable[str]:
    expected = 3 if command == "verify" else 0  # there is no report to compare in the folder
    if outcome.code != expected or outcome.raised:
        yield f"was refused with {outcome.code}: {outcome.raised or outcome.said}"


def _of_refusal(kind: Kind, outcome: sandbox.Outcome) -> Iterable[str]:
    if outcome.code == 0:
        yield "was accepted"
    elif outcome.code != 2 or not outcome.said.startswith("lucency: "):
        yield f"ended with {outcome.code}: {outcome.said}"
    elif outcome.said.count("\n") != 1 or len(outcome.said) > 1500:
        yield f"said more than a line: {outcome.said}"
    if kind.command == PREDICT and not (outcome.refused and "\n" not in outcome.raised):
        yield f"raised no LucencyError of one line: {outcome.raised or 'nothing'}"


def _trial(name: str, outcomes: Sequence[tuple[Kind, sandbox.Outcome]]) -> Trial:
    slowest = max((outcome.seconds for _, outcome in outcomes), default=0.0)
    largest = max((outcome.growth for _, outcome in outcomes), default=0.0)
    return Trial(
        name,
        len(outcomes),
        [line for kind, outcome in outcomes for line in complaints(kind, outcome)],
        f"{len({kind.name for kind, _ in outcomes})} kinds; the slowest took {slowest:.2f} s, the "
        f"largest {largest:.0f} MiB",
        sum(outcome.seconds for _, outcome in outcomes),
    )


if __name__ == "__main__":
    main()
