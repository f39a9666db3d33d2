"""Decide from the names of folders which of them are splits and which are classes.

A folder is taken for a split only if its siblings agree: a class may be called ``train`` too. Where
names look like splits and are not understood, nothing is guessed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lucency.dataset.entry import SPELLINGS, SPLITS, listed, natural
from lucency.dataset.names import Name, parse
from lucency.errors import DataError

EXPECTED = "Expected train and test folders with one folder per class in each, or one per class."
_TABLE = "or list all images in a CSV with the columns file, label and split: --labels FILE"
UNLABELLED = "images to predict: they have no labels"
BESIDE = "next to the train folder, not in it"


class Place(NamedTuple):
    """A folder whose images are used.

    Attributes:
        folder: Path below the root; empty for the root.
        split: Split of its images; empty if the split is still to be decided.
        label: Class of its images; empty where the folders in it are the classes.
    """

    folder: str
    split: str = ""
    label: str = ""


@dataclass(frozen=True)
class Layout:
    """Where the images of a data set lie.

    Attributes:
        places: Folders whose images are used; their names decide split and class.
        unused: Other folders in the root that contain images, and the reason.
        warnings: Sentences about names that could mean something else.
        notes: Sentences for information.
        problem: Why the names give no splits; only where a labels file may give them.
    """

    places: tuple[Place, ...]
    unused: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: DataError | None = None

    def place_of(self, file: str) -> Place | None:
        """Return the place that a file lies in, if there is one."""
        folder = file
        while folder:
            folder = folder.rpartition("/")[0]
            if place := self._by_folder.get(folder):
                return place
        return None

    def unused_folder(self, file: str) -> str:
        """Return the unused folder that a file lies in; empty if there is none."""
        folder = file
        while folder and self.unused:
            folder = folder.rpartition("/")[0]
            if folder in self.unused:
                return folder
        return ""

    @cached_property
    def _by_folder(self) -> Mapping[str, Place]:
        return {place.folder: place for place in self.places}


class Tree:
    """Folders and the images in them.

    Attributes:
        root: The root of the data set.
    """

    def __init__(self, root: Path, folders: Iterable[str], images: Iterable[str]) -> None:
        """Count images.

        Args:
            root: The root of the data set.
            folders: All folders below it, in natural order.
            images: All images below it.
        """
        self.root = root
        self._inside: defaultdict[str, list[str]] = defaultdict(list)
        for folder in folders:
            self._inside[folder.rpartition("/")[0]].append(folder)
        self._direct = Counter(image.rpartition("/")[0] for image in images)
        self._all: Counter[str] = Counter()
        for folder, n in self._direct.items():
            levels = folder.split("/") if folder else []
            for depth in range(len(levels)):
                self._all["/".join(levels[: depth + 1])] += n

    def folders(self, folder: str = "") -> list[str]:
        """Return the paths of the folders directly in a folder."""
        return self._inside.get(folder, [])

    def images(self, folder: str) -> int:
        """Return the number of images in a folder at any depth."""
        return self._all[folder]

    def is_flat(self, folder: str) -> bool:
        """Return whether images lie directly in a folder."""
        return self._direct[folder] > 0

    def filled(self, folder: str) -> list[str]:
        """Return the names of the folders directly in a folder that contain images."""
        return [path.rpartition("/")[2] for path in self.folders(folder) if self.images(path)]


def find_layout(tree: Tree, *, labelled: bool) -> Layout:
    """Decide which folders are splits and which are classes.

    Args:
        tree: The folders.
        labelled: Whether a labels file gives the classes; it may give the splits too.

    Raises:
        DataError: The names look like splits, but are not understood.
    """
    try:
        return _layout(tree, labelled=labelled)
    except DataError as error:
        if not labelled:
            raise
        return Layout((Place(""),), problem=error)


def _layout(tree: Tree, *, labelled: bool) -> Layout:
    names = {folder: parse(folder) for folder in tree.folders()}
    marked = {folder: name for folder, name in names.items() if name.kind and name.kind != "pred"}
    pred = [folder for folder, name in names.items() if name.kind == "pred" and not name.rest]
    others = [x for x in names if x not in marked and x not in pred and tree.images(x)]
    if reason := _why_classes(tree, marked, others, labelled=labelled):
        likely = {*_likely(tree, marked), *(x for x, name in marked.items() if not name.rest)}
        folders = [folder for folder in marked if folder in likely and tree.images(folder)]
        return _classes(tree, pred, labelled, (_doubt(folders, reason),) if folders else ())
    splits = _splits(tree, _likely(tree, marked))
    return Layout(
        tuple(Place(_innermost(tree, folder), split) for split, folder in splits.items()),
        {
            folder: UNLABELLED if folder in pred else BESIDE
            for folder in names
            if folder not in splits.values()
        },
        notes=_understood(splits),
    )


def _understood(splits: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence on folders whose names are not those of the splits themselves."""
    if all(SPELLINGS.get(folder.lower()) == split for split, folder in splits.items()):
        return ()
    listing = ", ".join(f"{folder} is {split}" for split, folder in splits.items())
    return (f"Splits by the names of the folders: {listing}.",)


