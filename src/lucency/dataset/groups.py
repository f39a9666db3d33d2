"""Find out which images belong to one patient, so that no patient is in two parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lucency.dataset.entry import listed
from lucency.errors import ConfigError, DataError

# Each is matched against the whole path without its suffix; the first group is the patient.
# Kermany et al. number patients per disease: person1_bacteria and person1_virus are two people,
# and a normal's key is the study (IM-0115, NORMAL2-IM-0115), which comes in up to 30 images.
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
# One patient with more of the images than this is more likely a stand-in for all of them.
_MOST_OF_ONE = 0.5
_FEW = 4  # images of which nothing can be said
_HOW = "give the patients with --group-regex or with the column group of a --labels file"


@dataclass(frozen=True)
class Groups:
    """Who the images belong to.

    Attributes:
        source: A named pattern (``kermany``, ``nih``, ...), ``dicom``, ``regex``, ``csv``,
            ``split file`` or ``none``.
        keys: One per image, in their order; an image of nobody known has its own path.
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
    """Give every image the patient it shows, by the best knowledge there is.

    An expression goes before the column of a labels file, that before what at least 95 % DICOM
    files say, and that before the named patterns. A named pattern counts where at least 95 % of the
    paths match; other images stand alone. Where no pattern does, fewer DICOM files will do.

    A patient of DICOM files is called by the first file that shows them: whose hash it is nobody
    needs to know, and the names do not change from run to run.

    Args:
        files: Paths relative to the root of the data set, at least one.
        given: The group column of the labels file, one per file, or nothing.
        regex: Expression searched for in the paths; its group ``patient``, else its first group,
            is the patient.
        patients: Hashed patients of DICOM files, one per file, empty where unknown; or nothing.

    Raises:
        ConfigError: ``regex`` is no valid expression or has no group.
        DataError: ``regex`` matches fewer than 95 % of the paths.
    """
    if regex is not None:
        return _by_regex(files, regex)
    if any(given):
        return _filled("csv", files, given)
    told, doubt = _by_first_file(files, patients)
    if told and _share(told) >= _ENOUGH:
        return _filled("dicom", files, told)
    stems = [str(PurePosixPath(file).with_suffix("")) for file in files]
    for source, pattern in _PATTERNS.items():
        keys = _matched(stems, pattern)
        if _share(keys) >= _ENOUGH:
            return _filled(source, files, keys)
    if any(told):
        return _filled("dicom", files, told)
    warning = (
        "Patients unknown: the file names do not tell which images show the same patient, so "
        "every image counts as a patient of its own. If some patients have several images, "
        f"the figures come out too good; {_HOW}."
    )
    return Groups("none", tuple(files), (*doubt, warning))


def _by_first_file(
    files: Sequence[str], patients: Sequence[str]
) -> tuple[list[str], tuple[str, ...]]:
    """Return a name for the patient of each image, empty if unknown, and doubts about them."""
    first: dict[str, str] = {}
    for file, patient in zip(files, patients, strict=False):
        first.setdefault(patient, file)
    counts = Counter(filter(None, patients))
    if not counts:
        return [], ()
    ((_, most),) = counts.most_common(1)
    if most <= _MOST_OF_ONE * counts.total() or most < _FEW:
        return [first[patient] if patient else "" for patient in patients], ()
    return [], (
        f"The DICOM files do not tell patients apart: {most:,} of {counts.total():,} have the same "
        "PatientID, as where a program has put one in the place of all.",
    )


def _matched(stems: Iterable[str], pattern: re.Pattern[str]) -> list[str]:
    return [found[1] if (found := pattern.fullmatch(stem)) else "" for stem in stems]


def _share(keys: Sequence[str]) -> float:
    return sum(map(bool, keys)) / len(keys)


def _by_regex(files: Sequence[str], regex: str) -> Groups:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(
            f"--group-regex is not a valid regular expression ({error}). Received: {regex!r}"
        ) from error
    if not pattern.groups:
        raise ConfigError(
            "--group-regex needs a group in round brackets around the patient, "
            f"as in '(patient[0-9]+)_'. Received: {regex!r}"
        )
    which = pattern.groupindex.get("patient", 1)
    keys = [(found[which] or "") if (found := pattern.search(file)) else "" for file in files]
    if _share(keys) < _ENOUGH:
        raise DataError(
            f"--group-regex {regex!r} finds a patient in {_share(keys):.1%} of the paths; at least "
            f"{_ENOUGH:.0%} are needed. It does not match, for example, {_alone(files, keys)[0]}."
        )
    return _filled("regex", files, keys)


def _alone(files: Sequence[str], keys: Sequence[str]) -> list[str]:
    return [file for file, key in zip(files, keys, strict=True) if not key]


def _filled(source: str, files: Sequence[str], keys: Sequence[str]) -> Groups:
    """Let images without a patient stand alone, and say how many there are."""
    alone = _alone(files, keys)
    filled = tuple(key or file for file, key in zip(files, keys, strict=True))
    if not alone:
        return Groups(source, filled)
    warning = (
        f"No patient is known for {len(alone):,} of {len(files):,} images ({listed(alone)}): "
        "each of them counts as a patient of its own."
    )
    return Groups(source, filled, (warning,))
