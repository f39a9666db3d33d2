"""The pictures of a run, as data inside the page."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict

from lucency.report.files import Picture, Run, png_bytes

_PAGE_BYTES = 2_400_000  # of pictures, so that the page stays below 3 MB


class Album:
    """The pictures of a run as data URIs, the most telling first, up to a total size."""

    def __init__(self, run: Run) -> None:
        order = ("mistake", "sample", "seen_in_training", "seen_in_validation")
        self._shown: dict[tuple[str, str], list[tuple[Picture, str]]] = defaultdict(list)
        self.left_out = 0
        room = _PAGE_BYTES
        for kind in order:
            for picture in self._picked(run, kind):
                data = png_bytes(run.folder, picture.png)
                if data is None or len(data) * 4 // 3 > room:
                    self.left_out += 1
                    continue
                uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
                room -= len(uri)
                self._shown[kind, picture.label].append((picture, uri))

    @staticmethod
    def _picked(run: Run, kind: str) -> list[Picture]:
        found = [picture for picture in run.pictures if picture.kind == kind]
        if kind != "sample":
            return found[:16]
        most = max(2, min(6, 36 // len(run.classes)))
        seen: Counter[str] = Counter()
        picked = []
        for picture in found:
            seen[picture.label] += 1
            if seen[picture.label] <= most:
                picked.append(picture)
        return picked

    def kind(self, kind: str) -> dict[str, list[tuple[Picture, str]]]:
        """Return label -> pictures with their data URIs."""
        return {label: pairs for (found, label), pairs in self._shown.items() if found == kind}

    def picture(self, kind: str, file: str) -> str | None:
        """Return the data URI of one file's picture, or None."""
        return next((uri for picture, uri in self.all(kind) if picture.file == file), None)

    def all(self, kind: str) -> list[tuple[Picture, str]]:
        """Return the pictures of one kind with their data URIs, label by label."""
        return [pair for pairs in self.kind(kind).values() for pair in pairs]
