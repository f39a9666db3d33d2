"""Locks between processes, released by the operating system however a process ends.

The library ``filelock`` would save 8 of these lines, but its lock on an open descriptor cannot be
shared, which readers of the ledger need, and on Windows it prevents others from reading the holder.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lucency.errors import RunError


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock; its file is kept.

    Args:
        path: The lock file, created if missing; it contains the process number of the holder.
        wait: Whether to wait for it.

    Raises:
        RunError: Another process holds it; the message is its process number, if known.
        OSError: The file cannot be created.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            lock(descriptor, wait=wait)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            raise RunError(holder or "unknown") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # which releases the lock


def lock(descriptor: int, *, exclusive: bool = True, wait: bool = True) -> None:
    """Lock an open file until it is closed.

    Args:
        descriptor: Of the file.
        exclusive: Whether the lock is exclusive, else shared; on Windows it always is exclusive.
        wait: Whether to wait for it.

    Raises:
        OSError: Another process holds it, and ``wait`` is false.
    """
    if sys.platform == "win32":
        import msvcrt

        # Far beyond the end, as other processes cannot read locked bytes on Windows.
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
