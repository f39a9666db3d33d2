"""A run folder read back: only files, nothing recomputed, nothing from outside the folder."""

from __future__ import annotations

import csv
import io
import math
import os
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lucency.errors import RunError
from lucency.io import read_bytes, read_json, read_table, why

Json = dict[str, Any]

_FORMAT = 1
_LARGEST_PNG = 2_000_000  # bytes; a thumbnail has some ten thousand
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Predictions:
    """``predictions.csv`` as columns: names, and probabilities (n, classes) in class order."""

    split: list[str]
    file: list[str]
    label: list[str]
    decision: list[str]
    p: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Image:
    """One entry of ``images/index.json``; ``png`` is the bare name of a file beside it."""

    kind: str
    file: str
    png: str
    label: str
    split: str


@dataclass(frozen=True)
class Run:
    """All that a report draws; ``shared_groups`` counts patients found in two parts or more."""

    folder: Path
    plan: Json
    evaluation: Json
    audit: Json | None
    classifier: Json | None
    history: list[dict[str, float | None]]
    predictions: Predictions | None
    images: list[Image]
    shared_groups: int | None
    robustness: Json | None = None
    test_evaluations: Json | None = None
    checklist: Json | None = None
    explanation: Json | None = None

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of every table."""
        return list(self.evaluation["classes"])

    @property
    def positive(self) -> str | None:
        """The class that is looked for, of two; None for more classes."""
        answer: str | None = self.evaluation.get("positive")
        return answer

    @property
    def parts(self) -> dict[str, Json]:
        """The evaluated splits, the one that counts first."""
        found = {name: self.evaluation.get(name) for name in ("test", "validation")}
        return {name: part for name, part in found.items() if part}


def read_run(folder: Path) -> Run:
    """Read what a run left behind.

    Args:
        folder: a run folder; ``plan.json`` and ``evaluation.json`` must be there, all else may
            be missing.

    Raises:
        RunError: the folder is no finished run, or a file in it is damaged or from a newer version.
    """
    for name in ("plan.json", "evaluation.json"):
        if not (folder / name).is_file():
            raise RunError(
                f"{folder} is not a finished run: {name} is not there. A run folder holds "
                "plan.json and evaluation.json; give the folder that `lucency train` made."
            )
    evaluation = _json(folder / "evaluation.json")
    if not evaluation.get("test") and not evaluation.get("validation"):
        raise RunError(
            f"{folder / 'evaluation.json'} holds no evaluation: expected 'test' or 'validation'. "
            "Make it again with `lucency evaluate`."
        )
    return Run(
        folder,
        _json(folder / "plan.json"),
        evaluation,
        _optional(folder / "audit.json"),
        _optional(folder / "classifier.json"),
        _history(folder / "history.csv"),
        _predictions(folder / "predictions.csv", evaluation["classes"]),
        _images(folder / "images" / "index.json"),
        _shared_groups(folder / "split.csv"),
        _optional(folder / "robustness.json"),
        _optional(folder / "test_evaluations.json"),
        _optional(folder / "checklist.json"),
        _optional(folder / "explanation.json"),
    )


@dataclass(frozen=True)
class Check:
    """What a look at the data alone left behind: its audit and images."""

    folder: Path
    audit: Json
    images: list[Image]


def read_check(folder: Path) -> Check:
    """Read what a look at the data left behind.

    Args:
        folder: holds ``audit.json`` and perhaps ``images/``.

    Raises:
        RunError: ``audit.json`` is missing, damaged or from a newer version.
    """
    path = folder / "audit.json"
    if not path.is_file():
        raise RunError(
            f"{folder} holds no check of data: audit.json is not there. "
            "Give the folder that a check or `lucency train` made."
        )
    return Check(folder, _json(path), _images(folder / "images" / "index.json"))


def _json(path: Path) -> Json:
    data = _parsed(path)
    if not isinstance(data, dict):
        raise RunError(f"{path} is damaged: expected a JSON object. Train or evaluate again.")
    version = data.get("format", _FORMAT)
    if version != _FORMAT:
        raise RunError(
            f"{path} has format {version!r}, this version of Lucency reads format {_FORMAT}. "
            "Draw the report with the version that made the run."
        )
    return data


def _parsed(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path} is damaged: expected JSON, {why(error)}. Train or evaluate again."
        ) from error


def _optional(path: Path) -> Json | None:
    return _json(path) if _there(path) else None


def _there(path: Path) -> bool:
    """Whether there is anything of this name, be it a link that leads nowhere."""
    return os.path.lexists(path)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table one by one; a missing file has none."""
    if not _there(path):
        return
    try:
        text = read_table(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {why(error)}. Train or evaluate again.") from error
    for row in csv.DictReader(io.StringIO(text, newline="")):
        if None in row or None in row.values():
            raise RunError(
                f"{path} is damaged: a row does not fit its header. Train or evaluate again."
            )
        yield row


def number(value: object) -> float | None:
    """Return ``value`` as a finite float, or None where it is missing, empty or not finite."""
    if not isinstance(value, int | float | str) or value == "":
        return None
    parsed = float(value)
    return parsed if math.isfinite(parsed) else None


def _history(path: Path) -> list[dict[str, float | None]]:
    return [{name: number(value) for name, value in row.items()} for row in _rows(path)]


def _predictions(path: Path, classes: list[str]) -> Predictions | None:
    if not _there(path):
        return None
    names: dict[str, list[str]] = {name: [] for name in ("split", "file", "label", "decision")}
    flat = array("d")
    for row in _rows(path):
        for name, column in names.items():
            column.append(row[name])
        flat.extend(float(row[f"p_{name}"]) for name in classes)
    p = np.frombuffer(flat, dtype=np.float64).reshape(-1, len(classes))
    return Predictions(names["split"], names["file"], names["label"], names["decision"], p)


def _images(path: Path) -> list[Image]:
    if path.parent.is_symlink():
        raise RunError(f"{path.parent} is a symbolic link; expected the folder itself.")
    if not _there(path):
        return []
    keys = ("kind", "file", "png", "label", "split")
    return [Image(*(str(entry[key]) for key in keys)) for entry in _parsed(path)]


def png_bytes(folder: Path, name: str) -> bytes | None:
    """Return an image of the run, or None where it is missing or is not what it should be.

    The folder may come from somebody else: only a PNG file of sensible size directly inside
    ``images`` is read, so that no other file of this computer ends up in the page.
    """
    home = (folder / "images").resolve()
    try:
        path = (home / name).resolve()
        if path.parent != home:
            return None
        data = read_bytes(path, _LARGEST_PNG)
    except (OSError, ValueError):  # ValueError: a name with a null byte
        return None
    return data if data.startswith(_PNG) else None


def _shared_groups(path: Path) -> int | None:
    """Count the groups with images in more than one part."""
    if not _there(path):
        return None
    parts: Mapping[str, set[str]] = defaultdict(set)
    for row in _rows(path):
        parts[row["group"]].add(row["split"])
    return sum(len(found) > 1 for found in parts.values())
