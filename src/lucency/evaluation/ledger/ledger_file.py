"""The ledger's file: found, locked, appended to, read."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from lucency.errors import RunError
from lucency.evaluation.ledger.test_evaluations import LedgerEntries, LedgerEntry, What
from lucency.io import lock
from lucency.progress import SILENT, Progress

_LARGEST = 64 * 2**20  # bytes; some 200,000 looks


def ledger_path() -> Path:
    """Return ``$LUCENCY_LEDGER``, else ``lucency/test_evaluations.jsonl`` in the user's state folder.

    That is ``%LOCALAPPDATA%`` on Windows, ``~/Library/Application Support`` on macOS and elsewhere
    ``$XDG_STATE_HOME`` or ``~/.local/state``.
    """
    if chosen := os.environ.get("LUCENCY_LEDGER"):
        return Path(chosen)
    return _state_folder(sys.platform) / "lucency" / "test_evaluations.jsonl"


def _state_folder(platform: str) -> Path:
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    variable, default = ("XDG_STATE_HOME", Path(".local", "state"))
    if platform == "win32":
        variable, default = ("LOCALAPPDATA", Path("AppData", "Local"))
    # The XDG specification has relative paths ignored.
    base = Path(os.environ.get(variable, ""))
    return base if base.is_absolute() else Path.home() / default


def record(
    test_set: str,
    n: int,
    what: What,
    *,
    classifier: str,
    run: str,
    progress: Progress = SILENT,
) -> LedgerEntries:
    """Write down a look; to be called before its figures are shown.

    The line is on the disk when this returns. A ledger that cannot be read or written does not stop
    the work: it is warned of, and the result says that the look is not on record.

    Args:
        test_set: As ``test_set_id`` gives it.
        n: Images in it.
        what: The command that looks.
        classifier: sha256 of the weights.
        run: Name of the run.
        progress: Hears the warnings.

    Returns:
        All looks at this test set, this one last.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    version = importlib.metadata.version("lucency")
    look = LedgerEntry(now, test_set, n, what, classifier, run, version)
    path = ledger_path()
    try:
        lines = _append(path, json.dumps(asdict(look)).encode())
    except OSError as error:
        progress.warn(
            f"This look at the test set is not on record: the ledger {path} cannot be written "
            f"({error.strerror or error}). Set LUCENCY_LEDGER to a file that can be."
        )
        return LedgerEntries(test_set, (look,), recorded=False)
    found = _chosen(test_set, lines)
    if found.damaged:
        progress.warn(_complaint(path, found.damaged))
    return found


def evaluations_of(test_set: str, progress: Progress = SILENT) -> LedgerEntries:
    """Return the looks at a test set that are on record, without adding one.

    Args:
        test_set: As ``test_set_id`` gives it.
        progress: Hears of damaged lines, which are skipped and stay.

    Returns:
        The looks; none where there is no ledger.

    Raises:
        RunError: The ledger is there and cannot be read.
    """
    path = ledger_path()
    try:
        with _opened(path, os.O_RDONLY) as descriptor:
            lines = _lines(descriptor)
    except FileNotFoundError:
        return LedgerEntries(test_set, ())
    except OSError as error:
        raise RunError(
            f"The ledger {path} cannot be read ({error.strerror or error}). Set LUCENCY_LEDGER to "
            "a file that can be."
        ) from error
    found = _chosen(test_set, lines)
    if found.damaged:
        progress.warn(_complaint(path, found.damaged))
    return found


def _complaint(path: Path, damaged: int) -> str:
    return (
        f"Of the ledger {path}, {damaged:,} lines cannot be read and are not counted. They stay "
        "as they are; compare the file with a backup."
    )


def _append(path: Path, line: bytes) -> list[bytes]:
    """Add a line that reaches the disk whole, and return all lines, it included."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
        before = _lines(descriptor)
        # A line that was cut off by a crash must not swallow this one.
        start = b"\n" if before and before[-1] else b""
        data = start + line + b"\n"
        if os.write(descriptor, data) != len(data):
            raise OSError("the disk took a part of the line only")
        os.fsync(descriptor)
    return [*before, line]


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a regular file under a lock that programs on this machine share."""
    quietly = (
        getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    descriptor = os.open(path, flags | quietly, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        lock(descriptor, alone=bool(flags & os.O_RDWR))
        yield descriptor
    finally:
        os.close(descriptor)  # which also releases the lock


def _lines(descriptor: int) -> list[bytes]:
    """Return the lines; the last one is empty where the file ends with a line end."""
    if os.fstat(descriptor).st_size > _LARGEST:
        raise OSError(f"larger than {_LARGEST:,} bytes, which no ledger of ours is")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read(_LARGEST + 1).split(b"\n")


def _chosen(test_set: str, lines: list[bytes]) -> LedgerEntries:
    """Read the lines and keep those of one test set."""
    found = [_look(line) for line in lines if line.strip()]
    kept = tuple(look for look in found if look is not None and look.test_set == test_set)
    return LedgerEntries(test_set, kept, damaged=found.count(None))


def _look(line: bytes) -> LedgerEntry | None:
    """Return the look on a line, or None where it is damaged; keys of later versions may join."""
    try:
        row = json.loads(line)
        look = LedgerEntry(**{name: row[name] for name in LedgerEntry.__dataclass_fields__})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (look.when, look.test_set, look.what, look.classifier, look.run, look.lucency)
    sound = all(isinstance(text, str) for text in texts) and isinstance(look.n, int)
    return look if sound else None
