"""Failing writes, fsyncs and renames: nothing is lost, and an error or a warning says so.

A training runs in this process with one failing system call: each distinct one (by its place in the
program and its file) in turn, with ENOSPC and with EIO, once and permanently. Then the same command
runs without faults and has to produce the same bytes.
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

from benchmarks.reliability.kills import differences, draw
from benchmarks.small_network import small_network
from benchmarks.trial import Trial, WarningRecorder
from lucency.config import Config
from lucency.errors import LucencyError
from lucency.progress import Progress

_BETWEEN = ("pathlib", "os", "shutil", "tempfile", "contextlib", "benchmarks")
_CALLS = ("write", "fsync", "replace", "rename", "mkdir")
CONFIG = Config(effort="quick", size=16, batch=8, epochs=3, folds=0, checkpoint_seconds=0.0)
_QUICK = 151  # with quick, every 151st fault


@dataclasses.dataclass(frozen=True)
class Fault:
    """Which call fails, how, and whether all later ones fail as well."""

    call: str
    place: str
    code: int
    permanent: bool

    def __str__(self) -> str:
        since = " and all later ones" if self.permanent else ""
        return f"{self.call} of {self.place}{since}: {errno.errorcode[self.code]}"


def trials(folder: Path, quick: bool) -> list[Trial]:
    draw(folder / "radiographs", 20)
    (folder / "runs").mkdir()  # otherwise only the first run would create it
    with small_network(), _own_ledger(folder):  # this is about the disk
        whole, places = _whole(folder)
        faults = [
            Fault(*each, code, permanent)
            for each in places
            for code, permanent in ((errno.ENOSPC, False), (errno.EIO, False), (errno.ENOSPC, True))
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
    name = "a full or failing disk: nothing is lost, one line of error"
    return [Trial(name, len(chosen), failures, notes)]


def _one(folder: Path, whole: Path, fault: Fault) -> tuple[str, list[str]]:
    """Run with a fault, then without; return the outcome of the first run, and what was wrong."""
    target = folder / "runs" / "faulty"
    partial = target.with_name("faulty.unfinished")
    for path in (target, partial, folder / "cache", folder / "test_evaluations.jsonl"):
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
    progress, wrong, outcome = WarningRecorder(), [], "completed with a warning"
    try:
        with failing(fault):
            _train(folder, target, progress)
    except LucencyError as error:
        outcome = "stopped with one line"
        if "\n" in str(error) or (target.exists() and "is complete, but" not in str(error)):
            wrong.append(f"not one line, or a run that looks complete: {error}")
        wrong += _invalid(partial)
    except Exception as error:
        return "crashed", [f"{type(error).__name__}: {error}"]
    else:
        if not progress.warnings:
            wrong.append("no warning")
        wrong += differences(whole, target)
        return outcome, wrong
    if not target.exists():
        _train(folder, target, WarningRecorder())
    return outcome, wrong + differences(whole, target)


def _invalid(partial: Path) -> list[str]:
    """Return what is wrong with the remaining checkpoints."""
    from lucency.training.checkpoints import read_verified

    found = sorted((partial / "checkpoints").glob("[0-9]*"))
    wrong = []
    for path in found:
        try:
            read_verified(path)
        except Exception as error:
            wrong.append(f"{path.name} remains and is corrupt ({error})")
    hidden = [path for path in partial.rglob(".*.tmp") if path.is_file()]
    return wrong + [f"{path.name} remains" for path in hidden]


def _whole(folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """Train the undisturbed run; return it and its distinct system calls."""
    calls: dict[tuple[str, str], None] = {}
    with _patched(lambda call, place: calls.setdefault((call, place))):
        _train(folder, folder / "runs" / "whole", WarningRecorder())
    return folder / "runs" / "whole", list(calls)


def _train(folder: Path, target: Path, progress: Progress) -> None:
    from lucency.pipeline.train import run_training

    config = dataclasses.replace(CONFIG, cache=str(folder / "cache"))
    run_training(folder / "radiographs", config, run=str(target), progress=progress)


@contextlib.contextmanager
def failing(fault: Fault) -> Iterator[None]:
    """Make one call fail the first time that its place is reached, and perhaps all later ones."""
    reached = False

    def fail(call: str, place: str) -> None:
        nonlocal reached
        matches = (call, place) == (fault.call, fault.place)
        if (matches and not reached) or (reached and fault.permanent):
            reached = True
            raise OSError(fault.code, os.strerror(fault.code))

    with _patched(fail):
        yield
    if not reached:
        raise RuntimeError(f"{fault} was never reached")


@contextlib.contextmanager
def _patched(callback: Callable[[str, str], Any]) -> Iterator[None]:
    """Call ``callback`` before every system call of Lucency that changes the disk."""
    real = {name: getattr(os, name) for name in _CALLS}
    files: dict[int, str] = {}
    real_open = os.open

    def opened(path: Any, *given: Any, **named: Any) -> int:
        descriptor = real_open(path, *given, **named)
        files[descriptor] = os.fspath(path) if not isinstance(path, int) else ""
        return descriptor

    def patched(name: str) -> Callable[..., Any]:
        def call(first: Any, *given: Any, **named: Any) -> Any:
            if (caller := _caller()) and (
                path := files.get(first, "?") if isinstance(first, int) else os.fspath(first)
            ):
                callback(name, f"{_pattern(str(path))} in {caller}")
            return real[name](first, *given, **named)

        return call

    try:
        os.open = opened
        for name in _CALLS:
            setattr(os, name, patched(name))
        yield
    finally:
        os.open = real_open
        for name, function in real.items():
            setattr(os, name, function)


def _caller() -> str:
    """Return the function of Lucency that makes a call; empty for calls of other packages."""
    frame = sys._getframe(2)
    for _ in range(6):  # pathlib may be in between
        if frame is None:
            return ""
        module = frame.f_globals.get("__name__", "")
        if module.startswith("lucency."):
            return f"{module.removeprefix('lucency.')}.{frame.f_code.co_name}"
        if module.split(".")[0] not in _BETWEEN:
            return ""
        frame = frame.f_back
    return ""


def _pattern(path: str) -> str:
    """Return a path without names that differ between runs."""
    name = "/".join(Path(path).parts[-2:])
    name = re.sub(r"\.(decoding-)[^/]*", r".\1X", name)
    name = re.sub(r"[0-9a-f]{64}", "KEY", name)
    name = re.sub(r"lucency-[a-z0-9_]{8}", "lucency-X", name)  # temporary folders
    name = re.sub(r"\.\d+\.tmp$", ".tmp", name)
    name = re.sub(r"[^/]+\.png", "X.png", name)
    name = re.sub(r"\d{6}-epoch-\d+(-step-\d+)?", "CHECKPOINT", name)
    return re.sub(r"(whole|faulty)", "RUN", name)


@contextlib.contextmanager
def _own_ledger(folder: Path) -> Iterator[None]:
    before = os.environ.get("LUCENCY_LEDGER")
    os.environ["LUCENCY_LEDGER"] = str(folder / "test_evaluations.jsonl")
    try:
        yield
    finally:
        os.environ.pop("LUCENCY_LEDGER")
        if before is not None:
            os.environ["LUCENCY_LEDGER"] = before