def _why_classes(
    tree: Tree, marked: Mapping[str, Name], others: list[str], *, labelled: bool
) -> str:
    """Return why folders in the root are classes; empty if they are splits.

    Raises:
        DataError: They are neither for certain.
    """
    if not marked:
        return "no folder has the name of a split"
    filled = [folder for folder in marked if tree.images(folder)]
    train = [folder for folder in _likely(tree, marked) if marked[folder].kind == "train"]
    kinds = {name.kind for name in marked.values()}
    beside = f"{listed(others)} beside {'it is' if len(others) == 1 else 'them are'} no split"
    if labelled and not train:
        raise _no_train(tree, marked)
    if train and (labelled or not (others and _hold_no_classes(tree, filled))):
        return ""
    if others and not _similar(tree, [*filled, *others]):
        return beside
    if not others and len(kinds) == 1 and len(marked) > 1 and all(x.rest for x in marked.values()):
        return "none of them names another split"
    if not any(name.kind == "train" for name in marked.values()):
        raise _no_train(tree, marked)
    raise _not_understood(tree, [*marked, *others])


def _no_train(tree: Tree, marked: Iterable[str]) -> DataError:
    return DataError(
        f"{tree.root}: has {listed(sorted(marked))} but no train folder. {EXPECTED} "
        f"Add the train folder, give the folder above or below, {_TABLE}"
    )


def _likely(tree: Tree, marked: Mapping[str, Name]) -> list[str]:
    """Return the folders whose names are understood as splits.

    Words such as ``chest`` in ``chest_train`` are no obstacle if all names have them, or where one
    folder of every kind contains class folders.
    """
    kinds = Counter(name.kind for name in marked.values())
    if len(kinds) > 1 and len({name.rest for name in marked.values()}) == 1:
        return [*marked]
    nested = not any(tree.is_flat(folder) for folder in marked)
    if len(kinds) > 1 and nested and max(kinds.values()) == 1:
        return [*marked]
    sure = [folder for folder, name in marked.items() if not name.rest]
    if any(marked[folder].kind == "train" for folder in sure):
        return [x for x in marked if x in sure or (tree.filled(x) and not tree.is_flat(x))]
    return sure


def _hold_no_classes(tree: Tree, filled: list[str]) -> bool:
    """Return whether folders with the names of splits contain images like those of a class."""
    if all(tree.is_flat(folder) for folder in filled):
        return True
    return len(filled) == 1 and len(tree.filled(filled[0])) < 2


def _similar(tree: Tree, folders: list[str]) -> list[str]:
    """Return the names of the folders that are in each of several folders, if two or more are.

    Numbered folders may be patients, and are no sign of a class.
    """
    if len(folders) < 2 or any(tree.is_flat(folder) for folder in folders):
        return []
    shared = set.intersection(*(set(tree.filled(folder)) for folder in folders))
    named = sorted((x for x in shared if not any(map(str.isdigit, x))), key=natural)
    return named if len(named) > 1 else []


def _splits(tree: Tree, folders: list[str]) -> dict[str, str]:
    """Return the folder of each split.

    Raises:
        DataError: Two folders mean the same split, or one may mean validation or test.
    """
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for folder in sorted(folders):
        by_kind[parse(folder).kind].append(folder)
    for kind in [*SPLITS, "eval"]:
        if len(by_kind[kind]) > 1 and (filled := [x for x in by_kind[kind] if tree.images(x)]):
            by_kind[kind] = filled
    unclear = by_kind.pop("eval", [])
    if unclear and (by_kind["test"] or len(unclear) > 1):
        raise DataError(
            f"{tree.root}: {listed(unclear)} may mean validation or test, and it is not clear "
            f"which. {EXPECTED} Rename one folder to val and one to test, or move it out."
        )
    by_kind["test"] += unclear
    for split, names in by_kind.items():
        if len(names) > 1:
            raise DataError(
                f"{tree.root}: {names[0]!r} and {names[1]!r} both mean the {split} split. Keep one "
                f"of them, or move the images of both into one folder, {_TABLE}"
            )
    return {split: by_kind[split][0] for split in SPLITS if by_kind[split]}


def _innermost(tree: Tree, folder: str) -> str:
    """Descend from a split folder while it only wraps another, as in ``seg_test/seg_test``."""
    outer = parse(folder)
    while True:
        inner = tree.folders(folder)
        if len(inner) != 1 or tree.is_flat(folder) or tree.is_flat(inner[0]):
            return folder
        name = parse(inner[0].rpartition("/")[2])
        wraps = name.part or (name.kind and name.kind == outer.kind)
        if not (wraps and tree.filled(inner[0])):
            return folder
        folder = inner[0]


