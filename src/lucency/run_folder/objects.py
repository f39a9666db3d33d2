"""Files on an object storage, below one address: read, created once, listed, removed.

create    fails where there is one already, however many commands try at once
manifest  names, sizes and sha256 of files; written after them, so that they count together
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from lucency.errors import RunError
from lucency.io import (
    explained,
    file_system,
    is_missing,
    open_regular,
    parse_json,
    redacted,
    sha256_of,
)
from lucency.progress import Progress
from lucency.run_folder.files import FILES, MANIFEST

FORMAT = 1  # of a manifest
MOST_FILES = 10_000
MOST_BYTES = 8 * 2**30  # of all files
_LARGEST = {file.name: file.largest for file in FILES}
_LARGEST_OTHER = 2**31  # bytes, as of the weights of a network
_AT_ONCE = 8
_CHUNK = 2**20
_PART = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}"
_NAME = re.compile(rf"{_PART}(?:/{_PART}){{0,5}}")
# Where fsspec's "create" is one request with a condition; elsewhere it first looks, then writes.
# What is in memory is of one process.
_CONDITIONAL = frozenset(("s3", "s3a", "gs", "gcs", "memory"))


class Entry(NamedTuple):
    """What a manifest says of a file: its bytes, and their sha256 in hexadecimal."""

    size: int
    sha256: str


class Objects:
    """The objects below one address.

    Attributes:
        shown: The address without what may be secret.
    """

    def __init__(self, address: str, *, writing: bool = False) -> None:
        """Connect to nothing yet.

        Args:
            address: As ``s3://bucket/runs/name``, without an ending slash.
            writing: Whether objects will be created.

        Raises:
            BackendError: A library is missing.
            DataError: The scheme of the address is not known.
            RunError: The storage cannot create objects under a condition.
        """
        self.shown = redacted(address)
        scheme = address.partition(":")[0]
        if writing and scheme not in _CONDITIONAL:
            raise RunError(
                f"{self.shown}: a run cannot be written to {scheme}://, which has no write that "
                "fails where there is a file already. Give s3://, gs:// or a folder."
            )
        self._is_http = scheme in ("http", "https")
        with self._explained("opened"):
            self._system = file_system(address, use_listings_cache=False)
        self._root = address if self._is_http else self._system._strip_protocol(address)

    def read(self, name: str, most: int) -> bytes | None:
        """Return the content of an object; ``None`` where there is none.

        Raises:
            RunError: It has more than ``most`` bytes, or cannot be read.
        """
        with self._explained("read"):
            data = self._content(name, most + 1)
        if data is not None and len(data) > most:
            raise RunError(f"{self.shown}/{name} has more than {most:,} bytes. It is no such file.")
        return data

    def create(self, name: str, data: bytes) -> bool:
        """Create an object; return false where there is another one already.

        Raises:
            RunError: It cannot be written.
        """
        with self._explained("written"):
            try:
                self._system.pipe_file(self._path(name), data, mode="create")
            except Exception:
                found = self._content(name, len(data) + 1)
                if found is None:
                    raise
                return found == data  # ours, if an answer was lost and the request repeated
        return True

    def write(self, name: str, data: bytes) -> None:
        """Write an object, also in place of another one.

        Raises:
            RunError: It cannot be written.
        """
        with self._explained("written"):
            self._system.pipe_file(self._path(name), data)

    def upload(self, name: str, file: Path, *, replace: bool) -> None:
        """Write a file to an object.

        Args:
            name: Of the object.
            file: Its content.
            replace: Whether to remove another object of the name first; it is never written over.

        Raises:
            RunError: It cannot be written.
        """
        with self._explained("written"):
            try:
                self._system.put_file(str(file), self._path(name), mode="create")
            except Exception:
                if not self._system.exists(self._path(name)):
                    raise
                if replace:
                    self._system.rm_file(self._path(name))
                    self._system.put_file(str(file), self._path(name), mode="create")

    def download(self, name: str, file: Path, expected: Entry) -> None:
        """Read an object into a new file.

        Raises:
            RunError: Its content is not the expected one, or it cannot be read.
        """
        digest = hashlib.sha256()
        with self._explained("read"), file.open("wb") as target:
            for chunk in self._chunks(name, expected.size):
                digest.update(chunk)
                target.write(chunk)
        if digest.hexdigest() != expected.sha256:
            raise RunError(
                f"{self.shown}/{name} is not as {MANIFEST} says: its sha256 differs. "
                "The run is damaged; write it again to another address."
            )

    def names(self) -> list[str]:
        """Return the names of all objects.

        Raises:
            RunError: They cannot be listed, or there is no such bucket.
        """
        with self._explained("listed"):
            found = self._system.find(self._root)
        start = self._root.rstrip("/") + "/"
        names = (path.removeprefix(start) for path in found if path.startswith(start))
        return sorted(filter(None, names))

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, one after the other.

        Raises:
            RunError: One cannot be removed.
        """
        with self._explained("removed"):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._system.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _content(self, name: str, most: int) -> bytes | None:
        """Return the content of an object; of a longer one only that it has so many bytes."""
        try:
            if self._is_http:  # whose servers may ignore the range, and send without end
                return b"".join(self._chunks(name, most))
            # Not ``open``: S3 fails there if the object is replaced between two requests.
            if self._system.info(self._path(name))["size"] > most:
                return bytes(most)
            return bytes(self._system.cat_file(self._path(name)))
        except FileNotFoundError as error:
            if is_missing(error):
                return None
            raise

    def _chunks(self, name: str, most: int) -> Iterator[bytes]:
        blocks = {"block_size": 0} if self._is_http else {}  # one request for the whole file
        with self._system.open(self._path(name), "rb", **blocks) as source:
            while most > 0 and (chunk := source.read(min(most, _CHUNK))):
                most -= len(chunk)
                yield chunk

    def _explained(self, done: str) -> contextlib.AbstractContextManager[None]:
        return explained(
            self.shown,
            "there is no such bucket or file, or it may not be read. Check the address.",
            f"it cannot be {done} ({{}}). Check the address, your credentials, their permissions "
            "and the network.",
            RunError,
        )


