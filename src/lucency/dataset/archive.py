"""Unpack zip files from untrusted sources.

Everything is checked before the first file is written: names that lead out of the folder, links,
encryption, duplicates, overlapping members, number and size of files. Zip files inside a zip file,
as Kaggle packs them, are unpacked too, one level deep.
"""

from __future__ import annotations

import itertools
import lzma
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lucency.dataset.entry import counted, listed
from lucency.errors import DataError, RunError
from lucency.io import why
from lucency.progress import SILENT, Progress

MOST_FILES = 1_000_000
MOST_BYTES = 256 * 2**30  # of all unpacked files
MOST_NESTED = 100  # zip files inside a zip file
_MOST_RATIO, _RATIO_FROM = 200, 256 * 2**20  # unpacked to packed bytes, of an archive this large
_MOST_DIRECTORY = 128 * 2**20  # bytes of the list of members, which is read into memory
_MOST_DEPTH, _LONGEST_NAME = 100, 255
_RESERVE = 64 * 2**20  # bytes to leave free on the disk
_CHUNK = 2**20
_END = struct.Struct("<4s4H2LH")  # the record at the end of a zip file
_DRIVE = re.compile(r"[A-Za-z]:")
_CORRUPT = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error, ValueError)


class Member(NamedTuple):
    """A file in an archive, and its path below the target folder."""

    info: zipfile.ZipInfo
    path: str


class Content(NamedTuple):
    """What is in an archive: its files, its folders, and links and other special members."""

    files: list[Member]
    folders: list[str]
    special: list[str]


