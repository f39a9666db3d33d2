"""Split the images into training, validation and test, by group and stratified by class.

A group (patient) stays in one split, every class has its share in every split, and the result
depends only on the seed and the set of images, not on their order. A given test split is kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lucency.dataset.entry import NUMBERS, SPLITS, Entry, counted, have_numbers, listed, natural
from lucency.errors import ConfigError, DataError
from lucency.metrics import clopper_pearson

# An epoch or a threshold chosen by a rate known to within 30 points is chosen by chance.
_WIDEST = 0.30
FOLDS = 5  # networks trained on 80 % of the images each; more of them gain little
# More images would hardly improve model selection, but would be missing from training.
MOST_VALIDATION = 2000
# With this many images of a class, the exact interval of a rate is at most 20 points wide.
_ENOUGH_OF_A_CLASS = 100
_WORDS = {"val": "validation", "test": "test"}


@dataclass(frozen=True)
class Assignment:
    """Entries with their splits, and plain sentences on how these were chosen."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def assign_splits(
    entries: Sequence[Entry],
    *,
    classes: Sequence[str],
    seed: int,
    val_fraction: float,
    test_fraction: float,
) -> Assignment:
    """Give every image its split: as the folders give it where that is sufficient, else by group.

    - train and test given: test stays. Validation stays if it is given, shares no group with train
      and is large enough for model selection; otherwise it joins train, and ``val_fraction`` of
      the two becomes validation.
    - train and val given, no test: the same, without a test split.
    - nothing given, or train alone: all three are split off.

    Validation has at most about 2,000 images, unless a rare class needs more.

    Raises:
        DataError: A class has too few images or groups to be in every split.
        ConfigError: The fractions leave nothing to train on.
    """
    given = {entry.split for entry in entries}
    if given <= {"", "train"}:
        _check_splittable(entries, classes, splits=SPLITS)
        return _three_way_split(entries, seed, val_fraction, test_fraction)
    test = [entry for entry in entries if entry.split == "test"]
    pool = [entry for entry in entries if entry.split != "test"]
    _check_splittable(pool, classes, splits=("train", "val"))
    reason, warnings = _reason_to_resplit(pool, val_fraction)
    notes = [f"The test split is kept as given: {len(test):,} images."] if test else []
    if reason:
        pool = _with_validation(pool, _validation_fraction(pool, val_fraction), seed)
    n = sum(entry.split == "val" for entry in pool)
    notes.append(
        f"Validation was split off from train by patient: {n:,} of {len(pool):,} images. {reason}"
        if reason
        else f"The validation split is kept as given: {n:,} images."
    )
    return Assignment(_in_order([*pool, *test], entries), tuple(notes), tuple(warnings))


def assign_pool(
    entries: Sequence[Entry],
    *,
    classes: Sequence[str],
    seed: int,
    test_fraction: float,
    reason: str = "",
) -> Assignment:
    """Give every image its split for cross-validation: test, or train, which folds are made of.

    Test is kept as given. Where the folder has no splits, it is the one that ``assign_splits``
    splits off. A ``reason`` for folds is added to the note on them.

    Raises:
        DataError: A class has too few images or groups.
    """
    if {entry.split for entry in entries} <= {"", "train"}:
        _check_splittable(entries, classes, splits=("test", "two folds at least"))
        tested = choose_groups(entries, fraction=test_fraction, seed=seed, keep=2)
        entries = [e._replace(split="test" if e.group in tested else "train") for e in entries]
        how = "was split off by patient, stratified by class"
    else:
        how = "is kept as given"
    assigned = pooled(entries)
    n = sum(entry.split == "test" for entry in assigned)
    note = f"The test split {how}: {n:,} images. " if n else "There is no test split. "
    why = f", as {reason}" if reason else ""
    note += f"Folds are made of the other {len(assigned) - n:,} images, by patient{why}."
    return Assignment(assigned, (note,), ())


