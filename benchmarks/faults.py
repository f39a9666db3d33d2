"""A write, an fsync or a rename fails: nothing is lost, and what is missing is said.

The main job runs in this process with one of the system's calls failing: each distinct one (by the
place in the program and the file) in turn, with ENOSPC and with EIO, once and from then on. After
that the same command runs without faults and has to come to the same bytes.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.kills import differences, draw
from benchmarks.trial import Heard, Trial
from lucency.config import Config
from lucency.errors import LucencyError
from lucency.progress import Progress

_CALLS = ("write", "fsync", "replace", "rename", "mkdir")
CONFIG = Config(effort="quick", size=16, batch=8, epochs=3, checkpoint_seconds=0.0)
_QUICK = 61  # every so many-th fault


@dataclasses.dataclass(frozen=True)
class Fault:
    """Which call fails, how, and whether all after it fail as well."""

    call: str
    place: str
    code: int
    lasts: bool

    def __str__(self) -> str:
        since = " and all after it" if self.lasts else ""
        return f"{self.call} of {self.place}{since}: {errno.errorcode[self.code]}"


def trials(folder: Path, quick: bool) -> list[Trial]:
    draw(folder / "radiographs", 20)
    (folder / "runs").mkdir()  # by the first run alone, so that no later one could fail there
    with _small_network(), _own_places(folder):
        whole, places = _whole(folder)
        faults = [
            Fault(*each, code, lasts)
            for each in places
            for code, lasts in ((errno.ENOSPC, False), (errno.EIO, False), (errno.ENOSPC, True))
        ]
        chosen = faults[::_QUICK] if quick else faults
        outcomes: collections.Counter[str] = collections.Counter()
        failures = []
        for number, fault in enumerate(chosen):
            outcome, wrong = _one(folder, whole, fault)
            outcomes[outcome] += 1
            failures += [f"{fault}: {line}" for line in wrong]
            if number % 25 == 24:
                print(f"  {number + 1} of {len(chosen)} faults", flush=True)
    notes = ", ".join(f"{count} {what}" for what, count in sorted(outcomes.items()))
    notes = f"{len(places)} distinct calls; {notes}"
    return [Trial("a full or failing disk: nothing lost, one line", len(chosen), failures, notes)]


def _one(folder: Path, whole: Path, fault: Fault) -> tuple[str, list[str]]:
    """Run with a fault, then without; return how the first ended, and what was wrong."""
    target = folder / "runs" / "faulty"
    draft = target.with_name("faulty.unfinished")
    for path in (target, draft, folder / "cache", folder / "test_evaluations.jsonl"):
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
    heard, wrong, outcome = Heard(), [], "went on to the end with a warning"
    try:
        with failing(fault):
            _train(folder, target, heard)
    except LucencyError as error:
        outcome = "stopped with one line"
        if "\n" in str(error) or (target.exists() and "is complete, but" not in str(error)):
            wrong.append(f"not one line, or a run that looks finished: {error}")
        wrong += _unsound(draft)
    except Exception as error:
        return "crashed", [f"{type(error).__name__}: {error}"]
    else:
        if not heard.warnings:
            wrong.append("nobody was told")
        wrong += differences(whole, target)
        return outcome, wrong
    if not target.exists():
        _train(folder, target, Heard())
    return outcome, wrong + differences(whole, target)


def _unsound(draft: Path) -> list[str]:
    """Say what is wrong with the checkpoints that are left."""
    from lucency.training.checkpoints import verified

    found = sorted((draft / "checkpoints").glob("[0-9]*"))
    wrong = []
    for path in found:
        try:
            verified(path)
        except Exception as error:
            wrong.append(f"{path.name} is left, and damaged ({error})")
    hidden = [path for path in draft.rglob(".*.tmp") if path.is_file()]
    return wrong + [f"{path.name} is left behind" for path in hidden]


def _whole(folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """Make the undisturbed run; return it and the calls that it makes, each place once."""
    seen: dict[tuple[str, str], None] = {}
    with _patched(lambda call, place: seen.setdefault((call, place))):
        _train(folder, folder / "runs" / "whole", Heard())
    return folder / "runs" / "whole", list(seen)


def _train(folder: Path, target: Path, progress: Progress) -> None:
    from lucency.pipeline.train import run_training

    config = dataclasses.replace(CONFIG, cache=str(folder / "cache"))
    run_training(folder / "radiographs", config, run=str(target), progress=progress)


@contextlib.contextmanager
def failing(fault: Fault) -> Iterator[None]:
    """Have one call fail the first time that its place is reached, and perhaps all after it."""
    reached = False

    def fail(call: str, place: str) -> None:
        nonlocal reached
        wanted = (call, place) == (fault.call, fault.place)
        if (wanted and not reached) or (reached and fault.lasts):
            reached = True
            raise OSError(fault.code, os.strerror(fault.code))

    with _patched(fail):
        yield
    if not reached:
        raise RuntimeError(f"{fault} was never reached")


@contextlib.contextmanager
def _patched(watch: Callable[[str, str], Any]) -> Iterator[None]:
    """Tell ``watch`` of every call of Lucency that changes the disk, before it is made."""
    real = {name: getattr(os, name) for name in _CALLS}
    files: dict[int, str] = {}
    real_open = os.open

    def opened(path: Any, *given: Any, **named: Any) -> int:
        descriptor = real_open(path, *given, **named)
        files[descriptor] = os.fspath(path) if not isinstance(path, int) else ""
        return descriptor

    def watched(name: str) -> Callable[..., Any]:
        def call(first: Any, *given: Any, **named: Any) -> Any:
            if (caller := _caller()) and (
                path := files.get(first, "?") if isinstance(first, int) else os.fspath(first)
            ):
                watch(name, f"{_kind(str(path))} in {caller}")
            return real[name](first, *given, **named)

        return call

    try:
        os.open = opened
        for name in _CALLS:
            setattr(os, name, watched(name))
        yield
    finally:
        os.open = real_open
        for name, function in real.items():
            setattr(os, name, function)


def _caller() -> str:
    """Return the place in Lucency that a call comes from; empty for other programs' calls."""
    frame = sys._getframe(2)
    for _ in range(6):  # pathlib may lie between
        if frame is None:
            return ""
        module = frame.f_globals.get("__name__", "")
        if module.startswith("lucency."):
            return f"{module.removeprefix('lucency.')}.{frame.f_code.co_name}"
        if module.split(".")[0] not in (
            "pathlib",
            "os",
            "shutil",
            "tempfile",
            "contextlib",
            "benchmarks",
        ):
            return ""
        frame = frame.f_back
    return ""


