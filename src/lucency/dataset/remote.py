"""Download a zip file or a folder from an address: https, S3, Google Cloud and others."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lucency.dataset.archive import safe_path, unpack
from lucency.errors import DataError, RunError
from lucency.io import explained, file_system, redacted
from lucency.progress import SILENT, Progress, Task

MOST_BYTES = 64 * 2**30  # of one download
MOST_FILES = 1_000_000
_MEBIBYTE = 2**20
_BLOCK = 8 * _MEBIBYTE
_BATCH = 64  # files of a folder that are requested at once
_RESERVE = 64 * _MEBIBYTE
_MISSING = (
    "there is nothing at this address, or it may not be read. Expected a zip file or a folder. "
    "Check the address."
)
_FAILED = (
    "the download failed ({}). Check the address, your access and the network, and run again to "
    "resume."
)
# What tells whether a file has changed, by the names of the different services.
_VERSION = ("etag", "content-md5", "digest", "last-modified", "lastmodified", "generation",
    "md5hash", "updated", "created", "mtime")  # fmt: skip


class Remote:
    """A zip file or a folder at an address.

    Attributes:
        name: A file name for it.
        key: Changes when its content changes.
    """

    def __init__(self, address: str) -> None:
        """Ask for the size and version; nothing is downloaded yet.

        Args:
            address: As ``https://host/data.zip``, ``s3://bucket/data.zip`` or ``s3://bucket/data``.

        Raises:
            BackendError: A library is missing.
            DataError: There is nothing at the address, or it may not be read.
        """
        self._shown = redacted(address)
        self._is_http = address.startswith(("http://", "https://"))
        with explained(self._shown, _MISSING, _FAILED):
            self._system = file_system(address)
            self._path = address if self._is_http else self._system._strip_protocol(address)
            info = self._system.info(self._path)
            self._files = self._listing(info)
        stem = PurePosixPath(unquote(urlsplit(address).path) or urlsplit(address).netloc).name
        stem = stem[:-4] if stem.lower().endswith(".zip") else stem
        self.name = re.sub(r"[^\w.-]+", "-", stem).strip(".-")[:80] or "data"
        self._is_zip = not self._is_folder(info)
        self.key = self._key(address)

    def download(self, partial: Path, progress: Progress = SILENT) -> list[str]:
        """Download to ``partial / name``, resuming an earlier attempt; zip files are unpacked.

        Args:
            partial: A private folder.
            progress: Called while data arrives.

        Returns:
            Sentences on what was not unpacked.

        Raises:
            DataError: It is too large, no zip file, or the download failed.
            RunError: The disk is full.
        """
        size = sum(self._size(info) for info in self._files.values())
        self._check_size(partial, size)
        target = partial / self.name
        with explained(self._shown, _MISSING, _FAILED):
            if not self._is_zip:
                self._download_folder(target, progress)
                return []
            archive = partial / "download.zip"
            self._download_zip(archive, size, progress)
        lines = unpack(archive, target, name=self._shown, progress=progress)
        archive.unlink()
        return lines

    def _is_folder(self, info: Mapping[str, Any]) -> bool:
        return not self._is_http and info.get("type") == "directory"

    def _listing(self, info: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        """Return the files by their paths below the folder; one by the name ``""``."""
        if not self._is_folder(info):
            return {"": info}
        found = self._system.find(self._path, detail=True)
        start = self._path.rstrip("/") + "/"
        files = {
            safe_path(path.removeprefix(start), self._shown): each
            for path, each in itertools.islice(found.items(), MOST_FILES + 1)
            if each.get("type") == "file" and not path.endswith("/")
        }
        if not files or len(files) > MOST_FILES:
            number = f"more than {MOST_FILES:,} files" if files else "no file"
            raise DataError(f"{self._shown}: there is {number}. Expected a folder of images.")
        return files

    def _key(self, address: str) -> str:
        versions: list[Any] = [
            [path, self._size(info), sorted(
                f"{key}={value}" for key, value in info.items() if key.lower() in _VERSION
            )]
            for path, info in sorted(self._files.items())
        ]  # fmt: skip
        # A file without a version may change at any time, so it is downloaded every time.
        if not all(version for *_, version in versions):
            versions.append(secrets.token_hex())
        return hashlib.sha256(json.dumps([address, *versions]).encode()).hexdigest()

    @staticmethod
    def _size(info: Mapping[str, Any]) -> int:
        return int(info.get("size") or 0)

    def _check_size(self, partial: Path, size: int) -> None:
        if size > MOST_BYTES:
            raise DataError(
                f"{self._shown}: {size:,} bytes; at most {MOST_BYTES:,} are downloaded. Download "
                "it yourself and give the folder."
            )
        free = shutil.disk_usage(partial).free
        if size > free - _RESERVE:
            raise RunError(
                f"{self._shown}: {size:,} bytes, and {free:,} are free for {partial}. Free some "
                "space, or choose another folder with --cache DIR."
            )

    def _download_zip(self, target: Path, size: int, progress: Progress) -> None:
        done = target.stat().st_size if target.exists() else 0
        if size and done == size:
            return
        resumed = 0 < done < size
        with progress.task("Downloading", -(-size // _MEBIBYTE), "MiB") as task:
            try:
                self._stream(target, done if resumed else 0, task)
            except ValueError:  # the server sends whole files only
                if not resumed:
                    raise
                self._stream(target, 0, task)
        received = target.stat().st_size
        if size and received != size:
            raise DataError(
                f"{self._shown}: {received:,} of {size:,} bytes arrived. Run again to resume."
            )

    def _stream(self, target: Path, start: int, task: Task) -> None:
        # Without blocks, one request serves the whole file.
        blocks = {"block_size": 0} if self._is_http and not start else {"block_size": _BLOCK}
        with (
            self._system.open(self._path, "rb", **blocks) as source,
            target.open("ab" if start else "wb") as file,
        ):
            if start:
                source.seek(start)
            done = start
            task.advance(done // _MEBIBYTE)
            while chunk := source.read(_MEBIBYTE):
                file.write(chunk)
                if not done and not chunk.startswith(b"PK"):
                    raise DataError(
                        f"{self._shown}: this is no zip file. Expected the address of a zip file. "
                        "Pages that ask you to log in cannot be downloaded from."
                    )
                task.advance((done + len(chunk)) // _MEBIBYTE - done // _MEBIBYTE)
                done += len(chunk)
                if done > MOST_BYTES:
                    raise DataError(
                        f"{self._shown}: more than {MOST_BYTES:,} bytes arrived. Download it "
                        "yourself and give the folder."
                    )
            task.advance(-(-done // _MEBIBYTE) - done // _MEBIBYTE)

    def _download_folder(self, target: Path, progress: Progress) -> None:
        waiting = [
            (path, info)
            for path, info in self._files.items()
            if not _has_size(target / path, self._size(info))
        ]
        with progress.task("Downloading", len(self._files), "files") as task:
            task.advance(len(self._files) - len(waiting))
            for i in range(0, len(waiting), _BATCH):
                batch = waiting[i : i + _BATCH]
                places = [target / path for path, _ in batch]
                for place in places:
                    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._system.get([info["name"] for _, info in batch], [*map(str, places)])
                for place, (path, info) in zip(places, batch, strict=True):
                    if not _has_size(place, self._size(info)):
                        raise DataError(
                            f"{self._shown}/{path}: only a part arrived. Run again to resume."
                        )
                task.advance(len(batch))


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