def pooled(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries with validation joined to train."""
    return tuple(e._replace(split="train") if e.split == "val" else e for e in entries)


def choose_folds(
    entries: Sequence[Entry], given: Iterable[Entry], classes: Sequence[str], always: str = ""
) -> tuple[int, str]:
    """Decide ``folds=auto``: folds where validation would be too small to measure a rate.

    It is too small by the rule that also decides whether a given one is: see ``is_measurable``. A
    given validation split that is large enough stays.

    Args:
        entries: The images as they are split without folds.
        given: The same images with the splits of the folder or the split file.
        classes: The names of all classes, or of the labels if an image may have several; of
            numbers, ``NUMBERS`` alone.
        always: Why there are folds whatever the size of validation; empty where it decides.

    Returns:
        The number of folds: 5, or the patients of the class that has the fewest outside test; 0 for
        none. And the reason, without a full stop.
    """
    pool = {(name, e.group) for e in entries if e.split != "test" for name in e.shown}
    fewest = min(Counter(each for each, _ in pool)[each] for each in classes)
    if always and fewest > 1:
        return min(FOLDS, fewest), always
    val = {entry.file for entry in entries if entry.split == "val"}
    if val and val == {entry.file for entry in given if entry.split == "val"}:
        return 0, f"the validation split is given, with {counted(len(val), 'image')}"
    label, n = _smallest_class((e for e in entries if e.split == "val"), classes)
    of = "" if label == NUMBERS else f" of {label!r}"
    if is_measurable(n) or fewest < 2:
        return 0, f"validation holds {counted(n, 'image')}{of}"
    if not val:
        return min(FOLDS, fewest), "the split file has no validation split"
    return min(FOLDS, fewest), f"validation would hold only {counted(n, 'image')}{of}"


def is_measurable(n: int) -> bool:
    """Tell whether a rate of so many images is known to within 30 points: from 47 images on.

    That is the width of its exact 95 % interval if half of them were recognised.
    """
    low, high = clopper_pearson(n // 2, n)
    return high - low <= _WIDEST


def check_splits(
    entries: Sequence[Entry], classes: Sequence[str], splits: Sequence[str] = ("train", "val")
) -> None:
    """Raise ``DataError`` where a class is missing from train or val."""
    present = {(entry.split, entry.label) for entry in entries}
    if have_numbers(entries):
        _check_numbers(entries, classes, splits)
        return
    for label in classes:
        for split in splits:
            if (split, label) not in present:
                raise DataError(
                    f"The class {label!r} has no image in the {split} split. Every class needs "
                    "images of several patients, some for each split. Add images of more "
                    "patients, or remove the class."
                )


def _check_numbers(entries: Sequence[Entry], bins: Sequence[str], splits: Sequence[str]) -> None:
    """Raise ``DataError`` where train lacks numbers of a bin, or a split has no image."""
    for split in splits:
        inside = {entry.label for entry in entries if entry.split == split}
        if not inside:
            raise DataError(
                f"There is no image in the {_WORDS.get(split, split)} split. Each split needs "
                "images of several patients. Add images of more patients."
            )
        if split == "train" and (missing := [name for name in bins if name not in inside]):
            raise DataError(
                f"The train split has no image with a number in {listed(missing)}, as those of "
                "few patients have such numbers. Add images of more patients."
            )


def split_warnings(entries: Sequence[Entry], classes: Sequence[str]) -> list[str]:
    """Return warnings about splits that are missing or too small to measure a rate."""
    warnings = _absent_from_test(entries, classes)
    for split in ("val", "test"):
        inside = [entry for entry in entries if entry.split == split]
        label, n = _smallest_class(inside, classes)
        low, high = clopper_pearson(n // 2, n)
        if inside and label == NUMBERS and not is_measurable(n):
            warnings.append(
                f"The {_WORDS[split]} split has only {counted(n, 'image')}, so its figures are "
                "known only roughly. More images would narrow their intervals."
            )
        elif inside and n and not is_measurable(n):
            warnings.append(
                f"The {_WORDS[split]} split has only {counted(n, 'image')} of class {label!r}. If "
                f"{n // 2:,} were recognised, the true rate could lie anywhere from {low:.0%} to "
                f"{high:.0%}. More images would narrow this interval."
            )
    splits = {entry.split for entry in entries}
    if "test" not in splits:
        warnings.append(
            "There is no test split. Model selection uses validation, so the validation figures "
            "are optimistic; only images that no choice depends on give an unbiased estimate."
            if "val" in splits
            else "There is no test split. Calibration and threshold are chosen on the out-of-fold "
            "predictions, so their figures are slightly optimistic; only images that no choice "
            "depends on give an unbiased estimate."
        )
    return warnings


def _absent_from_test(entries: Sequence[Entry], classes: Sequence[str]) -> list[str]:
    """Return a warning where the test split lacks a class."""
    tested = {name for entry in entries if entry.split == "test" for name in entry.shown}
    absent = [label for label in classes if tested and label not in tested]
    if not absent:
        return []
    return [
        f"The test split has no image of {listed(absent)}: figures that need it, such as AUROC, "
        "are undefined there. Add images of it to test."
    ]


def shared_groups(entries: Sequence[Entry]) -> list[str]:
    """Return the groups (patients) that are in more than one split, in natural order."""
    splits = Counter(group for group, _ in {(entry.group, entry.split) for entry in entries})
    return sorted((group for group, n in splits.items() if n > 1), key=natural)


def _three_way_split(
    entries: Sequence[Entry], seed: int, val_fraction: float, test_fraction: float
) -> Assignment:
    if val_fraction + test_fraction >= 1:
        raise ConfigError(
            "val_fraction and test_fraction together must leave something to train on. "
            f"Received: {val_fraction:g} + {test_fraction:g}"
        )
    tested = choose_groups(entries, fraction=test_fraction, seed=seed, keep=2)
    test = [entry._replace(split="test") for entry in entries if entry.group in tested]
    pool = [entry for entry in entries if entry.group not in tested]
    size = _validation_fraction(entries, val_fraction) * len(entries) / len(pool)
    assigned = _in_order([*_with_validation(pool, size, seed), *test], entries)
    n = Counter(entry.split for entry in assigned)
    note = (
        "The folder has no train and test split, so the images were split by patient, stratified "
        f"by class: {n['train']:,} train, {n['val']:,} validation, {n['test']:,} test "
        f"(seed {seed})."
    )
    return Assignment(assigned, (note,), ())


def _reason_to_resplit(pool: Sequence[Entry], fraction: float) -> tuple[str, list[str]]:
    """Return why the given validation split is not sufficient (empty if it is), and warnings."""
    val = [entry for entry in pool if entry.split == "val"]
    if not val:
        return "The folder has no validation split.", []
    if shared := shared_groups(pool):
        what = f"Train and validation share {counted(len(shared), 'patient')} ({listed(shared)})"
        again = "The two were joined and split again by patient."
        return f"{what}, so the two were joined first.", [f"{what}. {again}"]
    label, n = _smallest_class(val, _classes(pool))
    low, high = clopper_pearson(n // 2, n)
    after = fraction * sum(label in entry.shown for entry in pool)
    if is_measurable(n) or after <= n:
        return "", []
    if label == NUMBERS:
        return (
            "The given validation split is too small for model selection: "
            f"{counted(n, 'image')}. Its images joined train first."
        ), []
    return (
        "The given validation split is too small for model selection: "
        f"{counted(len(val), 'image')}, {n:,} of class {label!r}. If {n // 2:,} of these {n:,} "
        f"were recognised, the true rate could lie anywhere from {low:.0%} to {high:.0%}; an "
        f"interval wider than {_WIDEST * 100:.0f} points is too wide. Its images joined train "
        "first."
    ), []


def _validation_fraction(entries: Sequence[Entry], fraction: float) -> float:
    """Return the validation fraction: about 2,000 images at most, more if a class is rare."""
    _, rarest = _smallest_class(entries, _classes(entries))
    return min(fraction, max(MOST_VALIDATION / len(entries), _ENOUGH_OF_A_CLASS / rarest))


def _with_validation(pool: Sequence[Entry], fraction: float, seed: int) -> list[Entry]:
    chosen = choose_groups(pool, fraction=fraction, seed=seed, keep=1)
    return [entry._replace(split="val" if entry.group in chosen else "train") for entry in pool]


def _check_splittable(
    entries: Sequence[Entry], classes: Sequence[str], *, splits: Collection[str]
) -> None:
    if have_numbers(entries):
        if len({entry.group for entry in entries}) < len(splits):
            raise DataError(
                f"There are images of {counted(len({e.group for e in entries}), 'patient')} to "
                f"split into {', '.join(splits)}; at least {len(splits)} are needed. Add images "
                "of more patients."
            )
        return
    images = Counter(entry.label for entry in entries)
    groups = Counter(label for _, label in {(entry.group, entry.label) for entry in entries})
    for label in classes:
        if images[label] < len(splits) or groups[label] < len(splits):
            raise DataError(
                f"The class {label!r} has {counted(images[label], 'usable image')} of "
                f"{counted(groups[label], 'patient')} to split into {', '.join(splits)}; images "
                f"of at least {len(splits)} patients are needed. Add some, or remove the class."
            )


def _classes(entries: Iterable[Entry]) -> list[str]:
    return sorted({name for entry in entries for name in entry.shown}, key=natural)


def _smallest_class(entries: Iterable[Entry], classes: Sequence[str]) -> tuple[str, int]:
    """Return the rarest class and its number of images, which may be 0."""
    counts = Counter(name for entry in entries for name in entry.shown)
    rarest = min(classes, key=lambda label: counts[label])
    return rarest, counts[rarest]


def _in_order(assigned: Iterable[Entry], entries: Sequence[Entry]) -> tuple[Entry, ...]:
    by_file = {entry.file: entry for entry in assigned}
    return tuple(by_file[entry.file] for entry in entries)


def choose_groups(entries: Sequence[Entry], *, fraction: float, seed: int, keep: int) -> set[str]:
    """Return groups that contain about ``fraction`` of the images of every class (greedy).

    Iterates over the groups in an order drawn from the seed. The first pass takes groups that fit
    completely; the second takes groups that overshoot but still bring the classes nearer to their
    share. At least one group of every class is taken where possible.

    Args:
        entries: Images with their group and class; their order does not matter.
        fraction: Share to choose, 0 to 1.
        seed: Draws the order of the groups.
        keep: Groups of every class that must not be chosen.
    """
    choice = _Choice(entries, fraction, keep)
    order = _shuffled(choice.groups, seed)
    for wanted in (choice.fits, choice.helps):
        for group in order:
            if choice.is_free(group) and wanted(group):
                choice.take(group)
    for label in sorted(choice.total):
        if label in choice.reached:
            continue
        free = [g for g in order if label in dict(choice.groups[g]) and choice.is_free(g)]
        if free:
            choice.take(min(free, key=choice.change))
    return choice.chosen


def _shuffled(groups: Iterable[str], seed: int) -> list[str]:
    """Return the groups in an order that depends only on the seed and their names."""
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())


class _Choice:
    """The groups chosen so far, and what is left."""

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
        """Return by how much this group would move the classes away from their shares."""
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
