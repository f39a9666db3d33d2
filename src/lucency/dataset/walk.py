"""List everything below a folder; symbolic links are followed only on request.

Files whose names do not reveal their type are opened: their first 132 bytes do.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lucency.dataset.entry import Excluded, Ignored, natural
from lucency.dataset.links import LOOP, NOT_FOLLOWED, Folder, Links
from lucency.errors import DataError
from lucency.imaging.detect import HEAD, is_image_content, suffix_of, why_unusable
from lucency.imaging.image import IMAGE_SUFFIXES
from lucency.imaging.source import Stamp, first_bytes, stamp_of

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_HIDDEN = "hidden, or created by the program that packed the folder"
NO_IMAGE = "not an image: "  # how reasons start
HELPER = "created by a program for its own use: previews, backups or metadata"
_VANISHED = "vanished after it was found; run again"
_HELPERS = frozenset(
    name.casefold()
    for name in (
        *("@eaDir", "@tmp", "@Recycle", "@Recently-Snapshot", "#recycle", "#snapshot"),
        *("__pycache__", "$RECYCLE.BIN", "RECYCLER", "RECYCLED", "System Volume Information"),
        *("lost+found", "Network Trash Folder", "Temporary Items", "FOUND.000"),
        *("Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "Icon\r"),
        *(".thumbnails", ".thumb", ".ipynb_checkpoints", ".AppleDouble", ".AppleDB", ".DS_Store"),
        *(".Trash", ".Trashes", ".Spotlight-V100", ".fseventsd", ".TemporaryItems"),
        *(".DocumentRevisions-V100", ".apdisk", ".picasaoriginals", ".xvpics", ".comments"),
        *(".git", ".svn", ".hg", ".dvc", ".cache", ".venv", ".idea", ".vscode", ".snapshot"),
        *(".@__thumb", ".sync", ".stversions", ".nomedia"),
    )
)
_HELPER_STARTS = (".trash-", "._", ".nfs", ".fuse_hidden", ".syncthing.")
_MOST_COUNTED = 1_000_000  # entries of a hidden or linked folder, whose images are only counted
_MOST_LISTED = 10_000  # files that are ignored for one reason and listed each; the rest are counted
_MOST_KINDS = 1_000  # kinds of them, by folder and suffix


@dataclass
class Walk:
    """Everything below a root, as paths relative to it with forward slashes.

    Attributes:
        root: Where the walk starts.
        files: Usable images by name and type, in natural order.
        stamps: Size and times of each of them when it was found.
        folders: Folders, in natural order.
        excluded: Images that cannot be used.
        unusable: Their paths, with whatever signs these have.
        ignored: Everything else. Of a folder with many such files some are only counted.
        unused: Number of images by folder and reason that are not used.
        locked: The error of each folder that cannot be read.
    """

    root: Path
    files: list[str] = field(default_factory=list)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)
    unused: Counter[tuple[str, str]] = field(default_factory=Counter)
    locked: dict[str, DataError] = field(default_factory=dict)
    _listed: Counter[str] = field(default_factory=Counter)
    _counted: Counter[tuple[str, str]] = field(default_factory=Counter)

    def ignore(self, file: str, reason: str) -> None:
        """Record that a path does not belong to the data set."""
        self._listed[reason] += 1
        if self._listed[reason] <= _MOST_LISTED:
            self.ignored.append(Ignored(printable(file), reason))
            return
        folder, slash, name = file.rpartition("/")
        kind = printable(f"{folder}{slash}*{suffix_of(name)}"), reason
        known = kind in self._counted or len(self._counted) < _MOST_KINDS
        self._counted[kind if known else ("*", reason)] += 1

    def list_counted(self) -> None:
        """Add those that were only counted to the list."""
        self.ignored += [Ignored(*kind, files=n) for kind, n in self._counted.items()]
        self._counted.clear()

    def exclude(self, file: str, reason: str) -> None:
        """Record that an image cannot be used."""
        self.excluded.append(Excluded(printable(file), reason))
        self.unusable.append(file)

    def leave(self, folder: str, reason: str, images: int = 1) -> None:
        """Record that images of a folder are not used; without images the folder is ignored."""
        if images:
            self.unused[printable(folder) or ".", reason] += images
        else:
            self.ignore(folder, reason)


class _Found(NamedTuple):
    """An entry of a folder, and its status after following links."""

    entry: os.DirEntry[str]
    path: str
    status: os.stat_result


def walk_folder(root: Path, *, follow: bool = False) -> Walk:
    """List everything below a folder.

    Args:
        root: Where to start.
        follow: Whether to follow symbolic links. A link back to a folder that it lies in is not
            followed, and neither is one into ``/proc``, ``/dev`` or ``/sys``.

    Raises:
        DataError: The folder cannot be read.
    """
    walk, links = Walk(root), Links(root) if follow else None
    waiting = [Folder("", None)]
    while waiting:
        folder = waiting.pop()
        try:
            entries = _listing(root / folder.path)
        except DataError as error:
            if not folder.path:
                raise
            walk.locked[folder.path] = error
            continue
        for entry in entries:
            path = f"{folder.path}/{entry.name}" if folder.path else entry.name
            if _record(walk, links, entry, path) and (
                inner := _entered(walk, links, folder, entry, path)
            ):
                walk.folders.append(path)
                waiting.append(inner)
    walk.list_counted()
    walk.files.sort(key=natural)
    walk.folders.sort(key=natural)
    return walk


def _entered(
    walk: Walk, links: Links | None, outer: Folder, entry: os.DirEntry[str], path: str
) -> Folder | None:
    """Return the folder to descend into, unless a link made it a loop."""
    if links is None:
        return Folder(path, None)
    inner = links.enter(outer, entry, path)
    if isinstance(inner, Folder):
        return inner
    walk.ignore(path, inner)
    return None


def _record(walk: Walk, links: Links | None, entry: os.DirEntry[str], path: str) -> bool:
    """Put one directory entry into its list; ``True`` for a folder to descend into."""
    if is_helper(entry.name):
        walk.ignore(path, HELPER)
    elif _is_hidden(entry.name):
        _record_hidden(walk, entry, path)
    elif entry.is_symlink() and (links is None or not links.allows(entry.path)):
        _record_link(walk, links, entry, path)
    else:
        try:
            status = entry.stat(follow_symlinks=links is not None)
        except OSError as error:
            return _record_missing(walk, entry, path, error)
        if stat.S_ISDIR(status.st_mode):
            return True
        _record_file(walk, _Found(entry, path, status))
    return False


def _record_file(walk: Walk, found: _Found) -> None:
    name, path = found.entry.name, found.path
    suffix, regular = has_image_suffix(name), stat.S_ISREG(found.status.st_mode)
    # Reading a pipe or a device may block or never end.
    head = b"" if suffix or not regular else _head(found)
    if name.upper() == "DICOMDIR":
        walk.ignore(path, f"{NO_IMAGE}the index of a DICOM disc")
    elif not (suffix or is_image_content(head) or why_unusable(name, head)):
        walk.ignore(path, _not_an_image(found, head))
    elif not regular:
        walk.exclude(path, "not a regular file")
    elif printable(path) != path:
        # Control characters would corrupt terminals and tables wherever the name is printed.
        walk.exclude(path, "file name has control characters or is not valid UTF-8")
    elif reason := why_unusable(name, head):
        walk.exclude(path, reason)
    else:
        walk.files.append(path)
        walk.stamps[path] = stamp_of(found.status)


def _head(found: _Found) -> bytes:
    linked = found.entry.is_symlink()
    return first_bytes(os.path.realpath(found.entry.path) if linked else found.entry.path, HEAD)


def _not_an_image(found: _Found, head: bytes) -> str:
    if not stat.S_ISREG(found.status.st_mode):
        return "not a regular file"
    if not found.status.st_size:
        return f"{NO_IMAGE}the file is empty, and its name has no image suffix"
    if not head:
        return "the file cannot be read, and its name has no image suffix"
    return f"{NO_IMAGE}neither its content nor its suffix is one of an image"


def _record_missing(walk: Walk, entry: os.DirEntry[str], path: str, error: OSError) -> bool:
    """Record an entry without a status: it vanished, leads nowhere, or its path is too long.

    Returns:
        Whether it is a folder, so that an attempt to list it shows the error.
    """
    image = has_image_suffix(entry.name)
    if entry.is_symlink():
        reason = "symbolic link that leads nowhere"
        reason += ": get its content, as by git annex get or dvc pull" if image else ""
    elif error.errno == errno.ENOENT:
        reason = _VANISHED
    elif _is_folder(entry, follow=False):
        return True
    else:
        reason = f"cannot be read ({error.strerror})"
    (walk.exclude if image else walk.ignore)(path, reason)
    return False


def _record_link(walk: Walk, links: Links | None, entry: os.DirEntry[str], path: str) -> None:
    """Record a link that is not followed; images in a linked folder are counted."""
    reason = links.why(entry.path) if links else NOT_FOLLOWED
    try:
        is_folder = entry.is_dir()
    except OSError:  # a link to itself
        is_folder = False
    if not is_folder:
        (walk.exclude if has_image_suffix(entry.name) else walk.ignore)(path, reason)
    elif links:
        walk.ignore(path, reason)
    elif Links(walk.root).is_loop(entry.path):
        walk.ignore(path, LOOP)
    else:
        walk.leave(path, reason, _count(entry.path) if Links(walk.root).allows(entry.path) else 0)


def _record_hidden(walk: Walk, entry: os.DirEntry[str], path: str) -> None:
    """Record a hidden file or folder; its images are counted."""
    if entry.is_dir(follow_symlinks=False):
        walk.leave(path, _HIDDEN, _count(entry.path))
    elif entry.is_file(follow_symlinks=False) and is_image_content(first_bytes(entry.path, HEAD)):
        walk.leave(path.rpartition("/")[0], _HIDDEN)
    else:
        walk.ignore(path, _HIDDEN)


def _count(folder: str) -> int:
    """Return the number of files with the suffix of an image below a folder."""
    images = 0
    for name in itertools.islice(_names_below(folder), _MOST_COUNTED):
        images += has_image_suffix(name)
    return images


def _names_below(folder: str) -> Iterator[str]:
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_helper(name)]
        yield from (name for name in files if not is_helper(name))


def visible(folder: Path, *, follow: bool = False) -> tuple[list[str], list[os.DirEntry[str]]]:
    """Return the names of the folders and the other entries that are not hidden.

    Args:
        folder: The folder.
        follow: Whether a link to a folder counts as a folder.
    """
    entries = [entry for entry in _listing(folder) if not _is_hidden(entry.name)]
    entries = [entry for entry in entries if not is_helper(entry.name)]
    folders = [entry.name for entry in entries if _is_folder(entry, follow)]
    others = [entry for entry in entries if not _is_folder(entry, follow)]
    return folders, others


def _is_folder(entry: os.DirEntry[str], follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:  # a link to itself
        return False


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{printable(str(folder))}: this folder cannot be read ({error.strerror}). "
            "Expected a folder whose files may be listed. Change its permissions or remove it."
        ) from error


def looks_like_image(entry: os.DirEntry[str]) -> bool:
    """Tell whether a directory entry is an image by its name or its content."""
    if has_image_suffix(entry.name):
        return True
    regular = entry.is_file(follow_symlinks=False)
    return regular and is_image_content(first_bytes(entry.path, HEAD))


def has_image_suffix(name: str) -> bool:
    """Tell whether a file name has the suffix of an image."""
    return suffix_of(name) in IMAGE_SUFFIXES


def is_helper(name: str) -> bool:
    """Tell whether a program made a file or folder of this name for its own use."""
    return name.casefold() in _HELPERS or name.casefold().startswith(_HELPER_STARTS)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def printable(path: str) -> str:
    """Return the path as text that can be printed and stored, whatever its bytes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
