"""Decide once which images train, which validate and which test.

A group (patient) is never divided, every class has its share in every part, and the result depends
on the seed and the set of images alone, not on their order. Given test parts are never touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lucency.dataset.cut import choose
from lucency.dataset.entry import SPLITS, Entry, counted, listed, natural
from lucency.errors import ConfigError, DataError
from lucency.metrics import clopper_pearson

# Choosing an epoch or a threshold by a rate known to within 30 points is choosing by chance.
_WIDEST = 0.30
# More than this tells models apart no better, but is missing from training.
_MOST_VALIDATION = 2000
# With this many of a class the exact interval of a rate is at most 20 points wide.
_ENOUGH_OF_A_CLASS = 100
_WORDS = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class Assignment:
    """Entries that all have a part, and plain sentences on how they came to it."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def assign(
    entries: Sequence[Entry],
    *,
    classes: Sequence[str],
    seed: int,
    val_fraction: float,
    test_fraction: float,
) -> Assignment:
    """Give every image its part: as the folders say where that will do, else cut by group.

    - train and test given: test stays. Validation stays if it is given, shares no group with train
      and is large enough to choose by; else it joins train and ``val_fraction`` of the two is cut.
    - train and val given, no test: the same, without a test part.
    - nothing given, or train alone: all three parts are cut.

    Validation is at most about 2,000 images, unless a rare class needs more.

    Raises:
        DataError: A class has too few images or groups to be in every part.
        ConfigError: The fractions leave nothing to train on.
    """
    given = {entry.split for entry in entries}
    if given <= {"", "train"}:
        _check_cuttable(entries, classes, splits=SPLITS)
        return _cut_three(entries, seed, val_fraction, test_fraction)
    test = [entry for entry in entries if entry.split == "test"]
    pool = [entry for entry in entries if entry.split != "test"]
    _check_cuttable(pool, classes, splits=("train", "val"))
    why, warnings = _why_cut(pool, val_fraction)
    notes = [f"The test part is kept as it was given: {len(test):,} images."] if test else []
    if why:
        pool = _with_validation(pool, _validation_fraction(pool, val_fraction), seed)
    n = sum(entry.split == "val" for entry in pool)
    notes.append(
        f"Validation was cut from the training images by patient: {n:,} of {len(pool):,}. {why}"
        if why
        else f"The validation part is kept as it was given: {n:,} images."
    )
    return Assignment(_in_order([*pool, *test], entries), tuple(notes), tuple(warnings))


def check_splits(entries: Sequence[Entry], classes: Sequence[str]) -> None:
    """Raise ``DataError`` where a class is missing from train or val."""
    present = {(entry.split, entry.label) for entry in entries}
    for label in classes:
        for split in ("train", "val"):
            if (split, label) not in present:
                raise DataError(
                    f"The class {label!r} has no image in the {split} part. Every class needs "
                    "images of several patients, some for each part. Add images of more "
                    "patients, or leave the class out."
                )


