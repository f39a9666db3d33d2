"""The leak check: no image and no patient of the test part may be anywhere else.

Only train and val images ever leave; the given test part is kept as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from lucency.config import OnLeak
from lucency.dataset.duplicates import Match, best_matches, contradictions, with_shared_groups
from lucency.dataset.entry import Entry, counted, listed
from lucency.dataset.near_duplicates import Copy

# Beyond this share the rule that finds patients is more likely wrong than the folders.
_MOST_LEAVING = 0.20

Status = Literal["passed", "failed", "dropped", "ignored", "no test part"]


@dataclass(frozen=True)
class Leaks:
    """What of the test part was found in train and validation.

    Attributes:
        gate: ``passed`` (nothing), ``dropped`` (it left train and validation), ``ignored`` (it
            stays because that was asked for), ``failed`` (it is to be decided about, or patients
            stay because their rule looks wrong) or ``no test part``.
        pairs: A test image and a copy of it, exact or near, one pair per copy.
        patients: Patient -> images in test and elsewhere, copies not counted.
        doubtful: Whether so many images share patients that their rule is more likely wrong.
    """

    status: Status
    pairs: tuple[Match, ...] = ()
    patients: dict[str, dict[str, int]] = field(default_factory=dict)
    doubtful: bool = False

    @property
    def found(self) -> bool:
        """Whether anything of the test part is elsewhere."""
        return bool(self.pairs or self.patients)

    @property
    def complaint(self) -> str:
        """What leaks and how to go on, in one line."""
        what = [*filter(None, (_copies_told(self.pairs), self.patients_told))]
        doubt = (
            " So many may mean that the rule that finds patients is wrong: check it with "
            "--group-regex or the column group of --labels."
        )
        return (
            f"The test part leaks into train or validation, which have {' and '.join(what)}. Its "
            f"figures would be too good.{doubt if self.doubtful else ''} Go on with --on-leak drop "
            "(they leave train and validation, never test) or with --on-leak ignore (they stay, "
            "and the test figures are void)."
        )

    def to_json(self) -> dict[str, Any]:
        """Return what ``audit.json`` says of leaks."""
        pairs = [pair.to_json() for pair in self.pairs]
        return {"status": self.status, "pairs": pairs, "patients": self.patients}

    @property
    def elsewhere(self) -> int:
        """Images outside test of patients who are in test."""
        return sum(counts["elsewhere"] for counts in self.patients.values())

    @property
    def patients_told(self) -> str:
        """The shared patients in a few words; empty where there are none."""
        if not self.patients:
            return ""
        names = counted(len(self.patients), "patient")
        images = counted(self.elsewhere, "image")
        return f"{images} of {names} who are in test ({listed(list(self.patients))})"


@dataclass(frozen=True)
class Cleaned:
    """Images after the check.

    Attributes:
        entries: Those that stay, in their order; those that show the same share a group.
        leaving: Those that do not, with the reason.
        leaks: What was found.
        warnings: Plain sentences.
        notes: Plain sentences.
    """

    entries: tuple[Entry, ...]
    leaving: tuple[tuple[Entry, str], ...]
    leaks: Leaks
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def close_leaks(
    entries: Sequence[Entry], copies: Sequence[Copy] = (), *, on_leak: OnLeak = "drop"
) -> Cleaned:
    """Find copies and patients of the test part elsewhere, and contradictory copies.

    Args:
        entries: Images with group, content and, where it is given, part.
        copies: All near copies among them.
        on_leak: ``ignore`` leaves what belongs to test where it is. ``drop`` and ``stop`` set it
            aside; it is for the caller to stop.
    """
    tested = [entry for entry in entries if entry.split == "test"]
    others = [entry for entry in entries if entry.split != "test"]
    again = best_matches(others, tested, copies)
    rest = [entry for entry in others if entry.file not in again]
    doubled = _train_in_val(rest, copies)
    conflicts = contradictions(entry for entry in rest if entry.file not in doubled)
    rest = [entry for entry in rest if entry.file not in doubled.keys() | conflicts.keys()]
    shared = _patients(rest, tested)
    doubtful = sum(each["elsewhere"] for each in shared.values()) > _MOST_LEAVING * len(rest)
    status = _status(entries, on_leak, leaking=bool(again or shared), doubtful=doubtful)
    leaks = Leaks(status, tuple(again.values()), shared, doubtful)
    leaving = {file: match.reason for file, match in doubled.items()} | conflicts
    if on_leak != "ignore":
        leaving |= {file: match.reason for file, match in again.items()}
        if not doubtful:
            known = (entry.file for entry in rest if entry.group in shared)
            leaving |= dict.fromkeys(known, "patient also in test")
    staying = [entry for entry in entries if entry.file not in leaving]
    return Cleaned(
        entries=tuple(with_shared_groups(staying, copies)),
        leaving=tuple((entry, leaving[entry.file]) for entry in entries if entry.file in leaving),
        leaks=leaks,
        warnings=(*_told(leaks, on_leak, len(rest)), *_conflicts_told(conflicts, tested)),
        notes=(*_doubled_told(doubled), *_names_told(tested, rest)),
    )


def _train_in_val(entries: Sequence[Entry], copies: Sequence[Copy]) -> dict[str, Match]:
    train = [entry for entry in entries if entry.split == "train"]
    return best_matches(train, [entry for entry in entries if entry.split == "val"], copies)


def _patients(others: Sequence[Entry], tested: Sequence[Entry]) -> dict[str, dict[str, int]]:
    there = Counter(entry.group for entry in others)
    here = Counter(entry.group for entry in tested)
    shared = sorted(here.keys() & there.keys())
    return {group: {"test": here[group], "elsewhere": there[group]} for group in shared}


def _status(entries: Sequence[Entry], on_leak: OnLeak, *, leaking: bool, doubtful: bool) -> Status:
    splits = {entry.split for entry in entries}
    if "test" not in splits and "val" in splits:  # else the test part is cut from them
        return "no test part"
    if not leaking:
        return "passed"
    if on_leak == "ignore":
        return "ignored"
    return "failed" if on_leak == "stop" or doubtful else "dropped"


def _copies_told(pairs: Sequence[Match]) -> str:
    if not pairs:
        return ""
    # The exact ones first, then the most alike: what nobody can argue with.
    worst = sorted(pairs, key=lambda pair: (pair.kind != "identical", -pair.similarity))
    names = listed([f"{pair.second} is {pair.relation} {pair.first}" for pair in worst])
    return f"{counted(len(pairs), 'image')} there copied from test ({names})"


def _told(leaks: Leaks, on_leak: OnLeak, n: int) -> list[str]:
    """Return the warnings of leaks that were closed, or left open."""
    if on_leak == "ignore" and leaks.found:
        told = filter(None, (_copies_told(leaks.pairs), leaks.patients_told))
        return [
            f"The figures of the test part are void: it leaks into train or validation, which have "
            f"{' and '.join(told)}, and on_leak=ignore left them there."
        ]
    return [*_copies_warned(leaks.pairs), *_patients_warned(leaks, n)]


def _copies_warned(pairs: Sequence[Match]) -> list[str]:
    warnings = []
    for what, some in (
        ("exact", [pair for pair in pairs if pair.kind == "identical"]),
        ("changed", [pair for pair in pairs if pair.kind != "identical"]),
    ):
        if some:
            warnings.append(
                f"Set aside as {what} copies of test images: {counted(len(some), 'image')} of "
                f"the other parts ({listed([pair.second for pair in some])}). A test must not show "
                "what was trained on."
            )
    return warnings


def _patients_warned(leaks: Leaks, n: int) -> list[str]:
    if not leaks.patients:
        return []
    names = list(leaks.patients)
    what = (
        f"The test part shares {counted(len(names), 'patient')} with train or validation "
        f"({listed(names)}), who have {leaks.elsewhere:,} of the {n:,} images there."
    )
    if leaks.doubtful:
        return [
            f"{what} So many may mean that the rule that finds patients is wrong, so nothing was "
            "set aside. If the rule is right, the test figures come out too good: do not rely on "
            "them. Check the patients with --group-regex or the column group of --labels."
        ]
    return [f"{what} These were set aside; the test part is kept as it was given."]


def _conflicts_told(conflicts: dict[str, str], tested: Sequence[Entry]) -> list[str]:
    warnings = []
    if conflicts:
        warnings.append(
            f"Set aside because of contradictory labels: {counted(len(conflicts), 'image')} "
            f"({listed(list(conflicts))}). Exactly the same image is in two classes, and nobody "
            "can say which is right. Keep only the right one."
        )
    if names := list(contradictions(tested)):
        warnings.append(
            f"Contradictory labels in the test part: {counted(len(names), 'image')} "
            f"({listed(names)}). Exactly the same image is in two classes, so one label is "
            "wrong. The test part is kept as it was given."
        )
    return warnings


def _doubled_told(doubled: dict[str, Match]) -> list[str]:
    if not doubled:
        return []
    return [
        f"Set aside from train as copies of validation images: {counted(len(doubled), 'image')}"
        f" ({listed(list(doubled))}). Choices made on what was trained on are too hopeful."
    ]


def _names_told(tested: Iterable[Entry], others: Iterable[Entry]) -> list[str]:
    """Say how many names say nothing: cameras and exports number from 1 again and again."""
    here, there = ({PurePosixPath(each.file).name for each in some} for some in (tested, others))
    if not (same := sorted(here & there)):
        return []
    return [
        f"{counted(len(same), 'file name')} of the test part also occur elsewhere "
        f"({listed(same)}), with other images. A name alone is no leak."
    ]
