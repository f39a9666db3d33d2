"""Follow symbolic links safely: no loops, and never into the file systems of the kernel."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NOT_FOLLOWED = "symbolic link, not followed: use --follow-links"
LOOP = "symbolic link back to a folder that it lies in"
_KERNEL = ("/proc", "/dev", "/sys")
_FORBIDDEN = f"symbolic link into {', '.join(_KERNEL)}, never followed"
# Links in many folders to each other would multiply without end.
_MOST_VISITS = 100
_OFTEN = f"symbolic link to a folder that was already read {_MOST_VISITS} times"


class Folder(NamedTuple):
    """A folder to be listed.

    Attributes:
        path: Below the root, through the links.
        outer: Device and inode of the folders that it lies in, innermost first; only with links.
    """

    path: str
    outer: tuple[tuple[int, int], object] | None


class Links:
    """Which links below a root may be followed."""

    def __init__(self, root: Path) -> None:
        """Remember the root; links may leave it."""
        self._root = os.path.realpath(root)
        self._visits: Counter[tuple[int, int]] = Counter()
        self._kernel = {key for place in _KERNEL if (key := _key(place))}

    def allows(self, path: str) -> bool:
        """Tell whether a link may be followed, as far as its target shows."""
        # The link itself may name a path in /proc that is a link to elsewhere.
        try:
            first = Path(path).parent / Path(path).readlink()
        except OSError:  # it has just vanished
            return False
        targets = (os.path.normpath(first), os.path.realpath(path))
        return not any(
            _is_below(target, place) and not _is_below(target, self._root)
            for target in targets
            for place in _KERNEL
        )

    def why(self, path: str) -> str:
        """Return why a link is not followed."""
        return NOT_FOLLOWED if self.allows(path) else _FORBIDDEN

    def is_loop(self, path: str) -> bool:
        """Tell whether a link leads to a folder that it lies in."""
        return _is_below(os.path.realpath(Path(path).parent), os.path.realpath(path))

    def enter(self, outer: Folder, entry: os.DirEntry[str], path: str) -> Folder | str:
        """Return the folder to descend into, or why not.

        Args:
            outer: The folder that it lies in.
            entry: The folder, or a link to one.
            path: Its path below the root.
        """
        key, chain = _key(entry.path), outer.outer or (_key(self._root) or (0, 0), None)
        if key is None:  # an attempt to list it shows the error
            return Folder(path, chain)
        if key in self._kernel and not _is_below(self._root, os.path.realpath(entry.path)):
            return _FORBIDDEN
        if key in _keys(chain):
            return LOOP
        self._visits[key] += 1
        if self._visits[key] > _MOST_VISITS:
            return _OFTEN
        return Folder(path, (key, chain))


def _keys(chain: object) -> Iterator[tuple[int, int]]:
    while isinstance(chain, tuple):
        yield chain[0]
        chain = chain[1]


def _key(path: str) -> tuple[int, int] | None:
    """Return device and inode, which identify a folder whatever its path."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