def for_all(
    names: Iterable[str], act: Callable[[str], Any], progress: Progress, title: str
) -> None:
    """Do something for all names, several at once; the first error ends it.

    Args:
        names: Of files.
        act: Called with a name, in threads.
        progress: Called for every file.
        title: Of the task.
    """
    names = [*names]
    with progress.task(title, len(names), "files") as task, ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for _ in pool.map(act, names):
                task.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def listed(folder: Path, names: Iterable[str]) -> dict[str, Entry]:
    """Return size and sha256 of files of a folder by name.

    Raises:
        OSError: One cannot be read.
    """
    found = {}
    for name in sorted(names):
        with open_regular(folder / name, _LARGEST_OTHER) as file:
            found[name] = Entry((folder / name).stat().st_size, sha256_of(file))
    return found


def manifest_of(files: Mapping[str, Entry]) -> bytes:
    """Return the manifest of files."""
    entries = {name: entry._asdict() for name, entry in files.items()}
    return (json.dumps({"format": FORMAT, "files": entries}, indent=1) + "\n").encode()


def read_manifest(data: bytes, shown: str) -> dict[str, Entry]:
    """Return the files that a manifest lists.

    Args:
        data: Its content.
        shown: Its address.

    Raises:
        RunError: It is no manifest, has another format, or lists a file that is too large or whose
            name could lead out of the folder.
    """
    try:
        document = parse_json(data)
        if (found := document["format"]) != FORMAT:
            raise ValueError(f"format {str(found)[:20]}; this version reads {FORMAT}")
        files = {name: _entry(name, each) for name, each in document["files"].items()}
        if len(files) > MOST_FILES or sum(each.size for each in files.values()) > MOST_BYTES:
            raise ValueError(f"more than {MOST_FILES:,} files or {MOST_BYTES:,} bytes")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{shown} is damaged ({error}). Expected the manifest of a run that lucency wrote."
        ) from error
    return files


def _entry(name: str, entry: Mapping[str, Any]) -> Entry:
    size, sha256 = entry["size"], entry["sha256"]
    if not _NAME.fullmatch(name):
        raise ValueError(f"it lists a file of the name {name[:80]!r}")
    if type(size) is not int or not 0 <= size <= _LARGEST.get(name, _LARGEST_OTHER):
        raise ValueError(f"it lists {name} with {str(size)[:20]} bytes")
    if not re.fullmatch("[0-9a-f]{64}", str(sha256)):
        raise ValueError(f"it lists {name} without a sha256")
    return Entry(size, sha256)
