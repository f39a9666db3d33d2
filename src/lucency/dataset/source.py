"""Turn a folder, a zip file or an address into a folder.

    CACHE/sources/KEY/NAME         the unpacked files
    CACHE/sources/KEY/source.json  how many they are, and what was not unpacked
    CACHE/sources/.partial-KEY     of an attempt that has not ended

Nothing of it is touched for a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lucency.dataset.archive import is_zip, unpack
from lucency.errors import DataError, RunError
from lucency.io import address_of, default_cache, locked, prune, read_json, why, write_json
from lucency.progress import SILENT, Progress

_SOURCES, _INDEX, _PARTIAL = "sources", "source.json", ".partial-"
_ARCHIVES = (".7z", ".bz2", ".gz", ".rar", ".tar", ".tbz", ".tgz", ".txz", ".xz", ".zst")


def open_source(folder: str | Path, cache: str = "", progress: Progress = SILENT) -> Path:
    """Return the folder that a data set is in.

    A zip file is unpacked into the cache, an address is downloaded into it first. What is there
    already is used again while the archive is unchanged.

    Args:
        folder: A folder, a zip file, or an address such as ``s3://bucket/data.zip``.
        cache: Folder of the cache; empty for the user's.
        progress: Called while files arrive and are unpacked.

    Raises:
        BackendError: An address needs a library that is missing.
        DataError: The archive is damaged or unsafe, or cannot be downloaded.
        RunError: The cache cannot be written.
    """
    path = Path(folder)
    if path.is_dir():
        return path
    base = sources_folder(cache)
    if path.is_file():
        return _unpacked(path, base, progress)
    if path.exists() or not (address := address_of(folder)):
        return path
    from lucency.dataset.remote import Remote

    remote = Remote(address)
    return entry_of(base, remote.key, remote.name, remote.download, progress)


def sources_folder(cache: str) -> Path:
    """Return the folder of all entries, in a cache folder or, if empty, in the user's."""
    return (Path(cache) if cache else default_cache()) / _SOURCES


def _unpacked(path: Path, base: Path, progress: Progress) -> Path:
    if not is_zip(path):
        if path.suffix.lower() == ".zip":
            raise DataError(f"{path}: this is no zip file, or damaged. Download it again.")
        if path.suffix.lower() in _ARCHIVES:
            raise DataError(
                f"{path}: only zip files are unpacked. Unpack it yourself and give the folder."
            )
        return path
    name = re.sub(r"[^\w.-]+", "-", path.resolve().stem).strip(".-")[:80] or "data"

    def build(partial: Path, progress: Progress) -> list[str]:
        return unpack(path, partial / name, name=str(path), progress=progress)

    return entry_of(base, _key(path, name), name, build, progress)


def _key(path: Path, name: str) -> str:
    """Return a hash of the size, the time and the end of a zip file, which lists its checksums."""
    status = path.stat()
    with path.open("rb") as file:
        file.seek(max(0, status.st_size - 2**20))
        end = hashlib.sha256(file.read()).hexdigest()
    document = [name, status.st_size, status.st_mtime_ns, end]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def entry_of(
    base: Path,
    key: str,
    name: str,
    build: Callable[[Path, Progress], list[str]],
    progress: Progress,
) -> Path:
    """Return the folder of an entry, which is built unless it is there and complete.

    Args:
        base: As ``sources_folder`` returns it.
        key: The name of the entry: a hash of all that its content depends on.
        name: The name of the folder in it.
        build: Makes the folder in the entry, and returns sentences for the user.
        progress: Passed to ``build``, and warned with the sentences.

    Raises:
        RunError: The cache cannot be written.
    """
    entry, partial = base / key, base / f"{_PARTIAL}{key}"
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(base / f"{key}.lock", wait=True):  # for another process that builds it
            document = _read(entry)
            if document.get("files") != _count(entry / name):
                shutil.rmtree(entry, ignore_errors=True)
                partial.mkdir(mode=0o700, exist_ok=True)
                lines = build(partial, progress)
                document = {"files": _count(partial / name), "lines": lines}
                write_json(partial / _INDEX, document)
                if hasattr(os, "sync"):
                    os.sync()  # a name that is there after a power cut stands for all files
                partial.rename(entry)
            os.utime(entry)
        prune(base)
    except OSError as error:
        raise RunError(
            f"The cache {base} cannot be used ({why(error)}). Expected a writable folder. "
            "Choose another one with --cache DIR."
        ) from error
    for line in document["lines"]:
        progress.warn(line)
    return entry / name


def _read(entry: Path) -> dict[str, Any]:
    try:
        document = read_json(entry / _INDEX)
        return {"files": int(document["files"]), "lines": [str(x) for x in document["lines"]]}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _count(folder: Path) -> int:
    """Return how many files there are; programs that clean caches remove single ones."""
    return sum(len(files) for _, _, files in os.walk(folder))
