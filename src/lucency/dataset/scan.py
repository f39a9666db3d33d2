"""Find the images of a folder, their classes and their given splits (train, val, test).

Symbolic links are followed only on request. No file is opened, except for the first bytes of files
whose names do not reveal their type. Every image ends up in one of three lists: entries, excluded
(it cannot be used) or not_used (it belongs to no class or split). What is no image is ignored.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lucency.dataset.beside import ignored_sentences, unused_images, unused_sentences
from lucency.dataset.columns import Columns
from lucency.dataset.entry import (
    SPELLINGS,
    SPLITS,
    Entry,
    Excluded,
    Ignored,
    NotUsed,
    counted,
    listed,
    natural,
)
from lucency.dataset.labels import Labels, check_splits, read_labels
from lucency.dataset.layout import (
    EXPECTED,
    Layout,
    Place,
    Tree,
    check_class_names,
    find_layout,
)
from lucency.dataset.links import NOT_FOLLOWED
from lucency.dataset.multilabel import is_known
from lucency.dataset.walk import (
    Walk,
    looks_like_image,
    printable,
    visible,
    walk_folder,
)
from lucency.errors import DataError
from lucency.imaging.source import Stamp

_NO_CLASS = "not in a class folder"


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
        not_used: Images that belong to no class or split, by folder.
        ignored: Files and folders that are no images of the data set.
        warnings: Sentences about images that are not used, and about doubtful names.
        notes: Sentences for information.
        labels: Names, where an image may have several; the classes are then strata.
        value_name: What the numbers are that are to be predicted; the classes are then bins of
            them. Empty for classes.
    """

    root: Path
    classes: tuple[str, ...]
    entries: tuple[Entry, ...]
    stamps: Mapping[str, Stamp]
    excluded: tuple[Excluded, ...]
    not_used: tuple[NotUsed, ...]
    ignored: tuple[Ignored, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    labels: tuple[str, ...] = ()
    value_name: str = ""


def scan(
    folder: Path,
    *,
    labels: Path | None = None,
    columns: Columns = Columns(),  # noqa: B008 - immutable
    least: int = 2,
    follow_links: bool = False,
) -> Scan:
    """Find the images of a data set, with their classes and splits.

    Args:
        folder: Contains train, val and test folders (any common spelling) of class folders, or
            class folders alone; it may be nested in further folders, as in unpacked zip files.
        labels: CSV file with the columns file and label, and optionally group and split. Classes
            then come from it; the folders still give the splits.
        columns: Names of its columns; by default they are recognised.
        least: Minimum number of classes; 1 for images that are only evaluated on.
        follow_links: Whether to follow symbolic links to images and folders.

    Raises:
        DataError: The folder or the labels cannot be understood as a data set.
    """
    root = _unwrapped(_checked(folder), follow_links)
    walk = walk_folder(root, follow=follow_links)
    tree = Tree(root, walk.folders, [*walk.files, *(each.file for each in walk.excluded)])
    layout = find_layout(tree, labelled=labels is not None)
    _check_locked(walk, layout)
    table = None
    if labels:
        table = _read_labels(walk, labels, folder, columns)
        entries, warnings = _by_labels(walk, layout, labels, table)
        warnings += table.warnings
    else:
        _leave_outside(walk, layout)
        entries = _by_folder(walk, layout)
        _check_class_folders(walk, layout, entries)
        warnings = _check_names(tree, layout)
    strata = table is not None and bool(table.names or table.value_name)
    classes = checked_classes(walk, entries, labels, least, strata=strata)
    if table and table.bins:
        classes = table.bins
    not_used = unused_images(walk)
    return Scan(
        root=root,
        classes=classes,
        entries=tuple(entries),
        stamps=walk.stamps,
        excluded=tuple(sorted(walk.excluded, key=lambda each: natural(each.file))),
        not_used=not_used,
        ignored=tuple(sorted(walk.ignored, key=lambda each: natural(each.file))),
        warnings=(
            *layout.warnings,
            *warnings,
            *unused_sentences(not_used),
            *_link_sentences(walk),
        ),
        notes=(*layout.notes, *(table.notes if table else ()), *ignored_sentences(walk.ignored)),
        labels=table.names if table else (),
        value_name=table.value_name if table else "",
    )


def _checked(folder: Path) -> Path:
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError as error:
        raise DataError(f"{folder}: there is no such folder. {EXPECTED} Check the path.") from error
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror}).") from error
    if not stat.S_ISDIR(mode):
        raise DataError(f"{folder}: this is a file, not a folder. {EXPECTED} Give the folder.")
    return folder


