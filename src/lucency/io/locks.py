"""Folders that one process at a time works in."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lucency.errors import RunError


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that no other process has, however this one ends; its file stays.

    Args:
        path: The lock file, made if missing; it says which process has the lock.

    Raises:
        RunError: Another process has it; the message is its process number, where it is known.
        OSError: The file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            lock(descriptor, wait=False)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise RunError(holder or "unknown") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # which releases the lock


def lock(descriptor: int, *, alone: bool = True, wait: bool = True) -> None:
    """Lock an open file against other processes until it is closed.

    Args:
        descriptor: Of the file.
        alone: Whether others may not hold the lock either; on Windows they never may.
        wait: Whether to wait for it.

    Raises:
        OSError: Another process has it, and ``wait`` is false.
    """
    if sys.platform == "win32":
        import msvcrt

        # Far behind the end: Windows forbids others to read locked bytes.
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
