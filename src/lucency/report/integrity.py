"""Whether the parts are apart: the leak check, and images that are nearly the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lucency.report.files import Json, number
from lucency.report.images import Album
from lucency.report.wording import plural

_CARDS = 8  # pairs shown with their images
_LISTED = 200  # pairs named in the list behind them


@dataclass(frozen=True)
class Verdict:
    """A judgement: ``good``, ``warn`` or ``bad``, in one word and in a sentence."""

    level: str
    word: str
    says: str


_STATUS = {
    "passed": Verdict("good", "Passed", "No image of the test part, not even resized, mirrored "
        "or saved again, and no patient of it was found in the training or validation part."),
    "dropped": Verdict("warn", "Closed", "Copies or patients of the test part were found in the "
        "training or validation part. They left it, so the figures are free of them."),
    "failed": Verdict("bad", "Failed", "Copies or patients of the test part are in the training "
        "or validation part. Figures measured so would be void."),
    "ignored": Verdict("bad", "Ignored", "Copies or patients of the test part are in the training "
        "or validation part, and they were left there. The figures of the test part are void."),
    "no test part": Verdict("warn", "No test part", "Without a test part nothing can leak into "
        "it, and nothing is measured independently."),
}  # fmt: skip


_KINDS = {"exact": "equal files", "near": "nearly the same", "mirrored": "mirror image"}


@dataclass(frozen=True)
class Pair:
    """Two images that show the same thing: how alike, where each lies, whether labels differ."""

    files: tuple[str, str]
    parts: tuple[str, str]
    kind: str
    similarity: str
    conflict: bool
    images: tuple[str | None, str | None]


def verdict(audit: Json | None) -> Verdict | None:
    """Return what the leak check found; None where there was no check."""
    status = ((audit or {}).get("leaks") or {}).get("status")
    if status is None:
        return None
    unknown = Verdict("bad", str(status), "This verdict is not known to this version of Lucency.")
    return _STATUS.get(str(status), unknown)


def void(audit: Json | None) -> bool:
    """Return whether leaks were left in, so that the test figures mean nothing."""
    return ((audit or {}).get("leaks") or {}).get("status") == "ignored"


def status(audit: Json, album: Album) -> dict[str, Any] | None:
    """Return the verdict of the leak check with its pairs and patients; None without one."""
    found = verdict(audit)
    if found is None:
        return None
    leaks = audit["leaks"]
    patients = leaks.get("patients") or {}
    return {
        "verdict": found,
        "patients": _shared(patients),
        **_pairs(leaks.get("pairs") or [], album, "leak"),
    }


def _shared(patients: Mapping[str, int]) -> str:
    """Count the patients of the test part who are elsewhere too, and their images there."""
    if not patients:
        return ""
    has = "has" if len(patients) == 1 else "have"
    return (
        f"{plural(len(patients), 'patient')} of the test part also {has} "
        f"{plural(sum(patients.values()), 'image')} in the training or validation part."
    )


def near_duplicates(audit: Json, album: Album) -> dict[str, Any] | None:
    """Return pairs of used images that show the same; None where nobody looked."""
    found = audit.get("near_duplicates")
    return None if found is None else _pairs(found, album, "duplicate")


def _pairs(entries: Sequence[Json], album: Album, kind: str) -> dict[str, Any]:
    pairs = [_pair(entry, album, kind) for entry in entries[:_LISTED]]
    cards = [pair for pair in pairs if any(pair.images)][:_CARDS]
    return {
        "count": len(entries),
        "cards": cards,
        "listed": pairs,
        "more": len(entries) - len(pairs),
        "conflicts": sum(_differ(entry) for entry in entries),
    }


def _pair(entry: Json, album: Album, kind: str) -> Pair:
    files = (str(entry["first"]), str(entry["second"]))
    parts = entry.get("splits") or ["", ""]
    alike = number(entry.get("similarity"))
    return Pair(
        files,
        (_part(parts[0]), _part(parts[1])),
        _KINDS.get(str(entry.get("kind")), str(entry.get("kind") or "")),
        "" if alike is None else f"{alike:.3f}",
        _differ(entry),
        (album.image(kind, files[0]), album.image(kind, files[1])),
    )


def _differ(entry: Json) -> bool:
    return len(set(entry.get("labels") or [])) > 1


def _part(name: object) -> str:
    return {"val": "validation", "train": "training"}.get(str(name), str(name))
