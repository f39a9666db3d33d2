"""A checkpoint that is cut off or has a bit changed is noticed, and the one before it used."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.trial import Heard, Trial
from lucency.progress import Progress
from lucency.training.checkpoints import Checkpoints
from lucency.training.state import Snapshot, Stopper, TrainState
from lucency.training.step import Weights

_IDENTITY = {"plan": {"seed": 0}, "data": {"train": "x"}, "backend": {}, "versions": {}}


def trials(folder: Path, quick: bool) -> list[Trial]:
    drawn = random.Random(0)
    cuts, flips = (20, 100) if quick else (100, 1000)
    return [
        _trial("cut off", folder / "cut", cuts, lambda data: data[: drawn.randrange(len(data))]),
        _trial("one bit changed", folder / "flip", flips, lambda data: flipped(data, drawn)),
    ]


def flipped(data: bytes, drawn: random.Random) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(data)
    changed[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
    return bytes(changed)


def _trial(name: str, folder: Path, times: int, spoil: Callable[[bytes], bytes]) -> Trial:
    heard = Heard()
    checkpoints, newest = written(folder, heard)
    files = sorted(newest.iterdir())
    failures = []
    for number in range(times):
        file = files[number % len(files)]
        failures += [f"{file.name}: {line}" for line in _one(checkpoints, heard, file, spoil)]
    if list(_unnoticed(checkpoints, heard)):
        failures.append("an untouched checkpoint was refused")
    notes = f"in {len(files)} files in turn; all told of, the one before used"
    return Trial(f"a checkpoint with {name} is noticed", times, failures, notes)


def _one(
    checkpoints: Checkpoints, heard: Heard, file: Path, spoil: Callable[[bytes], bytes]
) -> Iterator[str]:
    """Spoil a file, look, and put it back."""
    whole = file.read_bytes()
    file.write_bytes(spoil(whole))
    heard.warnings.clear()
    found = checkpoints.latest()
    if found is None or found.state.step != 1:
        yield "the one before it was not used"
    if len(heard.warnings) != 1 or "DAMAGED CHECKPOINT" not in heard.warnings[0]:
        yield f"told {len(heard.warnings)} times"
    file.write_bytes(whole)


def _unnoticed(checkpoints: Checkpoints, heard: Heard) -> Iterator[str]:
    heard.warnings.clear()
    found = checkpoints.latest()
    if found is None or found.state.step != 2 or heard.warnings:
        yield "refused"


def written(folder: Path, progress: Progress) -> tuple[Checkpoints, Path]:
    """Write two checkpoints of a small network; return them and the folder of the newer one."""
    import numpy as np

    numbers = np.random.default_rng(0)
    network = [numbers.normal(size=(3, 3, 8, 8)).astype(np.float32), np.zeros(8, np.float32)]
    optimizer = [np.asarray(7, np.int64), np.asarray(1e-3, np.float32), *network, *network]
    state = TrainState(Stopper("last", 0), 32, step=1, sums={"loss": 0.5}, recent=[0.5])
    snapshot = Snapshot.of(state, Weights(network, optimizer), network)
    checkpoints = Checkpoints(
        folder, _IDENTITY, seconds=0, largest=snapshot.weights.nbytes, progress=progress
    )
    checkpoints.write(snapshot)
    checkpoints.write(dataclasses.replace(snapshot, state=dataclasses.replace(state, step=2)))
    return checkpoints, max(folder.iterdir())
