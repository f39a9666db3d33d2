"""Duplicates, exact and near: match them, join their groups, find contradictory labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lucency.dataset.entry import SPLITS, Entry
from lucency.dataset.near_duplicates import NearDuplicate
from lucency.imaging.frames import file_of


class Match(NamedTuple):
    """Two files that show the same image.

    Attributes:
        first: Path; the test image where one of the two is in test.
        second: Path of the other.
        kind: ``identical`` (equal bytes), ``mirrored``, ``cropped``, ``resized``, ``re-encoded``.
        similarity: Correlation of details, 0.96 to 1.
        splits: Their splits: ``train``, ``val``, ``test`` or, before splitting, empty.
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
        """How the second relates to the first, as in "a cropped copy of"."""
        return "identical to" if self.kind == "identical" else f"a {self.kind} copy of"

    @property
    def reason(self) -> str:
        """Why the second is excluded."""
        return f"{self.relation.removeprefix('a ')} {self.first}"

    def to_json(self) -> dict[str, Any]:
        """Return the pair as ``audit.json`` lists it."""
        rounded = self._asdict() | {"similarity": round(self.similarity, 4)}
        return rounded | {"splits": list(self.splits), "labels": list(self.labels)}


def best_matches(
    entries: Iterable[Entry], others: Iterable[Entry], near: Iterable[NearDuplicate]
) -> dict[str, Match]:
    """Return the best match of each entry among the others, by file: identical, else most similar.

    Args:
        entries: Images to match, such as those of train.
        others: Images to match them with, such as those of test.
        near: All near duplicates; they apply to every file with the same bytes.
    """
    known: dict[str, Entry] = {}
    for other in others:
        known.setdefault(other.sha256, other)
    similar: defaultdict[str, list[tuple[float, str, Entry]]] = defaultdict(list)
    for pair in near:
        for one, two in ((pair.first, pair.second), (pair.second, pair.first)):
            if two.sha256 in known:
                similar[one.sha256].append((pair.similarity, pair.kind, known[two.sha256]))
    found = {}
    for entry in entries:
        if entry.sha256 in known:
            found[entry.file] = _match(known[entry.sha256], entry, "identical", 1.0)
        elif entry.sha256 in similar:
            similarity, kind, other = max(similar[entry.sha256])
            found[entry.file] = _match(other, entry, kind, similarity)
    return found


def between_files(near: Iterable[NearDuplicate]) -> tuple[NearDuplicate, ...]:
    """Return the pairs that are no two frames of one file, which are alike as a rule."""
    return tuple(pair for pair in near if file_of(pair.first.file) != file_of(pair.second.file))


def near_pairs(entries: Iterable[Entry], near: Iterable[NearDuplicate]) -> tuple[Match, ...]:
    """Return the near duplicates within one split, one pair per two contents and split."""
    first: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        first.setdefault((entry.split, entry.sha256), entry)
    pairs = {}
    for pair in near:
        for split in SPLITS:
            one, two = (first.get((split, each.sha256)) for each in (pair.first, pair.second))
            if one and two:
                pairs[one.file, two.file] = _match(one, two, pair.kind, pair.similarity)
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
    return [identical for identical in by_content.values() if len(identical) > 1]


def label_conflicts(entries: Iterable[Entry]) -> dict[str, str]:
    """Return the files whose content is in several classes, with the reason to exclude them."""
    reasons = {}
    for identical in identical_sets(entries):
        first = {entry.label: entry.file for entry in reversed(identical)}
        for entry in identical:
            if others := [file for label, file in first.items() if label != entry.label]:
                reasons[entry.file] = f"label conflict: identical to {others[0]}"
    return reasons


def join_groups(entries: Sequence[Entry], near: Iterable[NearDuplicate]) -> list[Entry]:
    """Join the groups of duplicates (union-find) under the name that sorts first."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while (above := parent.get(group, group)) != group:
            group = above
        return group

    for one, two in _links(entries, near):
        low, high = sorted((root(one.group), root(two.group)))
        parent[high] = low
    return [entry._replace(group=root(entry.group)) for entry in entries]


def _links(
    entries: Sequence[Entry], near: Iterable[NearDuplicate]
) -> Iterable[tuple[Entry, Entry]]:
    for first, *others in identical_sets(entries):
        yield from ((first, other) for other in others)
    known = {entry.sha256: entry for entry in entries}
    for pair in near:
        if pair.first.sha256 in known and pair.second.sha256 in known:
            yield known[pair.first.sha256], known[pair.second.sha256]


def _match(one: Entry, two: Entry, kind: str, similarity: float) -> Match:
    splits, labels = (one.split, two.split), (one.label, two.label)
    return Match(one.file, two.file, kind, similarity, splits, labels)
