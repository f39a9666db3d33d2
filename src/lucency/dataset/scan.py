"""Find the images of a folder, their classes and their given splits (train, val, test).

No symbolic link is followed, so there are no loops and nothing outside the folder is read. No file
is opened, except for the first bytes of files whose names do not reveal their type. Every file ends
up in one of three lists: entries, excluded (an image that cannot be used) or ignored (not an image
of the data set).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lucency.dataset.entry import SPELLINGS, SPLITS, Entry, Excluded, listed, natural
from lucency.dataset.labels import read_labels
from lucency.dataset.walk import Walk, has_image_suffix, printable, visible, walk_folder
from lucency.errors import DataError
from lucency.imaging.source import Stamp

_EXPECTED = "Expected train and test folders with one folder per class in each, or one per class."


@dataclass(frozen=True)
class Scan:
    """The content of a folder.

    Attributes:
        root: The folder with the splits or classes; paths below are relative to it.
        classes: Names, in natural order; at least two to train on.
        entries: Images to be read, in natural order of their paths. ``split`` is given for all
            or for none; ``group`` only if the labels file has the column.
        stamps: Size and times of each of these files when it was found, by path.
        excluded: Images that were found but cannot be used.
        ignored: Files and folders that do not belong to the data set.
    """

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    stamps: Mapping[str, Stamp]
    excluded: tuple[Excluded, ...]
    ignored: tuple[Excluded, ...]


def scan(folder: Path, *, labels: Path | None = None, least: int = 2) -> Scan:
    """Find the images of a data set, with their classes and splits.

    Args:
        folder: Contains train, val and test folders (any common spelling) of class folders, or
            class folders alone; it may be nested in further folders, as in unpacked zip files.
        labels: CSV file with the columns file and label, and optionally group and split. Classes
            then come from it; the folders still give the splits.
        least: Minimum number of classes; 1 for images that are only evaluated on.

    Raises:
        DataError: The folder or the labels cannot be understood as a data set.
    """
    root = _unwrapped(_checked(folder))
    splits = _split_folders(root)
    walk = walk_folder(root, only=splits.values())
    entries = _by_labels(walk, splits, labels, folder) if labels else _by_folder(walk, splits)
    if not labels:
        _check_class_folders(walk, splits, entries)
    classes = _checked_classes(root, entries, labels, least)
    return Scan(
        root=root,
        classes=classes,
        entries=tuple(entries),
        stamps=walk.stamps,
        excluded=tuple(sorted(walk.excluded, key=lambda each: natural(each.file))),
        ignored=tuple(sorted(walk.ignored, key=lambda each: natural(each.file))),
    )


def _checked(folder: Path) -> Path:
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError as error:
        raise DataError(
            f"{folder}: there is no such folder. {_EXPECTED} Check the path."
        ) from error
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror}).") from error
    if not stat.S_ISDIR(mode):
        raise DataError(f"{folder}: this is a file, not a folder. {_EXPECTED} Give the folder.")
    return folder


def _unwrapped(folder: Path) -> Path:
    """Descend while a folder contains nothing but one folder of folders, as in unpacked zips."""
    while True:
        folders, files = visible(folder)
        if (
            len(folders) != 1
            or folders[0].lower() in SPELLINGS
            or any(map(has_image_suffix, files))
        ):
            return folder
        inner_folders, inner_files = visible(folder / folders[0])
        if not inner_folders or any(map(has_image_suffix, inner_files)):
            return folder
        folder = folder / folders[0]


def _split_folders(root: Path) -> dict[str, str]:
    """Return ``{"train": "Training", ...}`` for the split folders in the root; may be empty."""
    splits: dict[str, str] = {}
    for name in sorted(visible(root)[0]):
        split = SPELLINGS.get(name.lower())
        if split in splits:
            raise DataError(
                f"{root}: {splits[split]!r} and {name!r} both mean the {split} split. "
                "Keep one of them, or move the images of both into one folder."
            )
        if split:
            splits[split] = name
    if splits and "train" not in splits:
        raise DataError(
            f"{root}: has {listed(sorted(splits.values()))} but no train folder. {_EXPECTED} "
            "Add the train folder, or give the folder above or below."
        )
    return splits


def _by_folder(walk: Walk, splits: Mapping[str, str]) -> list[Entry]:
    """Label every image by its class folder, at any depth."""
    names = {name: split for split, name in splits.items()}
    depth = 1 if splits else 0
    entries = []
    for file in walk.files:
        levels = file.split("/")
        if len(levels) <= depth + 1:
            walk.ignore(file, "not in a class folder")
        else:
            entries.append(Entry(file, levels[depth], split=names.get(levels[0], "")))
    return entries


def _by_labels(walk: Walk, splits: Mapping[str, str], labels: Path, folder: Path) -> list[Entry]:
    """Label every image by the labels file; images that it does not list are ignored."""
    names = {name: split for split, name in splits.items()}
    prefix = walk.root.relative_to(folder).as_posix()
    known = [*walk.files, *(each.file for each in walk.excluded)]
    rows = read_labels(labels, files=known, prefix="" if prefix == "." else prefix + "/")
    entries = []
    for file in walk.files:
        if row := rows.get(file):
            split = row.split or names.get(file.partition("/")[0], "")
            entries.append(Entry(file, row.label, split=split, group=row.group))
        else:
            walk.ignore(file, f"not in {labels.name}")
    return entries


def _check_class_folders(walk: Walk, splits: Mapping[str, str], entries: list[Entry]) -> None:
    """Reject a folder without class folders, and class folders without images."""
    for split, name in splits.items() or [("", "")]:
        prefix = f"{name}/" if name else ""
        tops = [path.removeprefix(prefix) for path in walk.folders if path.startswith(prefix)]
        folders = [top for top in tops if "/" not in top]
        filled = {entry.label for entry in entries if entry.split == split}
        # An empty validation folder is no error: validation is then split off from train.
        if split == "val":
            continue
        if not folders:
            raise DataError(_no_classes(walk, walk.root / name))
        if empty := [printable(prefix + folder) for folder in folders if folder not in filled]:
            excluded = [f"{file}: {reason}" for file, reason in walk.excluded]
            reasons = f" ({listed(excluded)})" if excluded else ""
            raise DataError(
                f"{walk.root}: no usable image in the class folder {listed(empty)}{reasons}. "
                "Expected images in every class folder. Add images, or remove the folder."
            )


def _no_classes(walk: Walk, place: Path) -> str:
    if links := [each.file for each in walk.excluded if "link" in each.reason]:
        how = f"Symbolic links are not followed ({listed(links)}): copy the files themselves there."
    elif walk.files:
        how = "Put each class into a folder of its own, or list the classes in a CSV: --labels FILE"
    else:
        how = "Check the path, and that the download was unpacked."
    what = "contains images but no class folders" if walk.files else "contains no class folders"
    if not (walk.files or walk.folders or walk.excluded or walk.ignored):
        what = "the folder is empty"
    return f"{place}: {what}. {_EXPECTED} {how}"


def _differing(root: Path, train: set[str], test: set[str]) -> str:
    sides = [
        f"only in {split}: {listed(sorted(names, key=natural))}"
        for split, names in (("train", train - test), ("test", test - train))
        if names
    ]
    return (
        f"{root}: the train and test folders have different classes ({'; '.join(sides)}). "
        "Give both the same class folders, with the same spelling."
    )


def _checked_classes(
    root: Path, entries: list[Entry], labels: Path | None, least: int
) -> tuple[str, ...]:
    classes = tuple(sorted({entry.label for entry in entries}, key=natural))
    where = f"{labels} and {root}" if labels else str(root)
    if not classes:
        raise DataError(f"{where}: no image with a class was found. {_EXPECTED}")
    if len(classes) < least:
        raise DataError(
            f"{where}: only one class was found, {classes[0]!r}. {_EXPECTED} "
            "Add a folder for at least one more class, or give the folder above this one."
        )
    by_split = {split: {e.label for e in entries if e.split == split} for split in SPLITS}
    if by_split["test"] - by_split["train"]:  # a class that only test lacks causes a warning
        raise DataError(_differing(root, by_split["train"], by_split["test"]))
    if by_split["train"] and (extra := by_split["val"] - by_split["train"]):
        raise DataError(
            f"{where}: validation has a class that train does not have: {listed(sorted(extra))}. "
            "Give all splits the same classes, with the same spelling."
        )
    loose = [entry.file for entry in entries if not entry.split]
    if loose and len(loose) < len(entries):
        raise DataError(
            f"{where}: some images belong to a split (train, val, test) and {len(loose):,} do "
            f"not: {listed(loose)}. Fill in the split column for all of them, or for none."
        )
    return classes
