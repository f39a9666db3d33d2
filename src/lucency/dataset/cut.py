"""Choose groups that together hold a given share of every class."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from lucency.dataset.entry import Entry


def choose(entries: Sequence[Entry], *, fraction: float, seed: int, keep: int) -> set[str]:
    """Return groups that hold about ``fraction`` of the images of every class.

    Goes through the groups in an order drawn from the seed, first taking those that fit whole, then
    those that bring the classes nearer to their share although they are too much. Of every class at
    least one group is taken where that is possible.

    Args:
        entries: Images with their group and class; their order does not matter.
        fraction: Share to choose, 0 to 1.
        seed: Draws the order of the groups.
        keep: Groups of every class that must not be chosen.
    """
    cut = _Cut(entries, fraction, keep)
    order = _shuffled(cut.groups, seed)
    for wanted in (cut.fits, cut.helps):
        for group in order:
            if cut.is_free(group) and wanted(group):
                cut.take(group)
    for label in sorted(cut.total):
        holders = [] if label in cut.reached else [g for g in order if label in dict(cut.groups[g])]
        if free := [*filter(cut.is_free, holders)]:
            cut.take(min(free, key=cut.change))
    return cut.chosen


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """Return the groups in an order that depends on the seed and their names alone."""
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())


class _Cut:
    """Groups chosen so far, and what they leave."""

    def __init__(self, entries: Sequence[Entry], fraction: float, keep: int) -> None:
        self.groups: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for (group, label), n in Counter((e.group, e.label) for e in entries).items():
            self.groups[group].append((label, n))
        self.total = Counter(entry.label for entry in entries)
        self.missing = {label: fraction * n for label, n in self.total.items()}
        self.left = Counter(label for classes in self.groups.values() for label, _ in classes)
        self.keep = keep
        self.chosen: set[str] = set()
        self.reached: set[str] = set()

    def is_free(self, group: str) -> bool:
        if group in self.chosen:
            return False
        return all(self.left[label] > self.keep for label, _ in self.groups[group])

    def fits(self, group: str) -> bool:
        return all(n <= self.missing[label] for label, n in self.groups[group])

    def helps(self, group: str) -> bool:
        return self.change(group) < 0

    def change(self, group: str) -> float:
        """Return by how much the classes would be farther from their shares with this group."""
        return sum(
            (abs(self.missing[label] - n) - abs(self.missing[label])) / self.total[label]
            for label, n in self.groups[group]
        )

    def take(self, group: str) -> None:
        self.chosen.add(group)
        for label, n in self.groups[group]:
            self.missing[label] -= n
            self.left[label] -= 1
            self.reached.add(label)
