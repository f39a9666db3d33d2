"""The command line, monitored: it logs steps and checkpoints, and can kill itself inside a save.

``python -m benchmarks.reliability.monitored_worker ARGUMENTS...`` runs ``lucency ARGUMENTS...``.
The environment variable ``MONITOR`` is a JSON object:

    log     file that receives a line per start, step and checkpoint, with the processor time so far
    save    the checkpoint, from 1, in which to die; omitted for none
    call    the number, from 1, of the write, fsync, rename or mkdir at which to die by SIGKILL
    half    whether a write puts half of its bytes on the disk before that
    small   whether the network is one that compiles in seconds
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.small_network import (
    use_few_trees,
    use_small_network,
    use_small_report_images,
    without_extras,
)

_CALLS = ("write", "fsync", "rename", "mkdir")


class _Log:
    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._write = os.write  # before it is replaced

    def __call__(self, what: str, epoch: int = 0, step: int = 0) -> None:
        line = json.dumps([what, epoch, step, time.process_time()])
        self._write(self._file, f"{line}\n".encode())


class _Killer:
    """Counts system calls inside checkpoints, and kills the process at one of them."""

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
    options = json.loads(os.environ["MONITOR"])
    if options.get("small"):
        without_extras()
    log = _Log(options["log"])
    log("start")
    killer = _Killer(options.get("save", 0), options.get("call", 0), options.get("half", False))
    for name in _CALLS:
        killer.guard(name)
    from lucency.training.checkpoints import Checkpoints
    from lucency.training.step import Stepper

    _monitor(Stepper, Checkpoints, log, killer)
    if options.get("small"):
        use_small_network()
        use_few_trees()
        use_small_report_images()
    from lucency.cli import main as lucency

    lucency()


def _monitor(stepper: Any, checkpoints: Any, log: Callable[..., None], killer: _Killer) -> None:
    train, write, latest = stepper.train, checkpoints.write, checkpoints.latest

    def trained(self: Any, *given: Any) -> Any:
        result = train(self, *given)
        log("step")
        return result

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
        log("resume", state.epoch if state else 0, state.step if state else 0)
        return snapshot

    stepper.train, checkpoints.write, checkpoints.latest = trained, written, found


def events(path: Path) -> list[tuple[str, int, int, float]]:
    """Read a log: event, epoch, step, seconds of processor time of its process."""
    return [tuple(json.loads(line)) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()
