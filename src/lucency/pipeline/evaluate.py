"""Put a classifier to the test: note the look in the ledger, predict, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lucency.calibration import operating_point
from lucency.classifier import Classifier
from lucency.comparison import Comparison
from lucency.config import Config
from lucency.dataset import Split, load_labelled
from lucency.errors import ConfigError, RunError
from lucency.evaluation import (
    Evaluation,
    Predictions,
    class_prior,
    evaluate_found,
    predict,
    read_predictions,
    read_subgroups,
    stated_attributes,
)
from lucency.evaluation.ledger import LedgerEntries, What, read_split, record, test_set_id
from lucency.progress import SILENT, Progress


@dataclass(frozen=True)
class Examined:
    """What an examination came to.

    Attributes:
        title: What was measured, for people.
        evaluation: Its figures.
        looks: All looks at these images, this one last; ``None`` for validation, where looking
            costs nothing.
    """

    title: str
    evaluation: Evaluation
    test_evaluations: LedgerEntries | None


def examine(
    run: Path,
    folder: Path | None,
    terms: Config,
    *,
    choose: bool = False,
    progress: Progress = SILENT,
) -> Examined:
    """Measure the classifier of a run, on its own test part or on images from elsewhere.

    Args:
        run: The run folder; nothing in it is changed.
        folder: Labelled images; the run's predictions of its own test part if none.
        terms: Operating point, prevalence, subgroups and cache.
        choose: Whether to choose the threshold anew, by the terms' rule on the run's validation.
        progress: Hears of every step.

    Raises:
        LucencyError: Anything a user can put right, such as a rule that validation cannot reach.
    """
    classifier = Classifier.load(run)
    if terms.prevalence is not None:
        class_prior(terms.prevalence, classifier.classes, classifier.positive)  # refuse early
    if choose:
        choose_threshold(classifier, run, terms)
    if folder is None:
        found = read_predictions(run / "predictions.csv")[-1]
        test_evaluations = _record_own(classifier, run, found, progress)
        title = f"{found.split.capitalize()}: {len(found.files):,} images"
    else:
        split = _load(classifier, folder, terms, progress)
        test_evaluations = record_test_evaluation(
            classifier, content_of(split), "evaluate", run.name, progress
        )
        found = predict(classifier, split, progress)
        title = f"{folder}: {len(found.files):,} images"
    attributes = stated_attributes(run, found) if folder is None else None
    if terms.subgroups:
        attributes = read_subgroups(Path(terms.subgroups), found.files)
    evaluation = evaluate_found(
        classifier, found, prevalence=terms.prevalence, attributes=attributes
    )
    return Examined(title, evaluation, test_evaluations)


def choose_threshold(classifier: Classifier, run: Path, terms: Config) -> None:
    """Give a classifier the threshold that a rule finds on the validation of its run.

    Raises:
        ConfigError: There is no class to look for, or validation cannot reach the rule.
        RunError: The run has no predictions of validation.
    """
    rule = operating_point.parse(terms.operating_point)
    if classifier.positive is None:
        raise ConfigError(
            "--operating-point needs two classes, one of them looked for; this classifier has "
            f"{len(classifier.classes)}."
        )
    splits = {split.split: split for split in read_predictions(run / "predictions.csv")}
    if "val" not in splits:
        raise RunError(f"{run / 'predictions.csv'} has no validation to choose a threshold on.")
    val, k = splits["val"], classifier.classes.index(classifier.positive)
    point = operating_point.choose(rule, val.probabilities[:, k], val.labels == k, terms.prevalence)
    classifier.spec = dataclasses.replace(
        classifier.spec, threshold=point.threshold, rule=point.rule, chosen=point.rates()
    )


def content_of(split: Split) -> list[tuple[str, str]]:
    """Return checksum and class of each image of a split, which tell the ledger what it is."""
    hashes = (split.store.sha256[row] for row in split.rows)
    return [(sha256, split.classes[k]) for sha256, k in zip(hashes, split.labels, strict=True)]


def record_test_evaluation(
    classifier: Classifier,
    content: Iterable[tuple[str, str]],
    what: What,
    run: str,
    progress: Progress,
) -> LedgerEntries:
    """Write a look at test images into the ledger, before any figure of them is known."""
    pairs = list(content)
    return record(
        test_set_id(pairs), len(pairs), what,
        classifier=classifier.fingerprint, run=run, progress=progress,
    )  # fmt: skip


def record_comparison(found: Comparison, progress: Progress) -> None:
    """Write a look for each classifier of a comparison into the ledger."""
    if found.test_set is None or found.split != "test":
        return
    for system in found.systems:
        for run, classifier in zip(system.runs, system.classifiers, strict=True):
            record(
                found.test_set, found.n, "compare",
                classifier=classifier, run=run, progress=progress,
            )  # fmt: skip


def _record_own(
    classifier: Classifier, run: Path, found: Predictions, progress: Progress
) -> LedgerEntries | None:
    if found.split != "test":
        return None
    entries = read_split(run / "split.csv")
    tested = [(entry.sha256, entry.label) for entry in entries if entry.split == "test"]
    return record_test_evaluation(classifier, tested, "evaluate", run.name, progress)


def _load(classifier: Classifier, folder: Path, terms: Config, progress: Progress) -> Split:
    spec = classifier.spec
    return load_labelled(
        folder, spec.classes, Config(cache=terms.cache), size=spec.size,
        colour=spec.channels == 3, progress=progress,
    )  # fmt: skip
