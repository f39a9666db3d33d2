"""From a folder to images that are decoded, checked and divided: the way through the package."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lucency.config import Config
from lucency.dataset.audit import Audit, take_stock
from lucency.dataset.cache import Listed, PixelStore, decode, default_cache
from lucency.dataset.duplicates import near_pairs
from lucency.dataset.entry import SPLITS, Entry, Excluded, counted, listed
from lucency.dataset.near_duplicates import Copy, find_copies
from lucency.dataset.partition import Division, Known, divide, identify
from lucency.dataset.sampling import evenly
from lucency.dataset.scan import Scan, scan
from lucency.dataset.split_file import write_entries
from lucency.errors import DataError, LeakError
from lucency.imaging.decoder.pool import DecoderPool, Request
from lucency.imaging.image import COLOUR_LOOK, shows_colour
from lucency.progress import SILENT, Progress

_COLOUR_SAMPLE = 200
_COLOUR_SHARE = 0.02


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one part, in natural order of their paths.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        classes: Class names, in natural order.
        files: Paths relative to the root of the data set.
        groups: Whose image it is.
        labels: (n,) int64, places in ``classes``.
        store: Decoded pixels of the whole data set.
        rows: (n,) int64, places in the store.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: NDArray[np.int64]
    store: PixelStore
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images at these places of the split, (k, height, width, channels) uint8."""
        return self.store.read(self.rows[np.asarray(indices, np.int64)])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that is decoded, checked and divided.

    Attributes:
        root: Folder that the paths are relative to.
        classes: Names, in natural order.
        train: Images to learn from.
        val: Images to choose by.
        test: Images that no choice has seen; ``None`` where the folders leave none.
        audit: What was found, used and left out, and why.
        entries: Every readable image with its part, ``excluded`` included, as split.csv lists it.
        fingerprint: sha256 over file, content, class and part of every used image.
    """

    root: Path
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split | None
    audit: Audit
    entries: tuple[Entry, ...]
    fingerprint: str


def load_dataset(
    folder: Path | str,
    config: Config | None = None,
    *,
    size: tuple[int, int] | None = None,
    colour: bool | None = None,
    progress: Progress = SILENT,
) -> Dataset:
    """Find, decode, check and divide the images of a folder.

    Images that cannot be read are set aside with their reason, and with ``on_leak="drop"`` copies
    and patients of the test part: found = used + set aside, always. The same folder, configuration
    and size give the same data set; only the first call decodes.

    Args:
        folder: With train, val and test folders of class folders, or class folders alone.
        config: How to read and divide; the defaults if none.
        size: Height and width of the decoded images; as the configuration says if none.
        colour: Whether to keep three channels; ``None`` looks at up to 200 images, and keeps
            them where more than 2 % are coloured.
        progress: Hears of the decoding.

    Raises:
        LeakError: Images or patients of the test part are also in train or validation, and
            ``on_leak`` is ``stop``; it carries the data set without them.
        DataError: The folder is no usable data set, or has more unreadable images than allowed.
        ConfigError: An option is not valid.
    """
    config = config or Config()
    with DecoderPool(config.workers) as pool:
        if colour is None:
            pool.start(pool.workers)  # they load their modules while the folder is searched
        found = scan(Path(folder), labels=Path(config.labels) if config.labels else None)
        if colour is None:
            colour = is_coloured([str(found.root / each.file) for each in found.entries], pool)
        store = _decode(found, size or config.input_size, colour, config, pool, progress)
    entries, unreadable = _readable(found, store)
    _check_readable(found.root, len(entries), unreadable, config.max_unreadable)
    known = identify(entries, config, _patients(entries, store))
    copies = find_copies(store, known.used, progress=progress)
    division = _divided(known, found.classes, copies, config)
    audit = take_stock(
        division,
        classes=found.classes,
        unreadable=unreadable,
        ignored=found.ignored,
        colour=colour,
        store=store,
    )
    splits = {split: _split(split, found.classes, division.used, store) for split in SPLITS}
    data = Dataset(
        root=found.root,
        classes=found.classes,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"] if len(splits["test"]) else None,
        audit=audit,
        entries=division.entries,
        fingerprint=_fingerprint(division.used),
    )
    if config.on_leak == "stop" and division.leaks.found:
        raise LeakError(f"{found.root}: {division.leaks.complaint}", data)
    return data


def load_labelled(
    folder: Path | str,
    classes: tuple[str, ...],
    config: Config | None = None,
    *,
    size: tuple[int, int],
    colour: bool,
    progress: Progress = SILENT,
) -> Split:
    """Load images to test a finished classifier on; nothing is divided.

    Args:
        folder: Class folders; where it has a test part, only that is taken.
        classes: What the classifier can answer; the folder's classes are among them.
        config: How to read; the defaults if none.
        size: Height and width of the decoded images.
        colour: Whether to keep three channels.
        progress: Hears of the decoding.

    Raises:
        DataError: The folder is no usable data set, or has classes that the classifier has not.
    """
    config = config or Config()
    labels = Path(config.labels) if config.labels else None
    found = scan(Path(folder), labels=labels, least=1)
    foreign = [name for name in found.classes if name not in classes]
    if foreign:
        raise DataError(
            f"{found.root}: the classifier does not know the class {foreign[0]!r}. "
            f"Expected folders named {', '.join(classes)}."
        )
    with DecoderPool(config.workers) as pool:
        store = _decode(found, size, colour, config, pool, progress)
    entries, unreadable = _readable(found, store)
    _check_readable(found.root, len(entries), unreadable, config.max_unreadable)
    tested = [entry for entry in entries if entry.split == "test"] or entries
    known = identify(tested, replace(config, split_file=""), _patients(tested, store))
    whole = [entry._replace(split="test") for entry in known.entries]
    near = near_pairs(whole, find_copies(store, whole, progress=progress))
    if near:
        pairs = listed([f"{pair.first} and {pair.second}" for pair in near])
        progress.note(f"Nearly the same image: {counted(len(near), 'pair')} ({pairs}).")
    return _split("test", classes, whole, store)


def write_split(dataset: Dataset, path: Path) -> None:
    """Write ``split.csv``, which can be given back as the split file of another run."""
    write_entries(dataset.entries, path)


def _divided(
    known: Known, classes: Sequence[str], copies: Sequence[Copy], config: Config
) -> Division:
    try:
        return divide(known, classes, copies, config)
    except DataError:
        # Where all of a class leaks, nothing is left without it; yet the leak is what to tell.
        division = divide(known, classes, copies, replace(config, on_leak="ignore"))
        if config.on_leak != "stop" or not division.leaks.found:
            raise
        return replace(division, leaks=replace(division.leaks, status="failed"))


def _decode(
    found: Scan,
    size: tuple[int, int],
    colour: bool,
    config: Config,
    pool: DecoderPool,
    progress: Progress,
) -> PixelStore:
    return decode(
        [
            Listed(found.root / entry.file, entry.file, found.stamps[entry.file])
            for entry in found.entries
        ],
        size=size,
        colour=colour,
        cache=Path(config.cache) if config.cache else default_cache(),
        pool=pool,
        progress=progress,
    )


def is_coloured(files: Sequence[str], pool: DecoderPool) -> bool:
    """Tell whether more than 2 % of up to 200 files, evenly spaced, show colour.

    Those that cannot be read say nothing.
    """
    chosen = [files[place] for place in evenly(len(files), _COLOUR_SAMPLE)]
    seen = [each.pixels for each in pool.map(Request(file, COLOUR_LOOK, True) for file in chosen)]
    looks = [shows_colour(pixels) for pixels in seen if pixels is not None]
    return sum(looks) > _COLOUR_SHARE * len(looks)


def _readable(found: Scan, store: PixelStore) -> tuple[list[Entry], tuple[Excluded, ...]]:
    """Return the decoded entries, and everything found that cannot be used with its reason."""
    entries = [
        entry._replace(sha256=store.sha256[row], row=row)
        for row, entry in enumerate(found.entries)
        if row not in store.reasons
    ]
    failed = [Excluded(found.entries[row].file, why) for row, why in store.reasons.items()]
    return entries, (*found.excluded, *failed)


def _patients(entries: Sequence[Entry], store: PixelStore) -> list[str]:
    return [store.patients[entry.row] for entry in entries]


def _check_readable(
    root: Path, readable: int, unreadable: Sequence[Excluded], max_unreadable: float
) -> None:
    found = readable + len(unreadable)
    first = listed([f"{file} ({reason})" for file, reason in unreadable])
    if not readable:
        raise DataError(
            f"{root}: no readable image among the {found:,} that were found: {first}. "
            "Check that the download is complete and that these are images."
        )
    if len(unreadable) > max_unreadable * found:
        raise DataError(
            f"{root}: {len(unreadable):,} of {counted(found, 'image')} cannot be read "
            f"({len(unreadable) / found:.1%}; at most {max_unreadable:.1%} are allowed): {first}. "
            "Repair or remove them, or go on without them with "
            f"--max-unreadable {math.ceil(100 * len(unreadable) / found) / 100:g}"
        )


def _split(
    split: str, classes: tuple[str, ...], entries: Sequence[Entry], store: PixelStore
) -> Split:
    inside = [entry for entry in entries if entry.split == split]
    place = {label: index for index, label in enumerate(classes)}
    return Split(
        name=split,
        classes=classes,
        files=tuple(entry.file for entry in inside),
        groups=tuple(entry.group for entry in inside),
        labels=np.array([place[entry.label] for entry in inside], np.int64),
        store=store,
        rows=np.array([entry.row for entry in inside], np.int64),
    )


def _fingerprint(entries: Sequence[Entry]) -> str:
    lines = sorted((entry.file, entry.sha256, entry.label, entry.split) for entry in entries)
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()
