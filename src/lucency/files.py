"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucency.errors import RunError


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
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(_complaint(path, len(data), error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


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
    except OSError as error:
        if old.exists():
            old.rename(target)
        raise RunError(f"The folder could not be written: {target} ({error.strerror}).") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _complaint(path: Path, size: int, error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return (
            f"The disk is full: {path} ({size} bytes) was not written and is as it was before. "
            "Free some space and run again."
        )
    if error.errno == errno.ENOENT:
        return f"Cannot write {path}: its folder does not exist. Create {path.parent} first."
    reason = error.strerror or str(error)
    return f"Cannot write {path}: {reason}. Check that the folder may be written."
