"""Several folders as one data set: a folder of links to them in the cache, scanned one by one.

    CACHE/sources/KEY/A-B/A           a link to the first folder
    CACHE/sources/KEY/A-B/B           a link to the second
    CACHE/sources/KEY/.joined.json    their names

Paths in the data set start with these names: the last parts of the folders' paths that differ.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lucency.dataset.entry import NotUsed, counted, listed, natural
from lucency.dataset.names import parse
from lucency.dataset.scan import Scan, checked_classes
from lucency.dataset.source import entry_of, open_source, sources_folder
from lucency.dataset.walk import Walk, printable
from lucency.errors import DataError
from lucency.io import read_json, write_json
from lucency.progress import SILENT, Progress

_NAMES = ".joined.json"


def open_sources(
    folders: Sequence[str | Path], cache: str = "", progress: Progress = SILENT
) -> Path:
    """Return one folder that stands for several folders, zip files or addresses.

    Args:
        folders: At least one; a single one is opened as by ``open_source``.
        cache: Folder of the cache; empty for the user's.
        progress: Called while files arrive and are unpacked.

    Raises:
        DataError: A folder is missing, given twice or inside another, or named like a split.
        RunError: The cache cannot be written.
    """
    opened = [open_source(folder, cache, progress) for folder in folders]
    if len(opened) == 1:
        return opened[0]
    named = _named(opened)
    document = [[name, str(path)] for name, path in named.items()]
    key = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    title = "-".join(re.sub(r"[^\w.-]+", "-", name).strip(".-") for name in named)[:80] or "data"

    def build(partial: Path, _: Progress) -> list[str]:
        for name, path in named.items():
            link = partial / title / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path, target_is_directory=True)
        write_json(partial / _NAMES, {"names": [*named]})
        return []

    return entry_of(sources_folder(cache), key, title, build, progress)


def joined(folder: Path) -> dict[str, Path]:
    """Return the folders that a folder of ``open_sources`` stands for; empty for any other."""
    try:
        names = read_json(folder.parent / _NAMES)["names"]
        return {str(name): (folder / name).readlink() for name in names}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def scan_several(
    root: Path, folders: dict[str, Path], scan: Callable[[Path], Scan], least: int
) -> Scan:
    """Scan folders and join what is found.

    Args:
        root: As ``open_sources`` returned it.
        folders: As ``joined`` returns them.
        scan: Scans one folder, which may have a single class.
        least: Minimum number of classes together.

    Raises:
        DataError: A folder cannot be understood, or they do not fit together.
    """
    scans = {name: scan(path) for name, path in folders.items()}
    _check_splits(scans)
    starts = {
        name: f"{name}/{each.root.relative_to(folders[name]).as_posix()}/".replace("/./", "/")
        for name, each in scans.items()
    }

    def moved(field: str) -> tuple[Any, ...]:
        return tuple(
            item._replace(file=starts[name] + item.file)
            for name, each in scans.items()
            for item in getattr(each, field)
        )

    entries = sorted(moved("entries"), key=lambda entry: natural(entry.file))
    classes = checked_classes(Walk(root), entries, None, least)
    return Scan(
        root=root,
        classes=classes,
        entries=tuple(entries),
        stamps={
            starts[name] + file: stamp
            for name, each in scans.items()
            for file, stamp in each.stamps.items()
        },
        excluded=moved("excluded"),
        not_used=tuple(
            NotUsed((starts[name] + x.folder).removesuffix("/."), x.images, x.reason)
            for name, each in scans.items()
            for x in each.not_used
        ),
        ignored=moved("ignored"),
        warnings=(*_sentences(scans, "warnings"), *_one_sided(scans, classes)),
        notes=(_counts(scans), *_sentences(scans, "notes")),
    )


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the folders by the shortest ends of their paths that differ, in natural order."""
    paths = [folder.resolve() for folder in folders]
    for given, path in zip(folders, paths, strict=True):
        if not path.is_dir():
            raise DataError(f"{given}: there is no such folder. Check the path.")
        name = parse(path.name)
        if name.kind and not name.rest:
            raise DataError(
                f"{given}: a folder with the name of a split cannot be joined with others, as its "
                "images would be mixed with theirs. Give the folder that contains the splits."
            )
        if printable(str(path)) != str(path):
            raise DataError(f"{printable(str(path))}: control characters in the name. Rename it.")
    for first, second in itertools.permutations(paths, 2):
        if first == second:
            raise DataError(f"{first}: this folder was given twice. Give every folder once.")
        if first in second.parents:
            raise DataError(f"{first}: contains {second}, which was given too. Give one of them.")
    parts = 1
    while len({path.parts[-parts:] for path in paths}) < len(paths):
        parts += 1
    named = {"/".join(path.parts[-parts:]).lstrip("/"): path for path in paths}
    return dict(sorted(named.items(), key=lambda item: natural(item[0])))


def _check_splits(scans: dict[str, Scan]) -> None:
    """Reject folders of which only some have splits."""
    split = [name for name, each in scans.items() if any(x.split for x in each.entries)]
    whole = [name for name in scans if name not in split]
    if split and whole:
        raise DataError(
            f"{listed(split)} {'has' if len(split) == 1 else 'have'} train and test folders, but "
            f"{listed(whole)} {'has' if len(whole) == 1 else 'have'} none. Give all of them the "
            "same splits, or train on some and evaluate on the others."
        )


def _sentences(scans: dict[str, Scan], field: str) -> list[str]:
    return [f"{name}: {line}" for name, each in scans.items() for line in getattr(each, field)]


def _one_sided(scans: dict[str, Scan], classes: Sequence[str]) -> list[str]:
    """Warn of classes that a folder lacks."""
    lacking = {
        name: [label for label in classes if label not in each.classes]
        for name, each in scans.items()
    }
    return [
        f"{name} has no images of {listed(labels)}: the network may learn to tell the folders "
        "apart instead of the classes."
        for name, labels in lacking.items()
        if labels
    ]


def _counts(scans: dict[str, Scan]) -> str:
    shown = [f"{name} ({counted(len(each.entries), 'image')})" for name, each in scans.items()]
    return f"Folders: {listed(shown, 20)}."
