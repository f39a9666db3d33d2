"""Load a data set: scan, decode, identify patients, find duplicates, check for leaks, split, audit.

``load_dataset`` calls one step after the other; each step is a module of this package.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lucency.cluster import decoders
from lucency.config import AUTO, PATIENT, SERIES, Config
from lucency.dataset.audit import Audit, make_audit
from lucency.dataset.cache import PixelCache, SourceFile, decode
from lucency.dataset.columns import columns_of
from lucency.dataset.duplicates import between_files, near_pairs
from lucency.dataset.entry import SPLITS, Entry, Excluded, counted, listed
from lucency.dataset.folds import Folds, make_folds
from lucency.dataset.frames import with_frames
from lucency.dataset.groups import Groups, find_groups, find_new_groups
from lucency.dataset.labels import labels_path
from lucency.dataset.multilabel import UNKNOWN, check_config, listing, states_of, targets_of
from lucency.dataset.near_duplicates import check_search, find_near_duplicates
from lucency.dataset.partition import partition, used_entries
from lucency.dataset.sampling import evenly
from lucency.dataset.scan import Scan, scan
from lucency.dataset.several import joined, open_sources, scan_several
from lucency.dataset.split_file import apply_split, write_entries
from lucency.dataset.units import (
    check_several,
    check_units,
    find_units,
    unread_units,
    with_patients_as_units,
)
from lucency.dataset.values import check_regression
from lucency.errors import ConfigError, DataError, LeakError
from lucency.imaging.decoder.pool import Decoders, Pixels, Request
from lucency.imaging.depths import EIGHT
from lucency.imaging.frames import file_of
from lucency.imaging.image import COLOUR_CHECK_SIZE, shows_colour
from lucency.io import default_cache, missing_home
from lucency.progress import SILENT, Progress
from lucency.task import REGRESSION, in_order

Source = Path | str | Sequence[Path | str]  # a folder, zip file or address, or several of these

COLOUR_SAMPLE = 200  # images that are decoded at most
_COLOUR_SHARE = 0.02


@dataclass(frozen=True, eq=False)
class Split:
    """The images of one split, in natural order of their paths.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        classes: Class names, in natural order or in that of their grades.
        files: Paths relative to the root of the data set.
        groups: The patient of each image.
        labels: (n,) int64, indices into ``classes``.
        cache: Decoded pixels of the whole data set.
        rows: (n,) int64, rows of the cache.
        label_names: Where an image may have several labels: their names. ``classes`` and ``labels``
            are then the strata that splits and samples are made by.
        targets: (n, labels) float32: 1 present, 0 absent, -1 unknown or uncertain; else ``None``.
        learned: The same with what uncertain labels are trained with.
        values: Where numbers are to be predicted, (n,) float64; ``classes`` and ``labels`` are then
            bins of them. Else ``None``.
        value_name: What the numbers are, as the labels file names them.
        units: The study or other unit of each image, "" where it stands alone; empty where each
            image or each patient has an answer.
    """

    name: str
    classes: tuple[str, ...]
    files: tuple[str, ...]
    groups: tuple[str, ...]
    labels: NDArray[np.int64]
    cache: PixelCache
    rows: NDArray[np.int64]
    label_names: tuple[str, ...] = ()
    targets: NDArray[np.float32] | None = None
    learned: NDArray[np.float32] | None = None
    values: NDArray[np.float64] | None = None
    value_name: str = ""
    units: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """What a classifier has a probability for: the classes, or the labels if several."""
        return self.label_names or self.classes

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> Pixels:
        """Return the images at these indices of the split, (k, height, width, channels), 0 to 255.

        They are uint8, or float32 where the data set has more than 8 bits.
        """
        return self.cache.read(self.rows[np.asarray(indices, np.int64)])

    def subset(self, name: str, indices: NDArray[np.int64]) -> Split:
        """Return the images at these indices as a split of another name."""
        return Split(
            name=name,
            classes=self.classes,
            files=tuple(self.files[i] for i in indices),
            groups=tuple(self.groups[i] for i in indices),
            labels=self.labels[indices],
            cache=self.cache,
            rows=self.rows[indices],
            label_names=self.label_names,
            targets=None if self.targets is None else self.targets[indices],
            learned=None if self.learned is None else self.learned[indices],
            values=None if self.values is None else self.values[indices],
            value_name=self.value_name,
            units=tuple(self.units[i] for i in indices) if self.units else (),
        )

    def halves(self, cut: float | None = None) -> Split:
        """Return the images as those of two classes: numbers up to a cut, and those above it.

        Images that have classes are returned as they are. Probes for shortcuts and shift ask
        whether something tells classes apart, and do the same with numbers.

        Args:
            cut: The median by default, or the next smaller number if most have the largest one.
        """
        cut = self.middle if cut is None else cut
        if self.values is None or cut is None:
            return self
        return replace(
            self,
            classes=(f"up to {cut:.6g}", f"above {cut:.6g}"),
            labels=(self.values > cut).astype(np.int64),
            values=None,
            value_name="",
        )

    @property
    def middle(self) -> float | None:
        """The number that ``halves`` cuts at; ``None`` where there are no numbers."""
        if self.values is None:
            return None
        cut = float(np.quantile(self.values, 0.5, method="lower"))
        if (self.values > cut).any():
            return cut
        return float(self.values[self.values < cut].max())

    def pixels_8bit(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return images as ``pixels`` does, but always uint8: to compare and to show them."""
        return self.cache.read_8bit(self.rows[np.asarray(indices, np.int64)])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that is decoded, checked and split.

    Attributes:
        root: Folder that the paths are relative to.
        classes: Names, in natural order or in that of their grades.
        train: Images to train on.
        val: Images for model selection; none where there are folds.
        test: Images that no choice depends on; ``None`` where the folders contain none.
        audit: What was found, used and excluded, and why.
        entries: Every readable image with its split or ``excluded``, as listed in split.csv.
        fingerprint: sha256 over file, content, class and split of every used image.
        folds: In which fold each image of train is held out; ``None`` without folds.
        folds_reason: Why ``folds=auto`` made folds or none; empty where it did not decide.
    """

    root: Path
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split | None
    audit: Audit
    entries: tuple[Entry, ...]
    fingerprint: str
    folds: Folds | None = None
    folds_reason: str = ""

    @property
    def held_out(self) -> Split:
        """Images that choices are based on: validation, or with folds those of all folds."""
        return self.val if self.folds is None else self.train

    def halves(self) -> Dataset:
        """Return the data set as ``Split.halves`` does, cut at the middle of train."""
        cut = self.train.middle
        if cut is None:
            return self
        train, val = self.train.halves(cut), self.val.halves(cut)
        test = None if self.test is None else self.test.halves(cut)
        return replace(self, classes=train.classes, train=train, val=val, test=test)


def load_dataset(
    folder: Source,
    config: Config | None = None,
    *,
    size: tuple[int, int] | None = None,
    colour: bool | None = None,
    auto_folds: bool = False,
    progress: Progress = SILENT,
) -> Dataset:
    """Find, decode, check and split the images of a folder.

    Unreadable images are excluded with their reason, and with ``on_leak="drop"`` so are copies of
    test images and images of test patients. Folders that belong to no split or class are not used:
    found = used + excluded + not used, always. The same folder,
    configuration and size give the same data set; only the first call decodes.

    Args:
        folder: With train, val and test folders of class folders, or class folders alone; also a
            zip file of such a folder, or an address such as ``s3://bucket/data.zip``. Several are
            one data set, in which the paths start with the names of the folders.
        config: How to read and split; the defaults if ``None``.
        size: Height and width of the decoded images; as configured if ``None``.
        colour: Whether to keep three channels; ``None`` checks up to 200 images and keeps three
            channels where more than 2 % show colour.
        auto_folds: Whether ``folds=auto`` may make folds, as for a whole run. Otherwise there is
            always a validation split, which ``lucency.train`` takes.
        progress: Called for every decoded image and every comparison.

    Raises:
        LeakError: Images or patients of the test split are also in train or validation, and
            ``on_leak`` is ``stop``; it carries the data set without them.
        DataError: The folder is not a usable data set, or has too many unreadable images.
        ConfigError: An option is not valid, or there are more folds than patients.
    """
    config = config or Config()
    if config.folds == AUTO and not auto_folds:
        config = replace(config, folds=0)
    with decoders(config, progress) as pool:
        if colour is None:
            pool.start(pool.workers)  # the processes load their modules during the scan
        found = scan_source(folder, config, progress)
        check_search(len(found.entries))
        if found.labels:
            check_config(config)
        if found.value_name:
            check_regression(config)
        if colour is None:
            colour = is_colour_dataset([str(found.root / e.file) for e in found.entries], pool)
        side = size or config.input_size
        cache = _decode(found, side, colour, config, pool, progress, depth=config.depth or 0)
    readable, unreadable = _readable(found, cache, config.max_unreadable)
    named = {entry.file: entry.unit for entry in found.entries if entry.unit}
    found = replace(found, entries=(), stamps={})  # millions of them take gigabytes
    entries, groups = _identify_patients(readable, cache, config)
    if config.answers != "image":
        units = find_units(entries, config.answers, *_keys(entries, config.answers, groups, cache))
        entries, lost = units.entries, unread_units(named, readable, unreadable, config.answers)
        found = replace(found, warnings=(*found.warnings, *units.warnings, *lost))
        check_several(entries, config.answers)
        check_units(entries, config.answers, found.labels)
    near = between_files(
        find_near_duplicates(cache, used_entries(entries), config, progress=progress)
    )
    partitioned = partition(entries, found.classes, near, config, found.labels)
    if config.answers == PATIENT:
        own = {entry.file: entry.group for entry in entries}
        kept = with_patients_as_units(partitioned.entries, own, found.labels)
        partitioned = replace(partitioned, entries=kept)
    used = used_entries(partitioned.entries)
    splits = {
        split: _split(
            split, found.classes, used, cache, found.labels, config.uncertain, found.value_name
        )
        for split in SPLITS
    }
    data = Dataset(
        root=found.root,
        classes=found.classes,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"] if len(splits["test"]) else None,
        audit=make_audit(found, unreadable, groups, partitioned, cache),
        entries=partitioned.entries,
        fingerprint=_fingerprint(used),
        folds_reason=partitioned.folds_reason,
    )
    if config.on_leak == "stop" and partitioned.leaks.found:
        raise LeakError(f"{found.root}: {partitioned.leaks.message}", data)
    config = replace(config, folds=partitioned.folds)
    return replace(data, folds=make_folds([e for e in used if e.split == "train"], config))


def load_labelled(
    folder: Source,
    classes: tuple[str, ...],
    config: Config | None = None,
    *,
    size: tuple[int, int],
    colour: bool,
    depth: int = EIGHT,
    progress: Progress = SILENT,
) -> Split:
    """Load images to evaluate a finished classifier on; nothing is split.

    Args:
        folder: Class folders; if it has a test split, only that is used.
        classes: Classes of the classifier; the folder's classes are among them.
        config: How to read; the defaults if ``None``. With a unit, an image that
            ``group_regex`` does not match is of a patient of its own.
        size: Height and width of the decoded images.
        colour: Whether to keep three channels.
        depth: Bits of files of more than 8.
        progress: Called for every decoded image and every comparison.

    Raises:
        DataError: The folder is not a usable data set, has classes unknown to the classifier, or
            with a unit several classes of it.
    """
    config = config or Config()
    found = scan_source(folder, config, progress, least=1, known=classes)
    check_search(len(found.entries))
    foreign = [name for name in found.labels or found.classes if name not in classes]
    if foreign:
        raise DataError(
            f"{found.root}: the classifier does not know the class {foreign[0]!r}. "
            f"Expected {'labels' if found.labels else 'folders'} named {', '.join(classes)}."
        )
    with decoders(config, progress) as pool:
        cache = _decode(found, size, colour, config, pool, progress, depth=depth)
    for line in found.warnings:
        progress.warn(line)
    readable, _ = _readable(found, cache, config.max_unreadable)
    tested = [entry for entry in readable if entry.split == "test"] or readable
    entries = _of_patients(tested, cache, replace(config, split_file=""), progress, found.labels)
    tested = [entry._replace(split="test") for entry in entries]
    found_near = find_near_duplicates(cache, tested, config, progress=progress)
    near = near_pairs(tested, between_files(found_near))
    if near:
        pairs = listed([f"{pair.first} and {pair.second}" for pair in near])
        progress.note(f"Near-duplicate images: {counted(len(near), 'pair')} ({pairs}).")
    if not found.labels:
        return _split("test", classes, tested, cache, value_name=found.value_name)
    return _split("test", found.classes, _of_labels(tested, found.labels, classes), cache, classes)


def _of_labels(
    entries: Iterable[Entry], given: tuple[str, ...], names: tuple[str, ...]
) -> list[Entry]:
    """Return entries with all labels of a classifier; those that are not given are unknown."""
    found = []
    for entry in entries:
        known = dict(zip(given, states_of(entry.states, given), strict=True))
        states = [known.get(name, UNKNOWN) for name in names]
        found.append(entry._replace(states=listing(names, states)))
    return found


def at_size(
    data: Dataset, size: tuple[int, int], config: Config, *, progress: Progress = SILENT
) -> Dataset:
    """Return a data set with its images decoded to another height and width.

    Raises:
        DataError: A file has changed since the data set was loaded.
    """
    splits = [split for split in (data.train, data.val, data.test) if split is not None]
    files = [file for split in splits for file in split.files]
    old = data.train.cache
    with decoders(config, progress) as pool:
        new = decode(
            [SourceFile(data.root / file, file) for file in files],
            size=size, colour=old.shape[2] == 3, depth=old.depth, pool=pool, progress=progress,
            folder=_cache_folder(config),
        )  # fmt: skip
    before = [old.sha256[row] for split in splits for row in split.rows]
    changed = [file for file, a, b in zip(files, before, new.sha256, strict=True) if a != b]
    if changed:
        raise DataError(
            f"{data.root / changed[0]} has changed since it was first read. Start over when no "
            "other program writes to the folder."
        )
    ends = np.cumsum([len(split) for split in splits])
    train, val, *test = (
        replace(split, cache=new, rows=np.arange(end - len(split), end))
        for split, end in zip(splits, ends, strict=True)
    )
    return replace(data, train=train, val=val, test=test[0] if test else None)


def write_split(dataset: Dataset, path: Path) -> None:
    """Write ``split.csv``, which can be passed to another run as its split file."""
    write_entries(dataset.entries, path)


def is_colour_dataset(files: Sequence[str], pool: Decoders) -> bool:
    """Tell whether more than 2 % of up to 200 files, evenly spaced, show colour.

    Unreadable files are not counted.
    """
    chosen = [files[i] for i in evenly(len(files), COLOUR_SAMPLE)]
    requests = (Request(file, COLOUR_CHECK_SIZE, True) for file in chosen)
    images = [each.pixels for each in pool.map(requests)]
    coloured = [shows_colour(pixels) for pixels in images if pixels is not None]
    return sum(coloured) > _COLOUR_SHARE * len(coloured)


def scan_source(
    folder: Source,
    config: Config,
    progress: Progress,
    *,
    least: int = 2,
    known: tuple[str, ...] = (),
) -> Scan:
    """Find the images of a folder, a zip file, an address, or several of these.

    The classes are in the order of the configuration, in natural order without one.

    Args:
        folder: Where they are.
        config: How to read them.
        progress: Called where files are unpacked.
        least: Minimum number of classes.
        known: Classes or labels of a classifier that is evaluated.
    """
    if config.task == REGRESSION and not config.labels:
        raise ConfigError(
            "--task regression needs a number for each image, which folders cannot say. Give a CSV "
            "file with the columns file and value: --labels FILE"
        )
    several = [folder] if isinstance(folder, str | Path) else folder
    opened = open_sources(several, config.cache, progress)
    folders = joined(opened)
    if folders and config.labels:
        raise ConfigError("--labels belongs to one data folder. Give the folder that contains all.")
    one = partial(scan, columns=columns_of(config, known), follow_links=config.follow_links)
    if folders:
        found = scan_several(opened, folders, partial(one, least=1), least)
    else:
        found = one(opened, labels=labels_path(config.labels, opened), least=least)
    found = with_frames(found, config.frames, progress)
    if found.value_name:
        return found
    return replace(found, classes=in_order(found.classes, config.order))


def _decode(
    found: Scan,
    size: tuple[int, int],
    colour: bool,
    config: Config,
    pool: Decoders,
    progress: Progress,
    *,
    depth: int,
) -> PixelCache:
    if line := missing_home():
        progress.warn(line)
    return decode(
        _SourceFiles(found),
        size=size,
        colour=colour,
        folder=_cache_folder(config),
        pool=pool,
        depth=depth,
        progress=progress,
    )


class _SourceFiles(Sequence[SourceFile]):
    """The files of a scan, each made when it is asked for: millions of paths take gigabytes."""

    def __init__(self, found: Scan) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found.entries)

    @overload
    def __getitem__(self, row: int) -> SourceFile: ...
    @overload
    def __getitem__(self, row: slice) -> list[SourceFile]: ...
    def __getitem__(self, row: int | slice) -> SourceFile | list[SourceFile]:
        if isinstance(row, slice):
            return [self[i] for i in range(len(self))[row]]
        name = self._found.entries[row].file
        return SourceFile(self._found.root / name, name, self._found.stamps[name])


def _cache_folder(config: Config) -> Path:
    return Path(config.cache) if config.cache else default_cache()


def _readable(
    found: Scan, cache: PixelCache, max_unreadable: float
) -> tuple[list[Entry], tuple[Excluded, ...]]:
    """Return the decoded entries, and everything that cannot be used with its reason."""
    readable = [
        entry._replace(sha256=cache.sha256[row], row=row)
        for row, entry in enumerate(found.entries)
        if row not in cache.reasons
    ]
    failed = [Excluded(found.entries[row].file, reason) for row, reason in cache.reasons.items()]
    unreadable = (*found.excluded, *failed)
    _check_readable(found.root, len(readable), unreadable, max_unreadable)
    return readable, unreadable


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
            "Repair or remove them, or continue without them with "
            f"--max-unreadable {math.ceil(100 * len(unreadable) / found) / 100:g}"
        )


def _identify_patients(
    entries: Sequence[Entry], cache: PixelCache, config: Config
) -> tuple[tuple[Entry, ...], Groups]:
    """Return the entries with their patients; a split file also gives their splits."""
    if config.split_file:
        given = apply_split(Path(config.split_file), entries)
        return given, Groups("split file", tuple(entry.group for entry in given))
    groups = find_groups(
        [file_of(entry.file) for entry in entries],
        given=[entry.group for entry in entries],
        regex=config.group_regex or None,
        patients=[cache.patients[entry.row] for entry in entries],
    )
    keyed = zip(entries, groups.keys, strict=True)
    return tuple(entry._replace(group=key) for entry, key in keyed), groups


def _of_patients(
    entries: Sequence[Entry],
    cache: PixelCache,
    config: Config,
    progress: Progress,
    labels: Sequence[str] = (),
) -> Sequence[Entry]:
    """Return the entries of images to evaluate on, with their patients and units."""
    if config.answers == "image":
        return _identify_patients(entries, cache, config)[0]
    if config.group_regex and not any(entry.group for entry in entries):
        groups = find_new_groups([file_of(x.file) for x in entries], regex=config.group_regex)
    else:
        _, groups = _identify_patients(entries, cache, replace(config, group_regex=""))
    for line in groups.warnings:
        progress.warn(line)
    known = [entry._replace(group=k) for entry, k in zip(entries, groups.keys, strict=True)]
    units = find_units(known, config.answers, *_keys(known, config.answers, groups, cache))
    for line in units.warnings:
        progress.warn(line)
    check_units(units.entries, config.answers, labels)
    return units.entries


def _keys(
    entries: Sequence[Entry], unit: str, groups: Groups, cache: PixelCache
) -> tuple[list[str], list[str]]:
    """Return the hashed UID of the unit of each entry, and PatientID where it counts."""
    column = cache.series if unit == SERIES else cache.studies
    uids = [column[entry.row] for entry in entries]
    patients = [cache.patients[entry.row] for entry in entries]
    return uids, patients if groups.source == "dicom" else []


def _split(
    split: str,
    classes: tuple[str, ...],
    entries: Sequence[Entry],
    cache: PixelCache,
    labels: tuple[str, ...] = (),
    uncertain: str = "ignore",
    value_name: str = "",
) -> Split:
    inside = [entry for entry in entries if entry.split == split]
    index = {label: i for i, label in enumerate(classes)}
    texts = [entry.states for entry in inside]
    return Split(
        name=split,
        classes=classes,
        files=tuple(entry.file for entry in inside),
        groups=tuple(entry.group for entry in inside),
        labels=np.array([index[entry.label] for entry in inside], np.int64),
        cache=cache,
        rows=np.array([entry.row for entry in inside], np.int64),
        label_names=labels,
        targets=targets_of(texts, labels, "ignore") if labels else None,
        learned=targets_of(texts, labels, uncertain) if labels else None,
        values=np.array([entry.value for entry in inside], np.float64) if value_name else None,
        value_name=value_name,
        units=tuple(entry.unit for entry in inside) if any(x.unit for x in entries) else (),
    )


def _fingerprint(entries: Sequence[Entry]) -> str:
    """Return the sha256 of a JSON list of all images, in the order of their paths."""
    found = hashlib.sha256()
    for k, entry in enumerate(sorted(entries, key=attrgetter("file"))):
        line = json.dumps((entry.file, entry.sha256, entry.truth, entry.split))
        found.update(f"{', ' if k else '['}{line}".encode())
    found.update(b"]" if entries else b"[]")
    return found.hexdigest()
