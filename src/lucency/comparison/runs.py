"""Read runs for a comparison: align their test images, recognise seeds of one system."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Spec
from lucency.classifier.stored_files import read_document
from lucency.comparison.paired import Outputs
from lucency.dataset import read_split
from lucency.dataset.multilabel import written
from lucency.errors import DataError, RunError
from lucency.evaluation import Predictions, read_predictions
from lucency.evaluation.ledger import test_set_id
from lucency.evaluation.predictions import decided, pooled
from lucency.io import read_json
from lucency.metrics import FloatArray, IntArray, cluster_numbers, positive_index
from lucency.run_folder.files import PLAN, PREDICTIONS, SPLIT
from lucency.task import CLASSES, Task, task_of

# Keys that repeats of one system may differ in: chance, the machine, and what is only reported.
_REPEAT_KEYS = frozenset(
    {
        *("seed", "cache", "workers", "on", "checkpoint_seconds", "track"),
        *("prevalence", "subgroups", "corruptions"),
    }
)


@dataclass(frozen=True)
class Run:
    """One run of a comparison.

    Attributes:
        name: Of the run.
        classifier: sha256 of its weights.
        seed: Of its training, where known.
        system: Its configuration without seed and machine; equal in repeats.
        positive: The positive class, or None.
        task: What it answers.
        spec: Of its classifier.
        keys: n test images: the sha256 of their bytes, or their file without a split.csv.
        predictions: Of these images, in the order of ``keys``.
    """

    name: str
    classifier: str
    seed: int | None
    system: str
    positive: str | None
    task: Task
    spec: Spec
    keys: tuple[str, ...]
    predictions: Predictions

    @property
    def outputs(self) -> Outputs:
        """Decisions and probabilities, and predicted numbers with their intervals."""
        found = self.predictions
        if (rule := self.spec.value_rule) is None:
            return Outputs(found.decisions, found.probabilities)
        intervals = rule.intervals(found.probabilities)
        return Outputs(found.decisions, found.probabilities, found.predicted, intervals)


@dataclass(frozen=True)
class Truth:
    """The test images of all compared runs.

    Attributes:
        classes: Class names in order; empty where numbers are predicted, whose bins may differ.
        positive: Index of the positive class, or None.
        labels: (n,) true class indices.
        values: (n,) true numbers, where these are predicted.
        cluster: (n,) number of the patient, from 0.
        known: Whether any patient is known.
        unit: What is compared: "image", or "patient" or another unit where all runs have answers
            for it.
        task: ``ordinal`` where one of the runs answers with grades, as all then have these
            classes; ``multilabel`` where all have several labels; ``regression`` where all answer
            with a number.
        test_set: Identity of the test set in the ledger; None where a split.csv is missing.
        images: Images of the test set.
        targets: Of several labels, (n, labels): 1 present, 0 absent, below 0 unknown. ``labels``
            are then zeros, and ``classes`` the names of the labels.
    """

    classes: tuple[str, ...]
    positive: int | None
    labels: IntArray
    values: FloatArray | None
    cluster: IntArray
    known: bool
    unit: str
    task: Task
    test_set: str | None
    images: int
    targets: NDArray[np.float32] | None = None

    @property
    def patients(self) -> int:
        """Number of patients."""
        return int(self.cluster.max(initial=-1)) + 1

    @property
    def clustered(self) -> bool:
        """Whether some patient has several images."""
        return self.patients < len(self.cluster)


def read_runs(folders: Sequence[Path], split: str) -> tuple[list[Run], Truth]:
    """Read runs that were evaluated on the same images.

    Args:
        folders: Two or more run folders.
        split: "test", "val" or "out_of_fold".

    Returns:
        The runs with their predictions in one order, and the true labels in that order.

    Raises:
        DataError: There are fewer than two, one is given twice, or they differ in images, classes,
            labels or patients; the message names the first difference.
        RunError: A file is missing or damaged.
        ClassifierError: ``classifier.json`` is missing or damaged.
    """
    if len(folders) < 2:
        raise DataError(f"A comparison needs two runs or more. Received: {len(folders)}.")
    names = _names(folders)
    hashed = all((folder / SPLIT).is_file() for folder in folders)
    read = [_read(*pair, split, hashed) for pair in zip(folders, names, strict=True)]
    runs = _in_one_order(read)
    seen: dict[str, str] = {}
    for run in runs:
        if run.classifier in seen:
            raise DataError(
                f"{seen[run.classifier]} and {run.name} hold the same classifier (equal sha256 of "
                "the weights). Give two different runs."
            )
        seen[run.classifier] = run.name
        _same_images(runs[0], run)
    task = _task(runs)
    test_set, images = _test_set(runs[0]) if hashed else None, len(runs[0].keys)
    units = {(run.spec.unit or {}).get("name", "image") for run in runs}
    unit = units.pop() if len(units) == 1 else "image"
    if unit != "image":
        runs = [_per_unit(run) for run in runs]
    return runs, _truth(runs[0], task, unit, test_set, images)


def _task(runs: Sequence[Run]) -> Task:
    special = (
        run.task
        for run in runs
        if run.task.is_ordinal or run.task.is_multilabel or run.task.is_regression
    )
    return next(special, CLASSES)


def _in_one_order(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with grades, or labels, in the order of the first run that has them."""
    ordered = (run for run in runs if run.task.is_ordinal or run.task.is_multilabel)
    order = next((run.predictions.classes for run in ordered), ())
    return [
        run
        if run.task.is_ordinal or sorted(run.predictions.classes) != sorted(order)
        else replace(run, predictions=_with_classes(run.predictions, order))
        for run in runs
    ]


