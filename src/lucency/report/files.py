"""A run folder read back: only files, nothing recomputed, nothing from outside the folder."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lucency.config import plural_of_unit
from lucency.dataset import read_split
from lucency.errors import RunError
from lucency.evaluation import Predictions, read_predictions
from lucency.io import read_bytes, why
from lucency.run_folder.files import (
    AUDIT,
    CHECKLIST,
    CLASSIFIER,
    EVALUATION,
    EXPLANATION,
    HISTORY,
    IMAGES,
    PLAN,
    PREDICTIONS,
    ROBUSTNESS,
    SPLIT,
    TEST_EVALUATIONS,
)

Json = dict[str, Any]

_LARGEST_PNG = 2_000_000  # bytes; a thumbnail has some ten thousand
_PNG = b"\x89PNG\r\n\x1a\n"


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
    """All that a report draws; ``shared_groups`` counts patients found in two splits or more."""

    folder: Path
    plan: Json
    evaluation: Json
    audit: Json | None
    classifier: Json | None
    history: list[dict[str, float | None]]
    predictions: tuple[Predictions, ...]
    images: list[Image]
    shared_groups: int | None
    robustness: Json | None = None
    test_evaluations: Json | None = None
    checklist: Json | None = None
    explanation: Json | None = None
    unit: str = "image"  # what the figures count

    @property
    def units(self) -> str:
        """The word for several of what the figures count."""
        return plural_of_unit(self.unit)

    @property
    def classes(self) -> list[str]:
        """The class names, in the order of every table."""
        return list(self.evaluation["classes"])

    @property
    def positive(self) -> str | None:
        """The positive class of two; None for more classes."""
        positive: str | None = self.evaluation.get("positive")
        return positive

    @property
    def splits(self) -> dict[str, Json]:
        """The evaluated splits: test, where there is one, then validation or all folds."""
        found = {name: self.evaluation.get(name) for name in ("test", "validation")}
        found["out-of-fold"] = self.evaluation.get("cross_validation")
        return {name: split for name, split in found.items() if split}

    @property
    def split_name(self) -> str:
        """The split whose figures count: "test", or, where there is none, the other."""
        return next(iter(self.splits))

    @property
    def chosen_on(self) -> str:
        """The split that choices were based on: "validation", or "out-of-fold" with folds."""
        return next((name for name in self.splits if name != "test"), "validation")

    @property
    def where_chosen(self) -> str:
        """Where choices were made, in words: "on validation" or "out of fold"."""
        return "on validation" if self.chosen_on == "validation" else "out of fold"

    @property
    def split(self) -> Json:
        """The figures of the split that counts."""
        return self.splits[self.split_name]

    @property
    def is_ordinal(self) -> bool:
        """Whether the classes are grades."""
        return bool(self.split.get("grades"))

    @property
    def is_multilabel(self) -> bool:
        """Whether an image may have several labels."""
        return bool(self.split.get("labels"))

    @property
    def is_regression(self) -> bool:
        """Whether the answer is a number."""
        return bool(self.split.get("values"))

    def at_label(self, name: str) -> Run:
        """Return the run with one of several labels as two classes, present and absent."""
        found = {
            key: split["labels"][name]
            for key in ("test", "validation", "cross_validation")
            if (split := self.evaluation.get(key))
        }
        first = next(iter(found.values()))
        two = {**found, "classes": first["classes"], "positive": name}
        return replace(self, evaluation=two, predictions=())

    @property
    def per_unit(self) -> Run:
        """The run with one answer for each unit; itself where only images have answers."""
        found = {
            key: split.get("per_unit")
            for key in ("test", "validation", "cross_validation")
            if (split := self.evaluation.get(key))
        }
        if None in found.values():
            return self
        unit = str(next(iter(found.values()))["unit"])
        return replace(self, evaluation={**self.evaluation, **found}, predictions=(), unit=unit)

    @property
    def at_cut(self) -> Run:
        """The run with grades as two classes, below the chosen grade and from it on.

        The run itself where no such grade was chosen.
        """
        found = {
            key: (split.get("grades") or {}).get("positive")
            for key in ("test", "validation", "cross_validation")
            if (split := self.evaluation.get(key))
        }
        first = next(iter(found.values()))
        if first is None:
            return self
        two = {**found, "classes": first["classes"], "positive": first["positive"]}
        return replace(self, evaluation=two, predictions=())

    def predictions_of(self, split: str) -> Predictions | None:
        """Return the predictions of one of ``splits``; None where there are none."""
        wanted = {"val", split} if split == "validation" else {split.replace("-", "_")}
        return next((each for each in self.predictions if each.split in wanted), None)


def read_run(folder: Path) -> Run:
    """Read the files of a run.

    Args:
        folder: A run folder with ``plan.json`` and ``evaluation.json``; other files may be missing.

    Raises:
        RunError: The folder is no finished run, or a file in it is damaged or of another format.
    """
    for file in (PLAN, EVALUATION):
        if not (folder / file).is_file():
            raise RunError(
                f"{folder} is not a finished run: {file} is missing. "
                "Give the folder that `lucency train` made."
            )
    evaluation = EVALUATION.read(folder)
    if not any(evaluation.get(name) for name in ("test", "validation", "cross_validation")):
        raise RunError(
            f"{folder / EVALUATION} holds no evaluation: expected 'test' or 'validation'. "
            "Evaluate the classifier again with `lucency evaluate`."
        )
    return Run(
        folder,
        PLAN.read(folder),
        evaluation,
        AUDIT.read_if_there(folder),
        CLASSIFIER.read_if_there(folder),
        _history(folder),
        read_predictions(folder / PREDICTIONS) if PREDICTIONS.is_in(folder) else (),
        _images(folder),
        _shared_groups(folder),
        ROBUSTNESS.read_if_there(folder),
        TEST_EVALUATIONS.read_if_there(folder),
        CHECKLIST.read_if_there(folder),
        EXPLANATION.read_if_there(folder),
    )


@dataclass(frozen=True)
class Check:
    """The files of a check of the data: its audit and images."""

    folder: Path
    audit: Json
    images: list[Image]


def read_check(folder: Path) -> Check:
    """Read the files of a check of the data.

    Args:
        folder: Holds ``audit.json`` and perhaps ``images/``.

    Raises:
        RunError: ``audit.json`` is missing, damaged or of another format.
    """
    if not (folder / AUDIT).is_file():
        raise RunError(
            f"{folder} holds no check of data: {AUDIT} is missing. "
            "Give the folder that `lucency check` or `lucency train` made."
        )
    return Check(folder, AUDIT.read(folder), _images(folder))


def number(value: object) -> float | None:
    """Return ``value`` as a finite float, or None where it is missing, empty or not finite."""
    if not isinstance(value, int | float | str) or value == "":
        return None
    parsed = float(value)
    return parsed if math.isfinite(parsed) else None


def _history(folder: Path) -> list[dict[str, float | None]]:
    if not HISTORY.is_in(folder):
        return []
    try:
        rows = HISTORY.rows(folder / HISTORY)
        return [{name: number(value) for name, value in row.items()} for row in rows]
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / HISTORY} is damaged: {why(error)}. Train again.") from error


def _images(folder: Path) -> list[Image]:
    if (folder / IMAGES).parent.is_symlink():
        raise RunError(
            f"{(folder / IMAGES).parent} is a symbolic link; expected the folder itself."
        )
    document = IMAGES.read_if_there(folder)
    keys = ("kind", "file", "png", "label", "split")
    return [
        Image(*(str(entry[key]) for key in keys)) for entry in (document or {}).get("images", ())
    ]


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


def _shared_groups(folder: Path) -> int | None:
    """Count the groups with images in more than one split; None without a list of the images."""
    if not SPLIT.is_in(folder):
        return None
    splits: Mapping[str, set[str]] = defaultdict(set)
    for entry in read_split(folder / SPLIT):
        splits[entry.group].add(entry.split)
    return sum(len(found) > 1 for found in splits.values())
