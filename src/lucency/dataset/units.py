"""Identify which images have one answer: those of a patient, of a study, or of another unit.

A unit lies within one patient, so that splits by patient never divide it.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lucency.config import DICOM_UNITS, FILE, PATIENT, column_of_unit, plural_of_unit
from lucency.dataset.columns import unit_cells
from lucency.dataset.entry import SPLITS, Entry, Excluded, have_numbers, listed, natural
from lucency.dataset.groups import check_known
from lucency.dataset.locate import Locator
from lucency.dataset.multilabel import ABSENT, PRESENT, states_of
from lucency.dataset.table import read_table
from lucency.errors import DataError
from lucency.imaging.frames import file_of

_SHOWN = 5  # units that a message names


class Units(NamedTuple):
    """Entries with their units, and the patients that follow from them.

    Attributes:
        entries: In their order.
        warnings: Plain sentences.
    """

    entries: tuple[Entry, ...]
    warnings: tuple[str, ...] = ()


def find_units(
    entries: Sequence[Entry], unit: str, uids: Sequence[str], patients: Sequence[str] = ()
) -> Units:
    """Return the entries with the unit of each image.

    The cells of the labels file count before StudyInstanceUID and SeriesInstanceUID. A DICOM study
    or series is named after its first file, which hides the hash. An image without a unit stands
    alone. Images of unknown patients in one unit are of one patient: that of the others, if it is
    known.

    Args:
        entries: Readable images, with their patients and the cells of the labels file.
        unit: As in ``Config.unit``.
        uids: Hashed StudyInstanceUID or SeriesInstanceUID, one for each image, empty where unknown.
        patients: Hashed PatientID likewise, where the patients are those of DICOM.

    Raises:
        DataError: No image has a unit, or a unit has several patients.
    """
    if unit in ("image", PATIENT):
        return Units(tuple(entries))
    if unit == FILE:
        return Units(tuple(entry._replace(unit=file_of(entry.file)) for entry in entries))
    files = [file_of(entry.file) for entry in entries]
    named = named_by_uid(files, uids) if unit in DICOM_UNITS else ()
    given = [entry.unit for entry in entries]
    names = given if any(given) or not named else named
    if not any(names):
        raise DataError(_none(unit))
    found = [
        entry._replace(unit=name or _of_frames(entry.file))
        for entry, name in zip(entries, names, strict=True)
    ]
    alone = [entry.file for entry in found if not entry.unit]
    warning = alone_warning(unit, alone, len(found))
    return Units(_with_patients(found, unit, patients), (warning,) if alone else ())


def named_by_uid(files: Sequence[str], uids: Sequence[str]) -> list[str]:
    """Return a name for the study or series of each file: its first file; empty if unknown."""
    first: dict[str, str] = {}
    for file, uid in zip(files, uids, strict=True):
        first.setdefault(uid, file)
    return [first[uid] if uid else "" for uid in uids]


def alone_warning(unit: str, alone: Sequence[str], total: int) -> str:
    """Say how many images have no unit, and that each of them stands alone."""
    return (
        f"No {unit} is known for {len(alone):,} of {total:,} images ({listed([*alone])}): each of "
        "them has an answer of its own."
    )


def units_in_table(path: Path, unit: str, files: Sequence[Path]) -> list[str]:
    """Return the unit of each file to predict from a table with the columns file and ``unit``.

    Rows of other files are ignored; a file without a row has no unit.

    Raises:
        DataError: The table cannot be read, lacks a column, or has two units for a file.
    """
    table = read_table(path, f"Expected a header line such as file,{unit}.")
    root = Path(os.path.commonpath([file.absolute().parent for file in files]))
    names = [file.absolute().relative_to(root).as_posix() for file in files]
    locator = Locator(path, names, root, root)
    found: dict[str, str] = {}
    for written, cell in unit_cells(path, table, unit):
        file = locator.find(written)
        if file and found.setdefault(file, cell) != cell:
            raise DataError(
                f"{path}: {written} has several values of {unit} ({found[file]}, {cell}). Keep one "
                "line per file."
            )
    return [found.get(name, "") for name in names]


def check_units(entries: Sequence[Entry], unit: str, labels: Sequence[str] = ()) -> None:
    """Raise ``DataError`` where the images of a unit have several classes or numbers.

    Of several labels, a unit is wrong where a label is present in one image and absent in another.

    Args:
        entries: With their patients and units.
        unit: As in ``Config.unit``.
        labels: Names of the labels, where an image may have several.
    """
    wrong = _disagreeing(entries, unit, labels)
    if not wrong:
        return
    kind = "number" if have_numbers(entries) else "class"
    shown = [f"{name} ({', '.join(wrong[name])})" for name in sorted(wrong, key=natural)]
    needs, have = f"one {kind} for each {unit}", "have several"
    if labels:
        needs = f"labels that agree within each {unit}"
        have = "contradict each other, where one has a label and another lacks it"
    raise DataError(
        f"--unit {unit} needs {needs}. The images of {_counted(len(wrong), unit)} {have}: "
        f"{listed(shown, _SHOWN)}. Correct the labels, or train without --unit, with an answer for "
        "each image."
    )


def with_patients_as_units(
    entries: Sequence[Entry], patients: Mapping[str, str], labels: Sequence[str] = ()
) -> tuple[Entry, ...]:
    """Return entries with each patient as a unit, where joined patients disagree.

    Near-duplicate images join patients, which then are in one split and count as one. If all of
    them agree, they also have one answer.

    Args:
        entries: With joined patients.
        patients: The patient of each file before.
        labels: As for ``check_units``.
    """
    if not _disagreeing((each for each in entries if each.split in SPLITS), PATIENT, labels):
        return tuple(entries)
    return tuple(each._replace(unit=patients[each.file]) for each in entries)


def _disagreeing(
    entries: Iterable[Entry], unit: str, labels: Sequence[str]
) -> dict[str, list[str]]:
    """Return the units that are wrong by ``check_units``, with what their images disagree in."""
    truths = defaultdict(set)
    for entry in entries:
        truths[(entry.group if unit == PATIENT else entry.unit) or entry.file].add(entry.truth)
    return {name: found for name, each in truths.items() if (found := _several(each, labels))}


def _several(truths: set[str], labels: Sequence[str]) -> list[str]:
    """Return the classes or numbers of a unit that has several, or the labels that contradict."""
    if not labels:
        return sorted(truths, key=natural) if len(truths) > 1 else []
    states = zip(*(states_of(text, labels) for text in truths), strict=True)
    return [name for name, of in zip(labels, states, strict=True) if {PRESENT, ABSENT} <= {*of}]


def check_several(entries: Sequence[Entry], unit: str) -> None:
    """Raise ``DataError`` where no two images are known to be of one unit."""
    if unit == PATIENT:
        check_known(entries)
        return
    names = [entry.unit for entry in entries if entry.unit]
    if unit == FILE and len({*names}) == len(names):
        raise DataError(
            "--set frames needs files of several frames, and none of these DICOM, TIFF and GIF "
            "files has any. Leave it out."
        )
    if len({*names}) == len(names):
        raise DataError(
            f"--unit {unit} needs {plural_of_unit(unit)} with several images, and no two of these "
            f"images have the same {unit}. Leave out --unit, with an answer for each image."
        )


def unread_units(
    units: Mapping[str, str], readable: Iterable[Entry], excluded: Iterable[Excluded], unit: str
) -> list[str]:
    """Return a sentence on units of which no image can be read, with the reason of one.

    Args:
        units: The unit of each listed file, empty where unknown.
        readable: Images that can be used.
        excluded: Images that cannot.
        unit: As in ``Config.unit``.
    """
    seen = {entry.unit for entry in readable}
    lost = {
        name: each for each in excluded if (name := units.get(each.file, "")) and name not in seen
    }
    if not lost:
        return []
    shown = [
        f"{name}: {lost[name].file}, {lost[name].reason}" for name in sorted(lost, key=natural)
    ]
    return [
        f"Excluded: {_counted(len(lost), unit)} without a readable image ({listed(shown, _SHOWN)})."
    ]


def _counted(n: int, unit: str) -> str:
    """Return ``1 study`` or ``2,000 studies``."""
    return f"{n:,} {unit if n == 1 else plural_of_unit(unit)}"


def _of_frames(file: str) -> str:
    """Return the file of a frame, whose frames are of one unit; empty for a whole file."""
    return "" if file_of(file) == file else file_of(file)


def _none(unit: str) -> str:
    if column_of_unit(unit):
        return f"--unit {unit}: the column {unit!r} is empty for all images. Fill it in."
    return (
        f"--unit {unit} needs DICOM files with a {unit.title()}InstanceUID, and none of these "
        f"images has one. Name the {plural_of_unit(unit)} in a column of a --labels file and give "
        "its name to --unit, or leave out --unit."
    )


def _with_patients(entries: Sequence[Entry], unit: str, dicom: Sequence[str]) -> tuple[Entry, ...]:
    """Return entries whose units each lie within one patient."""
    images = Counter(group for group, _ in {(x.group, file_of(x.file)) for x in entries})
    known = [
        bool(patient) or images[entry.group] > 1 or entry.group not in ("", file_of(entry.file))
        for entry, patient in zip(entries, dicom or [""] * len(entries), strict=True)
    ]
    patients: dict[str, set[str]] = defaultdict(set)
    first: dict[str, str] = {}
    for entry, is_known in zip(entries, known, strict=True):
        if entry.unit:
            first.setdefault(entry.unit, file_of(entry.file))
            patients[entry.unit] |= {entry.group} if is_known else set()
    if several := sorted((name for name in patients if len(patients[name]) > 1), key=natural):
        shown = [f"{name} ({listed(sorted(patients[name], key=natural))})" for name in several]
        raise DataError(
            f"--unit {unit}: {_counted(len(several), unit)} with images of several patients: "
            f"{listed(shown, _SHOWN)}. Expected all images of a {unit} to be of one patient. "
            f"Correct {'the headers' if unit in DICOM_UNITS else 'the table'}, or give each "
            "patient values of its own, as in 17-1 and 18-1."
        )
    return tuple(
        entry._replace(group=next(iter(patients[entry.unit]), first[entry.unit]))
        if entry.unit and not is_known
        else entry
        for entry, is_known in zip(entries, known, strict=True)
    )
