"""The main job: a folder of images in, a run folder with a tested classifier and a report out.

The run is made in a folder of its own that gets its final name when all is written, so that a run
folder is complete. Ended at any moment, the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucency import backend
from lucency.classifier import Classifier, neighbours_of, reference_images_of
from lucency.config import Config
from lucency.dataset import Dataset, Split, load_dataset, write_split
from lucency.errors import LeakError, RunError
from lucency.evaluation import (
    Evaluation,
    Predictions,
    class_prior,
    evaluate_found,
    predict,
    read_subgroups,
    stated_attributes,
    write_evaluation,
    write_predictions,
)
from lucency.evaluation.robustness import stress
from lucency.explain import faithfulness
from lucency.export import Parity, to_onnx
from lucency.io import read_json, write_json, write_text
from lucency.pipeline.check import audited, check_folder, write_findings
from lucency.pipeline.evaluate import content_of, record_test_evaluation
from lucency.pipeline.images import write_gallery
from lucency.progress import SILENT, Progress
from lucency.report import write_report
from lucency.report.model_card import write_card
from lucency.run_folder.writer import Claim, claimed
from lucency.tracking import Start, Tracks, tracked
from lucency.training.plan import Plan, make_plan, positive_class

if TYPE_CHECKING:
    from lucency.training.state import Epoch

FORMAT = 1
_TIMES = ("seconds", "images_per_second")  # of an epoch


@dataclasses.dataclass(frozen=True)
class Run:
    """What a training run came to.

    Attributes:
        folder: The run folder.
        report: The page to open.
        data: What was trained and tested on.
        plan: How.
        parity: How well the ONNX file agrees with Keras.
        validation: Figures on the validation part.
        test: Figures on the test part, if there is one.
        seconds: Time per stage, and in all.
    """

    folder: Path
    report: Path
    data: Dataset
    plan: Plan
    parity: Parity
    validation: Evaluation
    test: Evaluation | None
    seconds: dict[str, float]

    @property
    def headline(self) -> Evaluation:
        """The figures to quote: of the test part, or of validation where there is none."""
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
        run: Name of the run (made under ``runs/``) or a path; empty for a new name.
        resume: ``True`` only goes on with an unfinished run, ``False`` begins anew; ``None`` goes
            on where the same configuration has left one.
        command: The command line, to be written down.
        progress: Hears of every step.

    Raises:
        LucencyError: Anything a user can put right; only checkpoints are left behind.
        Interrupted: A signal asked to stop; what was trained is kept.
    """
    with (
        tracked(config.track, progress) as tracks,
        claimed(folder, config, run, resume) as claim,
    ):
        return fill(claim, folder, config, command=command, progress=progress, tracks=tracks)


def fill(
    claim: Claim,
    folder: Path,
    config: Config,
    *,
    command: str,
    progress: Progress,
    tracks: Tracks | None = None,
) -> Run:
    """Do the whole job in a run folder that this process has claimed; as ``run_training``."""
    target, draft, clock = claim.target, claim.draft, Clock()
    if claim.resumed:
        progress.note(f"Going on with the unfinished run {draft}.")
    data = _load(folder, config, progress)
    _refuse_early(data, config)
    plan = make_plan(data.train, config)
    _write_subgroups(draft, data, config)
    clock.lap("reading")
    audit = audited(data, config, progress)
    write_json(draft / "audit.json", audit)
    write_split(data, draft / "split.csv")
    _announce(data, audit, plan, progress)
    clock.lap("checking")
    tracks = tracks or Tracks()
    tracks.begin(Start.of(claim, data, config, plan))
    trained = _trained(claim, data, config, tracks, progress)
    clock.lap("training")
    classifier, parity = to_onnx(trained, data.test or data.val, progress)
    classifier.reference_images = reference_images_of(data.val, classifier.predict_pixels)
    if config.neighbours:
        classifier.neighbours = neighbours_of(data.train, config.neighbours, classifier.embeddings)
    clock.lap("export")
    _test_maps(draft, classifier, trained, data, progress)
    clock.lap("explaining")
    classifier.save(draft)
    judged = [predict(classifier, data.val, progress)]
    if data.test is not None:
        _record_test_evaluation(draft, classifier, data.test, target.name, progress)
        judged.append(predict(classifier, data.test, progress))
    write_predictions(draft / "predictions.csv", judged)
    results = _measure(draft, classifier, judged, config)
    clock.lap("testing")
    tested = data.test or data.val
    stressed = stress(classifier, tested, root=data.root, seed=config.seed, progress=progress)
    write_json(draft / "robustness.json", stressed)
    write_gallery(draft, data, audit, plan, judged[-1], classifier)
    clock.lap("robustness")
    facts = {"run": target.name, "command": command, "seconds": clock.seconds}
    facts |= _plan_json(plan, config, data, classifier, resumed=claim.resumed)
    write_json(draft / "plan.json", facts)
    write_card(draft)
    write_report(draft)
    return Run(target, target / "report.html", data, plan, parity, *results, clock.seconds)


