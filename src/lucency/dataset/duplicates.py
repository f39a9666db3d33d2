"""Images that show the same, exactly or nearly: who matches whom, who contradicts whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lucency.dataset.entry import SPLITS, Entry
from lucency.dataset.near_duplicates import Copy


class Match(NamedTuple):
    """Two files that show the same.

    Attributes:
        first: Path; the test image where one of the two is.
        second: Path of the other.
        kind: ``identical`` (equal bytes), ``mirrored``, ``cropped``, ``resized``, ``re-encoded``.
        similarity: Correlation of details, 0.96 to 1.
        parts: Where the two lie: ``train``, ``val``, ``test`` or, before any part is known, empty.
        labels: Their classes.
    """

    first: str
    second: str
    kind: str
    similarity: float
    splits: tuple[str, str]
    labels: tuple[str, str]

    @property
    def relation(self) -> str:
        """What the second is of the first."""
        return "identical to" if self.kind == "identical" else f"a {self.kind} copy of"

    @property
    def reason(self) -> str:
        """Why the second is set aside."""
        return f"{self.relation.removeprefix('a ')} {self.first}"

    def to_json(self) -> dict[str, Any]:
        """Return the pair as ``audit.json`` lists it."""
        facts = self._asdict() | {"similarity": round(self.similarity, 4)}
        return facts | {"splits": list(self.splits), "labels": list(self.labels)}


def best_matches(
    entries: Iterable[Entry], others: Iterable[Entry], copies: Iterable[Copy]
) -> dict[str, Match]:
    """Return, by file, which of the others an entry shows again: an identical one, or the nearest.

    Args:
        entries: Images to look for, such as those of train.
        others: Images to look among, such as those of test.
        copies: All near copies; they hold for every file with the same bytes.
    """
    known: dict[str, Entry] = {}
    for other in others:
        known.setdefault(other.sha256, other)
    near: defaultdict[str, list[tuple[float, str, Entry]]] = defaultdict(list)
    for copy in copies:
        for one, two in ((copy.first, copy.second), (copy.second, copy.first)):
            if two.sha256 in known:
                near[one.sha256].append((copy.similarity, copy.kind, known[two.sha256]))
    found = {}
    for entry in entries:
        if entry.sha256 in known:
            found[entry.file] = _match(known[entry.sha256], entry, "identical", 1.0)
        elif entry.sha256 in near:
            similarity, kind, other = max(near[entry.sha256])
            found[entry.file] = _match(other, entry, kind, similarity)
    return found


def near_pairs(entries: Iterable[Entry], copies: Iterable[Copy]) -> tuple[Match, ...]:
    """Return the near copies inside one part, one pair for each two contents and part."""
    place: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        place.setdefault((entry.split, entry.sha256), entry)
    pairs = {}
    for copy in copies:
        for split in SPLITS:
            one, two = (place.get((split, each.sha256)) for each in (copy.first, copy.second))
            if one and two:
                pairs[one.file, two.file] = _match(one, two, copy.kind, copy.similarity)
    return tuple(pairs.values())


def identical_pairs(entries: Iterable[Entry]) -> tuple[tuple[str, str], ...]:
    """Return pairs of identical files: the first of each set with every other."""
    sets = identical_sets(entries)
    return tuple((first.file, other.file) for first, *others in sets for other in others)


def identical_sets(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the sets of two or more images with equal bytes."""
    by_content: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_content[entry.sha256].append(entry)
    return [same for same in by_content.values() if len(same) > 1]


def contradictions(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the images that are there in several classes, and why no one knows which."""
    leaving = {}
    for same in identical_sets(entries):
        first = {entry.label: entry.file for entry in reversed(same)}
        for entry in same:
            if others := [file for label, file in first.items() if label != entry.label]:
                leaving[entry.file] = f"label conflict: identical to {others[0]}"
    return leaving


def with_shared_groups(entries: Sequence[Entry], copies: Iterable[Copy]) -> list[Entry]:
    """Join the groups of images that show the same, under the name that comes first."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while (above := parent.get(group, group)) != group:
            group = above
        return group

    for one, two in _linked(entries, copies):
        low, high = sorted((root(one.group), root(two.group)))
        parent[high] = low
    return [entry._replace(group=root(entry.group)) for entry in entries]


def _linked(entries: Sequence[Entry], copies: Iterable[Copy]) -> Iterable[tuple[Entry, Entry]]:
    for first, *others in identical_sets(entries):
        yield from ((first, other) for other in others)
    known = {entry.sha256: entry for entry in entries}
    for copy in copies:
        if copy.first.sha256 in known and copy.second.sha256 in known:
            yield known[copy.first.sha256], known[copy.second.sha256]


def _match(one: Entry, two: Entry, kind: str, similarity: float) -> Match:
    splits, labels = (one.split, two.split), (one.label, two.label)
    return Match(one.file, two.file, kind, similarity, splits, labels)
