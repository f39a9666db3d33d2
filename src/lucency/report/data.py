"""The data of a run or a check: counts, excluded files, leaks and near duplicates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lucency.plots import percent
from lucency.report.files import Json, number
from lucency.report.images import Album
from lucency.report.wording import Verdict, plural

_SHOWN = 20  # names shown of a longer list
_CARDS = 8  # pairs shown with their images
_LISTED = 200  # pairs named in the list behind them
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
_KINDS = {"exact": "same file", "near": "nearly the same", "mirrored": "mirror image"}
_LEAKS = {
    "passed": Verdict("good", "Passed", "No test image, resized, mirrored and re-encoded copies "
        "included, and no patient of the test split was found in training or validation."),
    "dropped": Verdict("warn", "Resolved", "Copies or patients of the test split were in training "
        "or validation. They were excluded there, so the figures are free of them."),
    "failed": Verdict("bad", "Failed", "Copies or patients of the test split are in training or "
        "validation. Test figures would be void."),
    "ignored": Verdict("bad", "Ignored", "Copies or patients of the test split are in training or "
        "validation and were kept there on request. The test figures are void."),
    "no test split": Verdict("warn", "No test split", "Without a test split nothing can leak into "
        "it, and nothing is measured independently."),
}  # fmt: skip


def contents(audit: Json | None) -> dict[str, Any] | None:
    """Return what was found, used and excluded; None without an audit."""
    if audit is None:
        return None
    pairs = audit.get("duplicates") or []
    return {
        "found": audit["found"],
        "used": audit["used"],
        "excluded": len(audit.get("excluded") or []),
        "reasons": _by_reason(audit.get("excluded") or []),
        "not_used": sum(int(each["images"]) for each in audit.get("not_used") or []),
        "folders": (audit.get("not_used") or [])[:_SHOWN],
        "more_folders": max(0, len(audit.get("not_used") or []) - _SHOWN),
        "ignored": _by_reason(audit.get("ignored") or []),
        "counts": counts(audit),
        "labels": label_counts(audit),
        "pairs": len(pairs),
        "duplicates": pairs[:_SHOWN],
        "notes": audit.get("notes") or [],
        "sizes": _sizes(audit),
    }


def _sizes(audit: Json) -> str:
    sizes, colour = audit.get("sizes"), colour_of(audit)
    if not sizes:
        return f"The images are {colour}." if colour else ""
    low, middle, high = (
        "×".join(f"{side:,}" for side in sizes[key]) for key in ("min", "median", "max")
    )
    span = f"all {low}" if low == high else f"{low} to {high} (median {middle})"
    return f"The images are {colour + ', ' if colour else ''}{span} pixels, height × width."


def colour_of(audit: Json | None) -> str:
    """Return "in colour" or "grey"; empty where it is not known."""
    known = (audit or {}).get("colour")
    return "" if known is None else "in colour" if known else "grey"


def class_names(audit: Json) -> list[str]:
    """Return the classes that have images, in the order of the tables."""
    return list(dict.fromkeys(name for split in audit["counts"].values() for name in split))


def counts(audit: Json) -> dict[str, Any]:
    """Return images per class and split with row and column sums, and patients per split."""
    table: dict[str, dict[str, int]] = audit["counts"]
    splits = [split for split in SPLIT_NAMES if table.get(split)]
    sums = [sum(table[split].values()) for split in splits]
    rows = []
    for name in class_names(audit):
        cells = [*zip((table[split].get(name, 0) for split in splits), sums, strict=True)]
        cells.append((sum(count for count, _ in cells), sum(sums)))
        rows.append([name, *(f"{n:,} ({percent(n / max(total, 1), total)})" for n, total in cells)])
    rows.append(["All", *(f"{total:,}" for total in (*sums, sum(sums)))])
    groups = audit.get("groups") or {}
    if groups.get("source") != "none" and (known := groups.get("counts")):
        rows.append(["Patients", *(known.get(split) for split in splits), ""])
    return {
        "splits": [SPLIT_NAMES[split].capitalize() for split in splits],
        "rows": rows,
        "source": groups.get("source"),
    }


def label_counts(audit: Json) -> list[list[str]]:
    """Return per label and split how many images have it, of those where it is known."""
    table: dict[str, dict[str, list[int]]] = audit.get("labels") or {}
    splits = [split for split in SPLIT_NAMES if table.get(split)]
    rows = []
    for name in dict.fromkeys(name for split in splits for name in table[split]):
        pairs = [table[split][name] for split in splits]
        pairs.append([sum(pair[k] for pair in pairs) for k in range(2)])
        rows.append([name, *(f"{n:,} of {known:,}" for n, known in pairs)])
    return rows


@dataclass(frozen=True)
class Reason:
    """Files excluded for one reason: how many, and the first of their names."""

    reason: str
    count: int
    files: list[str]


def _by_reason(entries: Iterable[Json]) -> list[Reason]:
    """Group files by the reason for their exclusion, the most frequent first."""
    files: dict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for entry in entries:
        files[str(entry["reason"])].append(str(entry["file"]))
        counts[str(entry["reason"])] += int(entry.get("files", 1))
    order = counts.most_common()
    return [Reason(reason, count, sorted(files[reason])[:_SHOWN]) for reason, count in order]


@dataclass(frozen=True)
class Pair:
    """Two images that show the same: similarity, the split of each, whether labels differ."""

    files: tuple[str, str]
    splits: tuple[str, str]
    kind: str
    similarity: str
    conflict: bool
    images: tuple[str | None, str | None]


def leak_verdict(audit: Json | None) -> Verdict | None:
    """Return the result of the leak check; None where there was no check."""
    status = ((audit or {}).get("leaks") or {}).get("status")
    if status is None:
        return None
    unknown = Verdict("bad", str(status), "This status is not known to this version of Lucency.")
    return _LEAKS.get(str(status), unknown)


def is_void(audit: Json | None) -> bool:
    """Return whether leaks were kept, so that the test figures mean nothing."""
    return ((audit or {}).get("leaks") or {}).get("status") == "ignored"


def leaks(audit: Json | None, album: Album) -> dict[str, Any] | None:
    """Return the result of the leak check with its pairs and patients; None without one."""
    verdict = leak_verdict(audit)
    if audit is None or verdict is None:
        return None
    found = audit["leaks"]
    return {
        "verdict": verdict,
        "patients": _shared(found.get("patients") or {}),
        **_pairs(found.get("pairs") or [], album, "leak"),
    }


def _shared(patients: Mapping[str, int]) -> str:
    """Count the patients of the test split who are elsewhere too, and their images there."""
    if not patients:
        return ""
    has = "has" if len(patients) == 1 else "have"
    return (
        f"{plural(len(patients), 'patient')} of the test split also {has} "
        f"{plural(sum(patients.values()), 'image')} in training or validation."
    )


def near_duplicates(audit: Json | None, album: Album) -> dict[str, Any] | None:
    """Return pairs of used images that show the same; None where they were not searched."""
    found = (audit or {}).get("near_duplicates")
    return None if found is None else _pairs(found, album, "duplicate")


def _pairs(entries: Sequence[Json], album: Album, kind: str) -> dict[str, Any]:
    pairs = [_pair(entry, album, kind) for entry in entries[:_LISTED]]
    return {
        "count": len(entries),
        "cards": [pair for pair in pairs if any(pair.images)][:_CARDS],
        "listed": pairs,
        "more": len(entries) - len(pairs),
        "conflicts": sum(_conflicts(entry) for entry in entries),
    }


def _pair(entry: Json, album: Album, kind: str) -> Pair:
    files = (str(entry["first"]), str(entry["second"]))
    first, second = (str(name) for name in entry.get("splits") or ["", ""])
    similarity = number(entry.get("similarity"))
    return Pair(
        files,
        (SPLIT_NAMES.get(first, first), SPLIT_NAMES.get(second, second)),
        _KINDS.get(str(entry.get("kind")), str(entry.get("kind") or "")),
        "" if similarity is None else f"{similarity:.3f}",
        _conflicts(entry),
        (album.image(kind, files[0]), album.image(kind, files[1])),
    )


def _conflicts(entry: Json) -> bool:
    return len(set(entry.get("labels") or [])) > 1
