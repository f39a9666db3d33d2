"""Find the images of a folder, their classes and the parts (train, val, test) they lie in.

No symbolic link is followed, so there are no loops and nothing outside the folder is read. Nothing
is opened, but for the first bytes of files whose names tell nothing. Every file ends in one of
three lists: used, set aside (an image that cannot be used) or ignored (no image of the data
set).
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lucency.dataset.entry import SPELLINGS, SPLITS, Entry, Excluded, listed, natural
from lucency.dataset.labels import read_labels
from lucency.dataset.walk import Walk, names_image, shown, visible, walk_below
from lucency.errors import DataError
from lucency.imaging.source import Stamp

_EXPECTED = "Expected train and test folders with one folder per class in each, or one per class."


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Attributes:
        root: The folder that holds the parts or classes; paths below are relative to it.
        classes: Names, in natural order, at least two to train on.
        entries: Images to be read, in natural order of their paths. ``part`` is given for all
            or for none; ``group`` only where the labels file has the column.
        stamps: What each of these files was when it was found, by path.
        excluded: Images that are found but cannot be used.
        ignored: Files and folders that are no part of the data set.
    """

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    stamps: Mapping[str, Stamp]
    excluded: tuple[Excluded, ...]
    ignored: tuple[Excluded, ...]


def scan(folder: Path, *, labels: Path | None = None, least: int = 2) -> Scan:
    """Find the images of a data set, with their classes and parts.

    Args:
        folder: Holds train, val and test folders (any common spelling) of class folders, or class
            folders alone; it may be wrapped in further folders, as zip files unpack.
        labels: CSV file with the columns file and label, and optionally group and split. Classes
            then come from it, while the folders still give the parts.
        least: Fewest classes; 1 for images that are only measured on.

    Raises:
        DataError: The folder or the labels cannot be understood as a data set.
    """
    root = _unwrapped(_checked(folder))
    splits = _split_folders(root)
    walk = walk_below(root, only=splits.values())
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
    """Go down while a folder holds nothing but one folder of folders, as zip files unpack."""
    while True:
        folders, files = visible(folder)
        if len(folders) != 1 or folders[0].lower() in SPELLINGS or any(map(names_image, files)):
            return folder
        inner_folders, inner_files = visible(folder / folders[0])
        if not inner_folders or any(map(names_image, inner_files)):
            return folder
        folder = folder / folders[0]


def _split_folders(root: Path) -> dict[str, str]:
    """Return ``{"train": "Training", ...}`` for the part folders in the root, or nothing."""
    splits: dict[str, str] = {}
    for name in sorted(visible(root)[0]):
        split = SPELLINGS.get(name.lower())
        if split in splits:
            raise DataError(
                f"{root}: {splits[split]!r} and {name!r} both mean the {split} part. "
                "Keep one of them, or move the images of both into one folder."
            )
        if split:
            splits[split] = name
    if splits and "train" not in splits:
        raise DataError(
            f"{root}: holds {listed(sorted(splits.values()))} but no train folder. {_EXPECTED} "
            "Add the train folder, or give the folder above or below."
        )
    return splits


def _by_folder(walk: Walk, splits: Mapping[str, str]) -> list[Entry]:
    """Give every image the class folder it lies in, at any depth."""
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
    """Give every image what the labels file says; images it does not name are ignored."""
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
    """Refuse a folder without class folders, and class folders without images."""
    for split, name in splits.items() or [("", "")]:
        prefix = f"{name}/" if name else ""
        tops = [path.removeprefix(prefix) for path in walk.folders if path.startswith(prefix)]
        folders = [top for top in tops if "/" not in top]
        filled = {entry.label for entry in entries if entry.split == split}
        # An empty or half-empty validation folder is no mistake: validation is then cut from train.
        if split == "val":
            continue
        if not folders:
            raise DataError(_no_classes(walk, walk.root / name))
        if empty := [shown(prefix + folder) for folder in folders if folder not in filled]:
            aside = [f"{file}: {reason}" for file, reason in walk.excluded]
            why = f" ({listed(aside)})" if aside else ""
            raise DataError(
                f"{walk.root}: no usable image in the class folder {listed(empty)}{why}. "
                "Expected images in every class folder. Put images in, or remove the folder."
            )


def _no_classes(walk: Walk, place: Path) -> str:
    if links := [each.file for each in walk.excluded if "link" in each.reason]:
        how = f"Symbolic links are not followed ({listed(links)}): put the files themselves there."
    elif walk.files:
        how = "Put each class into a folder of its own, or name the classes in a CSV: --labels FILE"
    else:
        how = "Check the path, and that the download was unpacked."
    what = "holds images but no class folders" if walk.files else "holds no class folders"
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
        f"{root}: the train and test folders do not hold the same classes ({'; '.join(sides)}). "
        "Give both the same class folders, spelled alike."
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
    if by_split["test"] - by_split["train"]:  # a class that test alone lacks is only told of
        raise DataError(_differing(root, by_split["train"], by_split["test"]))
    if by_split["train"] and (extra := by_split["val"] - by_split["train"]):
        raise DataError(
            f"{where}: validation has a class that train has not: {listed(sorted(extra))}. "
            "Give all parts the same classes, spelled alike."
        )
    loose = [entry.file for entry in entries if not entry.split]
    if loose and len(loose) < len(entries):
        raise DataError(
            f"{where}: some images belong to a part (train, val, test) and {len(loose):,} do "
            f"not: {listed(loose)}. Fill in the split column for all of them, or for none."
        )
    return classes