def _unwrapped(folder: Path, follow: bool) -> Path:
    """Descend while a folder contains nothing but one folder of folders, as in unpacked zips."""
    while True:
        folders, others = visible(folder, follow=follow)
        if (
            len(folders) != 1
            or folders[0].lower() in SPELLINGS
            or any(map(looks_like_image, others))
        ):
            return folder
        inner_folders, inner_others = visible(folder / folders[0], follow=follow)
        if not inner_folders or any(map(looks_like_image, inner_others)):
            return folder
        folder = folder / folders[0]


def _check_locked(walk: Walk, layout: Layout) -> None:
    """Reject a folder of the data set that cannot be read; others are named."""
    for folder, error in walk.locked.items():
        if layout.place_of(f"{folder}/"):
            raise error
        walk.ignore(folder, "this folder cannot be read")


def _leave_outside(walk: Walk, layout: Layout) -> None:
    """Count the images in folders that are not used, and drop what else was found there."""
    outside: Counter[str] = Counter()
    for file in (*walk.files, *(each.file for each in walk.excluded)):
        outside[layout.unused_folder(file)] += 1
    for (folder, _), images in walk.unused.items():
        outside[layout.unused_folder(f"{folder}/")] += images
    walk.files = [file for file in walk.files if not layout.unused_folder(file)]
    walk.excluded = [each for each in walk.excluded if not layout.unused_folder(each.file)]
    walk.ignored = [each for each in walk.ignored if not layout.unused_folder(each.file)]
    for folder, reason in [*walk.unused]:
        if layout.unused_folder(f"{folder}/"):
            del walk.unused[folder, reason]
    for folder, reason in layout.unused.items():
        walk.leave(folder, reason, outside[folder])


def _by_folder(walk: Walk, layout: Layout) -> list[Entry]:
    """Label every image by its class folder, at any depth."""
    entries = []
    for file in walk.files:
        place = layout.place_of(file) or Place("")
        label, _, inside = file[len(place.folder) :].lstrip("/").partition("/")
        if place in layout.places and (place.label or inside):
            entries.append(Entry(file, place.label or label, split=place.split))
        else:
            walk.leave(file.rpartition("/")[0], _NO_CLASS)
    return entries


def _read_labels(walk: Walk, labels: Path, folder: Path, columns: Columns) -> Labels:
    known = [*walk.files, *(each.file for each in walk.excluded)]
    return read_labels(labels, files=known, root=walk.root, folder=folder, columns=columns)


def _by_labels(
    walk: Walk, layout: Layout, labels: Path, table: Labels
) -> tuple[list[Entry], list[str]]:
    """Label every image by the labels file; images without a row or a known label are not used.

    Returns:
        The entries, and warnings.
    """
    rows = table.rows
    by_folder = {place.folder: place.split for place in layout.places}
    entries = []
    for file in walk.files:
        row = rows.get(file)
        if row and row.states and not is_known(row.states, table.names):
            walk.leave(file.rpartition("/")[0], f"no known label in {labels.name}")
        elif row:
            place = layout.place_of(file)
            split = row.split or (by_folder[place.folder] if place else "")
            entries.append(
                Entry(
                    file,
                    row.label,
                    split,
                    row.group,
                    fold=row.fold,
                    states=row.states,
                    value=row.value,
                    unit=row.unit,
                )
            )
        else:
            walk.leave(file.rpartition("/")[0], f"not in {labels.name}")
    check_splits(labels, table, entries)
    loose = any(not entry.split for entry in entries)
    if loose and layout.problem:
        raise layout.problem
    if loose and {*by_folder.values()} == {"train"} and not any(x.split for x in rows.values()):
        return [entry._replace(split="") for entry in entries], [
            f"{layout.places[0].folder} is not taken for a split, because {labels.name} lists "
            "images outside it, and there is no test folder."
        ]
    return entries, []