def _trained(
    claim: Claim, data: Dataset, config: Config, tracks: Tracks, progress: Progress
) -> Classifier:
    from lucency.training import train

    history = _History(claim.draft / "history.csv", progress)

    def on_epoch(row: Epoch) -> None:
        history(row)
        tracks.epoch(row)

    classifier = train.train(data.train, data.val, config, progress, on_epoch, claim.checkpoints)
    history.write()
    classifier.spec = dataclasses.replace(classifier.spec, fingerprint=data.fingerprint)
    return classifier


def _test_maps(
    draft: Path, classifier: Classifier, trained: Classifier, data: Dataset, progress: Progress
) -> None:
    """Find out whether the maps mean something, and have the classifier say so."""
    found = faithfulness(classifier, trained, data.val, progress=progress)
    write_json(draft / "explanation.json", found.document)
    classifier.spec = dataclasses.replace(classifier.spec, explanation=found.summary)


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
    """Writes ``history.csv`` anew after every epoch."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._rows: list[dict[str, Any]] = []

    def __call__(self, epoch: Epoch) -> None:
        """Take in an epoch; a disk that is full is no reason to stop training."""
        row = dataclasses.asdict(epoch)
        kept = {name: value for name, value in row.items() if name not in _TIMES}
        self._rows.append({k: v if math.isfinite(v) else "" for k, v in kept.items()})
        try:
            self.write()
        except RunError as error:
            self._progress.warn(f"Training goes on. {error}")

    def write(self) -> None:
        """Write all rows; without times, which would differ from machine to machine.

        What is undefined is empty, as in the other tables.
        """
        text = io.StringIO()
        table = csv.DictWriter(text, self._rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        write_text(self._path, text.getvalue())


def _load(folder: Path, config: Config, progress: Progress) -> Dataset:
    """Load the data; where the leak check stops it, leave a page that shows the images."""
    try:
        return load_dataset(folder, config, progress=progress)
    except LeakError as error:
        audit = audited(error.dataset, config, progress)
        done = write_findings(error.dataset, audit, check_folder(folder))
        raise LeakError(f"{error} See the images: {done.page}", error.dataset) from error


def _refuse_early(data: Dataset, config: Config) -> None:
    """Refuse what does not go with the classes, before Keras is loaded."""
    positive = positive_class(data.classes, config.positive)
    if config.prevalence is not None:
        class_prior(config.prevalence, data.classes, positive)


def _write_subgroups(draft: Path, data: Dataset, config: Config) -> None:
    """Keep what the given CSV says of validation and test, so that figures can be recomputed."""
    if not config.subgroups:
        return
    files = (*data.val.files, *(data.test.files if data.test else ()))
    columns = read_subgroups(Path(config.subgroups), files)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["file", *columns])
    table.writerows(zip(files, *columns.values(), strict=True))
    write_text(draft / "subgroups.csv", text.getvalue())


def _record_test_evaluation(
    draft: Path, classifier: Classifier, test: Split, run: str, progress: Progress
) -> None:
    """Write the look into the ledger, unless this run did before it was ended and gone on with."""
    path = draft / "test_evaluations.json"
    if path.exists() and _last_evaluated(path) == classifier.fingerprint:
        return
    test_evaluations = record_test_evaluation(classifier, content_of(test), "train", run, progress)
    write_json(path, test_evaluations.to_json())


def _last_evaluated(path: Path) -> str:
    """Return whose look was the last; nobody's where that cannot be read: one more is honest."""
    try:
        return str(read_json(path)["evaluations"][-1]["classifier"])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""


def _measure(
    draft: Path, classifier: Classifier, judged: list[Predictions], config: Config
) -> tuple[Evaluation, Evaluation | None]:
    """Measure validation and test by the file that is served, and write ``evaluation.json``."""
    evaluations = [
        evaluate_found(
            classifier,
            found,
            prevalence=config.prevalence,
            attributes=stated_attributes(draft, found),
        )
        for found in judged
    ]
    validation, test = evaluations[0], evaluations[1] if len(evaluations) > 1 else None
    write_evaluation(draft / "evaluation.json", validation, test)
    return validation, test


def _announce(data: Dataset, audit: Mapping[str, Any], plan: Plan, progress: Progress) -> None:
    """Say what was found and decided, before anything long runs."""
    for line in data.audit.warnings:
        progress.warn(line)
    for finding in audit["findings"]:
        (progress.note if finding["level"] == "note" else progress.warn)(finding["text"])
    for line in data.audit.notes:
        progress.note(line)
    for choice in plan.choices:
        progress.note(f"{choice.name}: {choice.value} ({choice.reason})")


def _plan_json(
    plan: Plan, config: Config, data: Dataset, classifier: Classifier, *, resumed: bool
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "recipe": plan.recipe,
        "effort": plan.effort,
        "seed": plan.seed,
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