def is_zip(path: Path) -> bool:
    """Tell whether a file begins like a zip file, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError:
        return False


def unpack(
    archive: Path, target: Path, *, name: str = "", progress: Progress = SILENT
) -> list[str]:
    """Unpack a zip file and the zip files inside it.

    Files that are already there with the right size are kept, so that unpacking can be resumed.

    Args:
        archive: The zip file.
        target: A private folder, which only this function writes to.
        name: What error messages call the archive; its path if empty.
        progress: Called for every file.

    Returns:
        Sentences on what was not unpacked.

    Raises:
        DataError: The archive is damaged, encrypted, too large or unsafe. Nothing outside
            ``target`` is touched.
        RunError: The disk is full or cannot be written.
    """
    return _Unpacker(target, progress).unpack(archive, name or str(archive))


class _Unpacker:
    """Unpacks one archive and those inside it, within one limit of files and bytes."""

    def __init__(self, target: Path, progress: Progress) -> None:
        self._target, self._progress = target, progress
        self._partial = target.with_name(".unpacking")  # no member can have this place
        self._inner = target.with_name(".inner.zip")
        self._files, self._bytes = MOST_FILES, MOST_BYTES
        self._lines: list[str] = []

    def unpack(self, archive: Path, name: str) -> list[str]:
        content = self._unpack_one(archive, "", name)
        inner = _archives(content)
        if len(inner) > MOST_NESTED:
            raise DataError(_too_large(name, f"{len(inner):,} zip files", f"{MOST_NESTED}"))
        taken = {*content.folders}.union(*(_ancestors(each.path) for each in content.files))
        for path in inner:
            self._unpack_inner(path, f"{name}/{path}", taken)
        return self._lines

    def _unpack_inner(self, path: str, name: str, taken: set[str]) -> None:
        """Unpack a zip file beside itself if all is in one folder, else into a folder."""
        archive = (self._target / path).replace(self._inner)
        content = read_members(archive, name)
        tops = {each.split("/")[0] for each in (*content.folders, *(m.path for m in content.files))}
        parent = path.rpartition("/")[0]
        beside = {f"{parent}/{top}".lstrip("/") for top in tops - {"__MACOSX"}}
        place = parent
        if len(beside) != 1 or beside & (taken - {path}):
            names = (path[:-4] + (f"_{i}" if i > 1 else "") for i in itertools.count(1))
            place = next(name for name in names if name not in taken)
            beside = {place}
        taken |= beside
        content = self._unpack_one(archive, place, name)
        archive.unlink()
        if deeper := _archives(content):
            self._lines.append(f"{name}: zip files in it are not unpacked: {listed(deeper)}.")

    def _unpack_one(self, archive: Path, place: str, name: str) -> Content:
        content = read_members(archive, name)
        if content.special:
            self._lines.append(f"{name}: links in it are not unpacked: {listed(content.special)}.")
        self._check_size([each.info for each in content.files], archive.stat().st_size, name)
        file = ""
        try:
            self._check_space(content, name)
            for folder in content.folders:
                (self._target / place / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
            with (
                zipfile.ZipFile(archive) as opened,
                self._progress.task("Unpacking", len(content.files), "files") as task,
            ):
                for member in content.files:
                    file = member.path
                    self._extract(opened, member.info, self._target / place / member.path)
                    task.advance()
        except (*_CORRUPT, NotImplementedError, RuntimeError) as error:
            raise DataError(
                f"{name}: {file} cannot be unpacked ({error}). The archive is damaged, or packed "
                "in an unusual way. Download it again, or unpack it yourself and give the folder."
            ) from error
        except OSError as error:
            raise RunError(
                f"{name} cannot be unpacked into {self._target} ({why(error)}). Free some space, "
                "or choose another folder with --cache DIR."
            ) from error
        return content

    def _extract(self, opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
        if path.is_file() and path.stat().st_size == info.file_size:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with opened.open(info) as source, self._partial.open("wb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        self._partial.replace(path)

    def _check_size(self, infos: Sequence[zipfile.ZipInfo], packed: int, name: str) -> None:
        size = sum(info.file_size for info in infos)
        self._files -= len(infos)
        self._bytes -= size
        if self._files < 0:
            raise DataError(_too_large(name, counted(len(infos), "file"), f"{MOST_FILES:,} files"))
        if self._bytes < 0:
            raise DataError(_too_large(name, f"{size:,} bytes", f"{MOST_BYTES:,} bytes"))
        if sum(info.compress_size for info in infos) > packed:
            raise DataError(f"{name}: its files overlap, as in a zip bomb. Nothing is unpacked.")
        if size > _RATIO_FROM and size > _MOST_RATIO * packed:
            raise DataError(
                f"{name}: {packed:,} bytes would become {size:,}, more than {_MOST_RATIO} times "
                "as much, as in a zip bomb. If you trust it, unpack it yourself and give the "
                "folder."
            )

    def _check_space(self, content: Content, name: str) -> None:
        self._target.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self._target).free
        size = sum(each.info.file_size for each in content.files)
        there = sum(each.stat().st_size for each in self._target.rglob("*") if each.is_file())
        if size - there > free - _RESERVE:
            raise RunError(
                f"{name}: unpacked, it takes {size:,} bytes, and {free:,} are free for "
                f"{self._target}. Free some space, or choose another folder with --cache DIR."
            )


def read_members(archive: Path, name: str) -> Content:
    """Return what is in a zip file.

    Raises:
        DataError: The archive is damaged, or a member is encrypted or unsafe.
    """
    try:
        _check_directory(archive, name)
        with zipfile.ZipFile(archive) as opened:
            infos = opened.infolist()
    except (*_CORRUPT, NotImplementedError) as error:
        raise DataError(
            f"{name}: this is no complete zip file ({error}). Download it again."
        ) from error
    except OSError as error:
        raise DataError(f"{name}: the zip file cannot be read ({why(error)}).") from error
    files: dict[str, zipfile.ZipInfo] = {}
    folders, special = [], []
    for info in infos:
        path = safe_path(_name(info), name)
        if not _is_regular(info):
            special.append(path)
        elif info.is_dir():
            folders.append(path)
        elif path:
            _check_member(files, info, path, name)
            files[path] = info
    _check_folders(files, folders, name)
    return Content([Member(info, path) for path, info in files.items()], folders, special)


def safe_path(written: str, name: str) -> str:
    """Return a path that stays below the folder that it is joined to.

    Args:
        written: From an archive or a listing; backslashes count as slashes.
        name: What error messages call the source.

    Raises:
        DataError: It is absolute, leads upwards, or is too long or too deep.
    """
    path = written.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or _DRIVE.match(path) or ".." in parts or "\0" in path:
        unsafe = "leads out of the folder"
    elif len(parts) > _MOST_DEPTH:
        unsafe = f"is nested more than {_MOST_DEPTH} folders deep"
    elif any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
        unsafe = f"has a name of more than {_LONGEST_NAME} bytes"
    else:
        return "/".join(parts)
    raise DataError(
        f"{name}: the file {written[:80]!r} in it {unsafe}, so nothing of it is unpacked. "
        "Do not trust it; if you made it, pack the folder again with relative paths."
    )


def _name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; macOS writes UTF-8 without saying so."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        try:
            return name.encode("cp437").decode("utf-8")
        except UnicodeError:
            return name
    return name


def _is_regular(info: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG)


def _check_member(
    files: Mapping[str, zipfile.ZipInfo], info: zipfile.ZipInfo, path: str, name: str
) -> None:
    if info.flag_bits & 0x1:
        raise DataError(
            f"{name}: {path} is encrypted. Expected a zip file without a password. "
            "Unpack it yourself and give the folder."
        )
    other = files.get(path)
    if other and (other.CRC, other.file_size) != (info.CRC, info.file_size):
        raise DataError(
            f"{name}: it contains {path} twice with different content. Expected each file once. "
            "Unpack it yourself, keep the right one and give the folder."
        )


def _check_folders(files: Mapping[str, zipfile.ZipInfo], folders: Sequence[str], name: str) -> None:
    above = {*folders}.union(*(_ancestors(path)[:-1] for path in files))
    if clash := sorted(above & files.keys()):
        raise DataError(
            f"{name}: {clash[0]} is both a file and a folder in it. Unpack it yourself and give "
            "the folder."
        )


def _check_directory(archive: Path, name: str) -> None:
    """Reject a list of members that would take too much memory to read."""
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - 2**16 - 2**10))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise zipfile.BadZipFile("its end is missing")
    _, _, _, _, count, listing, _, _ = _END.unpack_from(tail, at)
    large = tail.rfind(b"PK\x06\x06", 0, at)  # of archives with many or large files
    if 0 <= large <= len(tail) - 56:
        count, listing = struct.unpack_from("<QQ", tail, large + 32)
    if count > MOST_FILES or min(listing, size) > _MOST_DIRECTORY:
        raise DataError(_too_large(name, f"{count:,} files", f"{MOST_FILES:,} files"))


def _too_large(name: str, received: str, most: str) -> str:
    return (
        f"{name}: it contains {received}; at most {most} are unpacked in all. "
        "Unpack it yourself and give the folder."
    )


def _archives(content: Content) -> list[str]:
    return [each.path for each in content.files if each.path.lower().endswith(".zip")]


def _ancestors(path: str) -> list[str]:
    """Return a path and the folders above it, topmost first."""
    parts = path.split("/")
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
