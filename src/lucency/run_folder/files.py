"""Every file of a run folder: its name, what it holds, how large it may be, and who may read it.

    PLAN.write(folder, document)    the document and the format number, whole or not at all
    PLAN.read(folder)               the document, after size, JSON and format have been checked
    SPLIT.rows(path)                the rows of a table one by one

All JSON documents of a run share one format number. The table of files in the documentation is
written from ``FILES``.
"""

from __future__ import annotations

import csv
import io
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lucency.errors import LucencyError, RunError
from lucency.io import csv_lines, from_text, read_json, read_table, why, write_json, write_text

FORMAT = 2
JSON = dict[str, Any]
_MIB = 2**20


@dataclass(frozen=True)
class RunFile:
    """A file of a run folder.

    Attributes:
        name: Its name below the folder.
        what: What it holds, as the documentation says it.
        largest: Bytes that are read of it at most.
    """

    name: str
    what: str
    largest: int = 64 * _MIB

    def __str__(self) -> str:
        return self.name

    def __fspath__(self) -> str:
        """Return the name, so that ``folder / PLAN`` is its path."""
        return self.name

    def is_in(self, folder: Path) -> bool:
        """Whether there is anything of this name, also a link that leads nowhere."""
        return os.path.lexists(folder / self)


@dataclass(frozen=True)
class Document(RunFile):
    """A JSON file: one object with the format number."""

    def write(self, folder: Path, document: Mapping[str, Any]) -> None:
        """Write the document and the format number.

        Raises:
            RunError: The disk is full, the folder is missing or may not be written.
        """
        write_json(folder / self, {"format": FORMAT, **document})

    def read(self, folder: Path) -> JSON:
        """Return the document.

        Raises:
            RunError: The file is missing, damaged or has another format.
        """
        return read_document(folder / self, self.largest)

    def read_if_there(self, folder: Path) -> JSON | None:
        """Return the document; None where there is none.

        Raises:
            RunError: The file is damaged or has another format.
        """
        return self.read(folder) if self.is_in(folder) else None


@dataclass(frozen=True)
class Table(RunFile):
    """A CSV file with a header. Text that looks like a formula has an apostrophe in front.

    Attributes:
        columns: The columns that every such file begins with.
    """

    columns: tuple[str, ...] = ()

    def write(
        self, path: Path, rows: Iterable[Sequence[object]], *more: str, end: str = "\n"
    ) -> None:
        """Write a header and rows.

        Args:
            path: The file; its folder exists.
            rows: Cells in the order of the columns.
            more: Columns behind those that every such file has.
            end: The end of a line.

        Raises:
            RunError: The disk is full, the folder is missing or may not be written.
        """
        write_text(path, "".join(csv_lines(chain([(*self.columns, *more)], rows), end)))

    def rows(self, path: Path, *, follow: bool = False) -> Iterator[dict[str, str]]:
        """Yield the rows of such a file by column.

        Args:
            path: The file.
            follow: Whether it may be a symbolic link, as where a user named it.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is no such table, or a row does not fit its header.
        """
        reader = csv.DictReader(
            io.StringIO(read_table(path, follow=follow), newline=""), strict=True
        )
        header = reader.fieldnames or []
        if missing := [name for name in self.columns if name not in header]:
            raise ValueError(f"the column {missing[0]!r} is missing")
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise ValueError(f"line {reader.line_num} does not fit the header")
                yield {name: from_text(cell) for name, cell in row.items()}
        except csv.Error as error:
            raise ValueError(str(error)) from error


def read_document(path: Path, largest: int, failure: type[LucencyError] = RunError) -> JSON:
    """Return a JSON object of the current format.

    Args:
        path: The file.
        largest: Bytes that it may have.
        failure: The error to raise.

    Raises:
        LucencyError: The file is missing, damaged or has another format; of the type asked for.
    """
    try:
        document = read_json(path, largest)
    except FileNotFoundError as error:
        raise failure(f"There is no {path}. Give the folder of a finished training run.") from error
    except (OSError, ValueError) as error:
        raise failure(
            f"Cannot read {path}: {why(error)}. Restore the file from the training run."
        ) from error
    if not isinstance(document, dict):
        raise failure(
            f"{path} is damaged: expected a JSON object. Restore it from the training run."
        )
    _check_format(path, document.get("format"), failure)
    return document


def _check_format(path: Path, found: object, failure: type[LucencyError]) -> None:
    if type(found) is int and found == FORMAT:
        return
    older = type(found) is int and found < FORMAT
    remedy = "Train again with this version" if older else "Update Lucency"
    raise failure(
        f"{path} has format {reprlib.repr(found)}; this version of Lucency reads format {FORMAT}. "
        f"{remedy}, or use the version that made the run."
    )


