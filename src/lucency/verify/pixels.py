"""The images of a run read again, and its probabilities computed again from their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier, Outputs
from lucency.classifier.stored_files import ONNX
from lucency.dataset import Entry
from lucency.errors import ImageError
from lucency.evaluation import Predictions, read_predictions
from lucency.evaluation.ledger import read_split
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.imaging.source import load
from lucency.progress import Progress
from lucency.verify.finding import Differs

LARGEST = 1e-6  # difference of a float32 probability, on a processor that adds up in other order
_BATCH = 32


def _tested(run: Path) -> tuple[Predictions, dict[str, Entry]]:
    """Return the part that counts, and what split.csv says of its images."""
    parts = {part.split: part for part in read_predictions(run / "predictions.csv")}
    part = parts["test"] if "test" in parts else parts["val"]
    listed = {entry.file: entry for entry in read_split(run / "split.csv")}
    unknown = [file for file in part.files if file not in listed]
    # A name that leads out of the data folder would have other files read and hashed.
    outside = [file for file in part.files if not inside(file)]
    for what, files in (("not in split.csv", unknown), ("no path below a data folder", outside)):
        if files:
            raise Differs(f"{len(files):,} images of predictions.csv are {what}: {files[0]!r}.")
    return part, listed


def inside(file: str) -> bool:
    """Tell whether a name from a run folder leads to a file below the data folder."""
    path = PurePosixPath(file.replace("\\", "/"))
    return bool(file) and not path.is_absolute() and ".." not in path.parts and "\0" not in file


def images(run: Path, folder: Path, progress: Progress) -> str:
    """Compare the sha256 of the images with split.csv.

    Raises:
        Differs: Images are missing or have another content.
        LucencyError: A file is missing or damaged.
    """
    part, listed = _tested(run)
    missing, changed = [], []
    with progress.task("Comparing images", len(part.files), "files") as task:
        for file in part.files:
            try:
                data = load(folder / file)
                if hashlib.sha256(data).hexdigest() != listed[file].sha256:
                    changed.append(file)
            except ImageError:
                missing.append(file)
            task.advance()
    for what, files in (("are missing or cannot be read", missing), ("have changed", changed)):
        if files:
            raise Differs(
                f"{len(files):,} of {len(part.files):,} images of {part.split} {what}: "
                f"{files[0]}. Give the data folder that the run was made from: {folder}?"
            )
    return f"{len(part.files):,} images of {part.split} have the content that split.csv names"


def probabilities(run: Path, folder: Path, progress: Progress) -> str:
    """Classify the images again with the ONNX file and compare with predictions.csv.

    Raises:
        Differs: A probability or distance is further off than ``LARGEST``.
        LucencyError: A file is missing or damaged.
    """
    part, _ = _tested(run)
    classifier = Classifier.load(run)
    if classifier.onnx is None:
        raise Differs(f"There is no {ONNX} to predict with.")
    answers = _predicted(classifier, folder, part.files, progress)
    compared = [("the probability", part.probabilities, answers.probabilities)]
    if part.ood_scores is not None and answers.ood_scores is not None:
        # Relative: distances have no upper end, and 1 is where images become foreign.
        scale = np.maximum(1.0, np.abs(part.ood_scores))
        compared.append(
            (
                "the distance",
                (part.ood_scores / scale)[:, None],
                (answers.ood_scores / scale)[:, None],
            )
        )
    elif (part.ood_scores is None) != (answers.ood_scores is None):
        raise Differs(
            "predictions.csv has distances and the classifier no OOD detector, or the reverse."
        )
    apart = {what: np.abs(a - b).max(axis=1) for what, a, b in compared}
    for what, difference in apart.items():
        worst = int(np.nan_to_num(difference, nan=np.inf).argmax())
        if not difference[worst] <= LARGEST:
            raise Differs(
                f"{int((~(difference <= LARGEST)).sum()):,} of {len(difference):,} images: "
                f"{what} is another; the worst, {part.files[worst]}, differs by "
                f"{difference[worst]:.3g}."
            )
    largest = max(float(difference.max()) for difference in apart.values())
    return (
        f"{len(part.files):,} images of {part.split} predicted again from their pixels; the "
        f"largest difference is {largest:.1e}"
    )


def _predicted(
    classifier: Classifier, folder: Path, files: Sequence[str], progress: Progress
) -> Outputs:
    """Decode and classify images a few at a time."""
    said = []
    size, colour = classifier.spec.size, classifier.spec.channels == 3
    paths = [folder / file for file in files]
    with DecoderPool() as pool, progress.task("Predicting again", len(files), "images") as task:
        decoded = pool.map(Request(str(path), size, colour) for path in paths)
        read = (_pixels(path, each) for path, each in zip(paths, decoded, strict=True))
        while pixels := [*islice(read, _BATCH)]:
            said.append(classifier.infer(np.stack(pixels)))
            task.advance(len(pixels))
    ood_scores = [answers.ood_scores for answers in said if answers.ood_scores is not None]
    return Outputs(
        np.concatenate([answers.probabilities for answers in said]),
        np.concatenate(ood_scores) if ood_scores else None,
    )


def _pixels(path: Path, decoded: Decoded) -> NDArray[np.uint8]:
    try:
        return decoded.or_error()
    except ImageError as error:
        raise Differs(f"{path} cannot be read: {error}.") from error
