"""Give every image of a data set its part: patients, leaks and the cut, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lucency.config import Config
from lucency.dataset.duplicates import Match, near_pairs
from lucency.dataset.entry import Entry, Excluded, counted, listed
from lucency.dataset.groups import find_groups
from lucency.dataset.leaks import Cleaned, Leaks, close_leaks
from lucency.dataset.near_duplicates import Copy
from lucency.dataset.split import Assignment, assign, check_splits, shared_groups, weaknesses
from lucency.dataset.split_file import EXCLUDED, apply_split


@dataclass(frozen=True)
class Known:
    """What is known of the images before their pixels are compared.

    Attributes:
        entries: In the order of the scan, with their groups and the parts that were given.
        group_source: How the patients are known.
        excluded: What a split file leaves out, with the part ``excluded``.
        warnings: Plain sentences.
    """

    entries: tuple[Entry, ...]
    group_source: str
    excluded: tuple[Excluded, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def used(self) -> list[Entry]:
        """The entries that are not left out."""
        return [entry for entry in self.entries if entry.split != EXCLUDED]


@dataclass(frozen=True)
class Division:
    """All readable entries with their part, and how it came about.

    Attributes:
        entries: In the order of the scan; those with the part ``excluded`` are not used.
        excluded: Those, with the reason.
        group_source: How the patients are known.
        leaks: What the check found.
        near: Pairs inside one part that show nearly the same.
        notes: Plain sentences.
        warnings: Plain sentences that ask for action.
    """

    entries: tuple[Entry, ...]
    excluded: tuple[Excluded, ...]
    group_source: str
    leaks: Leaks
    near: tuple[Match, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def used(self) -> list[Entry]:
        """The entries that are in a part."""
        return [entry for entry in self.entries if entry.split != EXCLUDED]


def identify(entries: Sequence[Entry], config: Config, patients: Sequence[str] = ()) -> Known:
    """Find out whose images these are, and which parts a split file gives them.

    Args:
        entries: Readable images, in the order of the scan.
        config: Split file or the rule for patients.
        patients: What DICOM files say of whose they are, hashed, one per entry, or nothing.

    Raises:
        DataError: The split file does not match.
        ConfigError: The rule is not valid.
    """
    if config.split_file:
        file = Path(config.split_file)
        given = apply_split(file, entries)
        out = [entry.file for entry in given if entry.split == EXCLUDED]
        aside = tuple(Excluded(name, f"left out by {file.name}") for name in out)
        return Known(given, "split file", aside)
    groups = find_groups(
        [entry.file for entry in entries],
        given=[entry.group for entry in entries],
        regex=config.group_regex or None,
        patients=patients,
    )
    keyed = zip(entries, groups.keys, strict=True)
    known = tuple(entry._replace(group=key) for entry, key in keyed)
    return Known(known, groups.source, warnings=groups.warnings)


def divide(
    known: Known, classes: Sequence[str], copies: Sequence[Copy], config: Config
) -> Division:
    """Close leaks and give every image its part.

    Args:
        known: The images, their patients and given parts.
        classes: All class names; each needs images in every part.
        copies: Pairs of images that show nearly the same.
        config: Seed, fractions, and what to do with leaks; ``stop`` divides as ``drop`` does.

    Raises:
        DataError: A class is too small.
        ConfigError: The fractions leave nothing to train on.
    """
    cleaned = close_leaks(known.used, copies, on_leak=config.on_leak)
    cut = _as_written(cleaned, config) if config.split_file else _anew(cleaned, classes, config)
    check_splits(cut.entries, classes)
    near = near_pairs(cut.entries, copies)
    away = {entry.file: entry._replace(split=EXCLUDED) for entry, _ in cleaned.leaving}
    placed = away | {entry.file: entry for entry in cut.entries}
    leaving = tuple(Excluded(entry.file, reason) for entry, reason in cleaned.leaving)
    return Division(
        entries=tuple(placed.get(entry.file, entry) for entry in known.entries),
        excluded=(*known.excluded, *leaving),
        group_source=known.group_source,
        leaks=cleaned.leaks,
        near=near,
        notes=(*cut.notes, *cleaned.notes),
        warnings=(
            *known.warnings,
            *cleaned.warnings,
            *cut.warnings,
            *_doubts(near),
            *weaknesses(cut.entries, classes),
        ),
    )


def _as_written(cleaned: Cleaned, config: Config) -> Assignment:
    shared = shared_groups([entry for entry in cleaned.entries if entry.split != "test"])
    warning = (
        f"The split file has {counted(len(shared), 'patient')} in more than one part "
        f"({listed(shared)}), so the figures come out too good. "
        "Put all images of a patient into one part."
    )
    note = f"The images were divided as {config.split_file} says."
    return Assignment(cleaned.entries, (note,), (warning,) if shared else ())


def _anew(cleaned: Cleaned, classes: Sequence[str], config: Config) -> Assignment:
    return assign(
        cleaned.entries,
        classes=classes,
        seed=config.seed,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
    )


def _doubts(near: Sequence[Match]) -> list[str]:
    """Ask about images that are nearly the same and have two classes."""
    pairs = [f"{pair.first} and {pair.second}" for pair in near if len({*pair.labels}) > 1]
    if not pairs:
        return []
    return [
        f"Nearly the same image is in two classes: {counted(len(pairs), 'pair')} "
        f"({listed(pairs)}). They stay. Look at them: one label is probably wrong."
    ]