def _classes(tree: Tree, pred: list[str], labelled: bool, warnings: tuple[str, ...]) -> Layout:
    """Return the layout of a folder of classes, in each of which may be splits."""
    unused = {folder: UNLABELLED for folder in pred if tree.is_flat(folder) or not labelled}
    classes = [x for x in tree.folders() if x not in unused and tree.images(x)]
    if len(classes) < 2 and not labelled:
        unused, classes = {}, [*classes, *unused]
    inside = {folder: _splits_inside(tree, folder) for folder in classes}
    if any(inside.values()) and not labelled:
        return _classes_with_splits(tree, inside, unused, warnings)
    if len(classes) > 1 and not labelled:
        warnings = (*warnings, *_check_classes(tree, classes))
        if inner := _similar(tree, classes):
            warnings = (
                *warnings,
                f"{listed(classes)} are taken for the classes, but each of them contains "
                f"{listed(inner)}. If those are the classes, move their images together into one "
                "folder per class.",
            )
    return Layout((Place(""),), unused, warnings)


def _splits_inside(tree: Tree, folder: str) -> dict[str, str]:
    """Return the splits in a class folder, if there is a train folder and another one."""
    inner = {path: parse(path.rpartition("/")[2]) for path in tree.folders(folder)}
    marked = {path: name.kind for path, name in inner.items() if name.kind and not name.rest}
    if "train" not in marked.values() or len({*marked.values()}) < 2:
        return {}
    return marked


def _classes_with_splits(
    tree: Tree,
    inside: Mapping[str, dict[str, str]],
    unused: dict[str, str],
    warnings: Iterable[str],
) -> Layout:
    """Return the layout where every class folder contains the split folders."""
    stray = [
        folder
        for folder, kinds in inside.items()
        if not kinds
        or tree.is_flat(folder)
        or "eval" in kinds.values()
        or max(Counter(kinds.values()).values()) > 1
        or any(x not in kinds and tree.images(x) for x in tree.folders(folder))
    ]
    if stray or _same_inside(tree, inside):
        whole = listed([folder for folder, kinds in inside.items() if kinds])
        raise DataError(
            f"{tree.root}: {whole} contain split folders of their own"
            + (f", {listed(stray)} not in the same way. " if stray else " with the same classes. ")
            + f"{EXPECTED} Give one data set, move the images into such folders, {_TABLE}"
        )
    places = [
        Place(path, kind, folder)
        for folder, kinds in inside.items()
        for path, kind in kinds.items()
        if kind != "pred"
    ]
    pred = {
        path: UNLABELLED for kinds in inside.values() for path, x in kinds.items() if x == "pred"
    }
    warnings = (*warnings, *_check_classes(tree, [*inside]))
    return Layout(tuple(places), {**unused, **pred}, warnings)


def _same_inside(tree: Tree, inside: Mapping[str, Iterable[str]]) -> bool:
    """Return whether the splits of several folders have the same folders: these are the classes."""
    names = [{name for path in paths for name in tree.filled(path)} for paths in inside.values()]
    shared = set.intersection(*names)
    return len(names) > 1 and len([x for x in shared if not any(map(str.isdigit, x))]) > 1


def check_class_names(tree: Tree, place: Place) -> list[str]:
    """Return a warning if some of the class folders in a split have the names of parts.

    Raises:
        DataError: All of them have.
    """
    return _check_classes(tree, [x for x in tree.folders(place.folder) if tree.images(x)])


def _check_classes(tree: Tree, folders: list[str]) -> list[str]:
    names = {folder: parse(folder.rpartition("/")[2]) for folder in folders}
    parts = [x for x, name in names.items() if name.part or (name.kind and not name.rest)]
    if len(parts) < 2:
        return []
    if len(parts) == len(folders) or _similar(tree, parts):
        raise _not_understood(tree, parts)
    if not any(names[folder].part for folder in parts):
        return []
    return [
        f"{listed(parts)} are taken for classes, although they have the names of parts of a data "
        f"set. If that is wrong, name the folders by their classes, {_TABLE}"
    ]


def _not_understood(tree: Tree, folders: list[str]) -> DataError:
    return DataError(
        f"{tree.root}: the class folders look like splits, and it is not clear which is which: "
        f"{listed(sorted(folders, key=natural))}. {EXPECTED} Rename the folders, {_TABLE}"
    )


def _doubt(folders: list[str], reason: str) -> str:
    one = len(folders) == 1
    return (
        f"{listed(folders)} {'is' if one else 'are'} taken for {'a class' if one else 'classes'}, "
        f"not for {'a split' if one else 'splits'}, because {reason}. "
        "If that is wrong, name the folders train and test, with one folder per class in each."
    )
