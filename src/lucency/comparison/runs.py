"""Runs read for comparing: the same test images in the same order, and seeds of one system."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lucency.classifier import Spec
from lucency.classifier.stored_files import read_document
from lucency.comparison.paired import Outputs
from lucency.errors import DataError, RunError
from lucency.evaluation import Predictions, read_predictions
from lucency.evaluation.ledger import read_split, test_set_id
from lucency.io import read_json
from lucency.metrics import IntArray

# Keys that repeats of one system may differ in: chance, the machine, and what is only reported.
_REPEAT_KEYS = frozenset(
    {
        *("seed", "cache", "workers", "checkpoint_seconds", "track"),
        *("prevalence", "subgroups", "corruptions"),
    }
)


@dataclass(frozen=True)
class Run:
    """One run as far as comparing needs it.

    Attributes:
        name: Of the run.
        classifier: sha256 of its weights.
        seed: Of its training, where known.
        system: What it was made by, apart from seed and machine; runs with the same are repeats.
        positive: The class that is looked for, or None.
        keys: n test images: the sha256 of their bytes, or their file where no split.csv is there.
        found: Its predictions on them, in the order of ``keys``.
    """

    name: str
    classifier: str
    seed: int | None
    system: str
    positive: str | None
    keys: tuple[str, ...]
    found: Predictions

    @property
    def answers(self) -> Outputs:
        """What it said."""
        return Outputs(self.found.decisions, self.found.probabilities)


@dataclass(frozen=True)
class Truth:
    """What all compared runs were tested on.

    Attributes:
        classes: Class names in order.
        positive: Index of the positive class, or None.
        labels: (n,) true class indices.
        owner: (n,) number of the patient, from 0.
        known: Whether any patient is known.
        test_set: What the ledger knows the images by; None where a split.csv is missing.
    """

    classes: tuple[str, ...]
    positive: int | None
    labels: IntArray
    owner: IntArray
    known: bool
    test_set: str | None

    @property
    def patients(self) -> int:
        """How many there are."""
        return int(self.owner.max()) + 1

    @property
    def clustered(self) -> bool:
        """Whether some patient has several images."""
        return self.patients < len(self.owner)


def read_runs(folders: Sequence[Path], split: str) -> tuple[list[Run], Truth]:
    """Read runs that were tested on the same images.

    Args:
        folders: Two or more run folders.
        split: "test" or "val".

    Returns:
        The runs with their predictions in one common order, and the truth in that order.

    Raises:
        DataError: There are fewer than two, one is given twice, or they were tested on other
            images, classes, labels or patients; the message names the first difference.
        RunError: A file is missing or damaged.
        ClassifierError: ``classifier.json`` is missing or damaged.
    """
    if len(folders) < 2:
        raise DataError(f"Comparing needs two runs or more. Received: {len(folders)}.")
    names = _names(folders)
    hashed = all((folder / "split.csv").is_file() for folder in folders)
    runs = [_read(*pair, split, hashed) for pair in zip(folders, names, strict=True)]
    seen: dict[str, str] = {}
    for run in runs:
        if run.classifier in seen:
            raise DataError(
                f"{seen[run.classifier]} and {run.name} hold the same classifier (the weights have "
                "one sha256). Give runs that were trained apart."
            )
        seen[run.classifier] = run.name
        _same_images(runs[0], run)
    return runs, _truth(runs[0], hashed)


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' names, or their paths where two names are the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _read(folder: Path, name: str, split: str, hashed: bool) -> Run:
    document = read_document(folder)
    spec = Spec.from_json(document)
    parts = {part.split: part for part in read_predictions(folder / "predictions.csv")}
    if split not in parts:
        raise DataError(
            f"{folder} has no {split} part in predictions.csv. Compare runs that were tested; "
            "figures of validation are of images that choices were made by."
        )
    found = parts[split]
    if found.classes != spec.classes:
        raise RunError(
            f"{folder}: predictions.csv and classifier.json name other classes. They are of "
            "different runs: restore them."
        )
    keys = _hashes(folder, found) if hashed else found.files
    order = sorted(range(len(keys)), key=lambda i: (keys[i], found.labels[i], found.files[i]))
    weights = document.get("weights")
    return Run(
        name=name,
        classifier=str(weights.get("sha256")) if isinstance(weights, dict) else str(folder),
        **_system(folder),
        positive=spec.positive,
        keys=tuple(keys[i] for i in order),
        found=_in_order(found, order),
    )


def _hashes(folder: Path, found: Predictions) -> tuple[str, ...]:
    known = {entry.file: entry.sha256 for entry in read_split(folder / "split.csv")}
    missing = [file for file in found.files if file not in known]
    if missing:
        raise RunError(
            f"{folder}: {missing[0]} is in predictions.csv and not in split.csv "
            f"({len(missing):,} such images). The files are of different runs: restore them."
        )
    return tuple(known[file] for file in found.files)


def _in_order(found: Predictions, order: list[int]) -> Predictions:
    return replace(
        found,
        files=tuple(found.files[i] for i in order),
        groups=tuple(found.groups[i] for i in order),
        labels=found.labels[order],
        decisions=found.decisions[order],
        probabilities=found.probabilities[order],
        ood_scores=None if found.ood_scores is None else found.ood_scores[order],
    )


def _system(folder: Path) -> dict[str, Any]:
    """Return seed and system of a run; one without plan.json is a system of its own."""
    path = folder / "plan.json"
    try:
        plan = read_json(path)
        config = {key: value for key, value in plan["config"].items() if key not in _REPEAT_KEYS}
        version = plan["environment"]["lucency"]
        system = json.dumps([plan["recipe"], plan["effort"], version, config], sort_keys=True)
        return {"seed": plan["seed"], "system": system}
    except FileNotFoundError:
        return {"seed": None, "system": str(folder)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path} cannot be read as a plan ({type(error).__name__}: {error}). Restore it from "
            "the training run."
        ) from error


def _same_images(first: Run, other: Run) -> None:
    """Raise the first difference between what two runs were tested on."""
    said = f"{first.name} and {other.name} cannot be compared: "
    if (first.found.classes, first.positive) != (other.found.classes, other.positive):
        received = [
            f"{', '.join(x.found.classes)} (looking for {x.positive})" for x in (first, other)
        ]
        raise DataError(f"{said}they have other classes. Received: {' and '.join(received)}.")
    if first.keys != other.keys:
        here, there = set(first.keys), set(other.keys)
        raise DataError(
            f"{said}they were tested on other images: of {len(first.keys):,} and "
            f"{len(other.keys):,}, {len(here & there):,} are the same. Evaluate both on one test "
            "set: train with the same --split-file or test folder."
        )
    rows = (first.found, other.found)
    columns = {
        "class": [np.array(x.classes, object)[x.labels].tolist() for x in rows],
        "patient": [list(x.groups) for x in rows],
    }
    for what, (mine, theirs) in columns.items():
        wrong = [i for i, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1]]
        if wrong:
            i = wrong[0]
            raise DataError(
                f"{said}the {what} of {first.found.files[i]} is {mine[i]!r} in the one and "
                f"{theirs[i]!r} in the other ({len(wrong):,} such images). Use the same labels "
                "and the same way to tell patients."
            )


def _truth(run: Run, hashed: bool) -> Truth:
    classes = run.found.classes
    rows = zip(run.keys, (classes[k] for k in run.found.labels), strict=True)
    names = [name or i for i, name in enumerate(run.found.groups)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return Truth(
        classes=classes,
        positive=None if run.positive is None else classes.index(run.positive),
        labels=run.found.labels,
        owner=np.array([numbers[name] for name in names], np.int64),
        known=any(run.found.groups),
        test_set=test_set_id(rows) if hashed else None,
    )
