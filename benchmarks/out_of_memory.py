"""Too little memory, for real: training ends well with fewer images computed at once.

The address space of the process is limited as it takes its first step. Backends on processors do
not always say that memory ran out: they may die. The same command is given again then, as a person
would, and has to come to its end.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.child import ROOT
from benchmarks.kills import draw
from benchmarks.trial import Trial

BATCH = 96
_PROCESSES = 6  # most that one training may take
_SECONDS = 120  # after which one is ended, as a person would


def trials(folder: Path, quick: bool) -> list[Trial]:
    draw(folder / "radiographs", 80)
    rooms = (2400,) if quick else (3000, 2600, 2400, 2200, 2000)  # MiB; a whole batch takes more
    failures, notes = [], []
    for room in rooms:
        ended, micro = _trained(folder, room)
        if micro is None or micro >= BATCH:
            failures.append(f"{room} MiB: ended with {ended}, {micro} images at once")
        notes.append(f"{room} MiB: {micro} of {BATCH} at once, {len(ended)} processes")
    return [Trial("too little memory: training ends well", len(rooms), failures, "; ".join(notes))]


def _trained(folder: Path, room: int) -> tuple[list[int], int | None]:
    """Train in as many processes as it takes; return how each ended, and the micro-batch."""
    ended = []
    command = [sys.executable, "-m", "benchmarks.out_of_memory", str(folder), str(room)]
    while len(ended) < _PROCESSES:
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
            try:
                said, _ = process.communicate(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                said, _ = process.communicate()
        ended.append(process.returncode)
        if process.returncode == 0:
            return ended, int(json.loads(said.splitlines()[-1])["micro_batch"])
    return ended, None


def _train(folder: Path, room: int) -> Mapping[str, Any]:
    """Train for an epoch, with ``room`` MiB more than what is taken before the first step."""
    from lucency.config import Config
    from lucency.dataset import load_dataset
    from lucency.training.step import Stepper
    from lucency.training.train import train

    config = Config(
        recipe="article", size=255, epochs=1, batch=BATCH, precision="float32",
        cache=str(folder / "cache"),
    )  # fmt: skip
    data = load_dataset(folder / "radiographs", config)
    real = Stepper.train

    def limited(self: Stepper, *given: Any) -> Any:
        Stepper.train = real  # type: ignore[method-assign]
        status = Path("/proc/self/status").read_text(encoding="ascii")
        taken = re.search(r"VmSize:\s+(\d+) kB", status)
        most = int(taken[1]) * 1024 + room * 2**20 if taken else 0
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        return real(self, *given)

    Stepper.train = limited  # type: ignore[method-assign]
    found = train(data.train, data.val, config, checkpoints=folder / f"checkpoints-{room}")
    return found.training


if __name__ == "__main__":
    place, room = sys.argv[1:]
    print(json.dumps(_train(Path(place), int(room))))
