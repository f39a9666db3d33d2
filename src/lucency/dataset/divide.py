"""Give every picture of a data set its part: patients, leaks and the cut, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lucency.config import Config
from lucency.dataset.entry import Entry, Excluded, counted, listed
from lucency.dataset.groups import find_groups
from lucency.dataset.leaks import close_leaks
from lucency.dataset.split import assign, check_parts, shared_groups, weaknesses
from lucency.dataset.split_file import EXCLUDED, apply_split


@dataclass(frozen=True)
class Division:
    """All readable entries with their part, and how it came about.

    Attributes:
        entries: In the order of the scan; those with the part ``excluded`` are not used.
        set_aside: Those, with the reason.
        group_source: How the patients are known.
        notes: Plain sentences.
        warnings: Plain sentences that ask for action.
    """

    entries: tuple[Entry, ...]
    set_aside: tuple[Excluded, ...]
    group_source: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def used(self) -> list[Entry]:
        """The entries that are in a part."""
        return [entry for entry in self.entries if entry.part != EXCLUDED]


def divide(entries: Sequence[Entry], classes: Sequence[str], config: Config) -> Division:
    """Find the patients, close leaks and give every readable picture its part.

    Args:
        entries: Readable pictures, in the order of the scan.
        classes: All class names; each needs pictures in every part.
        config: Split file or seed, fractions and the rule for patients.

    Raises:
        DataError: A class is too small, or the split file does not match.
        ConfigError: An option is not valid.
    """
    if config.split_file:
        division = _as_written(entries, Path(config.split_file))
    else:
        division = _anew(entries, classes, config)
    check_parts(division.used, classes)
    return replace(division, warnings=(*division.warnings, *weaknesses(division.used, classes)))


def _as_written(entries: Sequence[Entry], file: Path) -> Division:
    given = apply_split(file, entries)
    out = [entry.file for entry in given if entry.part == EXCLUDED]
    shared = shared_groups([entry for entry in given if entry.part != EXCLUDED])
    warning = (
        f"The split file has {counted(len(shared), 'patient')} in more than one part "
        f"({listed(shared)}), so the figures come out too good. "
        "Put all pictures of a patient into one part."
    )
    return Division(
        entries=given,
        set_aside=tuple(Excluded(name, f"left out by {file.name}") for name in out),
        group_source="split file",
        notes=(f"The pictures were divided as {file} says.",),
        warnings=(warning,) if shared else (),
    )


def _anew(entries: Sequence[Entry], classes: Sequence[str], config: Config) -> Division:
    groups = find_groups(
        [entry.file for entry in entries],
        given=[entry.group for entry in entries],
        regex=config.group_regex or None,
    )
    known = [entry._replace(group=key) for entry, key in zip(entries, groups.keys, strict=True)]
    cleaned = close_leaks(known)
    cut = assign(
        cleaned.entries,
        classes=classes,
        seed=config.seed,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
    )
    left = [entry._replace(part=EXCLUDED) for entry, _ in cleaned.leaving]
    return Division(
        entries=tuple(sorted([*cut.entries, *left], key=lambda entry: entry.row)),
        set_aside=tuple(Excluded(entry.file, reason) for entry, reason in cleaned.leaving),
        group_source=groups.source,
        notes=cut.notes,
        warnings=(*groups.warnings, *cleaned.warnings, *cut.warnings),
    )