def _with_classes(found: Predictions, order: tuple[str, ...]) -> Predictions:
    """Return predictions with the same classes, or labels, in another order."""
    places = np.array([order.index(name) for name in found.classes])
    if found.targets is not None:
        back = np.argsort(places)
        return replace(
            found,
            classes=order,
            decisions=found.decisions[:, back],
            probabilities=found.probabilities[:, back],
            targets=found.targets[:, back],
        )
    return replace(
        found,
        classes=order,
        labels=places[found.labels],
        decisions=places[found.decisions],
        probabilities=found.probabilities[:, np.argsort(places)],
    )


def _per_unit(run: Run) -> Run:
    """Return a run with one prediction for each unit, such as a patient."""
    rule, of_units = run.spec.unit_rule, run.spec.per_unit
    if rule is None or of_units is None:
        raise ValueError(f"{run.name} has answers for images only")
    found = pooled(_with_classes(run.predictions, of_units.classes), rule)
    made = _with_classes(decided(found, of_units), run.predictions.classes)
    return replace(run, spec=of_units, predictions=made)


def _test_set(run: Run) -> str:
    """Return the identity of the test images in the ledger."""
    return test_set_id(zip(run.keys, _truths(run.predictions), strict=True))


def _truth_word(run: Run) -> str:
    """Return what the truth of an image is."""
    if run.task.is_regression:
        return "number"
    return "list of labels" if run.task.is_multilabel else "class"


def _truths(found: Predictions) -> list[str]:
    """Return the true class of each image, its labels as in the ledger, or its number."""
    if found.targets is not None:
        return [written(found.classes, row) for row in found.targets]
    if found.values is not None:
        return [*map(repr, found.values.tolist())]
    return [found.classes[k] for k in found.labels]


