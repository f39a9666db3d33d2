"""Snapshots on disk: each a folder that is whole or is not believed.

    checkpoints/000017-epoch-3-step-40/
        network.safetensors  optimizer.safetensors  best.safetensors
        state.json       how far training is, of which plan, data and versions
        manifest.json    sha256 and size of each of these; written last

A folder gets its name when all of it has reached the disk. The latest two are kept, and the latest
from between two epochs (its name has no step), to which training goes back when it diverges.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from lucency.errors import RunError
from lucency.io import arrays_of, parse_json, read_bytes, write_folder
from lucency.progress import SILENT, Progress
from lucency.training.state import Snapshot, TrainState
from lucency.training.step import Arrays, Weights

FORMAT = 1
_MANIFEST, _STATE = "manifest.json", "state.json"
_ARRAYS = ("network", "optimizer", "best")
_LARGEST_JSON = 64 * 2**20  # bytes; ours grow by some 300 with every epoch
_KEPT = 2
_CRASH = ".crash"
_NAME = re.compile(r"(\d{6,})-epoch-(\d+)(?:-step-(\d+))?")


class Damaged(Exception):  # noqa: N818 - says what a checkpoint is
    """A checkpoint is not what was written; the text says how that shows."""


@dataclasses.dataclass(frozen=True, order=True)
class _Place:
    """A checkpoint by its name."""

    number: int
    epoch: int
    step: int
    path: Path

    @classmethod
    def of(cls, folder: Path, number: int, state: TrainState) -> Self:
        step = f"-step-{state.step}" if state.step else ""
        name = f"{number:06d}-epoch-{state.epoch + 1}{step}"
        return cls(number, state.epoch, state.step, folder / name)


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        folder: Where they are; made if missing.
        identity: What the run is: plan, data, backend and versions, as JSON. Checkpoints of another
            plan, other data or another backend are refused.
        seconds: Least time from one checkpoint to the next inside an epoch.
        largest: Bytes of network and optimiser together; longer files are not read.
        progress: Hears of damaged checkpoints and of such that cannot be written.

    Raises:
        RunError: The folder cannot be made or listed.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        *,
        seconds: float,
        largest: int,
        progress: Progress = SILENT,
    ) -> None:
        self._folder, self._seconds, self._progress = folder, seconds, progress
        self._identity = json.loads(json.dumps(identity))
        self._largest = largest + _LARGEST_JSON
        self._last, self._told = time.monotonic(), False
        self._damaged: set[Path] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for draft in folder.glob(".*.tmp"):  # of a process that was killed
                shutil.rmtree(draft, ignore_errors=True)
        except OSError as error:
            raise RunError(f"Cannot use {folder} ({error.strerror or error}).") from error

    def latest(self) -> Snapshot | None:
        """Return the newest sound snapshot; damaged ones are told of and passed over.

        Raises:
            RunError: It belongs to another plan, other data or another backend.
        """
        return self._newest(self._places())

    def beginning_of(self, epoch: int) -> Snapshot | None:
        """Return the newest sound snapshot of the beginning of an epoch, if it is there."""
        return self._newest([p for p in self._places() if (p.epoch, p.step) == (epoch, 0)])

    def crashed(self) -> bool:
        """Tell whether the last process died in compiled code, as ``watched`` would know."""
        trace = self._folder / _CRASH
        return trace.is_file() and trace.stat().st_size > 0

    def note_crash(self) -> None:
        """Leave the same trace for memory that ran out where this process could not mend it."""
        (self._folder / _CRASH).write_bytes(b"out of memory")

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Have a crash of compiled code leave a trace that the next process finds."""
        was_enabled = faulthandler.is_enabled()
        with contextlib.ExitStack() as stack:
            try:
                trace = stack.enter_context((self._folder / _CRASH).open("wb"))
            except OSError as error:  # no reason not to train
                self._progress.warn(f"Crashes leave no trace in {self._folder} ({error.strerror}).")
            else:
                faulthandler.enable(trace)
                stack.callback(_traced_as_before, was_enabled)
            yield

    def due(self) -> bool:
        """Tell whether it is time for the next one."""
        return time.monotonic() - self._last >= self._seconds

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, then remove those that it replaces.

        A disk that is full costs this checkpoint, not the training: it is warned of, and the older
        ones stay.
        """
        self._last = time.monotonic()
        content = _content(snapshot, self._identity)
        try:
            self._check_space(sum(map(len, content.values())))
            number = 1 + max((place.number for place in self._places()), default=0)
            write_folder(_Place.of(self._folder, number, snapshot.state).path, content)
            self._prune()
        except (RunError, OSError) as error:
            self._progress.warn(f"No checkpoint was written, and training goes on. {error}")

    def _places(self) -> list[_Place]:
        """Return the checkpoints that are there, the newest last."""
        found = ((each, _NAME.fullmatch(each.name)) for each in self._folder.iterdir())
        return sorted(
            _Place(int(name[1]), int(name[2]) - 1, int(name[3] or 0), each)
            for each, name in found
            if name
        )

    def _prune(self) -> None:
        for path in self._damaged:
            shutil.rmtree(path, ignore_errors=True)
        places = self._places()
        between = [place for place in places if place.step == 0]
        for place in places[:-_KEPT]:
            if place not in between[-1:]:
                shutil.rmtree(place.path, ignore_errors=True)  # tried again after the next one

    def _check_space(self, size: int) -> None:
        """Warn where the next checkpoints will not fit, while there is time to tidy up."""
        free = shutil.disk_usage(self._folder).free
        if free < 3 * size and not self._told:
            self._told = True
            self._progress.warn(
                f"The disk of {self._folder} has {free / 2**20:,.0f} MiB left, and checkpoints "
                f"need up to {3 * size / 2**20:,.0f} MiB. Free some space."
            )

    def _newest(self, places: Sequence[_Place]) -> Snapshot | None:
        for place in reversed(places):
            try:
                document, files = verified(place.path, self._largest)
                state = TrainState.from_json(document["train_state"])
                self._refuse_foreign(place.path, document["identity"])
                return _snapshot(state, files)
            except (Damaged, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
                self._damaged.add(place.path)
                self._progress.warn(
                    f"DAMAGED CHECKPOINT, not used: {place.path} ({error}). "
                    "Training goes on from the one before it."
                )
        return None

    def _refuse_foreign(self, path: Path, theirs: Mapping[str, Any]) -> None:
        ours = self._identity
        for name in ("plan", "data", "backend"):
            if theirs[name] != ours[name]:
                what = _difference(name, theirs[name], ours[name])
                raise RunError(
                    f"{path.parent} holds checkpoints of another training: {what}. Give what they "
                    "were made with, or begin anew with --no-resume."
                )
        if theirs["versions"] != ours["versions"]:
            what = _difference("versions", theirs["versions"], ours["versions"])
            self._progress.warn(
                f"The checkpoint was made elsewhere or by other versions: {what}. Training goes "
                "on; its result may differ in the last digits from that of one piece."
            )


def _traced_as_before(was_enabled: bool) -> None:
    faulthandler.disable()
    if was_enabled and sys.__stderr__:
        faulthandler.enable(sys.__stderr__)


def _content(snapshot: Snapshot, identity: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of a checkpoint, the manifest last."""
    arrays = {
        "network": snapshot.weights.network,
        "optimizer": snapshot.weights.optimizer,
        "best": snapshot.best,
    }
    files = {f"{name}.safetensors": _packed(part) for name, part in arrays.items() if part}
    state = {"train_state": snapshot.state.to_json(), "identity": identity}
    files[_STATE] = json.dumps(state, indent=1).encode()
    return files | {_MANIFEST: _manifest({name: _listed(data) for name, data in files.items()})}


