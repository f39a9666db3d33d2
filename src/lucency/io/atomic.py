"""Files and folders that appear whole or not at all."""

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
    """Write a file so that a reader finds the old content or the new one, never a part.

    The data goes to a hidden name in the same folder, reaches the disk, and then takes the place
    of ``path`` in one step. After a failure ``path`` is as it was and nothing else is left.

    Args:
        path: The file; its folder exists.
        data: All of its content.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _create(temporary, data)
        temporary.replace(path)
    except OSError as error:
        raise RunError(_complaint(path, len(data), error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files that reach the disk before it gets its name; it is new.

    Args:
        target: The folder to appear; the one above it exists.
        files: Content by name, in the order of writing.

    Raises:
        RunError: The disk is full, or the folder above may not be written. Nothing is left.
    """
    draft = target.with_name(f".{target.name}.tmp")
    try:
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        draft.mkdir()
        for name, data in files.items():
            _create(draft / name, data)
        _sync_folder(draft)
        draft.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise RunError(_complaint(target, sum(map(len, files.values())), error)) from error


def _create(path: Path, data: bytes) -> None:
    """Write a file and have it reach the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Have all files of a folder reach the disk, which others than this module wrote."""
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
    """Have the names in a folder reach the disk."""
    if sys.platform == "win32":  # which cannot open folders, and has no need to
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_folder(folder: Path, target: Path) -> None:
    """Give a folder its final name, and have that reach the disk.

    Raises:
        RunError: The name is taken, or the folder above may not be written.
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
    """Write a text file in UTF-8 as ``write_bytes`` does, line ends as they are.

    File names that are not UTF-8 reach Python as surrogates; they are written as the bytes that
    they were, and read back with ``errors="surrogateescape"``.

    Args:
        path: The file; its folder exists.
        text: All of its content.

    Raises:
        RunError: The disk is full, the folder is missing or may not be written.
    """
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document as ``write_text`` does, with every name as it is spelled.

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
    """Yield a hidden folder that becomes ``target`` on success and vanishes on any failure.

    Args:
        target: The folder to appear; folders above it are made.
        replace: Whether it takes the place of a folder that is there already.

    Raises:
        RunError: The folder cannot be made or renamed.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise RunError(
            f"The folder cannot be made: {target} ({error.strerror}). "
            "Give a folder that can be written."
        ) from error
    old = draft.with_name(f"{draft.name}.old")
    try:
        yield draft
        draft.chmod(0o755)
        if replace and target.exists():
            target.rename(old)
        draft.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise RunError(f"The folder could not be written: {target} ({error.strerror}).") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _complaint(path: Path, size: int, error: OSError) -> str:
    if error.errno in _FULL:
        return (
            f"The disk is full: {path} ({size} bytes) was not written and is as it was before. "
            "Free some space and run again."
        )
    if error.errno == errno.ENOENT:
        return f"Cannot write {path}: its folder does not exist. Create {path.parent} first."
    reason = error.strerror or str(error)
    return f"Cannot write {path}: {reason}. Check that the folder may be written."
