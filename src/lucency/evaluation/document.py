"""``evaluation.json``: write, read, and recompute from the other files of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lucency.classifier import Classifier
from lucency.errors import DataError, RunError
from lucency.evaluation.attributes import read_subgroups
from lucency.evaluation.measure import evaluate_predictions
from lucency.evaluation.predictions import Predictions, read_predictions
from lucency.evaluation.result import Evaluation
from lucency.io import write_json
from lucency.run_folder.files import EVALUATION, FORMAT, PLAN, PREDICTIONS, SUBGROUPS, read_document


def write_evaluation(
    path: Path, validation: Evaluation | None = None, test: Evaluation | None = None
) -> None:
    """Write ``evaluation.json``.

    Args:
        path: The file; its folder exists.
        validation: The evaluation on validation images, which choices were based on.
        test: The evaluation on test images, which no choice was based on.

    Raises:
        RunError: The file cannot be written; an existing file is kept.
        DataError: Neither is given.
    """
    write_json(path, _document(validation, test))


def _document(validation: Evaluation | None, test: Evaluation | None) -> dict[str, Any]:
    splits = {"validation": validation, "test": test}
    given = [each for each in splits.values() if each is not None]
    if not given:
        raise DataError("Nothing to write: neither validation nor test was evaluated.")
    return {
        "format": FORMAT,
        "classes": list(given[0].classes),
        "positive": given[0].positive,
        **{name: each and each.to_json() for name, each in splits.items()},
    }


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read ``evaluation.json``.

    Args:
        path: The file.

    Returns:
        "format", "classes", "positive", "validation" and "test", the last two an object or None.

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
    prevalence = _stated_prevalence(run)
    evaluations = {
        name: evaluate_predictions(
            classifier, each, prevalence=prevalence, attributes=read_attributes(run, each)
        )
        for name, each in splits.items()
    }
    return _document(evaluations.get("val"), evaluations.get("test"))


def read_attributes(run: Path, predictions: Predictions) -> dict[str, list[str]] | None:
    """Read the attributes of ``subgroups.csv`` in a run folder; None without the file."""
    if not SUBGROUPS.is_in(run):
        return None
    return read_subgroups(run / SUBGROUPS, predictions.files, follow=False)


def _stated_prevalence(run: Path) -> float | None:
    try:
        value = PLAN.read(run)["config"].get("prevalence")
        return None if value is None else float(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"Cannot read {run / PLAN} ({error}). Give the folder of a training run."
        ) from error
