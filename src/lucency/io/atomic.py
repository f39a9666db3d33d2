"""Atomic writing: files and folders appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lucency.errors import RunError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: a reader finds the old content or the new one, never a part.

    The data is written to a hidden file in the same folder, synced to disk and renamed to ``path``.
    After a failure ``path`` is unchanged and no other file remains.

    Args:
        path: The file; its folder exists.
        data: Its content.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _create(temporary, data)
        temporary.replace(path)
    except OSError as error:
        raise RunError(_message(path, len(data), error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder of files atomically: they are synced before it gets its name.

    Args:
        target: The folder to create; its parent exists.
        files: Content by name, in the order of writing.

    Raises:
        RunError: The disk is full, or the parent is not writable. Nothing remains.
    """
    partial = target.with_name(f".{target.name}.tmp")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir()
        for name, data in files.items():
            _create(partial / name, data)
        _sync_folder(partial)
        partial.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise RunError(_message(target, sum(map(len, files.values())), error)) from error


def _create(path: Path, data: bytes) -> None:
    """Write a file and sync it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Sync all files of a folder to disk, which other modules wrote."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            _sync_folder(path)
            continue
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Sync the file names in a folder to disk."""
    if sys.platform == "win32":  # where folders can neither be opened nor need it
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_folder(folder: Path, target: Path) -> None:
    """Rename a folder to its final name, and sync that to disk.

    Raises:
        RunError: The name is taken, or the parent is not writable.
    """
    try:
        folder.rename(target)
    except OSError as error:
        raise RunError(f"The folder could not be written: {target} ({error.strerror}).") from error
    try:
        _sync_folder(target.parent)
    except OSError as error:
        raise RunError(
            f"{target} is complete, but its name may not have reached the disk ({error.strerror}). "
            "Check the disk."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 like ``write_bytes``, with unchanged line ends.

    Python decodes file names that are not UTF-8 to surrogates; they are written as the original
    bytes, to be read with ``errors="surrogateescape"``.

    Args:
        path: The file; its folder exists.
        text: Its content.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
    """
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document like ``write_text``, without escaping non-ASCII characters.

    Args:
        path: The file; its folder exists.
        document: Dictionaries, lists, text and finite numbers.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
        ValueError: A number is not finite.
    """
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def built_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden folder that is renamed to ``target`` on success and removed on failure.

    Args:
        target: The folder to create; its parents are created.
        replace: Whether to replace an existing folder.

    Raises:
        RunError: The folder cannot be created or renamed.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        private = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise RunError(
            f"The folder cannot be created: {target} ({error.strerror}). Give a writable folder."
        ) from error
    partial, old = private / target.name, private / "old"
    try:
        partial.mkdir()  # with the permissions that the user gives to new folders
        yield partial
        if replace and target.exists():
            target.rename(old)
        partial.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise RunError(f"The folder could not be written: {target} ({error.strerror}).") from error
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _message(path: Path, size: int, error: OSError) -> str:
    if error.errno in _FULL:
        return (
            f"The disk is full: {path} ({size} bytes) was not written and is unchanged. "
            "Free some space and run again."
        )
    if error.errno == errno.ENOENT:
        return f"Cannot write {path}: its folder does not exist. Create {path.parent} first."
    reason = error.strerror or str(error)
    return f"Cannot write {path}: {reason}. Check that the folder is writable."
