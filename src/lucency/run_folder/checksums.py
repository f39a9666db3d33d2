"""``checksums.json``: the sha256 of every file of a run, by which changes are found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lucency.errors import RunError
from lucency.io import open_regular, sha256_of, why
from lucency.run_folder.files import CHECKSUMS, FILES, IMAGES, REPORT, UNFINISHED

# Drawn again from the other files, by every version of Lucency in its own way; and itself.
_UNLISTED = {REPORT.name, CHECKSUMS.name, *(file.name for file in UNFINISHED)}
_LARGEST = {file.name: file.largest for file in FILES if file.name not in _UNLISTED}
_IMAGE = re.compile(re.escape(str(Path(IMAGES.name).parent)) + r"/[\w.-]+\.png")
_LARGEST_IMAGE = 64 * 2**20


def write_checksums(run: Path) -> None:
    """Write ``checksums.json``; all other files are complete.

    Raises:
        RunError: A file cannot be read, or the disk is full.
    """
    CHECKSUMS.write(run, {"files": dict(_found(run))})


def changed_files(run: Path) -> tuple[int, Mapping[str, str]]:
    """Compare the files of a run with ``checksums.json``.

    Returns:
        How many files it lists, and by name what is wrong with a file.

    Raises:
        RunError: There is no such file, it is damaged, or a file cannot be read.
    """
    listed = CHECKSUMS.read(run).get("files")
    if not isinstance(listed, dict):
        raise RunError(f"{run / CHECKSUMS} is damaged. Restore it from the training run.")
    found = dict(_found(run))
    # Foreign images are no part of the run; a document or a table with a name of ours is.
    names = listed.keys() | {name for name in found if name in _LARGEST}
    wrong = {}
    for name in sorted(names):
        if name not in found:
            wrong[name] = "is missing"
        elif name not in listed:
            wrong[name] = f"is not in {CHECKSUMS}"
        elif found[name] != listed[name]:
            wrong[name] = "was changed"
    return len(listed), wrong


def _found(run: Path) -> Iterator[tuple[str, str]]:
    """Yield name and sha256 of each file of a run, whatever else lies in its folder."""
    images = ((run / IMAGES).parent).glob("*.png")
    names = (*_LARGEST, *(f"{path.parent.name}/{path.name}" for path in images))
    for name in sorted(names):
        if name not in _LARGEST and not _IMAGE.fullmatch(name):
            continue
        try:
            yield name, _sha256(run / name, _LARGEST.get(name, _LARGEST_IMAGE))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RunError(
                f"{run / name} cannot be read: {why(error)}. Restore it from the training run."
            ) from error


def _sha256(path: Path, most: int) -> str:
    with open_regular(path, most) as file:
        return sha256_of(file)
