"""The main job: a folder of images in, a run folder with a tested classifier and a report out.

The run folder gets its final name when everything is written, so a folder of that name is complete.
If the process ends at any moment, the same command resumes from the last checkpoint.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucency import backend
from lucency.classifier import Classifier, neighbours_of, reference_images_of
from lucency.config import Config
from lucency.dataset import Dataset, Split, load_dataset, write_folds, write_split
from lucency.errors import LeakError, RunError
from lucency.evaluation import (
    CrossValidation,
    Evaluation,
    Predictions,
    class_prior,
    cross_validation,
    evaluate_predictions,
    out_of_fold,
    predict,
    read_attributes,
    read_subgroups,
    write_evaluation,
    write_predictions,
)
from lucency.evaluation.robustness import evaluate_robustness
from lucency.explain import faithfulness
from lucency.export import Parity, to_onnx
from lucency.pipeline.budget import settle, spend, spent
from lucency.pipeline.check import audit_data, default_check_folder, write_check_folder
from lucency.pipeline.evaluate import content_of, record_test_evaluation
from lucency.pipeline.images import write_report_images
from lucency.pipeline.start import Trained, Training, plan_of, with_start
from lucency.progress import SILENT, Progress
from lucency.report import write_report
from lucency.report.model_card import write_model_card
from lucency.run_folder.checksums import write_checksums
from lucency.run_folder.files import (
    AUDIT,
    EVALUATION,
    EXPLANATION,
    FOLDS,
    HISTORY,
    PLAN,
    PREDICTIONS,
    REPORT,
    ROBUSTNESS,
    SPLIT,
    SUBGROUPS,
    TEST_EVALUATIONS,
)
from lucency.run_folder.writer import RunWriter, open_run
from lucency.tracking import Start, Trackers, tracked
from lucency.training.plan import Plan, positive_class
from lucency.training.warm_start import check_unseen, settled

if TYPE_CHECKING:
    from lucency.training.state import Epoch

_TIMES = ("seconds", "images_per_second")  # of an epoch


@dataclasses.dataclass(frozen=True)
class Run:
    """The result of a training run.

    Attributes:
        folder: The run folder.
        shown: The address that it was published to, if there is one, else the folder.
        report: The page to open.
        data: The data set, with its splits.
        plan: Every choice, with its reason.
        parity: The agreement of the ONNX file with Keras.
        validation: The evaluation on the validation split; with folds, of the out-of-fold
            predictions.
        test: The evaluation on the test split, if there is one.
        seconds: Time per stage, and in total.
        folds: With folds, that evaluation and those of each fold.
    """

    folder: Path
    shown: str
    report: Path
    data: Dataset
    plan: Plan
    parity: Parity
    validation: Evaluation
    test: Evaluation | None
    seconds: dict[str, float]
    folds: CrossValidation | None = None

    @property
    def headline(self) -> Evaluation:
        """The evaluation to quote: on the test split, or on held-out images if there is none."""
        return self.test or self.validation


def run_training(
    folder: Path,
    config: Config = Config(),  # noqa: B008 - frozen
    *,
    run: str = "",
    resume: bool | None = None,
    command: str = "",
    progress: Progress = SILENT,
) -> Run:
    """Train, calibrate, test and document a classifier.

    Args:
        folder: Folder of class folders, or of train/val/test folders with class folders.
        config: What a person decided.
        run: Name of the run (made under ``runs/``), a path or an address; empty for a new name.
        resume: ``True`` requires an unfinished run, ``False`` starts over, ``None`` resumes an
            unfinished run of the same configuration.
        command: The command line, recorded in the plan.
        progress: Called on every step.

    Raises:
        LucencyError: Anything that the user can fix; only checkpoints are kept.
        Interrupted: A signal asked to stop; the training so far is kept.
    """
    with (
        tracked(config.track, progress) as trackers,
        open_run(folder, config, run, resume, progress) as writer,
    ):
        return fill(writer, folder, config, command=command, progress=progress, trackers=trackers)


def fill(
    writer: RunWriter,
    folder: Path,
    config: Config,
    *,
    command: str,
    progress: Progress,
    trackers: Trackers | None = None,
) -> Run:
    """Do the whole job in an open run folder, as ``run_training``."""
    target, partial, clock = writer.target, writer.partial, Clock()
    if writer.resumed:
        progress.note(f"Resuming the unfinished run {writer.unfinished}.")
    bought, settings = spend(writer, folder, settled(config), progress)
    if bought:
        clock.lap("measuring")
    data = _load(folder, settings, progress)
    check_unseen(config, data, progress)
    _check_prevalence(data, config)  # these two raise before a backend is loaded
    _write_tables(partial, data, config)
    reason = data.folds_reason or settings.why_no_folds
    plan = with_start(plan_of(data, settings, reason), config)
    clock.lap("reading")
    audit = audit_data(data, config, progress)
    AUDIT.write(partial, audit)
    plan = settle(writer, bought, config, data, plan)
    _announce(data, audit, plan, progress)
    clock.lap("checking")
    trackers = trackers or Trackers()
    trackers.begin(Start.of(writer, data, config, plan))
    found = _trained(writer, data, plan, settings, reason, trackers, progress)
    trained, outputs, data, plan = found.classifier, found.outputs, found.data, found.plan
    clock.lap("training")
    writer.save()
    classifier, parity = to_onnx(trained, data.test or data.held_out, progress)
    classifier.reference_images = reference_images_of(data.held_out, classifier.predict_pixels)
    if config.neighbours:
        classifier.neighbours = neighbours_of(data.train, config.neighbours, classifier.embeddings)
    clock.lap("export")
    _test_maps(partial, classifier, trained, data, progress)
    clock.lap("explaining")
    classifier.save(partial)
    predictions = [
        predict(classifier, data.val, progress)
        if outputs is None
        else out_of_fold(classifier, data.train, outputs)
    ]
    if data.test is not None:
        _record_test_evaluation(partial, classifier, data.test, target.name, progress)
        predictions.append(predict(classifier, data.test, progress))
    write_predictions(partial / PREDICTIONS, predictions)
    held_out, test, folds = _evaluate(partial, classifier, predictions, data, config)
    clock.lap("testing")
    _test_robustness(partial, classifier, data, settings, progress)
    write_report_images(partial, data, audit, plan, predictions[-1], classifier)
    clock.lap("robustness")
    facts = {"run": target.name, "command": command, "seconds": clock.seconds}
    facts |= _plan_json(plan, config, data, classifier, resumed=writer.resumed)
    facts |= spent(partial) | ({"start": found.comparison} if found.comparison else {})
    PLAN.write(partial, facts)
    write_model_card(partial)
    write_report(partial)
    write_checksums(partial)
    return Run(
        target, writer.shown, target / REPORT, data, plan, parity, held_out, test, clock.seconds,
        folds,
    )  # fmt: skip


def _trained(
    writer: RunWriter,
    data: Dataset,
    plan: Plan,
    config: Config,
    reason: str,
    trackers: Trackers,
    progress: Progress,
) -> Trained:
    """Train as planned, and write ``history.csv``."""
    history = _History(writer.partial / HISTORY, progress)

    def on_epoch(row: Epoch) -> None:
        history(row)
        trackers.epoch(row)

    training = Training(config, data, plan, reason, progress, on_epoch, writer.checkpoints)
    found = training.run()
    history.replace(found.classifier.history)
    spec = dataclasses.replace(found.classifier.spec, fingerprint=data.fingerprint)
    found.classifier.spec = spec
    return found


def _test_maps(
    partial: Path, classifier: Classifier, trained: Classifier, data: Dataset, progress: Progress
) -> None:
    """Test whether the activation maps are faithful, and record it in the classifier."""
    found = faithfulness(classifier, trained, data.held_out, progress=progress)
    EXPLANATION.write(partial, found.document)
    classifier.spec = dataclasses.replace(classifier.spec, explanation=found.summary)


def _test_robustness(
    partial: Path, classifier: Classifier, data: Dataset, config: Config, progress: Progress
) -> None:
    """Evaluate corrupted test or validation images.

    Folds leave no other image than those of test that all networks of the classifier have not seen.
    """
    tested = data.test or data.val
    if not tested:
        return
    robustness = evaluate_robustness(
        classifier,
        tested,
        root=data.root,
        corruptions=config.corruption_set,
        seed=config.seed,
        progress=progress,
    )
    ROBUSTNESS.write(partial, robustness)


class Clock:
    """Measures the stages of a run in seconds; ``total`` is up to the last lap."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"total": 0.0}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 2)
        self.seconds["total"] = round(self.seconds["total"] + now - self._last, 2)
        self._last = now


