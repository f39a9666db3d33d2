"""Folds for cross-validation: each image outside test is held out once, no patient in two folds.

They are ``folds`` random ones, stratified by class; or one for each value of a column, such as the
site, the scanner or the year.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lucency.config import MOST_FOLDS, Config
from lucency.dataset.entry import Entry, counted, have_numbers, listed, natural
from lucency.dataset.labels import MISSING
from lucency.errors import ConfigError, DataError, RunError
from lucency.io import why
from lucency.run_folder.files import FOLDS


@dataclass(frozen=True, eq=False)
class Folds:
    """Which image is held out in which fold.

    Attributes:
        names: Of the folds: "1", "2", ..., or the values of the column in natural order.
        held_out: (n,) int64, the index of the fold of each image of train.
        column: That the folds are made by; empty for random ones.
    """

    names: tuple[str, ...]
    held_out: NDArray[np.int64]
    column: str

    def __len__(self) -> int:
        return len(self.names)


def make_folds(entries: Sequence[Entry], config: Config) -> Folds | None:
    """Divide the images of train into folds; the result depends on the seed, not on their order.

    Args:
        entries: The images of train, with class and patient, and the value of the column.
        config: Number of folds or name of a column, and seed.

    Returns:
        The folds; ``None`` where none are wanted.

    Raises:
        ConfigError: A class has fewer patients than there are folds.
        DataError: The column has one value, too many or missing ones, or a patient has several of
            them; or without one of the folds, a class has no images.
    """
    if not config.folds:
        return None
    names: Sequence[str]
    if isinstance(config.folds, int):
        names = [str(k + 1) for k in range(config.folds)]
        values = [names[k] for k in _random(entries, config.folds, config.seed)]
        column, what = "", "fold"
    else:
        values, column, what = [entry.fold for entry in entries], config.folds, config.folds
        _check_column(entries, config.folds, Path(config.labels).name)
        names = sorted(set(values), key=natural)
    _check_rest(entries, values, names, what)
    held_out = np.array([names.index(value) for value in values], np.int64)
    return Folds(tuple(names), held_out, column)


def are_divisible(entries: Sequence[Entry], count: int, seed: int) -> bool:
    """Tell whether so many random folds leave images of every class outside each of them.

    A patient with most images of a class, and images of others, can make it impossible.
    """
    held_out = [str(k) for k in _random(entries, count, seed)]
    whole = len({*held_out}) == count
    return whole and (
        have_numbers(entries)
        or all(len(found) > 1 for found in _by_class(entries, held_out).values())
    )


def write_folds(path: Path, files: Iterable[str], folds: Folds) -> None:
    """Write ``folds.csv``: the fold in which each image of train is held out."""
    FOLDS.write(path, zip(files, (folds.names[k] for k in folds.held_out), strict=True))


def read_folds(path: Path) -> dict[str, str]:
    """Return the name of the fold of each image in the ``folds.csv`` of a run.

    Raises:
        RunError: It is missing, too large or not one that a run wrote.
    """
    try:
        rows = [(row["file"], row["fold"]) for row in FOLDS.rows(path)]
        if len(dict(rows)) < len(rows):
            raise ValueError("it lists an image more than once")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read ({why(error)}). Restore it from the training run."
        ) from error
    return dict(rows)


def _random(entries: Sequence[Entry], count: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each image, from 0: stratified by class, a patient in one of them."""
    from sklearn.model_selection import StratifiedGroupKFold

    if have_numbers(entries):
        return _random_of_numbers(entries, count, seed)
    patients = _by_class(entries, [entry.group for entry in entries])
    label = min(patients, key=lambda name: len(patients[name]))
    if (fewest := len(patients[label])) < count:
        hint = f"Use --folds {fewest} at most, or add" if fewest > 1 else "Add"
        raise ConfigError(
            f"--folds {count} is too many: outside test, the class {label!r} has images of "
            f"{counted(fewest, 'patient')}, and every fold holds out others. {hint} images of "
            "more patients."
        )
    labels, groups = [entry.label for entry in entries], [entry.group for entry in entries]
    divided = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    found = np.empty(len(entries), np.int64)
    for k, (_, held) in enumerate(divided.split(labels, labels, groups)):
        found[held] = k
    return found


def _random_of_numbers(entries: Sequence[Entry], count: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each image, from 0: whole patients, ordered by their mean number.

    Of each ``count`` patients in this order, every fold gets one.
    """
    numbers = defaultdict[str, list[float]](list)
    for entry in entries:
        numbers[entry.group].append(entry.value or 0.0)
    if len(numbers) < count:
        raise ConfigError(
            f"--folds {count} is too many: outside test, there are images of "
            f"{counted(len(numbers), 'patient')}, and every fold holds out others. Use fewer folds."
        )
    ordered = sorted(numbers, key=lambda name: (float(np.mean(numbers[name])), natural(name)))
    random = np.random.default_rng(seed)
    turns = [random.permutation(count) for _ in range(-(-len(ordered) // count))]
    fold = dict(zip(ordered, np.concatenate(turns), strict=False))
    return np.array([fold[entry.group] for entry in entries], np.int64)


def _check_column(entries: Sequence[Entry], column: str, labels: str) -> None:
    """Reject a column whose values cannot be held out one at a time."""
    missing = [e.file for e in entries if not e.fold or e.fold.lower() in MISSING]
    if missing:
        raise DataError(
            f"{labels}: the column {column!r} of --folds is empty for {len(missing):,} of "
            f"{counted(len(entries), 'image')} ({listed(missing)}). Fill it in, or remove the rows."
        )
    values = {entry.fold for entry in entries}
    if not 2 <= len(values) <= MOST_FOLDS:
        raise DataError(
            f"{labels}: the column {column!r} of --folds has {counted(len(values), 'value')} "
            f"({listed(sorted(values, key=natural))}). Expected 2 to {MOST_FOLDS}, each to be held "
            "out once. Choose another column, or a number of folds."
        )
    of_group = defaultdict(set)
    for entry in entries:
        of_group[entry.group].add(entry.fold)
    if shared := sorted((name for name in of_group if len(of_group[name]) > 1), key=natural):
        where = listed(sorted(of_group[shared[0]], key=natural))
        raise DataError(
            f"{labels}: {counted(len(shared), 'patient')} (copies of an image count as one) "
            f"have images with several values of {column!r}: {shared[0]} in {where}. No image of a "
            "patient may be trained on where another is held out. Correct the column, or use a "
            "number of folds."
        )


def _check_rest(
    entries: Sequence[Entry], values: Sequence[str], names: Collection[str], what: str
) -> None:
    """Reject folds that are empty, or without which a class has no images to train on."""
    for label, found in _by_class(entries, values).items():
        if len(found) < 2 and not have_numbers(entries):
            raise DataError(
                f"All images of the class {label!r} are in {what} {found.pop()}, so nothing is "
                "left to train on when it is held out. Add images of the class, or use other folds."
            )
    if empty := set(names) - set(values):
        raise DataError(f"The fold {min(empty)} has no images. Use fewer folds.")


def _by_class(entries: Sequence[Entry], values: Sequence[str]) -> dict[str, set[str]]:
    """Return the distinct values of the images of each class."""
    found = defaultdict(set)
    for entry, value in zip(entries, values, strict=True):
        found[entry.label].add(value)
    return found
