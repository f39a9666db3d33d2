"""What was found in the data: counts per class and part, and what was left out and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lucency.plots import percent
from lucency.report.files import Json

_SHOWN = 20  # names shown of a longer list


def contents(audit: Json | None) -> dict[str, Any] | None:
    """Return what was found, used and left out; None without an audit."""
    if audit is None:
        return None
    pairs = audit.get("duplicates") or []
    return {
        "found": audit["found"],
        "used": audit["used"],
        "excluded": len(audit.get("excluded") or []),
        "left_out": left_out(audit.get("excluded") or []),
        "ignored": left_out(audit.get("ignored") or []),
        "counts": counts(audit),
        "pairs": len(pairs),
        "duplicates": pairs[:_SHOWN],
        "notes": audit.get("notes") or [],
        "sizes": _sizes(audit),
    }


def _sizes(audit: Json) -> str:
    sizes = audit.get("sizes")
    colour = {True: "in colour", False: "grey"}.get(audit.get("colour"), "")  # type: ignore[arg-type]
    if not sizes:
        return f"The images are {colour}." if colour else ""
    low, middle, high = (
        "×".join(f"{side:,}" for side in sizes[key]) for key in ("min", "median", "max")
    )
    span = f"all {low}" if low == high else f"{low} to {high} (median {middle})"
    return f"The images are {colour + ', ' if colour else ''}{span} pixels, height × width."


def class_names(audit: Json) -> list[str]:
    """Return the classes that have images, in the order of the tables."""
    return list(dict.fromkeys(name for part in audit["counts"].values() for name in part))


def counts(audit: Json) -> dict[str, Any]:
    """Return images per class and part with row and column sums, and patients per part."""
    table: dict[str, dict[str, int]] = audit["counts"]
    parts = [part for part in ("train", "val", "test") if table.get(part)]
    classes = class_names(audit)
    sums = {part: sum(table[part].values()) for part in parts}
    rows = []
    for name in classes:
        cells = [(table[part].get(name, 0), sums[part]) for part in parts]
        cells.append((sum(count for count, _ in cells), sum(sums.values())))
        rows.append((name, [f"{n:,} ({percent(n / max(total, 1), total)})" for n, total in cells]))
    words = {"train": "Training", "val": "Validation", "test": "Test"}
    groups = audit.get("groups") or {}
    known = groups.get("counts") or {}
    return {
        "parts": [words[part] for part in parts],
        "rows": rows,
        "sums": [*sums.values(), sum(sums.values())],
        "patients": [known.get(part) for part in parts] if groups.get("source") != "none" else [],
        "source": groups.get("source"),
    }


@dataclass(frozen=True)
class Reason:
    """Files left out for one reason: how many, and the first of their names."""

    reason: str
    count: int
    files: list[str]


def left_out(entries: Iterable[Json]) -> list[Reason]:
    """Group files by the reason they were left out for, the most frequent first."""
    files: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        files[str(entry["reason"])].append(str(entry["file"]))
    order = Counter({reason: len(names) for reason, names in files.items()}).most_common()
    return [Reason(reason, count, sorted(files[reason])[:_SHOWN]) for reason, count in order]
