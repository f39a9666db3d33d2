"""The JSON files of a run folder, and safe ways to words from them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucency.errors import RunError
from lucency.metrics import decimals
from lucency.run_folder.files import (
    AUDIT,
    CLASSIFIER,
    EVALUATION,
    PLAN,
    ROBUSTNESS,
    TEST_EVALUATIONS,
)

_FILES = {
    "plan": PLAN,
    "classifier": CLASSIFIER,
    "evaluation": EVALUATION,
    "audit": AUDIT,
    "test_evaluations": TEST_EVALUATIONS,
    "robustness": ROBUSTNESS,
}
_LONGEST = 300  # characters of one name or sentence
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Documents:
    """The files of a run by their names without ``.json``; empty where there is none."""

    plan: Mapping[str, Any]
    classifier: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    audit: Mapping[str, Any]
    test_evaluations: Mapping[str, Any]
    robustness: Mapping[str, Any]


def read_documents(run: Path) -> Documents:
    """Read what there is in a run folder.

    Args:
        run: The folder.

    Raises:
        RunError: It is no folder, holds none of the files, or one is damaged or of another format.
    """
    found = {name: file.read_if_there(run) or {} for name, file in _FILES.items()}
    if not any(found.values()):
        raise RunError(
            f"{run} is no run folder: expected at least one of "
            f"{', '.join(map(str, _FILES.values()))}. Give the folder that `lucency train` made."
        )
    return Documents(**found)


def at(document: Any, *keys: str) -> Any:
    """Return what lies under these keys one after the other; None where nothing does."""
    for key in keys:
        if not isinstance(document, Mapping) or key not in document:
            return None
        document = document[key]
    return document


def items_of(document: Any, *keys: str) -> list[tuple[str, Any]]:
    """Return the pairs of the object under these keys; none where there is no object."""
    found = at(document, *keys)
    return [(str(key), value) for key, value in found.items()] if isinstance(found, Mapping) else []


def list_of(document: Any, *keys: str) -> list[Any]:
    """Return the list under these keys; empty where there is none."""
    found = at(document, *keys)
    return found if isinstance(found, list) else []


def one_line(value: object) -> str:
    """Return a text in one line without control characters or ones that turn its direction."""
    return " ".join(_CONTROL.sub(" ", str(value)).split())


def plain(value: object) -> str:
    """Return a text from the files in one line, cut off after 300 characters."""
    line = one_line(value)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def without_names(text: str) -> str:
    """Return a warning without the names of images and patients, which stand in parentheses.

    Text that could be part of a name with a parenthesis of its own is dropped too.
    """
    kept, depth = "", 0
    for sign in text:
        if sign == "(":
            kept = kept.rstrip() if not depth else kept
            depth += 1
        elif sign == ")" and depth:
            depth -= 1
        elif sign == ")":
            kept = ""
        elif not depth:
            kept += sign
    return kept.strip(" :,")


def number(value: object) -> float | None:
    """Return a finite number as such, and None for anything else."""
    sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if sound and isinstance(value, int | float) else None


def count(value: object) -> str | None:
    """Return a number of things with separators, such as 5,216; None where it is no number."""
    found = number(value)
    return None if found is None else f"{found:,.0f}"


def estimate(value: object, share: bool = False, *, in_unit: bool = False) -> str | None:
    """Return an estimate in words, such as "0.985 (95 % interval 0.974 to 0.996)".

    Args:
        value: An object with "value", "low", "high" and "method".
        share: As percentages with one digit, else with three decimals.
        in_unit: With three digits, whatever the size: the value has a unit of its own.

    Returns:
        None where it has no value.
    """
    value, low, high = (number(at(value, name)) for name in ("value", "low", "high"))

    known = (abs(x) for x in (value, low, high) if x is not None)
    places = decimals(max(known, default=0.0)) if in_unit else 3

    def written(x: float) -> str:
        return f"{100 * x:.1f}" if share else f"{x:.{places}f}"

    if value is None:
        return None
    unit = " %" if share else ""
    if low is None or high is None:
        return f"{written(value)}{unit} (no interval)"
    return f"{written(value)}{unit} (95 % interval {written(low)} to {written(high)})"


_SPECIAL = re.compile(r"([\\`*_\[\]|~#$])")


def escape(text: object) -> str:
    """Return a text that Markdown shows as it is: no HTML, links, emphasis, tables or headings."""
    line = one_line(text)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        line = line.replace(character, entity)
    line = _SPECIAL.sub(r"\\\1", line)
    # Bare addresses become links in some dialects.
    line = re.sub(r"(?i)(https?|ftp|mailto|javascript):", r"\1&#58;", line)
    return re.sub(r"(?i)\bwww\.", "www&#46;", line).replace("@", "&#64;")
