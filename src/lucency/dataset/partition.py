"""Give every image its split: check for leaks first, then split by patient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lucency.config import Config
from lucency.dataset.duplicates import Match, near_pairs
from lucency.dataset.entry import Entry, Excluded, counted, listed
from lucency.dataset.leaks import Leaks, check_leaks
from lucency.dataset.near_duplicates import NearDuplicate
from lucency.dataset.split import (
    Assignment,
    assign_pool,
    assign_splits,
    check_splits,
    pooled,
    shared_groups,
    split_warnings,
)
from lucency.dataset.split_file import EXCLUDED
from lucency.errors import DataError


@dataclass(frozen=True)
class Partition:
    """All readable images with their split.

    Attributes:
        entries: In the order of the scan; those with the split ``excluded`` are not used.
        excluded: Those, with the reason.
        leaks: Result of the leak check.
        near: Near duplicates within one split.
        notes: Plain sentences.
        warnings: Plain sentences that ask for action.
    """

    entries: tuple[Entry, ...]
    excluded: tuple[Excluded, ...]
    leaks: Leaks
    near: tuple[Match, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def used_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are not excluded."""
    return [entry for entry in entries if entry.split != EXCLUDED]


def partition(
    entries: Sequence[Entry],
    classes: Sequence[str],
    near: Sequence[NearDuplicate],
    config: Config,
) -> Partition:
    """Exclude what leaks and give every other image its split.

    Args:
        entries: Readable images in the order of the scan, with their patients and given splits.
        classes: All class names; each needs images in every split.
        near: Near duplicates among them.
        config: Seed, fractions, and ``on_leak``; ``stop`` excludes what ``drop`` does.

    Raises:
        DataError: A class is too small.
        ConfigError: The fractions leave nothing to train on.
    """
    try:
        return _partition(entries, classes, near, config)
    except DataError:
        # Without its leaking images a class may be empty; then the leak is the error to report.
        whole = _partition(entries, classes, near, replace(config, on_leak="ignore"))
        if config.on_leak != "stop" or not whole.leaks.found:
            raise
        return replace(whole, leaks=replace(whole.leaks, status="failed"))


def _partition(
    entries: Sequence[Entry],
    classes: Sequence[str],
    near: Sequence[NearDuplicate],
    config: Config,
) -> Partition:
    checked = check_leaks(used_entries(entries), near, on_leak=config.on_leak)
    if config.split_file:
        assigned = _given_splits(checked.entries, config)
    elif config.folds:
        assigned = assign_pool(
            checked.entries, classes=classes, seed=config.seed, test_fraction=config.test_fraction
        )
    else:
        assigned = assign_splits(
            checked.entries,
            classes=classes,
            seed=config.seed,
            val_fraction=config.val_fraction,
            test_fraction=config.test_fraction,
        )
    check_splits(assigned.entries, classes, ("train",) if config.folds else ("train", "val"))
    pairs = near_pairs(assigned.entries, near)
    final = {entry.file: entry._replace(split=EXCLUDED) for entry, _ in checked.excluded}
    final |= {entry.file: entry for entry in assigned.entries}
    by_file = [entry for entry in entries if entry.split == EXCLUDED]
    return Partition(
        entries=tuple(final.get(entry.file, entry) for entry in entries),
        excluded=(
            *(
                Excluded(entry.file, f"excluded by {Path(config.split_file).name}")
                for entry in by_file
            ),
            *(Excluded(entry.file, reason) for entry, reason in checked.excluded),
        ),
        leaks=checked.leaks,
        near=pairs,
        notes=(*assigned.notes, *checked.notes),
        warnings=(
            *checked.warnings,
            *assigned.warnings,
            *_label_doubts(pairs),
            *split_warnings(assigned.entries, classes),
        ),
    )


def _given_splits(entries: tuple[Entry, ...], config: Config) -> Assignment:
    """Keep the splits of a split file; warn where train and validation share patients.

    With folds, validation joins train.
    """
    note = f"The images were split as in {config.split_file}."
    if config.folds:
        return Assignment(pooled(entries), (f"{note} Folds are made of train and validation.",), ())
    shared = shared_groups([entry for entry in entries if entry.split != "test"])
    warning = (
        f"The split file has {counted(len(shared), 'patient')} in more than one split "
        f"({listed(shared)}), so the figures are too optimistic. "
        "Put all images of a patient into one split."
    )
    return Assignment(entries, (note,), (warning,) if shared else ())


def _label_doubts(near: Sequence[Match]) -> list[str]:
    """Return a warning about near duplicates that have two classes."""
    pairs = [f"{pair.first} and {pair.second}" for pair in near if len({*pair.labels}) > 1]
    if not pairs:
        return []
    return [
        f"Near-duplicate images have different classes: {counted(len(pairs), 'pair')} "
        f"({listed(pairs)}). They are kept. Check them: one label is probably wrong."
    ]
