"""The run folder while it is being made: its name, its lock, and how it is resumed.

    runs/NAME.unfinished/    while it is made: the files of ``UNFINISHED``, and those that are ready
    runs/NAME/               once all files are written

So a run folder without the ending is complete. A run at an address is made in the local cache, and
published from there. This module imports nothing heavy: a second process on the same run is refused
before it has loaded anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lucency.config import Config
from lucency.errors import LucencyError, RunError
from lucency.io import address_of, locked, read_json, rename_folder, write_json
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import (
    CHECKPOINTS,
    ENDING,
    LOCK,
    SETTINGS,
    TEST_EVALUATIONS,
    UNFINISHED,
)
from lucency.signals import Interrupted

FORMAT = 1  # of what only an unfinished run has
# Kept of an earlier attempt; all else is written again.
_KEPT = {file.name for file in (*UNFINISHED, TEST_EVALUATIONS)}
# What may differ without the result being another.
_WITHOUT_EFFECT = ("cache", "workers", "on", "checkpoint_seconds", "track")


def _nothing() -> None:
    """Do nothing: a run in a folder need not be published."""


@dataclasses.dataclass(frozen=True)
class RunWriter:
    """An unfinished run folder that only this process works on.

    Attributes:
        target: The folder of the complete run.
        partial: The folder of the unfinished run.
        resumed: Whether training resumes from a checkpoint.
        shown: What the complete run is called: its folder, or its address.
        save: Publishes the checkpoints of a run at an address; called when a stage ends.
        publish: Publishes the complete run, where it is one at an address.
        began: When it was opened, in seconds of ``time.monotonic``.
    """

    target: Path
    partial: Path
    resumed: bool
    shown: str
    save: Callable[[], None] = _nothing
    publish: Callable[[], None] = _nothing
    began: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def unfinished(self) -> str:
        """What the unfinished run is called."""
        return f"{self.shown}{ENDING}"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.partial / CHECKPOINTS


@contextlib.contextmanager
def open_run(
    folder: Path,
    config: Config,
    run: str = "",
    resume: bool | None = None,
    progress: Progress = SILENT,
) -> Iterator[RunWriter]:
    """Yield an unfinished run folder, and give it its name when the block ends without an error.

    After an error the folder stays where there is a checkpoint to resume from, else it is removed.

    Args:
        folder: The data folder, which names the run where ``run`` is empty.
        config: What a person decided.
        run: A name (the folder is made under ``runs/``), a path (with a slash) or an address. If
            empty, the name of an unfinished run of the same command, else a new name.
        resume: ``True`` requires an unfinished run, ``False`` ignores one, ``None`` resumes one if
            the same command has left it.
        progress: Called while a run at an address is sent or received.

    Raises:
        RunError: The name is in use, another process works on the run, the unfinished run
            belongs to another command, or there is none to resume.
        Interrupted: As raised in the block; its message says what is kept.
    """
    with contextlib.ExitStack() as stack:
        if address := address_of(run):
            from lucency.run_folder.stored import working_copy

            copy = stack.enter_context(working_copy(address, config.cache, resume, progress))
            target, shown = copy.stored.target, copy.stored.shown
            save, publish = copy.save, copy.publish
        else:
            target = _target(run, folder, config, resume)
            shown, save, publish = str(target), _nothing, _nothing
        partial = target.with_name(target.name + ENDING)
        stack.enter_context(_locked_folder(target, partial, shown))
        writer = RunWriter(target, partial, False, shown, save, publish)
        yield from _written(writer, folder, config, resume)


def _written(
    writer: RunWriter, folder: Path, config: Config, resume: bool | None
) -> Iterator[RunWriter]:
    """Yield the writer of a locked folder, which is published and gets its name at the end."""
    partial = writer.partial
    known = _is_resumable(writer, folder, config, resume)
    writer = dataclasses.replace(writer, resumed=known and _has_checkpoint(partial))
    if resume and not writer.resumed:
        _remove(partial)
        raise RunError(_nothing_there(writer))
    try:
        _clear(partial, keep=_KEPT if known else {LOCK.name})
    except OSError as error:
        raise RunError(f"Cannot empty {partial} ({error.strerror}). Remove it.") from error
    write_json(partial / SETTINGS, _document(folder, config))
    try:
        yield writer
        writer.publish()
    except OSError as error:
        known_as = RunError(f"The run could not be written: {writer.shown} ({error.strerror}).")
        _close_after(writer, known_as)
        raise known_as from error
    except BaseException as error:
        _close_after(writer, error)
        raise
    _complete(writer)


def _target(run: str, folder: Path, config: Config, resume: bool | None) -> Path:
    if not run:
        return _named(folder, config, resume)
    target = Path(run) if "/" in run or run in (".", "..") else Path("runs") / run
    if target.exists() or target.is_symlink():
        raise RunError(
            f"The run folder exists already: {target}. Give another name with --run, or delete it."
        )
    return target


def _named(folder: Path, config: Config, resume: bool | None) -> Path:
    """Return the unfinished run of the same command, or the first free name."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "run"
    kind = config.effort if config.recipe == "default" else config.recipe
    others = []
    for number in range(1, 1_000_000):
        target = Path("runs") / f"{stem}-{kind}-{number}"
        partial = target.with_name(target.name + ENDING)
        if partial.is_dir() and not target.exists():
            if _same(_read(partial), _document(folder, config)):
                return target
            others.append(partial)
        elif not target.exists():
            break
    if resume and others:
        raise RunError(_foreign(str(others[-1]), _read(others[-1]), config))
    return target


