"""Frames of DICOM files, and pages of TIFF and GIF files, as images of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePath

from lucency.dataset.entry import counted
from lucency.dataset.scan import Scan
from lucency.errors import ImageError
from lucency.imaging.frames import frame_name, spread
from lucency.imaging.image import count_frames
from lucency.imaging.source import Stamp, load
from lucency.progress import SILENT, Progress

_WITH_FRAMES = frozenset({".dcm", ".dicom", ".tif", ".tiff", ".gif", ""})
_AT_ONCE = 4  # files that are in memory


def with_frames(found: Scan, most: int | str, progress: Progress = SILENT) -> Scan:
    """Return a scan in which a file of several frames is several images.

    Args:
        found: The scan of a folder.
        most: As in ``Config.frames``; with 1 the scan stays as it is.
        progress: Called for every file.
    """
    if most == 1:
        return found
    files = [entry.file for entry in found.entries]
    paths = [found.root / file for file in files]
    stamps: dict[str, Stamp] = {}
    entries, several, images = [], 0, 0
    counts = frames_of(paths, [found.stamps[file] for file in files], progress)
    for entry, count in zip(found.entries, counts, strict=True):
        names = _names(entry.file, count, most)
        several, images = several + (count > 1), images + (len(names) if count > 1 else 0)
        stamps |= dict.fromkeys(names, found.stamps[entry.file])
        entries += [entry._replace(file=name) for name in names]
    note = f"{counted(several, 'file')} of several frames: {counted(images, 'image')}."
    notes = (*found.notes, note) if several else found.notes
    return replace(found, entries=tuple(entries), stamps=stamps, notes=notes)


def files_with_frames(files: Sequence[Path], most: int | str) -> list[Path]:
    """Return files to predict, a file of several frames as several images."""
    if most == 1:
        return [*files]
    counts = frames_of(files, [None] * len(files))
    return [
        Path(name)
        for file, count in zip(files, counts, strict=True)
        for name in _names(str(file), count, most)
    ]


def frames_of(
    files: Sequence[Path], stamps: Sequence[Stamp | None], progress: Progress = SILENT
) -> Iterator[int]:
    """Yield the number of frames of each file, from its header; 1 where it cannot be read."""
    pairs = zip(files, stamps, strict=True)
    task = progress.task("Counting frames", len(files), "files")
    with ThreadPoolExecutor(_AT_ONCE) as pool, task:
        while some := [*islice(pairs, 16 * _AT_ONCE)]:
            yield from pool.map(_frames, *zip(*some, strict=True))
            task.advance(len(some))


def _frames(file: Path, stamp: Stamp | None) -> int:
    if PurePath(file).suffix.lower() not in _WITH_FRAMES:
        return 1
    try:
        return count_frames(load(file, stamp))
    except ImageError:
        return 1  # decoding it gives the reason


def _names(file: str, count: int, most: int | str) -> list[str]:
    return [frame_name(file, k) for k in spread(count, most)] if count > 1 else [file]
