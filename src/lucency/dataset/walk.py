"""List what lies below a folder, without following a symbolic link.

No file is opened but those whose name has no suffix, or a number for one: 132 bytes tell whether
they are DICOM, which archives name so.
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
_HIDDEN = "hidden, or left behind by the program that packed the folder"


@dataclass
class Walk:
    """Everything below a root, as paths relative to it with forward slashes.

    Attributes:
        root: Where the walk began.
        files: Usable images by name and kind, in natural order.
        stamps: What each of them was when it was found.
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
        """List a path as no part of the data set."""
        self.ignored.append(Excluded(shown(file), reason))


def walk_below(root: Path, *, only: Collection[str] = ()) -> Walk:
    """List everything below a folder.

    Args:
        root: Where to begin.
        only: Names in the root to go into, where the others are to be ignored; empty for all.

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
                beside = "beside the train folder, not in it"
                walk.ignore(path, _HIDDEN if _is_hidden(entry.name) else beside)
            elif _place(walk, entry, path):
                waiting.append(path)
    walk.files.sort(key=natural)
    walk.folders.sort(key=natural)
    return walk


def _place(walk: Walk, entry: os.DirEntry[str], path: str) -> bool:
    """Put one directory entry into its list; ``True`` for a folder to go into."""
    if _is_hidden(entry.name):
        walk.ignore(path, _HIDDEN)
    elif entry.is_dir(follow_symlinks=False):
        walk.folders.append(path)
        return True
    elif not _leads_to_folder(entry) and not is_image(entry.path):
        walk.ignore(path, _no_image(entry.name))
    elif reason := _unusable(entry, path):
        walk.excluded.append(Excluded(shown(path), reason))
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


def _unusable(entry: os.DirEntry[str], path: str) -> str:
    if entry.is_symlink():
        return "symbolic link, not followed"
    # A pipe or a device would block or never end when read.
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file"
    if shown(path) == path:
        return ""
    # Control characters would break terminals and tables wherever the name is printed.
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
            f"{shown(str(folder))}: this folder cannot be read ({error.strerror}). "
            "Expected a folder whose files may be listed. Change its permissions or remove it."
        ) from error


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself
        return False


def names_image(name: str) -> bool:
    """Tell from the suffix whether a file should be an image."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def _no_image(name: str) -> str:
    if name.upper() == "DICOMDIR":
        return "not an image: the index of a disc"
    return "not an image: the file name has no image suffix"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def shown(path: str) -> str:
    """Return the path as text that can be printed and stored, whatever bytes it is made of."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
