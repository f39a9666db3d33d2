"""The leak check: no image and no patient of the test split may be in train or validation.

Only train and validation images are ever excluded; a given test split is kept as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lucency.config import OnLeak
from lucency.dataset.duplicates import Match, best_matches, join_groups, label_conflicts
from lucency.dataset.entry import Entry, counted, listed
from lucency.dataset.near_duplicates import NearDuplicate

# Beyond this share the rule that identifies patients is more likely wrong than the folders.
_MOST_EXCLUDED = 0.20

Status = Literal["passed", "failed", "dropped", "ignored", "no test split"]


@dataclass(frozen=True)
class Leaks:
    """What of the test split was found in train and validation.

    Attributes:
        status: ``passed`` (nothing was found), ``dropped`` (it was excluded from train and
            validation), ``ignored`` (it stays, as requested), ``failed`` (the user has to decide,
            or patients stay because their rule looks wrong) or ``no test split``.
        pairs: A test image and a copy of it, exact or near, one pair per copy.
        patients: Patient -> number of images in test and elsewhere, copies not counted.
        doubtful: Whether so many images share patients that their rule is probably wrong.
    """

    status: Status
    pairs: tuple[Match, ...] = ()
    patients: dict[str, dict[str, int]] = field(default_factory=dict)
    doubtful: bool = False

    @property
    def found(self) -> bool:
        """Whether anything of the test split is elsewhere."""
        return bool(self.pairs or self.patients)

    @property
    def message(self) -> str:
        """What leaks and what to do about it, in one line."""
        doubt = (
            " So many may mean that the rule that identifies patients is wrong: check it with "
            "--group-regex or the column group of --labels."
        )
        return (
            f"The test split leaks into train or validation, which have {self.summary}. Its "
            f"figures would be too optimistic.{doubt if self.doubtful else ''} Continue with "
            "--on-leak drop (they are excluded from train and validation, never from test) or "
            "with --on-leak ignore (they stay, and the test figures are invalid)."
        )

    @property
    def summary(self) -> str:
        """The leaking copies and patients in a few words; empty where there are none."""
        return " and ".join(filter(None, (_copies_summary(self.pairs), self.patients_summary)))

    @property
    def patients_summary(self) -> str:
        """The shared patients in a few words; empty where there are none."""
        if not self.patients:
            return ""
        names = counted(len(self.patients), "patient")
        images = counted(self.elsewhere, "image")
        return f"{images} of {names} who are in test ({listed(list(self.patients))})"

    @property
    def elsewhere(self) -> int:
        """Images outside test of patients who are in test."""
        return sum(counts["elsewhere"] for counts in self.patients.values())

    def to_json(self) -> dict[str, Any]:
        """Return ``leaks`` of ``audit.json``."""
        pairs = [pair.to_json() for pair in self.pairs]
        return {"status": self.status, "pairs": pairs, "patients": self.patients}


@dataclass(frozen=True)
class LeakCheck:
    """Images after the leak check.

    Attributes:
        entries: Those that are kept, in their order; duplicates share a group.
        excluded: Those that are not, with the reason.
        leaks: What was found.
        warnings: Plain sentences.
        notes: Plain sentences.
    """

    entries: tuple[Entry, ...]
    excluded: tuple[tuple[Entry, str], ...]
    leaks: Leaks
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def check_leaks(
    entries: Sequence[Entry], near: Sequence[NearDuplicate] = (), *, on_leak: OnLeak = "drop"
) -> LeakCheck:
    """Find copies and patients of the test split elsewhere, and copies with different labels.

    Args:
        entries: Images with group, content and, where it is given, split.
        near: All near duplicates among them.
        on_leak: ``ignore`` keeps what leaks. ``drop`` and ``stop`` exclude it; stopping is up to
            the caller.
    """
    tested = [entry for entry in entries if entry.split == "test"]
    others = [entry for entry in entries if entry.split != "test"]
    copied = best_matches(others, tested, near)
    rest = [entry for entry in others if entry.file not in copied]
    in_val = _train_in_val(rest, near)
    conflicts = label_conflicts(entry for entry in rest if entry.file not in in_val)
    rest = [entry for entry in rest if entry.file not in in_val.keys() | conflicts.keys()]
    shared = _shared_patients(rest, tested)
    doubtful = sum(each["elsewhere"] for each in shared.values()) > _MOST_EXCLUDED * len(rest)
    status = _status(entries, on_leak, leaking=bool(copied or shared), doubtful=doubtful)
    leaks = Leaks(status, tuple(copied.values()), shared, doubtful)
    excluded = {file: match.reason for file, match in in_val.items()} | conflicts
    if on_leak != "ignore":
        excluded |= {file: match.reason for file, match in copied.items()}
        if not doubtful:
            known = (entry.file for entry in rest if entry.group in shared)
            excluded |= dict.fromkeys(known, "patient also in test")
    kept = [entry for entry in entries if entry.file not in excluded]
    return LeakCheck(
        entries=tuple(join_groups(kept, near)),
        excluded=tuple((e, excluded[e.file]) for e in entries if e.file in excluded),
        leaks=leaks,
        warnings=(
            *_leak_warnings(leaks, on_leak, len(rest)),
            *_conflict_warnings(conflicts, tested),
        ),
        notes=(*_validation_notes(in_val), *_file_name_notes(tested, rest)),
    )


def _train_in_val(entries: Sequence[Entry], near: Sequence[NearDuplicate]) -> dict[str, Match]:
    train = [entry for entry in entries if entry.split == "train"]
    return best_matches(train, [entry for entry in entries if entry.split == "val"], near)


def _shared_patients(others: Sequence[Entry], tested: Sequence[Entry]) -> dict[str, dict[str, int]]:
    elsewhere = Counter(entry.group for entry in others)
    in_test = Counter(entry.group for entry in tested)
    shared = sorted(in_test.keys() & elsewhere.keys())
    return {group: {"test": in_test[group], "elsewhere": elsewhere[group]} for group in shared}


def _status(entries: Sequence[Entry], on_leak: OnLeak, *, leaking: bool, doubtful: bool) -> Status:
    splits = {entry.split for entry in entries}
    if "test" not in splits and "val" in splits:  # otherwise the test split is yet to be made
        return "no test split"
    if not leaking:
        return "passed"
    if on_leak == "ignore":
        return "ignored"
    return "failed" if on_leak == "stop" or doubtful else "dropped"


def _copies_summary(pairs: Sequence[Match]) -> str:
    if not pairs:
        return ""
    # Exact copies first, then by similarity: the clearest evidence.
    worst = sorted(pairs, key=lambda pair: (pair.kind != "identical", -pair.similarity))
    names = listed([f"{pair.second} is {pair.relation} {pair.first}" for pair in worst])
    return f"{counted(len(pairs), 'image')} copied from test ({names})"


def _leak_warnings(leaks: Leaks, on_leak: OnLeak, n: int) -> list[str]:
    """Return warnings about leaks that were closed or ignored."""
    if on_leak == "ignore" and leaks.found:
        return [
            "The figures of the test split are invalid: it leaks into train or validation, which "
            f"have {leaks.summary}, and on_leak=ignore kept them there."
        ]
    return [*_copy_warnings(leaks.pairs), *_patient_warnings(leaks, n)]


def _copy_warnings(pairs: Sequence[Match]) -> list[str]:
    warnings = []
    for what, some in (
        ("exact", [pair for pair in pairs if pair.kind == "identical"]),
        ("modified", [pair for pair in pairs if pair.kind != "identical"]),
    ):
        if some:
            warnings.append(
                f"Excluded as {what} copies of test images: {counted(len(some), 'image')} of "
                f"train or validation ({listed([pair.second for pair in some])}). A test split "
                "must not contain training images."
            )
    return warnings


def _patient_warnings(leaks: Leaks, n: int) -> list[str]:
    if not leaks.patients:
        return []
    names = list(leaks.patients)
    what = (
        f"The test split shares {counted(len(names), 'patient')} with train or validation "
        f"({listed(names)}), who have {leaks.elsewhere:,} of the {n:,} images there."
    )
    if leaks.doubtful:
        return [
            f"{what} So many may mean that the rule that identifies patients is wrong, so nothing "
            "was excluded. If the rule is right, the test figures are too optimistic: do not rely "
            "on them. Check the patients with --group-regex or the column group of --labels."
        ]
    return [f"{what} These were excluded; the test split is kept as given."]


def _conflict_warnings(conflicts: dict[str, str], tested: Sequence[Entry]) -> list[str]:
    warnings = []
    if conflicts:
        warnings.append(
            f"Excluded because of contradictory labels: {counted(len(conflicts), 'image')} "
            f"({listed(list(conflicts))}). Exactly the same image is in two classes, and the right "
            "one is unknown. Keep only the right one."
        )
    if names := list(label_conflicts(tested)):
        warnings.append(
            f"Contradictory labels in the test split: {counted(len(names), 'image')} "
            f"({listed(names)}). Exactly the same image is in two classes, so one label is "
            "wrong. The test split is kept as given."
        )
    return warnings


def _validation_notes(in_val: dict[str, Match]) -> list[str]:
    if not in_val:
        return []
    return [
        f"Excluded from train as copies of validation images: {counted(len(in_val), 'image')}"
        f" ({listed(list(in_val))}). Model selection on training images is too optimistic."
    ]


def _file_name_notes(tested: Iterable[Entry], others: Iterable[Entry]) -> list[str]:
    """Return a note on shared file names: cameras and exports restart their numbering."""
    here, there = ({each.file.rpartition("/")[2] for each in some} for some in (tested, others))
    if not (shared := sorted(here & there)):
        return []
    return [
        f"{counted(len(shared), 'file name')} of the test split also occur elsewhere "
        f"({listed(shared)}), with other images. A shared name alone is no leak."
    ]
