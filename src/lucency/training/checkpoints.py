"""Snapshots on disk: each a folder that is verified before it is used.

    checkpoints/000017-epoch-3-step-40/
        network.safetensors  optimizer.safetensors  best.safetensors
        state.json       the state of training, and its plan, data and versions
        manifest.json    sha256 and size of each of these; written last

A folder gets its name once all of its files are on the disk. The latest two are kept, and the
latest from the start of an epoch (its name has no step), from which training restarts when it
diverges.
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
from typing import Any, NamedTuple, Self

from lucency.errors import RunError
from lucency.io import arrays_of, parse_json, read_bytes, write_folder
from lucency.progress import SILENT, Progress
from lucency.training.state import Arrays, Snapshot, TrainState, Weights

FORMAT = 2
_MANIFEST, _STATE = "manifest.json", "state.json"
_ARRAYS = ("network", "optimizer", "best")
_MAX_JSON = 64 * 2**20  # bytes; ours grow by about 300 with every epoch
_KEPT = 2
_CRASH = ".crash"
_NAME = re.compile(r"(\d{6,})-epoch-(\d+)(?:-step-(\d+))?")


class Damaged(Exception):  # noqa: N818 - the state of a checkpoint
    """A checkpoint differs from what was written; the text says how."""


@dataclasses.dataclass(frozen=True, order=True)
class _Entry:
    """A checkpoint, as its name describes it."""

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
        identity: Plan, data, backend and versions of the run, as JSON. Checkpoints of another
            plan, other data or another backend are rejected.
        seconds: Shortest time between two checkpoints.
        largest: Bytes of network and optimizer together; larger files are not read.
        progress: Warned of damaged checkpoints and of failures to write one.

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
        self._largest = largest + _MAX_JSON
        self._last, self._warned = time.monotonic(), False
        self._damaged: set[Path] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for partial in folder.glob(".*.tmp"):  # of a process that was killed
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise RunError(f"Cannot use {folder} ({error.strerror or error}).") from error

    def latest(self) -> Snapshot | None:
        """Return the newest valid snapshot; damaged ones are skipped with a warning.

        Raises:
            RunError: It belongs to another plan, other data or another backend.
        """
        return self._newest(self._entries())

    def start_of(self, epoch: int) -> Snapshot | None:
        """Return the newest valid snapshot of the start of an epoch, if there is one."""
        return self._newest([p for p in self._entries() if (p.epoch, p.step) == (epoch, 0)])

    def crashed(self) -> bool:
        """Return whether the last process crashed in compiled code while it was ``traced``."""
        trace = self._folder / _CRASH
        return trace.is_file() and trace.stat().st_size > 0

    def note_crash(self) -> None:
        """Write the trace of a crash, when memory has run out beyond recovery."""
        (self._folder / _CRASH).write_bytes(b"out of memory")

    @contextlib.contextmanager
    def traced(self) -> Iterator[None]:
        """Write a trace if compiled code crashes, for the next process to find."""
        was_enabled = faulthandler.is_enabled()
        with contextlib.ExitStack() as stack:
            try:
                trace = stack.enter_context((self._folder / _CRASH).open("wb"))
            except OSError as error:  # no reason not to train
                self._progress.warn(f"Crashes leave no trace in {self._folder} ({error.strerror}).")
            else:
                faulthandler.enable(trace)
                stack.callback(_restore_faulthandler, was_enabled)
            yield

    def due(self) -> bool:
        """Return whether it is time for the next checkpoint."""
        return time.monotonic() - self._last >= self._seconds

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot, then remove those that it replaces.

        If the disk is full, this checkpoint is skipped with a warning; the older ones are kept and
        training continues.
        """
        self._last = time.monotonic()
        content = _content(snapshot, self._identity)
        try:
            self._check_space(sum(map(len, content.values())))
            number = 1 + max((entry.number for entry in self._entries()), default=0)
            write_folder(_Entry.of(self._folder, number, snapshot.state).path, content)
            self._prune()
        except (RunError, OSError) as error:
            self._progress.warn(f"No checkpoint was written. Training continues. {error}")

    def _entries(self) -> list[_Entry]:
        """Return the checkpoints in the folder, the newest last."""
        found = ((each, _NAME.fullmatch(each.name)) for each in self._folder.iterdir())
        return sorted(
            _Entry(int(name[1]), int(name[2]) - 1, int(name[3] or 0), each)
            for each, name in found
            if name
        )

    def _prune(self) -> None:
        for path in self._damaged:
            shutil.rmtree(path, ignore_errors=True)
        entries = self._entries()
        epoch_starts = [entry for entry in entries if entry.step == 0]
        for entry in entries[:-_KEPT]:
            if entry not in epoch_starts[-1:]:
                shutil.rmtree(entry.path, ignore_errors=True)  # tried again after the next one

    def _check_space(self, size: int) -> None:
        """Warn early if the next checkpoints will not fit on the disk."""
        free = shutil.disk_usage(self._folder).free
        if free < 3 * size and not self._warned:
            self._warned = True
            self._progress.warn(
                f"The disk of {self._folder} has {free / 2**20:,.0f} MiB left, and checkpoints "
                f"need up to {3 * size / 2**20:,.0f} MiB. Free some space."
            )

    def _newest(self, entries: Sequence[_Entry]) -> Snapshot | None:
        for entry in reversed(entries):
            try:
                document, files = read_verified(entry.path, self._largest)
                state = TrainState.from_json(document["train_state"])
                self._check_identity(entry.path, document["identity"], finished=state.finished)
                return _snapshot(state, files)
            except (Damaged, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
                self._damaged.add(entry.path)
                self._progress.warn(
                    f"DAMAGED CHECKPOINT, not used: {entry.path} ({error}). "
                    "Training resumes from the one before it."
                )
        return None

    def _check_identity(self, path: Path, theirs: Mapping[str, Any], *, finished: bool) -> None:
        ours: Mapping[str, Any] = self._identity
        if finished:  # nothing more is computed, so another device may have trained it
            theirs, ours = _device_as_version(theirs), _device_as_version(ours)
        for name in ("plan", "data", "backend"):
            if theirs[name] != ours[name]:
                what = _difference(name, theirs[name], ours[name])
                raise RunError(
                    f"{path.parent} holds checkpoints of another training: {what}. Use the same "
                    "settings and data, or start over with --no-resume."
                )
        if theirs["versions"] != ours["versions"]:
            what = _difference("versions", theirs["versions"], ours["versions"])
            self._progress.warn(
                f"The checkpoint was written on another machine or by other versions: {what}. "
                "Training resumes; its result may differ in the last digits from that of an "
                "uninterrupted training."
            )


class Stored(NamedTuple):
    """A checkpoint as files, to be stored in another folder.

    Attributes:
        name: Of its folder.
        files: Content by name, in the order of writing.
        finished: Whether training is complete.
    """

    name: str
    files: dict[str, bytes]
    finished: bool


def newest(folder: Path) -> Stored | None:
    """Return the newest valid checkpoint in a folder; ``None`` where there is none."""
    for path in sorted(folder.glob("[0-9]*"), reverse=True):
        try:
            document, files = read_verified(path)
            finished = bool(document["train_state"]["finished"])
        except (Damaged, OSError, KeyError, TypeError, ValueError, RecursionError):
            continue  # ``Checkpoints.latest`` warns of it
        manifest = _manifest({name: _listed(data) for name, data in files.items()})
        return Stored(path.name, files | {_MANIFEST: manifest}, finished)
    return None


def store(folder: Path, checkpoint: Stored) -> None:
    """Store a checkpoint in a folder, which is made if missing.

    Raises:
        RunError: The disk is full, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"Cannot use {folder} ({error.strerror or error}).") from error
    shutil.rmtree(folder / checkpoint.name, ignore_errors=True)  # a damaged one
    write_folder(folder / checkpoint.name, checkpoint.files)


def _restore_faulthandler(was_enabled: bool) -> None:
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
    files = {f"{name}.safetensors": _packed(values) for name, values in arrays.items() if values}
    state = {"train_state": snapshot.state.to_json(), "identity": identity}
    files[_STATE] = json.dumps(state, indent=1).encode()
    return files | {_MANIFEST: _manifest({name: _listed(data) for name, data in files.items()})}


def _listed(data: bytes) -> dict[str, Any]:
    """Return the entry of a file in the manifest."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def _manifest(listed: Mapping[str, Any]) -> bytes:
    return json.dumps({"format": FORMAT, "files": listed}, indent=1).encode()


def _packed(arrays: Arrays) -> bytes:
    from safetensors.numpy import save

    return bytes(save({f"{i:06d}": array for i, array in enumerate(arrays)}))


def read_verified(path: Path, largest: int = 2**31) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the state and all files of a checkpoint, verified to the last bit.

    Every file is compared with the manifest, and the manifest with what this code writes for the
    same content, so that no changed byte goes unnoticed.

    Args:
        path: Its folder.
        largest: Bytes; larger files are not read.

    Raises:
        Damaged: A file differs from what was written.
        OSError: A file is missing or cannot be read.
        ValueError: The manifest is not JSON; KeyError or TypeError: it is not a manifest.
    """
    manifest = read_bytes(path / _MANIFEST, _MAX_JSON)
    document = parse_json(manifest)
    listed = document["files"]
    if document["format"] != FORMAT:
        raise Damaged(f"it has format {str(document['format'])[:20]}, this version reads {FORMAT}")
    if _manifest(listed) != manifest:
        raise Damaged(f"{_MANIFEST} is not as it was written")
    if set(listed) | {_MANIFEST} != {each.name for each in path.iterdir()}:
        raise Damaged("a file is missing or there is one too many")
    if not {_STATE, "network.safetensors", "optimizer.safetensors"} <= set(listed):
        raise Damaged("a file is missing")
    files = {name: read_bytes(path / name, largest) for name in listed}
    for name, data in files.items():
        if listed[name] != _listed(data):
            raise Damaged(f"{name} is not as it was written")
    return json.loads(files[_STATE]), files


def _snapshot(state: TrainState, files: Mapping[str, bytes]) -> Snapshot:
    arrays: dict[str, Arrays | None] = dict.fromkeys(_ARRAYS)
    for name in _ARRAYS:
        if data := files.get(f"{name}.safetensors"):
            loaded = arrays_of(data)
            arrays[name] = [loaded[key] for key in sorted(loaded)]
    return Snapshot(
        state, Weights(arrays["network"] or [], arrays["optimizer"] or []), arrays["best"]
    )


def _device_as_version(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity with the device among what should be the same, but need not."""
    backend = dict(identity["backend"])
    versions = {**identity["versions"], "device": backend.pop("device")}
    return {**identity, "backend": backend, "versions": versions}


def _difference(name: str, theirs: Any, ours: Any) -> str:
    """Name the first thing in which two JSON values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in theirs | ours:
            if theirs.get(key) != ours.get(key):
                return _difference(key, theirs.get(key), ours.get(key))
    return f"{name} is {theirs} there and {ours} here"