def _listed(data: bytes) -> dict[str, Any]:
    """Return what the manifest says of a file."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _manifest(listed: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": FORMAT, "files": listed}, indent=1).encode()


def _packed(arrays: Arrays) -> bytes:
    from safetensors.numpy import save

    return bytes(save({f"{place:06d}": array for place, array in enumerate(arrays)}))


def verified(path: Path, largest: int = 2**31) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the state and all files of a checkpoint that is as it was written, to the last bit.

    Every file is compared with the manifest, and the manifest with what we would write of the same
    content: there is no byte that could change unnoticed.

    Args:
        path: Its folder.
        largest: Bytes; longer files are not read.

    Raises:
        Damaged: It is not.
        OSError: A file is missing or cannot be read.
        ValueError: The manifest is no JSON; KeyError or TypeError: it is no manifest.
    """
    manifest = read_bytes(path / _MANIFEST, _LARGEST_JSON)
    document = parse_json(manifest)
    listed = document["files"]
    if document["format"] != FORMAT or _manifest(listed) != manifest:
        raise Damaged(f"{_MANIFEST} is not as it was written")
    if set(listed) | {_MANIFEST} != {each.name for each in path.iterdir()}:
        raise Damaged("a file is missing or one too many")
    if not {_STATE, "network.safetensors", "optimizer.safetensors"} <= set(listed):
        raise Damaged("a file is missing")
    files = {name: read_bytes(path / name, largest) for name in listed}
    for name, data in files.items():
        if listed[name] != _listed(data):
            raise Damaged(f"{name} is not as it was written")
    return json.loads(files[_STATE]), files


def _snapshot(state: TrainState, files: Mapping[str, bytes]) -> Snapshot:
    parts: dict[str, Arrays | None] = dict.fromkeys(_ARRAYS)
    for name in _ARRAYS:
        if data := files.get(f"{name}.safetensors"):
            loaded = arrays_of(data)
            parts[name] = [loaded[key] for key in sorted(loaded)]
    return Snapshot(state, Weights(parts["network"] or [], parts["optimizer"] or []), parts["best"])


def _difference(name: str, theirs: Any, ours: Any) -> str:
    """Name the first thing in which two JSON values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in theirs | ours:
            if theirs.get(key) != ours.get(key):
                return _difference(key, theirs.get(key), ours.get(key))
    return f"{name} is {theirs} there and {ours} here"
