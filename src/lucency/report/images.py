"""The images of a run, as data inside the page."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from lucency.imaging.image import png_uri
from lucency.report.files import Image, png_bytes

_PAGE_BYTES = 2_400_000  # of images, so that the page stays below 3 MB


# In this order they fill the page.
_ORDER = (
    *("mistake", "leak", "outlier", "explained", "map", "sample"),
    *("seen_in_training", "seen_in_validation", "duplicate"),
)


class Album:
    """The images of a run as data URIs, the most important first, up to a total size."""

    def __init__(self, folder: Path, images: Sequence[Image], classes: int) -> None:
        """Read the images of a folder.

        Args:
            folder: holds ``images/``.
            images: what ``images/index.json`` lists.
            classes: how many classes there are; the more, the fewer samples of each.
        """
        self._shown: dict[tuple[str, str], list[tuple[Image, str]]] = defaultdict(list)
        self.omitted = 0
        room = _PAGE_BYTES
        for kind in _ORDER:
            for image in _picked([each for each in images if each.kind == kind], classes):
                data = png_bytes(folder, image.png)
                if data is None or len(data) * 4 // 3 > room:
                    self.omitted += 1
                    continue
                uri = png_uri(data)
                room -= len(uri)
                self._shown[kind, image.label].append((image, uri))

    def kind(self, kind: str) -> dict[str, list[tuple[Image, str]]]:
        """Return label -> images with their data URIs."""
        return {label: pairs for (found, label), pairs in self._shown.items() if found == kind}

    def image(self, kind: str, file: str) -> str | None:
        """Return the data URI of one file's image, or None."""
        return next((uri for image, uri in self.all(kind) if image.file == file), None)

    def all(self, kind: str) -> list[tuple[Image, str]]:
        """Return the images of one kind with their data URIs, label by label."""
        return [pair for pairs in self.kind(kind).values() for pair in pairs]


def _picked(found: list[Image], classes: int) -> list[Image]:
    """Return the images of one kind that are shown."""
    if not found or found[0].kind != "sample":
        return found[:16]
    most = max(2, min(6, 36 // max(classes, 1)))
    seen: Counter[str] = Counter()
    picked = []
    for image in found:
        seen[image.label] += 1
        if seen[image.label] <= most:
            picked.append(image)
    return picked
