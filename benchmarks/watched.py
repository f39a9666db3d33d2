"""The command line under observation: it writes down what training does, and can end in a save.

``python -m benchmarks.watched ARGUMENTS...`` is ``lucency ARGUMENTS...``. The environment variable
``VICTIM`` is a JSON object:

    log     file to which a line is added for every start, step and checkpoint
    save    in which checkpoint to end, from 1; left out for none
    call    at which of its writes, fsyncs and renames to end with SIGKILL, from 1
    half    whether a write puts half of its bytes on the disk before that
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CALLS = ("write", "fsync", "rename", "mkdir")


class _Log:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._write = os.write  # the real one

    def __call__(self, what: str, epoch: int = 0, step: int = 0) -> None:
        line = json.dumps([what, epoch, step, time.monotonic()])
        self._write(self._file, f"{line}\n".encode())


class _Killer:
    """Counts the system's calls inside checkpoints, and ends the process at one of them."""

    def __init__(self, save: int, call: int, half: bool) -> None:
        self.save, self.call, self.half = save, call, half
        self.saves = self.calls = 0
        self.inside = False

    def guard(self, name: str) -> None:
        real = getattr(os, name)

        def guarded(*given: Any, **named: Any) -> Any:
            if self.inside and self.saves == self.save:
                self.calls += 1
                if self.calls == self.call:
                    if self.half and name == "write":
                        real(given[0], given[1][: len(given[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        setattr(os, name, guarded)


def main() -> None:
    wanted = json.loads(os.environ["VICTIM"])
    log = _Log(wanted["log"])
    log("start")
    killer = _Killer(wanted.get("save", 0), wanted.get("call", 0), wanted.get("half", False))
    for name in _CALLS:
        killer.guard(name)
    from lucency.training.checkpoints import Checkpoints
    from lucency.training.step import Stepper

    _watch(Stepper, Checkpoints, log, killer)
    from lucency.cli import main as lucency

    lucency()


def _watch(stepper: Any, checkpoints: Any, log: Callable[..., None], killer: _Killer) -> None:
    train, write, latest = stepper.train, checkpoints.write, checkpoints.latest

    def trained(self: Any, *given: Any) -> Any:
        seen = train(self, *given)
        log("step")
        return seen

    def written(self: Any, snapshot: Any) -> None:
        killer.saves += 1
        killer.inside = True
        log("saving")
        write(self, snapshot)
        killer.inside = False
        log("saved", snapshot.state.epoch, snapshot.state.step)

    def found(self: Any) -> Any:
        snapshot = latest(self)
        state = snapshot.state if snapshot else None
        log("from", state.epoch if state else 0, state.step if state else 0)
        return snapshot

    stepper.train, checkpoints.write, checkpoints.latest = trained, written, found


def events(path: Path) -> list[tuple[str, int, int, float]]:
    """Read a log: what, epoch, step, seconds of this machine's clock."""
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
