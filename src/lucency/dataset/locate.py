"""Find the image that a row of a labels file names, however the path is written.

A name is taken, in this order, as

    the path below the data set or below the folder that was given
    an absolute path, or one relative to the labels file or to the working directory
    a bare file name that is unique
    either of these without its suffix, in another case or Unicode form, or URL-encoded

Names that lead nowhere may share a beginning from another machine, which is then removed.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from lucency.dataset.entry import counted, listed
from lucency.errors import DataError
from lucency.imaging.image import IMAGE_SUFFIXES

_DRIVE = re.compile(r"[A-Za-z]:/")


class Located(NamedTuple):
    """The image of each name, and a sentence on a beginning that was removed, or empty."""

    files: Mapping[str, str]
    note: str


class Locator:
    """Finds images by the names in one labels file."""

    def __init__(self, table: Path, files: Sequence[str], root: Path, folder: Path) -> None:
        """Prepare to find images.

        Args:
            table: The labels file.
            files: Known images, relative to ``root``.
            root: The root of the data set, in ``folder``.
            folder: The folder that the user gave.
        """
        self._table, self._files, self._root = table, files, root
        self._known = frozenset(files)
        self._absolute = _posix(Path(os.path.abspath(root)))  # noqa: PTH100 - links stay
        self._real = _posix(Path(os.path.realpath(root)))
        given = _posix(Path(os.path.abspath(folder)))  # noqa: PTH100
        self._prefix = self._absolute[len(given) :].lstrip("/") + "/"
        self._places = [_posix(Path(os.path.abspath(table.parent))), _posix(Path.cwd())]  # noqa: PTH100
        self._ends = {self._absolute, self._real, given, _posix(Path(os.path.realpath(folder)))}
        self._parents: dict[str, str] = {}

    def locate(self, names: Sequence[str]) -> Located:
        """Return the image of every name.

        Raises:
            DataError: A name fits several images or none.
        """
        found = {name: self.find(name) for name in dict.fromkeys(names)}
        rest = [name for name, file in found.items() if file is None]
        note = ""
        if rest and not any(os.path.lexists(self._path(name)) for name in rest):
            moved, start = self._without_start(rest)
            found |= moved
            if moved:
                note = (
                    f"{self._table.name}: {start!r} at the beginning of "
                    f"{counted(len(rest), 'path')} is read as {self._root}."
                )
                rest = []
        if rest:
            raise self._missing(rest)
        return Located({name: file for name, file in found.items() if file is not None}, note)

    def find(self, written: str) -> str | None:
        """Return the image of a name; ``None`` where it fits none.

        Raises:
            DataError: It fits several.
        """
        name = _normal(written)
        for candidate in dict.fromkeys((name, unquote(name))):
            for find in (self._by_path, self._by_place, self._by_name, self._by_form):
                if file := find(candidate, written):
                    return file
        return None

    def _by_path(self, name: str, _written: str) -> str | None:
        for candidate in (name, name.removeprefix(self._prefix)):
            if candidate in self._known:
                return candidate
        return None

    def _by_place(self, name: str, written: str) -> str | None:
        """Find a file by an absolute path, or relative to the labels file or working directory."""
        for place in ("",) if _is_absolute(name) else self._places:
            path = posixpath.normpath(posixpath.join(place, name))
            inside = [_below(path, self._absolute), _below(path, self._real)]
            inside.append(_below(self._real_path(path), self._real))
            for file in filter(None, inside):
                if file in self._known:
                    return file
                if other := self._unique(self._paths.get(_folded(file), ()), written):
                    return other
        return None

    def _by_name(self, name: str, written: str) -> str | None:
        return self._unique(self._by_bare_name.get(name, ()), written)

    def _by_form(self, name: str, written: str) -> str | None:
        """Find a file whose suffix is left out, or whose case or Unicode form differs."""
        for form in (_folded(name), _folded(name.removeprefix(self._prefix))):
            for forms in (self._paths, self._names):
                if file := self._unique(forms.get(form, ()), written):
                    return file
        return None

    def _unique(self, files: Sequence[str], written: str) -> str | None:
        if len(files) > 1:
            raise DataError(
                f"{self._table}: {written} is the name of {len(files)} files in the data folder "
                f"({listed([*files])}). Write the path relative to the folder, as in train/a.png."
            )
        return files[0] if files else None

    @cached_property
    def _by_bare_name(self) -> Mapping[str, list[str]]:
        found = defaultdict(list)
        for file in self._files:
            found[file.rpartition("/")[2]].append(file)
        return found

    @cached_property
    def _paths(self) -> Mapping[str, list[str]]:
        """The files by their paths with and without suffix, whatever their case."""
        return _forms((file, file) for file in self._files)

    @cached_property
    def _names(self) -> Mapping[str, list[str]]:
        """The files by their bare names with and without suffix, whatever their case."""
        return _forms((file.rpartition("/")[2], file) for file in self._files)

    def _without_start(self, names: Sequence[str]) -> tuple[dict[str, str], str]:
        """Return the images after one beginning is removed from all names, and the beginning."""
        starts = {name: dict(self._starts(_normal(name))) for name in names}
        for start in sorted(set.intersection(*map(set, starts.values())), key=len):
            found = {name: starts[name][start] for name in names}
            if self._is_plausible(start, [*found.values()]):
                return found, start
        return {}, ""

    def _starts(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield each beginning that leaves the path of a known image, and this image."""
        parts = name.split("/")
        for i in range(1, len(parts)):
            rest = "/".join(parts[i:])
            files = [rest] if rest in self._known else self._paths.get(_folded(rest), ())
            if len(files) == 1:
                yield "/".join(parts[:i]) or "/", files[0]

    def _is_plausible(self, start: str, files: Sequence[str]) -> bool:
        """Tell whether a beginning is the same folder, here or on another machine.

        The files of another folder may have the same names: train/1.png and test/1.png.
        """
        if not _is_absolute(start):
            return any(f"/{end}".endswith(f"/{start}") for end in self._ends)
        last = start.rpartition("/")[2]
        named = any(end.rpartition("/")[2] == last for end in self._ends)
        return named or all("/" in file for file in files)

    def _missing(self, names: Sequence[str]) -> DataError:
        """Return an error that says where the files are instead."""
        there = [name for name in names if os.path.lexists(self._path(name))]
        nowhere = [name for name in names if not os.path.lexists(self._path(name))]
        nowhere = [name for name in nowhere if not os.path.lexists(self._root / _normal(name))]
        if nowhere:
            return DataError(
                f"{self._table}: {_files(nowhere)} not in the data folder: {listed(nowhere)}. "
                "Write paths relative to the folder, or file names; remove lines without an image."
            )
        inside = [
            name
            for name in names
            if name not in there or _below(self._real_path(self._path(name)), self._real)
        ]
        if inside:
            return DataError(
                f"{self._table}: {_files(inside)} in {self._root}, but not read as images: "
                f"{listed(inside)}. Hidden files, folders of other programs and links are not "
                "read. Remove these lines, or move the files (links: --follow-links)."
            )
        return DataError(
            f"{self._table}: {_files(there)} outside {self._root}: {listed(there)}. Expected files "
            "in the data folder. Give the folder that contains all of them, or remove these lines."
        )

    def _path(self, name: str) -> str:
        """Return the absolute path that a name means if it is read relative to the labels file."""
        return posixpath.normpath(posixpath.join(self._places[0], _normal(name)))

    def _real_path(self, path: str) -> str:
        """Return a path with the links in its parent folders resolved, not the file itself."""
        parent, _, name = path.rpartition("/")
        if parent not in self._parents:
            self._parents[parent] = _posix(Path(os.path.realpath(parent or "/")))
        return f"{self._parents[parent].rstrip('/')}/{name}"


def _files(names: Sequence[str]) -> str:
    return f"{len(names):,} listed {'file is' if len(names) == 1 else 'files are'}"


def _normal(written: str) -> str:
    """Return a path with forward slashes, without ``file://``, ``~`` and empty steps."""
    name = written.replace("\\", "/")
    if name[:8].lower() == "file:///":
        name = unquote(name[7:])
    if name.startswith("~/"):
        name = posixpath.expanduser(name)
    start = "/" if name.startswith("/") else ""
    return start + "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_absolute(name: str) -> bool:
    return name.startswith("/") or _DRIVE.match(name) is not None


def _below(path: str, folder: str) -> str:
    """Return the part of a path below a folder; empty if it is not there."""
    start = folder.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else ""


def _forms(named: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    found = defaultdict(list)
    for name, file in named:
        for form in {_folded(name), _folded(_without_suffix(name))}:
            found[form].append(file)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _without_suffix(name: str) -> str:
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def _posix(path: Path) -> str:
    return path.as_posix()