def _kind(path: str) -> str:
    """Return what a path is, without names that differ from run to run."""
    name = "/".join(Path(path).parts[-2:])
    name = re.sub(r"\.(decoding-)[^/]*", r".\1X", name)
    name = re.sub(r"[0-9a-f]{64}", "KEY", name)
    name = re.sub(r"lucency-[a-z0-9_]{8}", "lucency-X", name)  # temporary folders
    name = re.sub(r"\.\d+\.tmp$", ".tmp", name)
    name = re.sub(r"[^/]+\.png", "X.png", name)
    name = re.sub(r"\d{6}-epoch-\d+(-step-\d+)?", "CHECKPOINT", name)
    return re.sub(r"(whole|faulty)", "RUN", name)


@contextlib.contextmanager
def _small_network() -> Iterator[None]:
    """Train a network that compiles in a second: it is the disk that is tried here."""
    from lucency.training import train

    real = train.make_plan

    def small(*given: Any) -> Any:
        return dataclasses.replace(real(*given), parameters={"width": 4, "blocks": (1, 1)})

    train.make_plan = small
    try:
        yield
    finally:
        train.make_plan = real


@contextlib.contextmanager
def _own_places(folder: Path) -> Iterator[None]:
    before = os.environ.get("LUCENCY_LEDGER")
    os.environ["LUCENCY_LEDGER"] = str(folder / "test_evaluations.jsonl")
    try:
        yield
    finally:
        os.environ.pop("LUCENCY_LEDGER")
        if before is not None:
            os.environ["LUCENCY_LEDGER"] = before
