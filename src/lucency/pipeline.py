"""The main job: a folder of pictures in, a run folder with a tested classifier and a report out.

The run is built under a hidden name beside its final one and renamed when all is written, so that
a run folder that exists is complete.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucency import backend
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Dataset, Split, load_dataset, write_split
from lucency.errors import RunError
from lucency.evaluation import (
    Evaluation,
    evaluate_found,
    predict,
    write_evaluation,
    write_predictions,
)
from lucency.export import Parity, to_onnx
from lucency.files import write_text
from lucency.plan import Plan, make_plan, positive_class
from lucency.progress import SILENT, Progress
from lucency.report import write_report

if TYPE_CHECKING:
    from lucency.training import Epoch

FORMAT = 1


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
    command: str = "",
    progress: Progress = SILENT,
) -> Run:
    """Train, calibrate, test and document a classifier.

    Args:
        folder: Folder of class folders, or of train/val/test folders with class folders.
        config: What a person decided.
        run: Name of the run (made under ``runs/``) or a path; empty for a new name.
        command: The command line, to be written down.
        progress: Hears of every step.

    Raises:
        LucencyError: Anything a user can put right; nothing is left behind.
    """
    target = run_folder(run, folder, config)
    clock = Clock()
    with _built(target) as draft:
        data = load_dataset(folder, config, progress=progress)
        positive_class(data.classes, config.positive)  # refuse before Keras is loaded
        plan = make_plan(data.train, config)
        _announce(data, plan, progress)
        clock.lap("reading")
        from lucency import training  # loads Keras, which takes seconds

        history = _History(draft / "history.csv")
        classifier = training.train(data.train, data.val, config, progress, history)
        classifier.spec = dataclasses.replace(classifier.spec, fingerprint=data.fingerprint)
        clock.lap("training")
        classifier, parity = to_onnx(classifier, data.test or data.val, progress)
        classifier.save(draft)
        clock.lap("export")
        results = _test(draft, classifier, data, plan, progress)
        write_text(draft / "audit.json", _json(data.audit.to_json()))
        write_split(data, draft / "split.csv")
        clock.lap("testing")
        facts = {"run": target.name, "command": command, "seconds": clock.seconds}
        facts |= _plan_json(plan, config, data, classifier)
        write_text(draft / "plan.json", _json(facts))
        write_report(draft)
    return Run(target, target / "report.html", data, plan, parity, *results, clock.seconds)


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


def run_folder(run: str, folder: Path, config: Config) -> Path:
    """Return the folder of a new run.

    Args:
        run: A name (made under ``runs/``), a path (with a slash), or empty for a new name.
        folder: The data folder, which names the run where ``run`` is empty.
        config: Its recipe and effort name the run too.

    Raises:
        RunError: It exists already.
    """
    if not run:
        return _new_name(folder, config)
    target = Path(run) if "/" in run or run in (".", "..") else Path("runs") / run
    if target.exists() or target.is_symlink():
        raise RunError(
            f"The run folder exists already: {target}. Give another name with --run, or delete it."
        )
    return target


def _new_name(folder: Path, config: Config) -> Path:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "run"
    kind = config.effort if config.recipe == "default" else config.recipe
    for number in range(1, 1_000_000):
        target = Path("runs") / f"{stem}-{kind}-{number}"
        if not target.exists():
            return target
    raise RunError("Every automatic run name is taken. Give one with --run.")


@contextmanager
def _built(target: Path) -> Iterator[Path]:
    """Yield a hidden folder that becomes ``target`` on success and vanishes on any failure."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise RunError(
            f"The run folder cannot be made: {target} ({error.strerror}). "
            "Give a folder that can be written with --run."
        ) from error
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(target)
    except OSError as error:
        raise RunError(f"The run could not be written: {target} ({error.strerror}).") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class _History:
    """Writes ``history.csv`` anew after every epoch."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, Any]] = []

    def __call__(self, epoch: Epoch) -> None:
        self._rows.append(dataclasses.asdict(epoch))
        text = io.StringIO()
        table = csv.DictWriter(text, self._rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        write_text(self._path, text.getvalue())


def _test(
    draft: Path, classifier: Classifier, data: Dataset, plan: Plan, progress: Progress
) -> tuple[Evaluation, Evaluation | None]:
    """Predict validation and test with the file that is served, and write all that follows."""
    splits: list[Split] = [data.val] + ([data.test] if data.test else [])
    predictions = [predict(classifier, split, progress) for split in splits]
    evaluations = [evaluate_found(classifier, found) for found in predictions]
    write_predictions(draft / "predictions.csv", predictions)
    validation, test = evaluations[0], evaluations[1] if data.test else None
    write_evaluation(draft / "evaluation.json", validation, test)
    from lucency.gallery import write_gallery  # shows what Keras sees

    write_gallery(draft, data, plan, predictions[-1])
    return validation, test


def _announce(data: Dataset, plan: Plan, progress: Progress) -> None:
    """Say what was found and decided, before anything long runs."""
    for line in data.audit.warnings:
        progress.warn(line)
    for line in data.audit.notes:
        progress.note(line)
    for choice in plan.choices:
        progress.note(f"{choice.name}: {choice.value} ({choice.reason})")


def _plan_json(plan: Plan, config: Config, data: Dataset, classifier: Classifier) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "recipe": plan.recipe,
        "effort": plan.effort,
        "seed": plan.seed,
        "choices": [dataclasses.asdict(choice) for choice in plan.choices],
        "config": config.to_json(),
        "best_epoch": classifier.best_epoch,
        "parameters": sum(array.size for array in classifier.weights.values()),
        "environment": backend.environment(),
        "data": {"folder": data.root.name, "fingerprint": data.fingerprint},
    }


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