def _check_class_folders(walk: Walk, layout: Layout, entries: list[Entry]) -> None:
    """Reject a folder without class folders, and class folders without images."""
    labelled = any(place.label for place in layout.places)
    for place in (Place(""),) if labelled else layout.places:
        prefix = f"{place.folder}/" if place.folder else ""
        tops = [path.removeprefix(prefix) for path in walk.folders if path.startswith(prefix)]
        folders = [top for top in tops if "/" not in top and top not in layout.unused]
        filled = {entry.label for entry in entries if labelled or entry.split == place.split}
        # An empty validation folder is no error: validation is then split off from train.
        if place.split == "val":
            continue
        if not folders:
            raise DataError(_no_classes(walk, walk.root / place.folder))
        if empty := [printable(prefix + folder) for folder in folders if folder not in filled]:
            excluded = [f"{file}: {reason}" for file, reason in walk.excluded]
            reasons = f" ({listed(excluded)})" if excluded else _link_hint(walk)
            raise DataError(
                f"{walk.root}: no usable image in the class folder {listed(empty)}{reasons}. "
                "Expected images in every class folder. Add images, or remove the folder."
            )


def _check_names(tree: Tree, layout: Layout) -> list[str]:
    """Reject class folders in splits that have the names of splits themselves."""
    splits = [place for place in layout.places if place.folder and not place.label]
    return [*dict.fromkeys(line for place in splits for line in check_class_names(tree, place))]


def _links(walk: Walk) -> list[str]:
    """Return the symbolic links that were not followed."""
    return [
        *(each.file for each in walk.excluded if each.reason == NOT_FOLLOWED),
        *(each.file for each in walk.ignored if each.reason == NOT_FOLLOWED),
        *(folder for folder, reason in walk.unused if reason == NOT_FOLLOWED),
    ]


def _link_hint(walk: Walk) -> str:
    links = listed(sorted(_links(walk), key=natural))
    return f" (symbolic links are not followed: {links}; use --follow-links)" if links else ""


def _no_classes(walk: Walk, place: Path) -> str:
    if links := sorted(_links(walk), key=natural):
        how = (
            f"Symbolic links are not followed ({listed(links)}): use --follow-links, or copy the "
            "files themselves there."
        )
    elif walk.files:
        how = (
            "Put each class into a folder of its own, or list the classes in a CSV: --labels FILE; "
            "if the images have no labels, move them out."
        )
    else:
        how = "Check the path, and that the download was unpacked."
    what = "contains images but no class folders" if walk.files else "contains no class folders"
    if not (walk.files or walk.folders or walk.excluded or walk.ignored or walk.unused):
        what = "the folder is empty"
    return f"{place}: {what}. {EXPECTED} {how}"


def _link_sentences(walk: Walk) -> list[str]:
    links = [file for file, reason in walk.excluded if reason == NOT_FOLLOWED]
    if not links:
        return []
    return [
        f"Not used: {counted(len(links), 'symbolic link')} to images ({listed(links)}). "
        "Follow them with --follow-links."
    ]


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


def checked_classes(
    walk: Walk, entries: list[Entry], labels: Path | None, least: int, *, strata: bool = False
) -> tuple[str, ...]:
    """Return the names of the classes, in natural order.

    Raises:
        DataError: They are too few, or the splits do not have the same ones, unless they are
            strata of several labels.
    """
    root = walk.root
    classes = tuple(sorted({entry.label for entry in entries}, key=natural))
    where = f"{labels} and {root}" if labels else str(root)
    if not classes:
        raise DataError(f"{where}: no image with a class was found. {EXPECTED}")
    if len(classes) < least:
        raise DataError(
            f"{where}: only one class was found, {classes[0]!r}{_link_hint(walk)}. "
            f"{EXPECTED} "
            "Add a folder for at least one more class, or give the folder above this one."
        )
    by_split = {split: {e.label for e in entries if e.split == split} for split in SPLITS}
    # A class that only test lacks causes a warning.
    if by_split["test"] - by_split["train"] and not strata:
        raise DataError(_differing(root, by_split["train"], by_split["test"]))
    if by_split["train"] and not strata and (extra := by_split["val"] - by_split["train"]):
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
