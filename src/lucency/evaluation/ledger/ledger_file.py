"""The ledger file: path, lock, append, read."""

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
from lucency.io import home, lock
from lucency.progress import SILENT, Progress

_LARGEST = 64 * 2**20  # bytes; about 200,000 evaluations


def ledger_path() -> Path:
    """Return ``$LUCENCY_LEDGER``, else ``lucency/test_evaluations.jsonl`` in the state folder.

    The state folder is ``%LOCALAPPDATA%`` on Windows, ``~/Library/Application Support`` on macOS,
    and ``$XDG_STATE_HOME`` or ``~/.local/state`` elsewhere.
    """
    if chosen := os.environ.get("LUCENCY_LEDGER"):
        return Path(chosen)
    return _state_folder(sys.platform) / "lucency" / "test_evaluations.jsonl"


def _state_folder(platform: str) -> Path:
    if platform == "darwin":
        return home() / "Library" / "Application Support"
    variable, default = ("XDG_STATE_HOME", Path(".local", "state"))
    if platform == "win32":
        variable, default = ("LOCALAPPDATA", Path("AppData", "Local"))
    # The XDG specification says to ignore relative paths.
    base = Path(os.environ.get(variable, ""))
    return base if base.is_absolute() else home() / default


def record(
    test_set: str,
    n: int,
    what: What,
    *,
    classifier: str,
    run: str,
    progress: Progress = SILENT,
) -> LedgerEntries:
    """Record an evaluation; call this before its results are shown.

    The line is on disk when this returns. A ledger that cannot be read or written does not stop
    the evaluation: a warning is shown, and the result says that it is not recorded.

    Args:
        test_set: From ``test_set_id``.
        n: Images in it.
        what: The command.
        classifier: sha256 of the weights.
        run: Name of the run.
        progress: Shows the warnings.

    Returns:
        All evaluations of this test set, this one last.
    """
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    version = importlib.metadata.version("lucency")
    entry = LedgerEntry(now, test_set, n, what, classifier, run, version)
    path = ledger_path()
    try:
        lines = _append(path, json.dumps(asdict(entry)).encode())
    except OSError as error:
        progress.warn(
            f"This test-set evaluation is not recorded: the ledger {path} cannot be written "
            f"({error.strerror or error}). Set LUCENCY_LEDGER to a writable file."
        )
        return LedgerEntries(test_set, (entry,), recorded=False)
    found = _chosen(test_set, lines)
    if found.damaged:
        progress.warn(_complaint(path, found.damaged))
    return found


def evaluations_of(test_set: str, progress: Progress = SILENT) -> LedgerEntries:
    """Return the recorded evaluations of a test set, without adding one.

    Args:
        test_set: From ``test_set_id``.
        progress: Shows a warning about damaged lines, which are skipped and kept.

    Returns:
        The evaluations; none without a ledger.

    Raises:
        RunError: The ledger exists and cannot be read.
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
            "a readable file."
        ) from error
    found = _chosen(test_set, lines)
    if found.damaged:
        progress.warn(_complaint(path, found.damaged))
    return found


def _complaint(path: Path, damaged: int) -> str:
    return (
        f"{damaged:,} lines of the ledger {path} cannot be read and are not counted. They are "
        "kept; compare the file with a backup."
    )


def _append(path: Path, line: bytes) -> list[bytes]:
    """Append a line, wait until it is on disk, and return all lines including it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
        before = _lines(descriptor)
        # A line cut off by a crash must not merge with this one.
        start = b"\n" if before and before[-1] else b""
        data = start + line + b"\n"
        if os.write(descriptor, data) != len(data):
            raise OSError("only a part of the line was written")
        os.fsync(descriptor)
    return [*before, line]


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """Open a regular file under a lock between processes."""
    extra = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags | extra, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("not a regular file")
        lock(descriptor, exclusive=bool(flags & os.O_RDWR))
        yield descriptor
    finally:
        os.close(descriptor)  # which also releases the lock


def _lines(descriptor: int) -> list[bytes]:
    """Return the lines; the last one is empty where the file ends with a newline."""
    if os.fstat(descriptor).st_size > _LARGEST:
        raise OSError(f"larger than {_LARGEST:,} bytes, so it is not a ledger")
    with os.fdopen(os.dup(descriptor), "rb") as file:
        return file.read(_LARGEST + 1).split(b"\n")


def _chosen(test_set: str, lines: list[bytes]) -> LedgerEntries:
    """Parse the lines and keep those of one test set."""
    found = [_entry(line) for line in lines if line.strip()]
    kept = tuple(entry for entry in found if entry is not None and entry.test_set == test_set)
    return LedgerEntries(test_set, kept, damaged=found.count(None))


def _entry(line: bytes) -> LedgerEntry | None:
    """Parse a line; None where it is damaged. Keys of later versions are ignored."""
    try:
        row = json.loads(line)
        entry = LedgerEntry(**{name: row[name] for name in LedgerEntry.__dataclass_fields__})
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    texts = (entry.when, entry.test_set, entry.what, entry.classifier, entry.run, entry.lucency)
    valid = all(isinstance(text, str) for text in texts) and isinstance(entry.n, int)
    return entry if valid else None
