"""List everything below a folder, without following symbolic links.

Only files without a suffix, or with a number as suffix, are opened, as DICOM archives name their
files so: the first 132 bytes identify DICOM.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lucency.dataset.entry import Excluded, natural
from lucency.errors import DataError
from lucency.imaging.image import IMAGE_SUFFIXES, is_image
from lucency.imaging.source import Stamp, stamp_of

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_HIDDEN = "hidden, or created by the program that packed the folder"


@dataclass
class Walk:
    """Everything below a root, as paths relative to it with forward slashes.

    Attributes:
        root: Where the walk starts.
        files: Usable images by name and type, in natural order.
        stamps: Size and times of each of them when it was found.
        folders: Real folders, in natural order.
        excluded: Images that cannot be used, and linked folders.
        ignored: Everything else.
    """

    root: Path
    files: list[str] = field(default_factory=list)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    ignored: list[Excluded] = field(default_factory=list)

    def ignore(self, file: str, reason: str) -> None:
        """Record that a path does not belong to the data set."""
        self.ignored.append(Excluded(printable(file), reason))


def walk_folder(root: Path, *, only: Collection[str] = ()) -> Walk:
    """List everything below a folder.

    Args:
        root: Where to start.
        only: Names in the root to descend into, ignoring the others; empty for all.

    Raises:
        DataError: A folder cannot be read.
    """
    walk = Walk(root)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in _listing(root / folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if only and not folder and entry.name not in only:
                outside = "next to the train folder, not in it"
                walk.ignore(path, _HIDDEN if _is_hidden(entry.name) else outside)
            elif _record(walk, entry, path):
                waiting.append(path)
    walk.files.sort(key=natural)
    walk.folders.sort(key=natural)
    return walk


def _record(walk: Walk, entry: os.DirEntry[str], path: str) -> bool:
    """Put one directory entry into its list; ``True`` for a folder to descend into."""
    if _is_hidden(entry.name):
        walk.ignore(path, _HIDDEN)
    elif entry.is_dir(follow_symlinks=False):
        walk.folders.append(path)
        return True
    elif not _leads_to_folder(entry) and not is_image(entry.path):
        walk.ignore(path, _not_an_image(entry.name))
    elif reason := _reason_to_exclude(entry, path):
        walk.excluded.append(Excluded(printable(path), reason))
    elif stamp := _stamp(entry):
        walk.files.append(path)
        walk.stamps[path] = stamp
    else:
        walk.excluded.append(Excluded(path, "vanished after it was found; run again"))
    return False


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    try:
        return stamp_of(entry.stat(follow_symlinks=False))
    except OSError:
        return None


def _reason_to_exclude(entry: os.DirEntry[str], path: str) -> str:
    if entry.is_symlink():
        return "symbolic link, not followed"
    # Reading a pipe or a device may block or never end.
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    if printable(path) == path:
        return ""
    # Control characters would corrupt terminals and tables wherever the name is printed.
    return "file name has control characters or is not valid UTF-8"


def visible(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the real folders and of the other entries that are not hidden."""
    entries = [entry for entry in _listing(folder) if not _is_hidden(entry.name)]
    folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    others = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    return folders, others


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"{printable(str(folder))}: this folder cannot be read ({error.strerror}). "
            "Expected a folder whose files may be listed. Change its permissions or remove it."
        ) from error


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself
        return False


def has_image_suffix(name: str) -> bool:
    """Tell whether a file name has the suffix of an image."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _not_an_image(name: str) -> str:
    if name.upper() == "DICOMDIR":
        return "not an image: the index of a DICOM disc"
    return "not an image: the file name has no image suffix"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def printable(path: str) -> str:
    """Return the path as text that can be printed and stored, whatever its bytes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
