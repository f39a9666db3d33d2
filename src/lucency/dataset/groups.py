"""Identify which images show the same patient, so that no patient is in two splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lucency.dataset.entry import Entry, listed
from lucency.errors import ConfigError, DataError

# Each is matched against the whole path without its suffix; the first group is the patient.
# Kermany et al. number patients per disease: person1_bacteria and person1_virus are two people.
# The key of a normal image is its study (IM-0115, NORMAL2-IM-0115), which has up to 30 images.
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    name: re.compile(pattern, re.ASCII)
    for name, pattern in {
        "kermany": r"(?:.*/)?(person\d+_(?:bacteria|virus)|(?:NORMAL2-)?IM-\d+)(?:[-_]\d+)*",
        "nih": r"(?:.*/)?(\d{8})_\d{3}",
        "chexpert": r"(?:.*/)?(patient\d+)/study\d+/[^/]+",
        "mimic": r"(?:.*/)?p\d\d/(p\d{8})/s\d+/[^/]+",
        "patient": r"(?:.*/)?((?i:patient)[-_]?\d+)(?:[-_.][^/]*)?",
    }.items()
}
_ENOUGH = 0.95
# A patient with a larger share of the images is more likely a placeholder for all of them.
_MOST_OF_ONE = 0.5
_PROBABLY = "probably a placeholder set by a program"
_FEW = 4  # images, too few to tell
_HOW = "specify the patients with --group-regex or with the column group of a --labels file"


@dataclass(frozen=True)
class Groups:
    """The patient of every image.

    Attributes:
        source: A named pattern (``kermany``, ``nih``, ...), ``dicom``, ``regex``, ``csv``,
            ``split file`` or ``none``.
        keys: One per image, in their order; an image of an unknown patient has its own path.
        warnings: Plain sentences.
    """

    source: str
    keys: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def find_groups(
    files: Sequence[str],
    *,
    given: Sequence[str] = (),
    regex: str | None = None,
    patients: Sequence[str] = (),
) -> Groups:
    """Return the patient of every image, from the most reliable source available.

    In this order: the regular expression; the group column of a labels file; PatientID, if at
    least 95 % of the files have one; the named pattern that matches at least 95 % of the paths;
    PatientID of fewer files. Images without a patient count as patients of their own.

    A DICOM patient is named after the first file that shows them: this hides the hash, and the
    names do not change from run to run.

    Args:
        files: Paths relative to the root of the data set, at least one.
        given: The group column of the labels file, one per file, or empty.
        regex: Expression to search for in the paths; its group ``patient``, else its first group,
            is the patient.
        patients: Hashed PatientID of DICOM files, one per file, empty where unknown; or empty.

    Raises:
        ConfigError: ``regex`` is not valid or has no group.
        DataError: ``regex`` matches fewer than 95 % of the paths.
    """
    if regex is not None:
        return _by_regex(files, regex)
    if any(given):
        return _filled("csv", files, given)
    same = _most_have_one(patients)
    doubt = f"PatientID does not distinguish patients: {same}, {_PROBABLY}." if same else ""
    dicom = [] if same else _by_first_file(files, patients)
    if found := _by_file(files, dicom):
        return found
    warning = (
        "Patients unknown: the file names do not identify which images show the same patient, so "
        "every image counts as a patient of its own. If some patients have several images, "
        f"the figures are too optimistic; {_HOW}."
    )
    return Groups("none", tuple(files), (doubt, warning) if doubt else (warning,))


def find_new_groups(
    files: Sequence[str],
    *,
    regex: str | None = None,
    searched: Sequence[str] = (),
    patients: Sequence[str] = (),
) -> Groups:
    """Return the patient of images to predict, which may be few, and all of one patient.

    As ``find_groups``, but an image that the expression does not match stands alone, and a
    PatientID that most files have is believed, with a warning.

    Args:
        files: Paths, at least one.
        regex: As for ``find_groups``.
        searched: What ``regex`` searches, one per file, such as paths relative to a folder; the
            files themselves if empty.
        patients: As for ``find_groups``.

    Raises:
        ConfigError: ``regex`` is not valid or has no group.
    """
    if regex is not None:
        return _filled("regex", files, _searched(searched or files, _compiled(regex)))
    keys = _by_first_file(files, patients) or [""] * len(files)
    found = _by_file(files, keys) or _filled("none", files, keys)
    if found.source != "dicom" or not (same := _most_have_one(patients)):
        return found
    warning = (
        f"PatientID: {same} and count as images of one patient. If it is a placeholder set by a "
        "program, predict each patient by itself."
    )
    return Groups("dicom", found.keys, (*found.warnings, warning))


def check_known(entries: Iterable[Entry]) -> None:
    """Raise ``DataError`` where no two images are known to show the same patient."""
    if all(entry.group in ("", entry.file) for entry in entries):
        raise DataError(
            "--unit patient needs patients with several images, and no two of these images are "
            f"known to show the same patient. If some do, {_HOW}; else leave out --unit."
        )


def _by_file(files: Sequence[str], dicom: Sequence[str]) -> Groups | None:
    """Return the patients by PatientID or by names of files; ``None`` where none is known."""
    if dicom and _share(dicom) >= _ENOUGH:
        return _filled("dicom", files, dicom)
    stems = [str(PurePosixPath(file).with_suffix("")) for file in files]
    for source, pattern in _PATTERNS.items():
        keys = _matched(stems, pattern)
        if _share(keys) >= _ENOUGH:
            return _filled(source, files, keys)
    return _filled("dicom", files, dicom) if any(dicom) else None


def _by_first_file(files: Sequence[str], patients: Sequence[str]) -> list[str]:
    """Return a name for the patient of each image, empty if unknown; nothing if all are."""
    first: dict[str, str] = {}
    for file, patient in zip(files, patients, strict=False):
        first.setdefault(patient, file)
    return [first[patient] if patient else "" for patient in patients] if any(patients) else []


def _most_have_one(patients: Sequence[str]) -> str:
    """Say that most DICOM files have the same PatientID; empty if they do not, or are too few."""
    counts = Counter(filter(None, patients))
    ((_, most),) = counts.most_common(1) or (("", 0),)
    if most <= _MOST_OF_ONE * counts.total() or most < _FEW:
        return ""
    return f"{most:,} of {counts.total():,} DICOM files have the same one"


def _matched(stems: Iterable[str], pattern: re.Pattern[str]) -> list[str]:
    return [found[1] if (found := pattern.fullmatch(stem)) else "" for stem in stems]


def _share(keys: Sequence[str]) -> float:
    return sum(map(bool, keys)) / len(keys)


def _by_regex(files: Sequence[str], regex: str) -> Groups:
    keys = _searched(files, _compiled(regex))
    if _share(keys) < _ENOUGH:
        raise DataError(
            f"--group-regex {regex!r} finds a patient in {_share(keys):.1%} of the paths; at least "
            f"{_ENOUGH:.0%} are needed. It does not match, for example, {_alone(files, keys)[0]}."
        )
    return _filled("regex", files, keys)


def _compiled(regex: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(
            f"--group-regex is not a valid regular expression ({error}). Received: {regex!r}"
        ) from error
    if not pattern.groups:
        raise ConfigError(
            "--group-regex needs a group in parentheses around the patient, "
            f"as in '(patient[0-9]+)_'. Received: {regex!r}"
        )
    return pattern


def _searched(files: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    which = pattern.groupindex.get("patient", 1)
    return [(found[which] or "") if (found := pattern.search(file)) else "" for file in files]


def _alone(files: Sequence[str], keys: Sequence[str]) -> list[str]:
    return [file for file, key in zip(files, keys, strict=True) if not key]


def _filled(source: str, files: Sequence[str], keys: Sequence[str]) -> Groups:
    """Let images without a patient stand alone, and warn how many there are."""
    alone = _alone(files, keys)
    same: dict[str, str] = {}  # one text per patient, not one per image
    filled = tuple(
        same.setdefault(key, key) if key else file for file, key in zip(files, keys, strict=True)
    )
    if not alone:
        return Groups(source, filled)
    warning = (
        f"No patient is known for {len(alone):,} of {len(files):,} images ({listed(alone)}): "
        "each of them counts as a patient of its own."
    )
    return Groups(source, filled, (warning,))