class _History:
    """Writes ``history.csv`` after every epoch."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._rows: list[list[object]] = []

    def __call__(self, epoch: Epoch) -> None:
        """Add an epoch; a full disk does not stop training."""
        self._rows.append(_cells(epoch))
        try:
            self.write()
        except RunError as error:
            self._progress.warn(f"Training continues. {error}")

    def replace(self, epochs: Sequence[Epoch]) -> None:
        """Write only the rows of the classifier, and not of a training that was abandoned."""
        self._rows = [_cells(epoch) for epoch in epochs]
        self.write()

    def write(self) -> None:
        """Write all rows, without times, which differ from machine to machine.

        Undefined values are empty cells, as in the other tables.
        """
        HISTORY.write(self._path, self._rows)


def _cells(epoch: Epoch) -> list[object]:
    row = (getattr(epoch, name) for name in HISTORY.columns)
    return [value if math.isfinite(value) else "" for value in row]


def _load(folder: Path, config: Config, progress: Progress) -> Dataset:
    """Load the data; if the leak check fails, write a page that shows the images."""
    try:
        return load_dataset(folder, config, auto_folds=True, progress=progress)
    except LeakError as error:
        audit = audit_data(error.dataset, config, progress)
        done = write_check_folder(error.dataset, audit, default_check_folder(folder))
        raise LeakError(f"{error} See the images: {done.page}", error.dataset) from error


def _check_prevalence(data: Dataset, config: Config) -> None:
    """Raise ``ConfigError`` if there is a prevalence, and the classes do not allow one."""
    if config.prevalence is not None and not config.is_ordinal:  # the plan checks that of grades
        positive = positive_class(data.classes, config.positive)
        class_prior(config.prevalence, data.classes, positive)


def _write_tables(partial: Path, data: Dataset, config: Config) -> None:
    """Write the splits, the folds, and the attributes of held-out images for their figures."""
    write_split(data, partial / SPLIT)
    if data.folds:
        write_folds(partial / FOLDS, data.train.files, data.folds)
    if not config.subgroups:
        return
    files = (*data.held_out.files, *(data.test.files if data.test else ()))
    columns = read_subgroups(Path(config.subgroups), files)
    rows = zip(files, *columns.values(), strict=True)
    SUBGROUPS.write(partial / SUBGROUPS, rows, *columns, end="\r\n")


def _record_test_evaluation(
    partial: Path, classifier: Classifier, test: Split, run: str, progress: Progress
) -> None:
    """Record the test-set evaluation in the ledger, once even if the run is resumed."""
    if _last_evaluated(partial) != classifier.fingerprint:
        entries = record_test_evaluation(classifier, content_of(test), "train", run, progress)
        TEST_EVALUATIONS.write(partial, entries.to_json())


def _last_evaluated(partial: Path) -> str:
    """Return the classifier of the last recorded evaluation; empty where that cannot be read."""
    try:
        return str(TEST_EVALUATIONS.read(partial)["evaluations"][-1]["classifier"])
    except (RunError, KeyError, IndexError, TypeError):
        return ""


def _evaluate(
    partial: Path,
    classifier: Classifier,
    predictions: list[Predictions],
    data: Dataset,
    config: Config,
) -> tuple[Evaluation, Evaluation | None, CrossValidation | None]:
    """Evaluate the predictions of held-out and test images, and write ``evaluation.json``."""
    evaluations = [
        evaluate_predictions(
            classifier,
            found,
            prevalence=config.prevalence,
            attributes=read_attributes(partial, found),
        )
        for found in predictions
    ]
    held_out, test = evaluations[0], evaluations[1] if len(evaluations) > 1 else None
    if data.folds is None:
        write_evaluation(partial / EVALUATION, held_out, test)
        return held_out, test, None
    names = [data.folds.names[k] for k in data.folds.held_out]
    folds = cross_validation(held_out, predictions[0], names, data.folds.column)
    write_evaluation(partial / EVALUATION, None, test, folds)
    return held_out, test, folds


def _announce(data: Dataset, audit: Mapping[str, Any], plan: Plan, progress: Progress) -> None:
    """Print findings and decisions before anything slow runs."""
    progress.note(data.audit.balance)
    for line in data.audit.warnings:
        progress.warn(line)
    for finding in audit["findings"]:
        (progress.note if finding["level"] == "note" else progress.warn)(finding["text"])
    for line in data.audit.notes:
        progress.note(line)
    for choice in plan.choices:
        progress.note(choice.words)


def _plan_json(
    plan: Plan, config: Config, data: Dataset, classifier: Classifier, *, resumed: bool
) -> dict[str, Any]:
    return {
        "recipe": plan.recipe,
        "effort": plan.effort,
        "seed": plan.seed,
        "depth": plan.depth,
        "choices": [dataclasses.asdict(choice) for choice in plan.choices],
        "config": config.to_json(),
        "best_epoch": classifier.best_epoch,
        "training": {**classifier.training, "resumed": resumed},
        "epochs": [
            {name: getattr(row, name) for name in ("epoch", *_TIMES)} for row in classifier.history
        ],
        "parameters": sum(array.size for array in classifier.weights.values()),
        "environment": backend.environment(),
        "data": {"folder": data.root.name, "fingerprint": data.fingerprint},
    }
