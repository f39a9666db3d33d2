"""``evaluation.json``: written, read, and computed again from the other files of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from lucency.classifier import Classifier
from lucency.errors import DataError, RunError
from lucency.evaluation.attributes import read_subgroups
from lucency.evaluation.measure import evaluate_found
from lucency.evaluation.predictions import Predictions, read_predictions
from lucency.evaluation.result import Evaluation
from lucency.io import read_json, why, write_text

FORMAT = 1


def write_evaluation(
    path: Path, validation: Evaluation | None = None, test: Evaluation | None = None
) -> None:
    """Write ``evaluation.json``.

    Args:
        path: The file; its folder exists.
        validation: The figures that choices were made by.
        test: The figures of images that were never used for a choice.

    Raises:
        RunError: The file cannot be written; what was there stays.
        DataError: Neither split is given.
    """
    document = _document(validation, test)
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def _document(validation: Evaluation | None, test: Evaluation | None) -> dict[str, Any]:
    parts = {"validation": validation, "test": test}
    given = [part for part in parts.values() if part is not None]
    if not given:
        raise DataError("Nothing to write: neither validation nor test was evaluated.")
    return {
        "format": FORMAT,
        "classes": list(given[0].classes),
        "positive": given[0].positive,
        **{name: part and part.to_json() for name, part in parts.items()},
    }


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read ``evaluation.json`` as the plain document that it is.

    Args:
        path: The file.

    Returns:
        "format", "classes", "positive", "validation" and "test", the last two a part or None.

    Raises:
        RunError: The file is missing, damaged or of another format.
    """
    again = "Evaluate the classifier again to make it anew."
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise RunError(f"There is no {path}. Give the folder of a training run.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {why(error)}. {again}") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT or not {"classes", "positive", "validation", "test"} <= document.keys():
        raise RunError(
            f"{path} is not an evaluation of format {FORMAT}. Received: format {found}. {again}"
        )
    return dict(document)


def again(run: Path) -> dict[str, Any]:
    """Compute the content of ``evaluation.json`` again from the other files of a run folder.

    Args:
        run: With ``predictions.csv``, the classifier, ``plan.json`` and perhaps ``subgroups.csv``.

    Returns:
        The document, from nothing that stands in ``evaluation.json``.

    Raises:
        RunError: A file is missing or damaged.
        ClassifierError: The classifier is.
    """
    classifier = Classifier.load(run)
    parts = {part.split: part for part in read_predictions(run / "predictions.csv")}
    prevalence = _stated_prevalence(run / "plan.json")
    measured = {
        name: evaluate_found(
            classifier, part, prevalence=prevalence, attributes=stated_attributes(run, part)
        )
        for name, part in parts.items()
    }
    return _document(measured.get("val"), measured.get("test"))


def stated_attributes(run: Path, part: Predictions) -> dict[str, list[str]] | None:
    """Return the attributes that a run was given for subgroups, or None."""
    file = run / "subgroups.csv"
    if not os.path.lexists(file):
        return None
    return read_subgroups(file, part.files, follow=False)


def _stated_prevalence(file: Path) -> float | None:
    try:
        value = read_json(file)["config"].get("prevalence")
        return None if value is None else float(value)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"Cannot read {file} ({error}). Give the folder of a training run."
        ) from error