@contextlib.contextmanager
def _locked_folder(target: Path, partial: Path, shown: str) -> Iterator[None]:
    """Make the folder if it is missing, and hold its lock."""
    with contextlib.ExitStack() as stack:
        try:
            partial.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(partial / LOCK))
        except RunError as holder:
            raise RunError(
                f"Another process (PID {holder}) is working on {shown}{ENDING}. Wait for it, or "
                "give another name with --run."
            ) from holder
        except OSError as error:
            raise RunError(
                f"The folder cannot be made: {partial} ({error.strerror}). "
                "Give a folder that can be written."
            ) from error
        if target.exists():  # the other process was just about to finish
            raise RunError(f"Another process has just finished the run: {shown}.")
        yield


def _is_resumable(writer: RunWriter, folder: Path, config: Config, resume: bool | None) -> bool:
    """Tell whether the folder holds an unfinished run of the same command."""
    partial = writer.partial
    if resume is False or not (partial / SETTINGS).exists():
        return False
    found = _read(partial)
    if not _same(found, _document(folder, config), folders=False):
        raise RunError(_foreign(writer.unfinished, found, config))
    return True


def _document(folder: Path, config: Config) -> dict[str, Any]:
    return {"format": FORMAT, "folder": str(folder.resolve()), "config": config.to_json()}


def _read(partial: Path) -> Mapping[str, Any]:
    """Return data folder and configuration of an unfinished run; empty where it cannot be read."""
    try:
        document = read_json(partial / SETTINGS, SETTINGS.largest)
        return {"folder": document["folder"], "config": dict(document["config"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"folder": "", "config": {}}


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any], *, folders: bool = True) -> bool:
    """Tell whether two runs give the same result; the data are compared later by their content."""
    if folders and found["folder"] != wanted["folder"]:
        return False
    return _effective(found["config"]) == _effective(wanted["config"])


def _effective(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _WITHOUT_EFFECT}


def _foreign(unfinished: str, found: Mapping[str, Any], config: Config) -> str:
    """Say how an unfinished run differs from the requested one."""
    theirs, ours = _effective(found["config"]), _effective(config.to_json())
    what = [
        f"{key} is {theirs.get(key)!r} there and {ours.get(key)!r} here"
        for key in theirs | ours
        if theirs.get(key) != ours.get(key)
    ]
    return (
        f"{unfinished} is an unfinished run with other settings: {', '.join(what)}. Use the "
        "same settings, another name with --run, or --no-resume to start over."
    )


def _nothing_there(writer: RunWriter) -> str:
    return (
        f"There is no checkpoint to resume from: {writer.unfinished}. Leave out --resume to start, "
        "or give the same name and settings as before."
    )


def _has_checkpoint(partial: Path) -> bool:
    folder = partial / CHECKPOINTS
    return folder.is_dir() and any(not each.name.startswith(".") for each in folder.iterdir())


def _clear(partial: Path, *, keep: set[str]) -> None:
    for each in partial.iterdir():
        if each.name in keep:
            continue
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _close_after(writer: RunWriter, error: BaseException) -> None:
    """Keep what training can resume from, and say so; else remove the folder."""
    if not _has_checkpoint(writer.partial):
        _remove(writer.partial)
        if isinstance(error, Interrupted):
            error.kept = "Nothing was trained yet; the same command starts again."
    elif isinstance(error, Interrupted):
        error.kept = f"Kept in {writer.unfinished}; the same command resumes it."
    elif isinstance(error, LucencyError) and error.args:
        kept = f"The training so far is kept in {writer.unfinished}."
        error.args = (f"{error.args[0]} {kept}", *error.args[1:])


def _remove(partial: Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)


def _complete(writer: RunWriter) -> None:
    """Give the folder its name, and only then remove what only the unfinished run needed.

    If the process is killed in between, the run is complete and has a few files too many.
    """
    rename_folder(writer.partial, writer.target)
    with contextlib.suppress(OSError):  # what stays does no harm
        for file in UNFINISHED:
            if file is not CHECKPOINTS:
                (writer.target / file).unlink(missing_ok=True)
    shutil.rmtree(writer.target / CHECKPOINTS, ignore_errors=True)
