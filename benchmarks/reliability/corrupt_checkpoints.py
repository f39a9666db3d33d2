"""A truncated or altered checkpoint is detected, and the previous one used."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.trial import Trial, WarningRecorder
from lucency.progress import Progress
from lucency.training.checkpoints import Checkpoints
from lucency.training.early_stopping import EarlyStopping
from lucency.training.state import Snapshot, TrainState, Weights

_IDENTITY = {"plan": {"seed": 0}, "data": {"train": "x"}, "backend": {}, "versions": {}}


def trials(folder: Path, quick: bool) -> list[Trial]:
    rng = random.Random(0)
    cuts, flips = (20, 100) if quick else (100, 1000)
    return [
        _trial("no end", folder / "cut", cuts, lambda data: data[: rng.randrange(len(data))]),
        _trial("one bit changed", folder / "flip", flips, lambda data: flipped(data, rng)),
    ]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _trial(name: str, folder: Path, times: int, corrupt: Callable[[bytes], bytes]) -> Trial:
    progress = WarningRecorder()
    checkpoints, newest = written(folder, progress)
    files = sorted(newest.iterdir())
    failures = []
    for number in range(times):
        file = files[number % len(files)]
        failures += [f"{file.name}: {line}" for line in _one(checkpoints, progress, file, corrupt)]
    if not _accepted(checkpoints, progress):
        failures.append("an intact checkpoint was rejected")
    notes = f"in {len(files)} files in turn; one warning each, the previous one used"
    return Trial(f"a checkpoint with {name} is detected", times, failures, notes)


def _one(
    checkpoints: Checkpoints,
    progress: WarningRecorder,
    file: Path,
    corrupt: Callable[[bytes], bytes],
) -> Iterator[str]:
    """Corrupt a file, load the latest checkpoint, and restore the file."""
    whole = file.read_bytes()
    file.write_bytes(corrupt(whole))
    progress.warnings.clear()
    found = checkpoints.latest()
    if found is None or found.state.step != 1:
        yield "the previous checkpoint was not used"
    if len(progress.warnings) != 1 or "DAMAGED CHECKPOINT" not in progress.warnings[0]:
        yield f"{len(progress.warnings)} warnings"
    file.write_bytes(whole)


def _accepted(checkpoints: Checkpoints, progress: WarningRecorder) -> bool:
    progress.warnings.clear()
    found = checkpoints.latest()
    return found is not None and found.state.step == 2 and not progress.warnings


def written(folder: Path, progress: Progress) -> tuple[Checkpoints, Path]:
    """Write two checkpoints of a small network; return them and the folder of the newer one."""
    import numpy as np

    numbers = np.random.default_rng(0)
    network = [numbers.normal(size=(3, 3, 8, 8)).astype(np.float32), np.zeros(8, np.float32)]
    optimizer = [np.asarray(7, np.int64), np.asarray(1e-3, np.float32), *network, *network]
    state = TrainState(EarlyStopping("last", 0), 32, step=1, sums={"loss": 0.5}, recent=[0.5])
    snapshot = Snapshot.of(state, Weights(network, optimizer), network)
    checkpoints = Checkpoints(
        folder, _IDENTITY, seconds=0, largest=snapshot.weights.nbytes, progress=progress
    )
    checkpoints.write(snapshot)
    checkpoints.write(dataclasses.replace(snapshot, state=dataclasses.replace(state, step=2)))
    return checkpoints, max(folder.iterdir())