def weaknesses(entries: Sequence[Entry], classes: Sequence[str]) -> list[str]:
    """Say which parts are missing, or have too few images of a class to measure a rate."""
    warnings = _absent_from_test(entries, classes)
    for split in ("val", "test"):
        inside = [entry for entry in entries if entry.split == split]
        label, n = _smallest_class(inside, classes)
        low, high = clopper_pearson(n // 2, n)
        if inside and n and high - low > _WIDEST:
            warnings.append(
                f"The {_WORDS[split]} part has only {counted(n, 'image')} of class {label!r}. If "
                f"{n // 2:,} were recognised, the true rate could lie anywhere from {low:.0%} to "
                f"{high:.0%}. More images would tell more."
            )
    if not any(entry.split == "test" for entry in entries):
        warnings.append(
            "There is no test part. The validation figures are used to make choices, so they "
            "come out somewhat too good; only images that were never looked at can tell."
        )
    return warnings


def _absent_from_test(entries: Sequence[Entry], classes: Sequence[str]) -> list[str]:
    """Say which figures a test part without every class cannot give."""
    tested = {entry.label for entry in entries if entry.split == "test"}
    absent = [label for label in classes if tested and label not in tested]
    if not absent:
        return []
    return [
        f"The test part has no image of {listed(absent)}: figures that need it, such as AUROC, "
        "are undefined there. Add images of it to test."
    ]


def shared_groups(entries: Sequence[Entry]) -> list[str]:
    """Return the groups (patients) that are in more than one part, in natural order."""
    splits = Counter(group for group, _ in {(entry.group, entry.split) for entry in entries})
    return sorted((group for group, n in splits.items() if n > 1), key=natural)


def _cut_three(
    entries: Sequence[Entry], seed: int, val_fraction: float, test_fraction: float
) -> Assignment:
    if val_fraction + test_fraction >= 1:
        raise ConfigError(
            "val_fraction and test_fraction together must leave something to train on. "
            f"Received: {val_fraction:g} + {test_fraction:g}"
        )
    tested = choose(entries, fraction=test_fraction, seed=seed, keep=2)
    test = [entry._replace(split="test") for entry in entries if entry.group in tested]
    pool = [entry for entry in entries if entry.group not in tested]
    size = _validation_fraction(entries, val_fraction) * len(entries) / len(pool)
    assigned = _in_order([*_with_validation(pool, size, seed), *test], entries)
    n = Counter(entry.split for entry in assigned)
    note = (
        "The folder is not divided into train and test, so the images were divided here, with "
        "the same mix of classes in every part and all images of a patient in one part: "
        f"{n['train']:,} to train, {n['val']:,} to validate, {n['test']:,} to test (seed {seed})."
    )
    return Assignment(assigned, (note,), ())


def _why_cut(pool: Sequence[Entry], fraction: float) -> tuple[str, list[str]]:
    """Return why the given validation part will not do (empty if it will), and warnings."""
    val = [entry for entry in pool if entry.split == "val"]
    if not val:
        return "The folder has no validation part.", []
    if shared := shared_groups(pool):
        what = f"Train and validation share {counted(len(shared), 'patient')} ({listed(shared)})"
        again = "The two parts were joined and divided again by patient."
        return f"{what}, so the two were joined first.", [f"{what}. {again}"]
    label, n = _smallest_class(val, _classes(pool))
    low, high = clopper_pearson(n // 2, n)
    after = fraction * sum(entry.label == label for entry in pool)
    if high - low <= _WIDEST or after <= n:
        return "", []
    return (
        f"The given validation part is too small to choose by: {counted(len(val), 'image')}, "
        f"{n:,} of class {label!r}. If {n // 2:,} of these {n:,} were recognised, the true rate "
        f"could lie anywhere from {low:.0%} to {high:.0%}, and more than {_WIDEST * 100:.0f} "
        "points between the two is too vague. Its images joined train first."
    ), []


def _validation_fraction(entries: Sequence[Entry], fraction: float) -> float:
    """Return the share to validate on: about 2,000 images at most, more if a class is rare."""
    _, rarest = _smallest_class(entries, _classes(entries))
    return min(fraction, max(_MOST_VALIDATION / len(entries), _ENOUGH_OF_A_CLASS / rarest))


def _with_validation(pool: Sequence[Entry], fraction: float, seed: int) -> list[Entry]:
    chosen = choose(pool, fraction=fraction, seed=seed, keep=1)
    return [entry._replace(split="val" if entry.group in chosen else "train") for entry in pool]


def _check_cuttable(
    entries: Sequence[Entry], classes: Sequence[str], *, splits: Collection[str]
) -> None:
    images = Counter(entry.label for entry in entries)
    groups = Counter(label for _, label in {(entry.group, entry.label) for entry in entries})
    for label in classes:
        if images[label] < len(splits) or groups[label] < len(splits):
            raise DataError(
                f"The class {label!r} has {counted(images[label], 'usable image')} of "
                f"{counted(groups[label], 'patient')} to divide into {', '.join(splits)}; images "
                f"of at least {len(splits)} patients are needed. Add some, or leave the class out."
            )


def _classes(entries: Iterable[Entry]) -> list[str]:
    return sorted({entry.label for entry in entries}, key=natural)


def _smallest_class(entries: Iterable[Entry], classes: Sequence[str]) -> tuple[str, int]:
    """Return the rarest of the classes and how many images it has, 0 included."""
    counts = Counter(entry.label for entry in entries)
    rarest = min(classes, key=lambda label: counts[label])
    return rarest, counts[rarest]


def _in_order(assigned: Iterable[Entry], entries: Sequence[Entry]) -> tuple[Entry, ...]:
    by_file = {entry.file: entry for entry in assigned}
    return tuple(by_file[entry.file] for entry in entries)
