"""Too little memory: training completes with a smaller micro-batch.

The address space of the process is limited at its first step. Backends on processors do not always
report that memory ran out; they may crash. Then the same command is repeated, as a user would, and
has to complete.
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

from benchmarks.command import ROOT
from benchmarks.reliability.kills import draw
from benchmarks.trial import Trial

BATCH = 96
_PROCESSES = 6  # most attempts per training
_SECONDS = 120  # after which one is killed, as a user would


def trials(folder: Path, quick: bool) -> list[Trial]:
    draw(folder / "radiographs", 80)
    limits = (2400,) if quick else (3000, 2600, 2400, 2200, 2000)  # MiB; a whole batch needs more
    failures, notes = [], []
    for limit in limits:
        ended, micro = _trained(folder, limit)
        if micro is None or micro >= BATCH:
            failures.append(f"{limit} MiB: ended with {ended}, {micro} images at once")
        notes.append(f"{limit} MiB: {micro} of {BATCH} at once, {len(ended)} processes")
    return [Trial("too little memory: training completes", len(limits), failures, "; ".join(notes))]


def _trained(folder: Path, limit: int) -> tuple[list[int], int | None]:
    """Train in as many processes as needed; return their exit codes, and the micro-batch."""
    ended = []
    command = [sys.executable, "-m", __name__, str(folder), str(limit)]
    while len(ended) < _PROCESSES:
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
            try:
                output, _ = process.communicate(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                output, _ = process.communicate()
        ended.append(process.returncode)
        if process.returncode == 0:
            return ended, int(json.loads(output.splitlines()[-1])["micro_batch"])
    return ended, None


def _train(folder: Path, limit: int) -> Mapping[str, Any]:
    """Train for an epoch, with ``limit`` MiB more than before the first step."""
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
        used = re.search(r"VmSize:\s+(\d+) kB", status)
        most = int(used[1]) * 1024 + limit * 2**20 if used else 0
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        return real(self, *given)

    Stepper.train = limited  # type: ignore[method-assign]
    found = train(data.train, data.val, config, checkpoints=folder / f"checkpoints-{limit}")
    return found.training


if __name__ == "__main__":
    place, limit = sys.argv[1:]
    print(json.dumps(_train(Path(place), int(limit))))
