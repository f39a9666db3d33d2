"""Give every image its split: check for leaks first, then split by patient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lucency.config import AUTO, Config
from lucency.dataset.duplicates import Match, near_pairs
from lucency.dataset.entry import NUMBERS, Entry, Excluded, counted, have_numbers, listed
from lucency.dataset.folds import are_divisible
from lucency.dataset.leaks import Leaks, check_leaks
from lucency.dataset.multilabel import absent_from_test, check_labels
from lucency.dataset.near_duplicates import NearDuplicate
from lucency.dataset.split import (
    Assignment,
    assign_pool,
    assign_splits,
    check_splits,
    choose_folds,
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
        folds: Number or column of the folds that train is to be divided in; 0 for none.
        folds_reason: Why ``folds=auto`` decided so; empty where it did not.
    """

    entries: tuple[Entry, ...]
    excluded: tuple[Excluded, ...]
    leaks: Leaks
    near: tuple[Match, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    folds: int | str
    folds_reason: str


def used_entries(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries that are not excluded."""
    return [entry for entry in entries if entry.split != EXCLUDED]


def partition(
    entries: Sequence[Entry],
    classes: Sequence[str],
    near: Sequence[NearDuplicate],
    config: Config,
    labels: Sequence[str] = (),
) -> Partition:
    """Exclude what leaks and give every other image its split.

    Args:
        entries: Readable images in the order of the scan, with their patients and given splits.
        classes: All class names; each needs images in every split.
        near: Near duplicates among them.
        config: Seed, fractions, and ``on_leak``; ``stop`` excludes what ``drop`` does.
        labels: Names, where an image may have several; the classes are then strata.

    Raises:
        DataError: A class or label is too small.
        ConfigError: The fractions leave nothing to train on.
    """
    try:
        return _partition(entries, classes, near, config, labels)
    except DataError:
        # Without its leaking images a class may be empty; then the leak is the error to report.
        whole = _partition(entries, classes, near, replace(config, on_leak="ignore"), labels)
        if config.on_leak != "stop" or not whole.leaks.found:
            raise
        return replace(whole, leaks=replace(whole.leaks, status="failed"))


def _partition(
    entries: Sequence[Entry],
    classes: Sequence[str],
    near: Sequence[NearDuplicate],
    config: Config,
    labels: Sequence[str],
) -> Partition:
    checked = check_leaks(used_entries(entries), near, on_leak=config.on_leak)
    is_of_numbers = have_numbers(entries)
    shown = (NUMBERS,) if is_of_numbers else labels or classes
    folds, reason, assigned = _folds(checked.entries, classes, config, shown)
    if assigned is None:
        assigned = _assigned(checked.entries, classes, replace(config, folds=folds), reason)
    splits = ("train",) if folds else ("train", "val")
    if labels:
        check_labels(assigned.entries, labels, splits)
    else:
        check_splits(assigned.entries, classes, splits)
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
            *_label_doubts(pairs, classes if is_of_numbers else ()),
            *split_warnings(assigned.entries, shown),
            *(absent_from_test(assigned.entries, labels) if labels else ()),
        ),
        folds=folds,
        folds_reason=reason,
    )


def _folds(
    entries: tuple[Entry, ...], classes: Sequence[str], config: Config, shown: Sequence[str]
) -> tuple[int | str, str, Assignment | None]:
    """Return number or column of the folds, and why ``folds=auto`` decided so.

    The splits without folds come with it, where they were needed to decide against folds.
    """
    if config.folds != AUTO:
        return config.folds, "", None
    if config.why_no_folds:
        return 0, config.why_no_folds, None
    without = _assigned(entries, classes, replace(config, folds=0))
    count, reason = choose_folds(without.entries, entries, shown, config.why_folds)
    pool = [entry for entry in without.entries if entry.split != "test"]
    if count and not are_divisible(pool, count, config.seed):
        reason = f"{reason}, and too few patients have the images of a class for folds"
        return 0, reason, without
    return count, reason, None if count else without


def _assigned(
    entries: tuple[Entry, ...], classes: Sequence[str], config: Config, reason: str = ""
) -> Assignment:
    """Give every image its split; ``config.folds`` is decided, for the ``reason`` if any."""
    if config.split_file:
        return _given_splits(entries, config)
    if config.folds:
        return assign_pool(
            entries,
            classes=classes,
            seed=config.seed,
            test_fraction=config.test_fraction,
            reason=reason,
        )
    return assign_splits(
        entries,
        classes=classes,
        seed=config.seed,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
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


def _label_doubts(near: Sequence[Match], bins: Sequence[str] = ()) -> list[str]:
    """Return a warning about near duplicates that have two classes, or numbers that are far apart.

    Args:
        near: Near duplicates.
        bins: Names of the bins of numbers, the lowest first; those of neighbouring ones are near.
    """
    apart = 2 if bins else 1
    names = [*bins] or sorted({label for pair in near for label in pair.labels})
    place = {name: i for i, name in enumerate(names)}
    pairs = [
        f"{pair.first} and {pair.second}"
        for pair in near
        if abs(place[pair.labels[0]] - place[pair.labels[1]]) >= apart
    ]
    if not pairs:
        return []
    what, one = ("numbers", "number") if bins else ("classes", "label")
    return [
        f"Near-duplicate images have different {what}: {counted(len(pairs), 'pair')} "
        f"({listed(pairs)}). They are kept. Check them: one {one} is probably wrong."
    ]
