"""Evaluate a classifier: record the test-set evaluation in the ledger, predict, measure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lucency.calibration import operating_point
from lucency.calibration.units import UnitRule
from lucency.classifier import Classifier, Spec
from lucency.comparison import Comparison
from lucency.config import Config, column_of_unit
from lucency.dataset import Source, Split, load_labelled, read_split
from lucency.dataset.multilabel import UNCERTAIN, UNKNOWN, written
from lucency.errors import ConfigError, RunError
from lucency.evaluation import (
    OUT_OF_FOLD,
    Evaluation,
    Predictions,
    class_prior,
    evaluate_predictions,
    predict,
    read_attributes,
    read_predictions,
    read_subgroups,
)
from lucency.evaluation.labels import of_label
from lucency.evaluation.ledger import LedgerEntries, What, record, test_set_id
from lucency.evaluation.predictions import decided, pooled
from lucency.metrics import BoolArray, FloatArray
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import PREDICTIONS, SPLIT
from lucency.task import CLASSIFICATION, MULTILABEL, REGRESSION
from lucency.training.plan import BALANCED_LABEL


@dataclass(frozen=True)
class RunEvaluation:
    """The evaluation of a run.

    Attributes:
        title: The evaluated images, for people.
        evaluation: Its figures.
        test_evaluations: All evaluations of this test set, this one last; ``None`` for validation,
            which may be evaluated freely.
    """

    title: str
    evaluation: Evaluation
    test_evaluations: LedgerEntries | None


def evaluate_run(
    run: Path,
    folder: Source | None,
    config: Config,
    *,
    choose: bool = False,
    progress: Progress = SILENT,
) -> RunEvaluation:
    """Evaluate the classifier of a run on its test split or on other images.

    Args:
        run: The run folder, which stays unchanged.
        folder: Labelled images, in one folder or several. Default: the stored predictions of the
            run's test split.
        config: Operating point, prevalence, subgroups and cache.
        choose: Whether to choose a new threshold on the run's validation split, by the rule in
            ``config``.
        progress: Called on every step.

    Raises:
        LucencyError: Anything a user can fix, such as a rule that validation cannot meet.
    """
    classifier = Classifier.load(run)
    if folder is not None:
        config = _of_task(config, classifier.spec)
    if config.prevalence is not None and classifier.spec.labels:
        raise ConfigError(
            "--prevalence is the share of one class, and each of several labels has its own. Leave "
            "it out: the evaluation has predictive values of each label at several prevalences."
        )
    if config.prevalence is not None and classifier.spec.cut is None:
        class_prior(config.prevalence, classifier.classes, classifier.positive)  # fail early
    if choose:
        choose_threshold(classifier, run, config)
    if folder is None:
        found = read_predictions(run / PREDICTIONS)[-1]
        test_evaluations = _record_own(classifier, run, found, progress)
        title = f"{found.split.replace('_', ' ').capitalize()}: {len(found.files):,} images"
    else:
        split = _load(classifier, folder, config, progress)
        test_evaluations = record_test_evaluation(
            classifier, content_of(split), "evaluate", run.name, progress
        )
        found = predict(classifier, split, progress)
        where = [folder] if isinstance(folder, str | Path) else folder
        title = f"{', '.join(map(str, where))}: {len(found.files):,} images"
    attributes = read_attributes(run, found) if folder is None else None
    if config.subgroups:
        attributes = read_subgroups(Path(config.subgroups), found.files)
    evaluation = evaluate_predictions(
        classifier, found, prevalence=config.prevalence, attributes=attributes
    )
    return RunEvaluation(title, evaluation, test_evaluations)


def _of_task(config: Config, spec: Spec) -> Config:
    """Return the configuration with which the labels of other images are read."""
    if spec.value:
        name = config.label_column or spec.value["name"]
        return dataclasses.replace(config, task=REGRESSION, label_column=name)
    if bool(spec.labels) == (config.task == MULTILABEL):
        return config
    return dataclasses.replace(config, task=MULTILABEL if spec.labels else CLASSIFICATION)


def choose_threshold(classifier: Classifier, run: Path, config: Config) -> None:
    """Set a classifier's threshold by a rule on the validation split of its run, or its folds.

    Units that have an answer of their own, such as patients, get a threshold of their own, and so
    does each of several labels.

    Raises:
        ConfigError: There is no positive class and no grade from which on an image is positive, or
            validation cannot meet the rule.
        RunError: The run has no predictions for validation.
    """
    rule, spec = operating_point.parse(config.operating_point), classifier.spec
    if spec.value:
        raise ConfigError("--operating-point is for classes, and this classifier predicts numbers.")
    if classifier.positive is None and spec.cut is None and not spec.labels:
        raise ConfigError(
            "--operating-point needs two classes, one of them positive, or grades and a training "
            f"with --positive-from. This classifier has {len(classifier.classes)} classes."
        )
    splits = {split.split: split for split in read_predictions(run / PREDICTIONS)}
    val = splits.get("val") or splits.get(OUT_OF_FOLD)
    if val is None:
        raise RunError(f"{run / PREDICTIONS} has no validation split to choose a threshold on.")
    if spec.labels:
        spec = dataclasses.replace(spec, labels=_chosen_labels(spec, val, rule))
        if (of_units := spec.unit_rule) and (decides := spec.per_unit):
            chosen_labels = _chosen_labels(decides, decided(pooled(val, of_units), decides), rule)
            unit = dataclasses.replace(of_units, labels=chosen_labels).to_json()
            spec = dataclasses.replace(spec, unit=unit)
        classifier.spec = spec
        return
    chosen = _chosen(spec, val, rule, config)
    if spec.cut is None:
        rates = chosen.pop("validation")
        spec = dataclasses.replace(spec, **chosen, validation_rates=rates)
    else:
        spec = dataclasses.replace(spec, cut={**spec.cut, **chosen})
    if of_units := classifier.unit:
        chosen = _chosen(spec, pooled(val, of_units), rule, config)
        unit = {
            **of_units.to_json(),
            **({"cut": {**spec.cut, **chosen}} if spec.cut else chosen),
        }
        spec = dataclasses.replace(spec, unit=unit)
    classifier.spec = spec


def _chosen(
    spec: Spec, val: Predictions, rule: operating_point.Rule, config: Config
) -> dict[str, Any]:
    """Return a threshold by a rule on these predictions, with the rule and its rates."""
    scores, truth, even = _scored(spec, val)
    point = operating_point.choose(rule, scores, truth, even=even, prevalence=config.prevalence)
    return {"threshold": point.threshold, "rule": point.rule, "validation": point.rates()}


def _chosen_labels(
    spec: Spec, val: Predictions, rule: operating_point.Rule
) -> tuple[Mapping[str, Any], ...]:
    """Return each label with a threshold by a rule, on the images where it is known.

    Raises:
        ConfigError: A label does not reach the rule; the message names it.
    """
    found = []
    for k, (name, each) in enumerate(zip(spec.classes, spec.labels, strict=True)):
        own, _ = of_label(val, k)
        scores, truth, even = own.probabilities[:, 1], own.labels == 1, each["prevalence"]
        try:
            point = operating_point.choose(rule, scores, truth, even=even)
        except ConfigError as error:
            raise ConfigError(f"--operating-point for the label {name}: {error}") from error
        words = BALANCED_LABEL if rule.kind == "balanced" else point.rule
        chosen = {"threshold": point.threshold, "rule": words, "validation": point.rates()}
        found.append({**each, **chosen})
    return tuple(found)


def _scored(spec: Spec, val: Predictions) -> tuple[FloatArray, BoolArray, float]:
    """Return the probability of a positive image, whether it is one, and ``Spec.even`` for it."""
    if spec.cut:
        k = spec.classes.index(spec.cut["from"])
        return val.probabilities[:, k:].sum(axis=1), val.labels >= k, 0.5
    k = spec.classes.index(str(spec.positive))
    return val.probabilities[:, k], val.labels == k, spec.even


def content_of(split: Split) -> list[tuple[str, str]]:
    """Return the checksum and class of each image of a split, for the ledger."""
    hashes = (split.cache.sha256[row] for row in split.rows)
    truths = [split.classes[k] for k in split.labels]
    if split.targets is not None:
        truths = [written(split.label_names, row) for row in split.targets]
    if split.values is not None:
        truths = [*map(repr, split.values.tolist())]
    return [*zip(hashes, truths, strict=True)]


def record_test_evaluation(
    classifier: Classifier,
    content: Iterable[tuple[str, str]],
    what: What,
    run: str,
    progress: Progress,
) -> LedgerEntries:
    """Record a test-set evaluation in the ledger, before any figure is computed."""
    pairs = list(content)
    return record(
        test_set_id(pairs), len(pairs), what,
        classifier=classifier.fingerprint, run=run, progress=progress,
    )  # fmt: skip


def record_comparison(found: Comparison, progress: Progress) -> None:
    """Record a test-set evaluation for each classifier of a comparison."""
    if found.test_set is None or found.split != "test":
        return
    for system in found.systems:
        for run, classifier in zip(system.runs, system.classifiers, strict=True):
            record(
                found.test_set, found.images, "compare",
                classifier=classifier, run=run, progress=progress,
            )  # fmt: skip


def _record_own(
    classifier: Classifier, run: Path, found: Predictions, progress: Progress
) -> LedgerEntries | None:
    if found.split != "test":
        return None
    entries, spec = read_split(run / SPLIT), classifier.spec
    tested = [
        (entry.sha256, entry.label.replace(UNCERTAIN, UNKNOWN) if spec.labels else entry.label)
        for entry in entries
        if entry.split == "test"
    ]
    return record_test_evaluation(classifier, tested, "evaluate", run.name, progress)


def _frames(rule: UnitRule | None) -> int | Literal["all"]:
    if rule is None:
        return 1
    return rule.frames if isinstance(rule.frames, int) else "all"


def _load(classifier: Classifier, folder: Source, config: Config, progress: Progress) -> Split:
    spec = classifier.spec
    rule = classifier.unit
    if rule and column_of_unit(rule.name) and not config.labels:
        raise ConfigError(
            f"This classifier answers for each {rule.name}, a column of a table. Give a CSV with "
            f"the columns file, label and {rule.name}: --labels FILE"
        )
    own = Config(
        cache=config.cache,
        labels=config.labels,
        task=config.task,
        label_column=config.label_column,
        unit=rule.name if rule else "image",
        group_regex=rule.regex if rule else "",
        frames=_frames(rule),
    )
    return load_labelled(
        folder, spec.classes, own, size=spec.size,
        colour=spec.channels == 3, depth=spec.depth, progress=progress,
    )  # fmt: skip