REPORT = RunFile(
    "report.html",
    "The page to read, drawn from the other files. `lucency verify RUN --redraw` draws it again.",
    256 * _MIB,
)
EVALUATION = Document("evaluation.json", "All figures with their intervals.")
PREDICTIONS = Table(
    "predictions.csv",
    "Every validation and test image with its label and probabilities.",
    256 * _MIB,
    ("split", "file", "group", "label", "decision", "ood_score"),
)
CLASSIFIER = Document(
    "classifier.json",
    "What the classifier is: classes, input, network, temperature, checksums.",
    4 * _MIB,  # ours has a few thousand bytes
)
WEIGHTS = RunFile(
    "weights.safetensors",
    "Its weights: float32 arrays, by the names of the Keras variables.",
    2**31,  # the largest network of keras.applications has 1.4 * 10**9
)
OOD_DETECTOR = RunFile(
    "ood_detector.safetensors",
    "The out-of-distribution detector: the distribution of the training images.",
    256 * _MIB,
)
REFERENCE_IMAGES = RunFile(
    "reference_images.safetensors",
    "Up to 64 validation images at the network's size, and the probabilities that an export or a "
    "copy must reproduce for them.",
    32 * _MIB,
)
NEIGHBOURS = RunFile(
    "neighbours.safetensors",
    "Small training images to compare new ones with; only with `--neighbours`.",
    256 * _MIB,
)
ONNX = RunFile(
    "model.onnx",
    "The same classifier from pixels to probabilities, for ONNX Runtime.",
    2**31 - 1,  # Protocol Buffers' own limit
)
PLAN = Document(
    "plan.json", "What was decided and why, on which machine, and how long each stage took."
)
HISTORY = Table(
    "history.csv",
    "One row per epoch.",
    256 * _MIB,
    ("epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "val_auroc"),
)
AUDIT = Document("audit.json", "What was found in the data, what was excluded and why.")
SPLIT = Table(
    "split.csv",
    "Which image is in which split.",
    256 * _MIB,
    ("file", "class", "group", "split", "sha256"),
)
FOLDS = Table(
    "folds.csv",
    "In which fold each training image is held out; only with `--folds`.",
    256 * _MIB,
    ("file", "fold"),
)
TEST_EVALUATIONS = Document(
    "test_evaluations.json",
    "Every recorded evaluation on this test set; only where there is a test split.",
)
ROBUSTNESS = Document("robustness.json", "How predictions change when images are corrupted.")
EXPLANATION = Document(
    "explanation.json", "Whether the activation maps are faithful: tests on validation images."
)
MODEL_CARD = RunFile("model_card.md", "The classifier on one page, from measured facts.")
CHECKLIST = Document(
    "checklist.json", "Reporting checklists: filled from facts, or to be filled by you."
)
SUBGROUPS = Table(
    "subgroups.csv",
    "Attributes of validation and test images; only with `--subgroups`.",
    256 * _MIB,
    ("file",),
)
IMAGES = Document("images/index.json", "The PNG files beside it that the report shows.")
CHECKSUMS = Document(
    "checksums.json", "The sha256 of every file but `report.html`, by which `verify` finds changes."
)

FILES: tuple[RunFile, ...] = (
    REPORT, EVALUATION, PREDICTIONS, CLASSIFIER, WEIGHTS, OOD_DETECTOR, REFERENCE_IMAGES, ONNX,
    NEIGHBOURS, PLAN, HISTORY, AUDIT, SPLIT, FOLDS, SUBGROUPS, TEST_EVALUATIONS, ROBUSTNESS,
    EXPLANATION, MODEL_CARD, CHECKLIST, IMAGES, CHECKSUMS,
)  # fmt: skip

CHECK_PAGE = RunFile("check.html", "The page of a check of the data.")  # beside AUDIT and SPLIT

ENDING = ".unfinished"  # of the name of an unfinished run
# What lies in the folder while the run is unfinished, and goes when it is complete.
SETTINGS = RunFile(
    "run.json",
    "Data folder and configuration of the command. Only the same configuration resumes it.",
    _MIB,
)
LOCK = RunFile(
    "lock",
    "Held by the process that works on the run. The system releases it however that process ends.",
)
TRACKED = RunFile("tracked.json", "With `--track mlflow`: the run's identity in that store.")
CHECKPOINTS = RunFile(
    "checkpoints",
    "The latest two checkpoints, and the latest between two epochs, in a folder each.",
)
BUDGET = Document(
    "budget.json",
    "What a time budget buys, as measured when the run began; a resumed run keeps to it.",
    _MIB,
)
# What lies at an address beside the files of a run: below ADDRESS, and below ADDRESS.unfinished.
MANIFEST = RunFile(
    "manifest.json",
    "Name, size and sha256 of every file of the run. Written last; without it there is no run.",
    4 * _MIB,
)
CLAIM = RunFile(
    "claim-N.json",
    "Which command works on the run: host, process and time. It is created and never changed; the "
    "highest number counts.",
    2**14,
)
SIGN = RunFile(
    "sign-N.json",
    "When the holder of that claim last gave a sign of life, and whether it has released it.",
    2**14,
)
PUBLISHED = RunFile(
    "checkpoints.json",
    "As `manifest.json`, for the latest checkpoints and what else a run resumes from.",
    4 * _MIB,
)
CONTENT = RunFile("SHA256", "One of these files, by the sha256 of its content.")
AT_ADDRESS: tuple[RunFile, ...] = (MANIFEST, CLAIM, SIGN, PUBLISHED, CONTENT)

UNFINISHED: tuple[RunFile, ...] = (SETTINGS, LOCK, TRACKED, BUDGET, CHECKPOINTS)
