"""Find pictures and patients that are in places where they would make the figures too good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lucency.dataset.entry import Entry, counted, listed

# Beyond this share the rule that finds patients is more likely wrong than the folders.
_MOST_LEAVING = 0.20


@dataclass(frozen=True)
class Cleaned:
    """Pictures after the leaks have been closed.

    Attributes:
        entries: Those that stay, in their order; identical ones share a group.
        leaving: Those that do not, with the reason.
        warnings: Plain sentences.
    """

    entries: tuple[Entry, ...]
    leaving: tuple[tuple[Entry, str], ...]
    warnings: tuple[str, ...]


def close_leaks(entries: Sequence[Entry]) -> Cleaned:
    """Set aside copies of test pictures, contradictory copies and patients of the test part.

    Only train and val pictures ever leave; the given test part is kept as it is. Identical means
    equal bytes (sha256).
    """
    copies = _copies_of_test(entries)
    rest = [entry for entry in entries if entry.file not in copies]
    conflicts = _contradictions(rest)
    leaving = copies | conflicts
    warnings = [*_copy_warnings(copies, conflicts), *_test_contradictions(entries)]
    staying = [entry for entry in entries if entry.file not in leaving]
    patients, warning = _patients_in_test(staying)
    leaving |= patients
    staying = _with_shared_groups([entry for entry in staying if entry.file not in patients])
    return Cleaned(
        entries=tuple(staying),
        leaving=tuple((entry, leaving[entry.file]) for entry in entries if entry.file in leaving),
        warnings=(*warnings, *warning),
    )


def duplicates(entries: Iterable[Entry]) -> tuple[tuple[str, str], ...]:
    """Return pairs of identical files: the first of each set with every other."""
    return tuple(
        (first.file, other.file) for first, *others in _identical(entries) for other in others
    )


def _identical(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Return the sets of two or more identical pictures."""
    by_hash: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_hash[entry.sha256].append(entry)
    return [same for same in by_hash.values() if len(same) > 1]


def _copies_of_test(entries: Sequence[Entry]) -> dict[str, str]:
    leaving: dict[str, str] = {}
    for same in _identical(entries):
        if tested := [entry.file for entry in same if entry.part == "test"]:
            copies = [entry.file for entry in same if entry.part != "test"]
            leaving |= dict.fromkeys(copies, f"identical to {tested[0]}")
    return leaving


def _contradictions(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the pictures outside test that are there in several classes: no one knows which."""
    leaving = {}
    for same in _identical(entry for entry in entries if entry.part != "test"):
        first = {entry.label: entry.file for entry in reversed(same)}
        for entry in same:
            if others := [file for label, file in first.items() if label != entry.label]:
                leaving[entry.file] = f"label conflict: identical to {others[0]}"
    return leaving


def _copy_warnings(copies: dict[str, str], conflicts: dict[str, str]) -> list[str]:
    warnings = []
    if copies:
        warnings.append(
            f"Set aside as exact copies of test pictures: {counted(len(copies), 'picture')} of the "
            f"other parts ({listed(list(copies))}). A test must not show what was trained on."
        )
    if conflicts:
        warnings.append(
            f"Set aside because of contradictory labels: {counted(len(conflicts), 'picture')} "
            f"({listed(list(conflicts))}). Exactly the same picture is in two classes, and nobody "
            "can say which is right. Keep only the right one."
        )
    return warnings


def _test_contradictions(entries: Sequence[Entry]) -> list[str]:
    tested = _identical(entry for entry in entries if entry.part == "test")
    wrong = [same for same in tested if len({entry.label for entry in same}) > 1]
    if not wrong:
        return []
    names = [entry.file for same in wrong for entry in same]
    return [
        f"Contradictory labels in the test part: {counted(len(names), 'picture')} "
        f"({listed(names)}). Exactly the same picture is in two classes, so one label is wrong. "
        "The test part is kept as it was given."
    ]


def _patients_in_test(entries: Sequence[Entry]) -> tuple[dict[str, str], list[str]]:
    """Return the pictures outside test whose patient is in test, and what to say of them."""
    tested = {entry.group for entry in entries if entry.part == "test"}
    others = [entry for entry in entries if entry.part != "test"]
    shared = [entry for entry in others if entry.group in tested]
    if not shared:
        return {}, []
    patients = sorted({entry.group for entry in shared})
    what = (
        f"The test part shares {counted(len(patients), 'patient')} with train or validation "
        f"({listed(patients)}), who have {len(shared):,} of the {len(others):,} pictures there."
    )
    if len(shared) > _MOST_LEAVING * len(others):
        return {}, [
            f"{what} So many may mean that the rule that finds patients is wrong, so nothing was "
            "set aside. If the rule is right, the test figures come out too good: do not rely on "
            "them. Check the patients with --group-regex or the column group of --labels."
        ]
    reason = dict.fromkeys((entry.file for entry in shared), "patient also in test")
    return reason, [f"{what} These were set aside; the test part is kept as it was given."]


def _with_shared_groups(entries: list[Entry]) -> list[Entry]:
    """Join the groups of identical pictures, under the name that comes first."""
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while (above := parent.get(group, group)) != group:
            group = above
        return group

    for first, *others in _identical(entries):
        for other in others:
            low, high = sorted((root(first.group), root(other.group)))
            parent[high] = low
    return [entry._replace(group=root(entry.group)) for entry in entries] if parent else entries
