"""The run folder while it is being made: its name, its lock, and going on with it later.

    runs/NAME.unfinished/    while it is made
        run.json             of which command it is
        lock                 held by the process that works on it
        tracked.json         which run it is in a store of runs elsewhere
        checkpoints/         how far training is
        ...                  what is ready of the run folder
    runs/NAME/               once all of it is written

So a run folder without the ending is complete. This module imports nothing heavy: a second process
on the same run is refused before it has loaded anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lucency.config import Config
from lucency.errors import LucencyError, RunError
from lucency.io import locked, read_json, rename_folder, write_json
from lucency.signals import Interrupted

FORMAT = 1
CHECKPOINTS = "checkpoints"
_ENDING = ".unfinished"
TRACKED = "tracked.json"
_RUN, _LOCK = "run.json", "lock"
_LARGEST_JSON = 2**20
_KEPT = {
    CHECKPOINTS,
    TRACKED,
    _RUN,
    _LOCK,
    "test_evaluations.json",
}  # of an earlier attempt; all else is made anew
# What may differ without the result being another.
_WITHOUT_EFFECT = ("cache", "workers", "checkpoint_seconds", "track")


@dataclasses.dataclass(frozen=True)
class Claim:
    """A run folder that this process alone works on.

    Attributes:
        target: Where it will be.
        draft: Where it is made.
        resumed: Whether there are checkpoints to go on from.
    """

    target: Path
    draft: Path
    resumed: bool

    @property
    def checkpoints(self) -> Path:
        """Where training keeps its checkpoints."""
        return self.draft / CHECKPOINTS


@contextlib.contextmanager
def claimed(
    folder: Path, config: Config, run: str = "", resume: bool | None = None
) -> Iterator[Claim]:
    """Yield a run folder to be filled, which gets its name when the block ends well.

    After an error it stays as it is where there is a checkpoint to go on from, and vanishes where
    there is none.

    Args:
        folder: The data folder, which names the run where ``run`` is empty.
        config: What a person decided.
        run: A name (made under ``runs/``), a path (with a slash), or empty for that of the same
            command's unfinished run, else a new one.
        resume: ``True`` only goes on with an unfinished run, ``False`` never does; ``None`` does
            where the same command has left one.

    Raises:
        RunError: The name is in use, another process works on the run, its unfinished run is of
            another command, or there is none to go on with.
        Interrupted: As raised in the block; it says what is kept.
    """
    target = _target(run, folder, config, resume)
    draft = target.with_name(target.name + _ENDING)
    with _held(target, draft):
        known = _settled(draft, folder, config, resume)
        claim = Claim(target, draft, known and _has_checkpoint(draft))
        if resume and not claim.resumed:
            _forget(draft)
            raise RunError(_nothing(target))
        try:
            _clear(draft, keep=_KEPT if known else {_LOCK})
        except OSError as error:
            raise RunError(f"Cannot tidy up {draft} ({error.strerror}). Remove it.") from error
        write_json(draft / _RUN, _document(folder, config))
        try:
            yield claim
        except OSError as error:
            known_as = RunError(f"The run could not be written: {target} ({error.strerror}).")
            _leave(claim, known_as)
            raise known_as from error
        except BaseException as error:
            _leave(claim, error)
            raise
        _complete(claim)


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
        draft = target.with_name(target.name + _ENDING)
        if draft.is_dir() and not target.exists():
            if _same(_read(draft), _document(folder, config)):
                return target
            others.append(draft)
        elif not target.exists():
            break
    if resume and others:
        raise RunError(_foreign(others[-1], _read(others[-1]), config))
    return target


@contextlib.contextmanager
def _held(target: Path, draft: Path) -> Iterator[None]:
    """Make the folder if it is missing, and hold its lock."""
    with contextlib.ExitStack() as stack:
        try:
            draft.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(draft / _LOCK))
        except RunError as holder:
            raise RunError(
                f"Another process (number {holder}) is working on {draft}. Wait for it, or give "
                "another name with --run."
            ) from holder
        except OSError as error:
            raise RunError(
                f"The folder cannot be made: {draft} ({error.strerror}). "
                "Give a folder that can be written."
            ) from error
        if target.exists():  # the other process was just about to finish
            raise RunError(f"Another process has just finished the run: {target}.")
        yield


def _settled(draft: Path, folder: Path, config: Config, resume: bool | None) -> bool:
    """Tell whether the folder holds the beginning of this very run, to be gone on with."""
    if resume is False or not (draft / _RUN).exists():
        return False
    found = _read(draft)
    if not _same(found, _document(folder, config), folders=False):
        raise RunError(_foreign(draft, found, config))
    return True


def _document(folder: Path, config: Config) -> dict[str, Any]:
    return {"format": FORMAT, "folder": str(folder.resolve()), "config": config.to_json()}


def _read(draft: Path) -> Mapping[str, Any]:
    """Return what an unfinished run is of; nothing where that cannot be read."""
    try:
        document = read_json(draft / _RUN, _LARGEST_JSON)
        return {"folder": document["folder"], "config": dict(document["config"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"folder": "", "config": {}}


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any], *, folders: bool = True) -> bool:
    """Tell whether two runs come to the same; the data are compared again by their content."""
    if folders and found["folder"] != wanted["folder"]:
        return False
    return _effective(found["config"]) == _effective(wanted["config"])


def _effective(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _WITHOUT_EFFECT}


def _foreign(draft: Path, found: Mapping[str, Any], config: Config) -> str:
    """Say in what an unfinished run differs from the one that is asked for."""
    theirs, ours = _effective(found["config"]), _effective(config.to_json())
    what = [
        f"{key} is {theirs.get(key)!r} there and {ours.get(key)!r} here"
        for key in theirs | ours
        if theirs.get(key) != ours.get(key)
    ]
    return (
        f"{draft} is the unfinished run of another command: {', '.join(what)}. Give the same, "
        "another name with --run, or --no-resume to begin anew."
    )


def _nothing(target: Path) -> str:
    return (
        f"There is no checkpoint to go on from: {target}{_ENDING}. Leave --resume out to begin, or "
        "give the same name and settings as before."
    )


def _has_checkpoint(draft: Path) -> bool:
    folder = draft / CHECKPOINTS
    return folder.is_dir() and any(not each.name.startswith(".") for each in folder.iterdir())


def _clear(draft: Path, *, keep: set[str]) -> None:
    for each in draft.iterdir():
        if each.name in keep:
            continue
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _leave(claim: Claim, error: BaseException) -> None:
    """Keep what training can go on from, and say so; else leave nothing behind."""
    if not _has_checkpoint(claim.draft):
        _forget(claim.draft)
        if isinstance(error, Interrupted):
            error.kept = "Nothing was trained yet; the same command begins again."
    elif isinstance(error, Interrupted):
        error.kept = f"Kept in {claim.draft}; the same command goes on from there."
    elif isinstance(error, LucencyError) and error.args:
        kept = f"What was trained so far is kept in {claim.draft}."
        error.args = (f"{error.args[0]} {kept}", *error.args[1:])


def _forget(draft: Path) -> None:
    shutil.rmtree(draft, ignore_errors=True)


def _complete(claim: Claim) -> None:
    """Give the folder its name, and only then remove what only its making needed.

    Killed in between, the run is complete, with a little too much in it.
    """
    rename_folder(claim.draft, claim.target)
    with contextlib.suppress(OSError):  # what stays does no harm
        for name in (_RUN, _LOCK, TRACKED):
            (claim.target / name).unlink(missing_ok=True)
    shutil.rmtree(claim.target / CHECKPOINTS, ignore_errors=True)
