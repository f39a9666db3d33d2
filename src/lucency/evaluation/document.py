"""``evaluation.json``: write, read, and recompute from the other files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lucency.classifier import Classifier
from lucency.config import column_of_folds
from lucency.dataset import read_folds
from lucency.errors import DataError, RunError
from lucency.evaluation.attributes import read_subgroups
from lucency.evaluation.cross_validation import OUT_OF_FOLD, CrossValidation, cross_validation
from lucency.evaluation.measure import evaluate_predictions
from lucency.evaluation.predictions import Predictions, read_predictions
from lucency.evaluation.result import Evaluation
from lucency.io import write_json
from lucency.run_folder.files import (
    EVALUATION,
    FOLDS,
    FORMAT,
    PLAN,
    PREDICTIONS,
    SUBGROUPS,
    read_document,
)


def write_evaluation(
    path: Path,
    validation: Evaluation | None = None,
    test: Evaluation | None = None,
    folds: CrossValidation | None = None,
) -> None:
    """Write ``evaluation.json``.

    Args:
        path: The file; its folder exists.
        validation: The evaluation on validation images, which choices were based on.
        test: The evaluation on test images, which no choice was based on.
        folds: With folds, the evaluation of the out-of-fold predictions in place of validation.

    Raises:
        RunError: The file cannot be written; an existing file is kept.
        DataError: None is given.
    """
    write_json(path, _document(validation, test, folds))


def _document(
    validation: Evaluation | None, test: Evaluation | None, folds: CrossValidation | None
) -> dict[str, Any]:
    splits = {"validation": validation, "test": test}
    all_folds = None if folds is None else folds.evaluation
    given = [each for each in (validation, test, all_folds) if each is not None]
    if not given:
        raise DataError("Nothing to write: neither validation nor test was evaluated.")
    document = {
        "format": FORMAT,
        "classes": list(given[0].classes),
        "positive": given[0].positive,
        **{name: each and each.to_json() for name, each in splits.items()},
    }
    return document | ({"cross_validation": folds.to_json()} if folds else {})


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read ``evaluation.json``.

    Args:
        path: The file.

    Returns:
        "format", "classes", "positive", "validation" and "test", the last two an object or None;
        with folds, also "cross_validation".

    Raises:
        RunError: The file is missing, damaged or of another format.
    """
    document = read_document(path, EVALUATION.largest)
    if missing := {"classes", "positive", "validation", "test"} - document.keys():
        raise RunError(f"{path} is not an evaluation: {min(missing)!r} is missing. Evaluate again.")
    return document


def recompute_evaluation(run: Path) -> dict[str, Any]:
    """Recompute the content of ``evaluation.json`` from the other files of a run folder.

    Args:
        run: Holds ``predictions.csv``, the classifier, ``plan.json``, optionally ``subgroups.csv``.

    Returns:
        The document; ``evaluation.json`` itself is not read.

    Raises:
        RunError: A file is missing or damaged.
        ClassifierError: The classifier is damaged.
    """
    classifier = Classifier.load(run)
    splits = {each.split: each for each in read_predictions(run / PREDICTIONS)}
    prevalence, column = _stated(run)
    evaluations = {
        name: evaluate_predictions(
            classifier, each, prevalence=prevalence, attributes=read_attributes(run, each)
        )
        for name, each in splits.items()
    }
    folds = None
    if found := splits.get(OUT_OF_FOLD):
        stored = read_folds(run / FOLDS)
        held_out = [stored.get(file, "") for file in found.files]
        folds = cross_validation(evaluations[OUT_OF_FOLD], found, held_out, column)
    return _document(evaluations.get("val"), evaluations.get("test"), folds)


def read_attributes(run: Path, predictions: Predictions) -> dict[str, list[str]] | None:
    """Read the attributes of ``subgroups.csv`` in a run folder; None without the file."""
    if not SUBGROUPS.is_in(run):
        return None
    return read_subgroups(run / SUBGROUPS, predictions.files, follow=False)


def _stated(run: Path) -> tuple[float | None, str]:
    """Return the stated prevalence, and the column that folds are made by, where there is one."""
    try:
        config = PLAN.read(run)["config"]
        value = config.get("prevalence")
        return None if value is None else float(value), column_of_folds(config.get("folds", 0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"Cannot read {run / PLAN} ({error}). Give the folder of a training run."
        ) from error
