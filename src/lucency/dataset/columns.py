"""Recognise which columns of a labels file hold the file, the label, the group and the split.

The names of well-known data sets are known: HAM10000, ISIC, NIH ChestX-ray14, APTOS, dog breeds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lucency.config import AUTO, DICOM_UNITS, Config, column_of_folds, column_of_unit
from lucency.dataset.entry import SPELLINGS, listed
from lucency.dataset.multilabel import PRESENT, STATES
from lucency.dataset.table import Table
from lucency.errors import DataError, nearest
from lucency.imaging.image import IMAGE_SUFFIXES

HEADER = "Expected a header line such as file,label or file,label,group,split."
NO_COLUMN = "none"
ROLES = ("file", "label", "group", "split")
_REQUIRED = ("file", "label")
# Names without spaces and signs. The later ones count only where none of the earlier ones is there.
_NAMES: Mapping[str, Sequence[Sequence[str]]] = {
    "file": (
        ("file", "filename", "filenames", "filepath", "filepaths", "path", "paths", "imagepath",
         "imagefile", "imagefilename", "imagefilepath", "image", "imagename", "imageindex", "img",
         "imgpath", "imgname", "imgfile", "fname"),
        ("imageid", "imgid", "isicid", "dicomid", "idcode", "id"),
    ),
    "label": (
        ("label", "labels", "class", "classname", "category", "target", "diagnosis", "dx",
         "finding", "findinglabels", "breed", "grade", "level", "species"),
    ),
    "group": (
        ("group", "patient", "patientid", "subject", "subjectid"),
        ("lesion", "lesionid"),
    ),
    "split": (("split", "set", "subset", "dataset", "partition", "phase", "fold"),),
}  # fmt: skip
_VALUES = ("value", "values")  # of numbers
_INDICATORS = frozenset({"0", "1", "0.0", "1.0", "true", "false"})
_ONES = frozenset(text for text, state in STATES.items() if state == PRESENT)
_MISTYPED = 0.05  # share of cells that are no state of a label and may be mistakes
_UNKNOWN = frozenset({"", "-1", "-1.0"})  # as in CheXpert


class Columns(NamedTuple):
    """Names of the columns that the user gave.

    An empty name stands for a column that is recognised; a group or split ``none`` for no column.
    ``fold`` is the column that folds are made by, which may have another role too; empty for none.
    ``task`` is that of the configuration; ``known`` are the labels of a classifier that is
    evaluated. ``unit`` is the column of what has one answer; ``study`` and ``series`` may be
    missing.
    """

    file: str = ""
    label: str = ""
    group: str = ""
    split: str = ""
    fold: str = ""
    task: str = AUTO
    known: tuple[str, ...] = ()
    unit: str = ""


def columns_of(config: Config, known: tuple[str, ...] = ()) -> Columns:
    """Return the names of columns in a configuration; ``known`` as in ``Columns``."""
    return Columns(
        config.file_column,
        config.label_column,
        config.group_column,
        config.split_column,
        column_of_folds(config.folds),
        config.task,
        known,
        config.unit if config.unit in DICOM_UNITS else column_of_unit(config.unit),
    )


class Chosen(NamedTuple):
    """Positions of the columns of each role, and a sentence on them (empty for plain names)."""

    positions: Mapping[str, int]
    note: str


def choose_columns(path: Path, table: Table, given: Columns) -> Chosen:
    """Return which column has which role.

    A column named exactly file, label, group or split has that role. Otherwise the names of
    well-known data sets are recognised, whatever their case, spaces, underscores and hyphens.

    Raises:
        DataError: A required column is missing or named twice, or several could be meant.
    """
    found: dict[str, int] = {}
    unused = ""
    for role in ROLES:
        name = getattr(given, role)
        if name and (name.lower() != NO_COLUMN or role in _REQUIRED):
            found[role] = _named(path, table.header, role, name)
    for role in ROLES:
        if not getattr(given, role):
            candidates = _candidates(table.header, role, set(found.values()))
            if role == "split" and candidates:
                candidates, unused = _with_splits(table, candidates)
            if candidates:
                found[role] = _only(path, table.header, role, candidates)
            elif role in _REQUIRED:
                raise _missing(path, table, role, found)
    plain = all(table.header[at].lower() == role for role, at in found.items())
    said = ", ".join(f"{role} from {table.header[at]!r}" for role, at in found.items())
    note = "" if plain and not unused else f"{path.name}: {said}.{unused}"
    if given.fold:
        found["fold"] = _named(path, table.header, "fold", given.fold)
    if given.unit and (given.unit not in DICOM_UNITS or given.unit in map(str.lower, table.header)):
        found["unit"] = _named(path, table.header, "unit", given.unit)
    return Chosen(found, note)


def unit_cells(path: Path, table: Table, unit: str) -> list[tuple[str, str]]:
    """Return the name of the file and the unit of each row of a table without labels.

    Args:
        path: The table.
        table: Its content.
        unit: The column of units.

    Raises:
        DataError: A column is missing or named twice.
    """
    at = _named(path, table.header, "unit", unit)
    files = _candidates(table.header, "file", {at})
    if not files:
        raise DataError(
            f"{path}: the column 'file' is missing. Expected a header line such as file,{unit}. "
            f"Received: {_shown(table.header)}."
        )
    of = _only(path, table.header, "file", files)
    return [(line.cells[of], line.cells[at]) for line in table.lines]


def indicator_columns(table: Table, given: Columns) -> list[int]:
    """Return the columns of labels: of 1, 0, -1 and empty cells, with a 1 and no other role.

    A few other values may be mistakes, which ``from_columns`` reports. Where a classifier is
    evaluated, they are the columns with the names of its labels.
    """
    if known := [at for at, name in enumerate(table.header) if name in given.known]:
        return known
    roles = [role for role in ROLES if role != "label"]
    taken = {i for role in roles for i in _candidates(table.header, role, set())}
    taken |= {
        i for i, name in enumerate(table.header) if name in (*given[:4], given.fold, given.unit)
    }
    found = []
    for at, name in enumerate(table.header):
        values = Counter(line.cells[at].lower() for line in table.lines)
        filled = values.total() - values[""]
        wrong = sum(times for text, times in values.items() if text not in STATES)
        if at not in taken and name and values.keys() & _ONES and wrong <= _MISTYPED * filled:
            found.append(at)
    return found


def label_column(path: Path, table: Table, given: Columns) -> int | None:
    """Return the column of labels, if one is named or recognised."""
    if given.label:
        return _named(path, table.header, "label", given.label)
    candidates = _candidates(table.header, "label", set())
    return candidates[0] if len(candidates) == 1 else None


def value_column(path: Path, table: Table, given: Columns) -> int:
    """Return the column of the numbers that are to be predicted.

    Raises:
        DataError: None is named or recognised.
    """
    if given.label:
        return _named(path, table.header, "label", given.label)
    exact = [i for i, name in enumerate(table.header) if name.lower() in _VALUES]
    candidates = exact or _candidates(table.header, "label", set())
    if not candidates:
        raise DataError(
            f"{path}: there is no column 'value' or 'label' with the numbers to predict. Received: "
            f"{_shown(table.header)}. Name the column: --label-column NAME"
        )
    return _only(path, table.header, "label", candidates)


def _named(path: Path, header: Sequence[str], role: str, name: str) -> int:
    """Return the position of a column that the user named."""
    exact = [i for i, column in enumerate(header) if column == name]
    found = exact or [i for i, each in enumerate(header) if each.lower() == name.lower()]
    if not found:
        raise DataError(
            f"{path}: there is no column {name!r}, which {_option(role)} names. "
            f"Received: {_shown(header)}.{nearest(name, header)}"
        )
    return _only(path, header, role, found)


def _option(role: str) -> str:
    return {"fold": "--folds", "unit": "--unit"}.get(role, f"--{role}-column")


def _candidates(header: Sequence[str], role: str, taken: set[int]) -> list[int]:
    free = [i for i in range(len(header)) if i not in taken]
    if exact := [i for i in free if header[i].lower() == role]:
        return exact
    for names in _NAMES[role]:
        if found := [i for i in free if re.sub(r"[\s_-]+", "", header[i].lower()) in names]:
            return found
    return []


def _with_splits(table: Table, candidates: Sequence[int]) -> tuple[list[int], str]:
    """Return the columns whose values are splits, and a sentence on the others."""
    used, unused = [], []
    for at in candidates:
        values = {line.cells[at].lower() for line in table.lines} - {""}
        if table.header[at].lower() == "split" or (values and values <= SPELLINGS.keys()):
            used.append(at)
        else:
            unused.append(repr(table.header[at]))
    names = listed(unused)
    return used, f" Not a split: {names} (values other than train, val, test)." if unused else ""


def _only(path: Path, header: Sequence[str], role: str, found: Sequence[int]) -> int:
    if len(found) == 1:
        return found[0]
    where = " and ".join(str(i + 1) for i in found)
    if len({header[i].lower() for i in found}) == 1:
        raise DataError(
            f"{path}: the columns {where} are both named {header[found[0]]!r}. "
            "Expected one column of each name. Rename or remove one of them."
        )
    names = " or ".join(repr(header[i]) for i in found)
    raise DataError(
        f"{path}: the {role} could be in the column {names}. "
        f"Choose one: --{role}-column {_quoted(header[found[0]])}"
    )


def _missing(path: Path, table: Table, role: str, found: Mapping[str, int]) -> DataError:
    header = table.header
    if role == "label" and (error := _indicators(path, table, set(found.values()))):
        return error
    first = next((cell for cell in header if cell.lower().endswith(tuple(IMAGE_SUFFIXES))), "")
    if first:
        hint = f" The first line looks like a row, not like a header ({first!r}): add a header."
    else:
        hint = nearest(role, header)
        hint += f" If another column holds it: --{role}-column NAME." if len(header) > 1 else ""
    return DataError(
        f"{path}: the column {role!r} is missing. {HEADER} Received: {_shown(header)}.{hint}"
    )


def _indicators(path: Path, table: Table, taken: set[int]) -> DataError | None:
    """Return an error that names the columns of 0 and 1, if the classes are in columns."""
    names, ones = [], Counter[int]()
    for at, name in enumerate(table.header):
        values = {line.cells[at].lower() for line in table.lines}
        if at not in taken and name and values & _ONES and values <= _INDICATORS | _UNKNOWN:
            names.append(name)
            ones.update(i for i, line in enumerate(table.lines) if line.cells[at].lower() in _ONES)
    if len(names) < 2:
        return None
    several = [table.lines[i].number for i, count in sorted(ones.items()) if count > 1]
    if several:
        return DataError(
            f"{path}: the columns {listed(names)} hold 0 and 1, and {len(several):,} rows have "
            f"several 1 (line {several[0]}): several labels per image. Expected one. Take one "
            f"column (--label-column {_quoted(names[0])}), or train with --task multilabel."
        )
    without = len(table.lines) - len(ones)
    rest = f" {without:,} rows have no 1 and need a label too." if without else ""
    return DataError(
        f"{path}: the classes are in columns of 0 and 1 ({listed(names)}). Expected one column "
        f"with the name of the class. Write it, with pandas: t['label'] = t[{names[:20]}]"
        f".idxmax(axis=1).{rest}"
    )


def _quoted(name: str) -> str:
    return f'"{name}"' if re.search(r"[^\w.-]", name) else name


def _shown(header: Sequence[str]) -> str:
    shown = [name[:40] for name in header]
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return (",".join(shown[:20]) + more) or "an empty file"