def _names(folders: Sequence[Path]) -> list[str]:
    """Return the names of the folders, or their paths where two names are equal."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _read(folder: Path, name: str, split: str, hashed: bool) -> Run:
    document = read_document(folder)
    spec = Spec.from_json(document)
    splits = {each.split: each for each in read_predictions(folder / PREDICTIONS)}
    if split not in splits:
        raise DataError(
            f"{folder} has no {split} images in predictions.csv. Compare runs with a test split: "
            "choices were based on validation images."
        )
    found = splits[split]
    if found.classes != spec.classes:
        raise RunError(
            f"{folder}: predictions.csv and classifier.json have different classes. They come "
            "from different runs: restore them."
        )
    keys = _hashes(folder, found) if hashed else found.files
    names = _truths(found)
    order = sorted(range(len(keys)), key=lambda i: (keys[i], names[i], found.files[i]))
    weights = document.get("weights")
    return Run(
        name=name,
        classifier=str(weights.get("sha256")) if isinstance(weights, dict) else str(folder),
        **_system(folder),
        positive=spec.positive,
        task=task_of(spec.task),
        spec=spec,
        keys=tuple(keys[i] for i in order),
        predictions=_in_order(found, order),
    )


def _hashes(folder: Path, found: Predictions) -> tuple[str, ...]:
    known = {entry.file: entry.sha256 for entry in read_split(folder / SPLIT)}
    missing = [file for file in found.files if file not in known]
    if missing:
        raise RunError(
            f"{folder}: {missing[0]} is in predictions.csv and not in split.csv "
            f"({len(missing):,} such images). The files come from different runs: restore them."
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
        targets=None if found.targets is None else found.targets[order],
        values=None if found.values is None else found.values[order],
        predicted=None if found.predicted is None else found.predicted[order],
        units=tuple(found.units[i] for i in order) if found.units else (),
    )


def _system(folder: Path) -> dict[str, Any]:
    """Return the seed and system of a run; a run without plan.json is its own system."""
    path = folder / PLAN
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
    """Raise the first difference between the test images of two runs."""
    start = f"{first.name} and {other.name} cannot be compared: "
    if first.task.is_multilabel != other.task.is_multilabel:
        one = (first if other.task.is_multilabel else other).name
        raise DataError(
            f"{start}{one} answers with one class for each image, and the other with several "
            "labels. Compare runs with the same task."
        )
    numbers = [x.task.is_regression for x in (first, other)]
    if any(numbers) and not all(numbers):
        names = (first.name, other.name)
        of, with_ = names if numbers[0] else names[::-1]
        raise DataError(f"{start}{of} predicts a number, and {with_} does not.")
    if not any(numbers) and (first.predictions.classes, first.positive) != (
        other.predictions.classes,
        other.positive,
    ):
        received = [
            f"{', '.join(x.predictions.classes)} (positive: {x.positive})" for x in (first, other)
        ]
        raise DataError(f"{start}they have different classes. Received: {' and '.join(received)}.")
    if first.keys != other.keys:
        here, there = set(first.keys), set(other.keys)
        raise DataError(
            f"{start}they have different test images: of {len(first.keys):,} and "
            f"{len(other.keys):,}, {len(here & there):,} are shared. Evaluate both on one test "
            "set: train with the same --split-file or test folder."
        )
    rows = (first.predictions, other.predictions)
    columns = {
        _truth_word(first): [_truths(x) for x in rows],
        "patient": [list(x.groups) for x in rows],
    }
    if all(x.units for x in rows):
        columns["unit"] = [list(x.units) for x in rows]
    for what, (mine, theirs) in columns.items():
        wrong = [i for i, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1]]
        if wrong:
            i = wrong[0]
            raise DataError(
                f"{start}the {what} of {first.predictions.files[i]} is {mine[i]!r} in one and "
                f"{theirs[i]!r} in the other ({len(wrong):,} such images). Use the same labels "
                "and the same source of patients and units."
            )


def _truth(run: Run, task: Task, unit: str, test_set: str | None, images: int) -> Truth:
    found = run.predictions
    return Truth(
        classes=() if task.is_regression else found.classes,
        positive=positive_index(found.classes, run.positive),
        labels=found.labels,
        values=found.values,
        cluster=cluster_numbers(found.groups),
        known=any(found.groups),
        unit=unit,
        task=task,
        test_set=test_set,
        images=images,
        targets=found.targets,
    )
