"""Read a labels file: a CSV with the class and optionally the patient and split of each file."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lucency.config import AUTO
from lucency.dataset.columns import (
    HEADER,
    Columns,
    choose_columns,
    indicator_columns,
    label_column,
    value_column,
)
from lucency.dataset.entry import SPELLINGS, Entry, listed
from lucency.dataset.locate import Locator
from lucency.dataset.multilabel import (
    ABSENT,
    PRESENT,
    STATES,
    UNCERTAIN,
    UNKNOWN,
    Findings,
    check_names,
    checked,
    from_columns,
    from_lists,
    listing,
    strata,
)
from lucency.dataset.table import Line, Table, read_table
from lucency.dataset.values import Bins, is_number, read_values
from lucency.dataset.walk import printable
from lucency.errors import DataError, nearest
from lucency.task import MULTILABEL, REGRESSION

_SEPARATORS = "|;,"
_FEWEST_LISTS, _LISTS = 10, 0.02  # rows with several labels, by which these are recognised
_STRATUM = "stratum"  # name of the column that is added
_NONE = "Write No finding where an image has none"
# How programs write that a value is missing. "None" may be a class.
MISSING = frozenset({"nan", "<na>", "#n/a", "n/a", "na", "null", "-nan", "#na"})
_LONGEST = 1000  # characters of a label, as in classifier.json
_FEWEST = 20  # rows, from which on nearly as many labels as rows are no classes


class Row(NamedTuple):
    """The row of one image; all but the label may be empty."""

    label: str
    group: str
    split: str
    fold: str = ""
    states: str = ""
    value: float | None = None
    unit: str = ""


class Labels(NamedTuple):
    """A labels file.

    Attributes:
        rows: The row of each listed image.
        lines: The number of its line.
        notes: What was recognised.
        warnings: What may be wrong.
        names: Of the labels, where an image may have several; the label of a row is then the rarest
            that it has.
        value_name: What the number of each row is; the label is then its bin. Empty for classes.
        bins: Names of all bins, the lowest first.
    """

    rows: Mapping[str, Row]
    lines: Mapping[str, int]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    names: tuple[str, ...] = ()
    value_name: str = ""
    bins: tuple[str, ...] = ()


def labels_path(labels: str, folder: Path) -> Path | None:
    """Return the path of a labels file; it may be relative to the data folder. Empty: ``None``."""
    if not labels:
        return None
    path, inside = Path(labels), folder / labels
    return inside if not path.exists() and inside.is_file() else path


def read_labels(
    path: Path,
    *,
    files: Sequence[str],
    root: Path,
    folder: Path,
    columns: Columns = Columns(),  # noqa: B008 - immutable
) -> Labels:
    """Return the row of every file in the labels file.

    Args:
        path: CSV file with a header, see ``read_table``.
        files: Known images, relative to the root of the data set. A row may name a file in any
            way that ``Locator`` understands.
        root: Root of the data set.
        folder: Folder that the user gave, which contains the root.
        columns: Names of columns; by default they are recognised.

    Raises:
        DataError: The file cannot be read, lacks a column, names files that do not exist or
            contains contradictory rows, or images have several labels.
    """
    table = read_table(path, HEADER)
    findings = _findings(path, table, columns)
    numbers = _numbers(path, table, columns) if columns.task == REGRESSION else None
    if findings:
        table, columns = _with_strata(table, strata(findings)), columns._replace(label=_STRATUM)
    elif numbers:
        table, columns = _with_strata(table, numbers.bins), columns._replace(label=_STRATUM)
    chosen = choose_columns(path, table, columns)
    at = chosen.positions
    _check_filled(path, table.lines, at)
    cells = [(x.number, x.cells[at["label"]]) for x in table.lines]
    is_made = findings is not None or numbers is not None
    labels, warnings = ([x for _, x in cells], []) if is_made else _checked_labels(path, cells)
    located = Locator(path, files, root, folder).locate(
        [line.cells[at["file"]] for line in table.lines]
    )
    rows: dict[str, Row] = {}
    lines: dict[str, int] = {}
    twice: dict[str, str] = {}
    texts = [""] * len(labels)
    if findings:
        texts = [listing(findings.names, states) for states in findings.states]
    values: Sequence[float | None] = numbers.values if numbers else [None] * len(labels)
    for line, label, text, value in zip(table.lines, labels, texts, values, strict=True):
        file = located.files[line.cells[at["file"]]]
        split, fold = _split(path, line, at), _cell(line, at, "fold")
        unit = _cell(line, at, "unit")
        row = Row(label, _cell(line, at, "group"), split, fold, text, value, unit)
        if rows.setdefault(file, row) != row:
            twice.setdefault(file, _difference(file, rows[file], row, lines[file], line.number))
        lines.setdefault(file, line.number)
    if twice:
        more = f" {len(twice):,} files are listed with different values." if len(twice) > 1 else ""
        raise DataError(f"{path}, {next(iter(twice.values()))}.{more} Keep one line per file.")
    if numbers:
        notes = tuple(filter(None, (numbers.note, located.note)))
        return Labels(rows, lines, notes, (), (), numbers.name, numbers.names)
    if findings is None:
        notes = tuple(filter(None, (chosen.note, located.note)))
        return Labels(rows, lines, notes, tuple(warnings))
    notes = tuple(filter(None, (findings.note, _shares(findings), located.note)))
    return Labels(rows, lines, notes, (), findings.names)


def _findings(path: Path, table: Table, columns: Columns) -> Findings | None:
    """Return the labels of each row, if the file has several for an image."""
    if columns.task not in (AUTO, MULTILABEL):
        return None
    at, is_forced = label_column(path, table, columns), columns.task == MULTILABEL
    if at is None:
        indicators = indicator_columns(table, columns)
        several = sum(not _is_one_hot(line, indicators) for line in table.lines)
        if not is_forced and (len(indicators) < 2 or not _is_usual(several, table)):
            return None
        found = from_columns(path, table, indicators)
    else:
        cells = [line.cells[at] for line in table.lines]
        times = Counter(cells)
        lists = ((x, _several(times, x)) for x in _SEPARATORS)
        separator, names = next(((x, found) for x, found in lists if found), ("|", []))
        if not is_forced and not _is_usual(sum(times[name] for name in names), table):
            return None
        blank = [x.number for x in table.lines if x.cells[at].lower() in {"", *MISSING}]
        _reject_rows(path, blank, len(cells), "the list of labels is empty", _NONE)
        found = from_lists(path, [_listed(cell, separator) for cell in cells], table.header[at])
    if not columns.known:
        return checked(path, found)
    check_names(path, found.names)
    return found


def _listed(cell: str, separator: str) -> list[str]:
    """Return the labels of a list, which ``[]`` writes for none."""
    return [] if cell in ("[]", "()", "{}") else _parts(cell, separator)


def _is_usual(several: int, table: Table) -> bool:
    """Tell whether so many rows with several labels are no mistakes in a table of classes."""
    return several >= max(_FEWEST_LISTS, _LISTS * len(table.lines))


def _is_one_hot(line: Line, indicators: Sequence[int]) -> bool:
    """Tell whether a row has exactly one 1 and no unknown label: a class in other clothes."""
    states = sorted(STATES.get(line.cells[at].lower(), UNKNOWN) for at in indicators)
    return states == [ABSENT] * (len(indicators) - 1) + [PRESENT]


class _Numbers(NamedTuple):
    """The number of each row, its bin, the names of all bins, what it is, and a sentence."""

    values: list[float]
    bins: list[str]
    names: tuple[str, ...]
    name: str
    note: str


def _numbers(path: Path, table: Table, columns: Columns) -> _Numbers:
    """Return the numbers of a labels file, and the bins that they lie in.

    Raises:
        DataError: A number is missing, or there are too few.
    """
    at = value_column(path, table, columns)
    values = read_values(path, table, at)
    try:
        bins = Bins.of_names(columns.known) if columns.known else Bins.of(values)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    name = unicodedata.normalize("NFC", table.header[at])
    low, middle, high = np.quantile(values, (0, 0.5, 1)).tolist()
    note = f"{path.name}: {name} from {low:.6g} to {high:.6g}, median {middle:.6g}."
    names = np.array(bins.names, object)[bins.numbers(values)].tolist()
    return _Numbers(values.tolist(), names, bins.names, name, note)


def _with_strata(table: Table, names: Sequence[str]) -> Table:
    """Return the table with a column of the stratum of each row."""
    pairs = zip(table.lines, names, strict=True)
    lines = [line._replace(cells=[*line.cells, name]) for line, name in pairs]
    return Table([*table.header, _STRATUM], lines)


def _shares(findings: Findings) -> str:
    """Return a sentence on how many images have each label."""
    parts = []
    for k, name in enumerate(findings.names):
        count = Counter(states[k] for states in findings.states)
        pairs = ((UNCERTAIN, "uncertain"), (UNKNOWN, "unknown"))
        more = ", ".join(f"{count[state]:,} {word}" for state, word in pairs if count[state])
        parts.append(f"{name} {count[PRESENT]:,}" + (f" ({more})" if more else ""))
    return f"Of {len(findings.states):,} images: {', '.join(parts)}."


def check_splits(path: Path, labels: Labels, entries: Iterable[Entry]) -> None:
    """Reject a split column that is filled in for some images only.

    Args:
        path: The labels file.
        labels: Its content.
        entries: The listed images, with the split of the column or of their folder.

    Raises:
        DataError: Some have a split and some have none.
    """
    if not any(row.split for row in labels.rows.values()):
        return
    blank = sorted(labels.lines[entry.file] for entry in entries if not entry.split)
    if blank:
        raise DataError(
            f"{path}: the column of splits is blank in {len(blank):,} of {len(labels.rows):,} rows "
            f"({_places(blank)}). Expected train, val or test in every row, or in none. Fill in "
            "the column, remove these rows, or ignore the column: --split-column none"
        )


def _cell(line: Line, at: Mapping[str, int], role: str) -> str:
    return line.cells[at[role]] if role in at else ""


def _split(path: Path, line: Line, at: Mapping[str, int]) -> str:
    split = _cell(line, at, "split")
    if split and split.lower() not in SPELLINGS:
        raise DataError(
            f"{path}, line {line.number}: expected train, val or test in the column split. "
            f"Received: {split!r}.{nearest(split, SPELLINGS)}"
        )
    return SPELLINGS[split.lower()] if split else ""


def _check_filled(path: Path, lines: Sequence[Line], at: Mapping[str, int]) -> None:
    blank = [x.number for x in lines if not (x.cells[at["file"]] and x.cells[at["label"]])]
    _reject_rows(path, blank, len(lines), "the file or the label is empty")
    missing = [line.number for line in lines if line.cells[at["label"]].lower() in MISSING]
    _reject_rows(path, missing, len(lines), "the label is missing (written as NaN, NA or null)")


def _reject_rows(
    path: Path, numbers: Sequence[int], total: int, what: str, fix: str = "Fill in both"
) -> None:
    if numbers:
        rows = f" in {len(numbers):,} of {total:,} rows ({_places(numbers)})"
        raise DataError(
            f"{path}, line {numbers[0]}: {what}{rows if len(numbers) > 1 else ''}. "
            f"{fix}, or remove the line."
        )


def _difference(file: str, first: Row, second: Row, line: int, again: int) -> str:
    name = next(each for each in Row._fields if getattr(first, each) != getattr(second, each))
    return (
        f"line {again}: {file} was already listed in line {line} with another {name} "
        f"({getattr(first, name)!r}, now {getattr(second, name)!r})"
    )


def _checked_labels(path: Path, cells: Sequence[tuple[int, str]]) -> tuple[list[str], list[str]]:
    """Return the label of every row, and warnings; several labels per image are rejected."""
    written = [unicodedata.normalize("NFC", label) for _, label in cells]
    names = set(written)
    # pandas writes whole numbers as 1.0 where other cells of the column are empty.
    whole = {x: x.partition(".")[0] for x in names if re.fullmatch(r"-?\d+\.0+", x)}
    labels = [whole[x] if whole.get(x) in names else x for x in written]
    times = Counter(labels)
    if unfit := {x for x in times if len(x) > _LONGEST or printable(x) != x}:
        line = next(n for (n, _), label in zip(cells, labels, strict=True) if label in unfit)
        raise DataError(
            f"{path}, line {line}: the label has control characters, bytes that are no text, or "
            f"more than {_LONGEST:,} characters. Expected the name of a class. Correct the cell."
        )
    for separator in _SEPARATORS:
        if several := _several(times, separator):
            numbers = [n for (n, _), label in zip(cells, labels, strict=True) if label in several]
            shown = f"{several[0]!r} in line {numbers[0]}"
            raise DataError(
                f"{path}: {len(numbers):,} of {len(cells):,} rows seem to name several labels, "
                f"separated by {separator!r} ({shown}). Expected one label per image. Keep one in "
                "each row, or train with --task multilabel."
            )
    if len(cells) >= _FEWEST and len(times) > 0.6 * len(cells):
        raise DataError(
            f"{path}: there are {len(times):,} different labels in {len(cells):,} rows "
            f"({listed(sorted(times))}). Expected a few classes with several images each. "
            + (
                "Predict numbers with --task regression, or choose"
                if all(map(is_number, times))
                else "Choose"
            )
            + " another column: --label-column NAME"
        )
    return labels, _alike(path, times)


def _several(labels: Collection[str], separator: str) -> list[str]:
    """Return the labels that are lists of labels, in the order of their rows.

    A single name with a separator is a class ("Carcinoma, basal cell"). A list is one whose parts
    are labels themselves, or whose parts occur in other combinations.
    """
    parts = {label: _parts(label, separator) for label in labels}
    lists = {label: found for label, found in parts.items() if len(found) > 1}
    places = defaultdict(set)
    times = Counter[str]()
    for found in lists.values():
        times.update(set(found))
        for i, part in enumerate(found):
            places[part].add("first" if i == 0 else "later")
    alone = {found[0] for found in parts.values() if len(found) == 1}

    def is_list(label: str) -> bool:
        found = lists[label]
        # In names, a part may qualify another; in numbers, the comma may be a decimal one.
        if separator == "," and (", " in label or re.fullmatch(r"-?\d+,\d+", label)):
            return all(part in alone or len(places[part]) > 1 for part in found)
        return any(part in alone or times[part] > 1 for part in found)

    return [label for label in lists if is_list(label)]


def _parts(label: str, separator: str) -> list[str]:
    """Return the parts of a label, also of one in the form ``['a', 'b']``."""
    inner = label[1:-1] if label[:1] + label[-1:] in ("[]", "()", "{}") else label
    return [part for each in inner.split(separator) if (part := each.strip(" '\""))] or [label]


def _alike(path: Path, labels: Collection[str]) -> list[str]:
    """Return warnings on labels that differ only in case or spacing."""
    by_form = defaultdict(list)
    for label in labels:
        by_form[re.sub(r"[\s_-]+", " ", label.casefold())].append(label)
    return [
        f"{path.name}: the classes {listed([repr(x) for x in sorted(alike)])} differ only in case "
        "or spacing. If they are one class, write them alike."
        for form, alike in by_form.items()
        if len(alike) > 1 and len(form) > 1
    ]


def _places(numbers: Sequence[int]) -> str:
    return f"line{'s' * (len(numbers) > 1)} {listed([str(n) for n in numbers])}"
