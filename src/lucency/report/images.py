"""The pictures of a run, as data inside the page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from lucency.imaging.image import png_uri
from lucency.report.files import Picture, png_bytes

_PAGE_BYTES = 2_400_000  # of pictures, so that the page stays below 3 MB


# The most telling first: they get the room that there is.
_ORDER = (
    *("mistake", "leak", "odd", "explained", "map", "sample"),
    *("seen_in_training", "seen_in_validation", "duplicate"),
)


class Album:
    """The pictures of a run as data URIs, the most telling first, up to a total size."""

    def __init__(self, folder: Path, pictures: Sequence[Picture], classes: int) -> None:
        """Read the pictures of a folder.

        Args:
            folder: holds ``pictures/``.
            pictures: what ``pictures/index.json`` lists.
            classes: how many classes there are; the more, the fewer samples of each.
        """
        self._shown: dict[tuple[str, str], list[tuple[Picture, str]]] = defaultdict(list)
        self.left_out = 0
        room = _PAGE_BYTES
        for kind in _ORDER:
            for picture in _picked([each for each in pictures if each.kind == kind], classes):
                data = png_bytes(folder, picture.png)
                if data is None or len(data) * 4 // 3 > room:
                    self.left_out += 1
                    continue
                uri = png_uri(data)
                room -= len(uri)
                self._shown[kind, picture.label].append((picture, uri))

    def kind(self, kind: str) -> dict[str, list[tuple[Picture, str]]]:
        """Return label -> pictures with their data URIs."""
        return {label: pairs for (found, label), pairs in self._shown.items() if found == kind}

    def picture(self, kind: str, file: str) -> str | None:
        """Return the data URI of one file's picture, or None."""
        return next((uri for picture, uri in self.all(kind) if picture.file == file), None)

    def all(self, kind: str) -> list[tuple[Picture, str]]:
        """Return the pictures of one kind with their data URIs, label by label."""
        return [pair for pairs in self.kind(kind).values() for pair in pairs]


def _picked(found: list[Picture], classes: int) -> list[Picture]:
    """Return the pictures of one kind that are shown."""
    if not found or found[0].kind != "sample":
        return found[:16]
    most = max(2, min(6, 36 // max(classes, 1)))
    seen: Counter[str] = Counter()
    picked = []
    for picture in found:
        seen[picture.label] += 1
        if seen[picture.label] <= most:
            picked.append(picture)
    return picked
