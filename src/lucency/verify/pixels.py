"""Checks of the images of a run, and of its probabilities from their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from lucency.classifier import Classifier, Outputs
from lucency.dataset import Entry, read_split
from lucency.errors import ImageError
from lucency.evaluation import OUT_OF_FOLD, Predictions, read_predictions
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Pixels
from lucency.imaging.frames import content_sha256, opened_as
from lucency.imaging.source import load
from lucency.progress import Progress
from lucency.run_folder.files import ONNX, PREDICTIONS, SPLIT
from lucency.verify.mismatch import Mismatch

LARGEST = 1e-6  # of a float32 probability: processors add in different orders
_BATCH = 32


def _tested(run: Path) -> tuple[Predictions, dict[str, Entry]]:
    """Return the predictions that count, and the entries of split.csv by file."""
    splits = {each.split: each for each in read_predictions(run / PREDICTIONS)}
    name = next(name for name in ("test", "val", OUT_OF_FOLD) if name in splits)
    predictions = splits[name]
    listed = {entry.file: entry for entry in read_split(run / SPLIT)}
    unknown = [file for file in predictions.files if file not in listed]
    # A path that leaves the data folder would read and hash other files.
    outside = [file for file in predictions.files if not inside(file)]
    for what, files in (("not in split.csv", unknown), ("no paths below the data folder", outside)):
        if files:
            raise Mismatch(f"{len(files):,} images of predictions.csv are {what}: {files[0]!r}.")
    return predictions, listed


def inside(file: str) -> bool:
    """Return whether a path from a run folder stays below the data folder."""
    path = PurePosixPath(file.replace("\\", "/"))
    return bool(file) and not path.is_absolute() and ".." not in path.parts and "\0" not in file


def images(run: Path, folder: Path, progress: Progress) -> str:
    """Compare the sha256 of the images with split.csv.

    Raises:
        Mismatch: Images are missing or have changed.
        LucencyError: A file is missing or damaged.
    """
    predictions, listed = _tested(run)
    missing, changed = [], []
    with progress.task("Comparing images", len(predictions.files), "files") as task:
        for file in predictions.files:
            try:
                path, frame = opened_as(folder / file)
                if content_sha256(load(path), frame) != listed[file].sha256:
                    changed.append(file)
            except ImageError:
                missing.append(file)
            task.advance()
    for what, files in (("are missing or cannot be read", missing), ("have changed", changed)):
        if files:
            raise Mismatch(
                f"{len(files):,} of {len(predictions.files):,} images of "
                f"{predictions.split} {what}: {files[0]}. "
                f"Give the data folder that the run was trained on: {folder}?"
            )
    return f"{len(predictions.files):,} images of {predictions.split} have the content of split.csv"


def probabilities(run: Path, folder: Path, progress: Progress) -> str:
    """Predict the images again with the ONNX file and compare with predictions.csv.

    Raises:
        Mismatch: A probability or OOD score differs by more than ``LARGEST``.
        LucencyError: A file is missing or damaged.
    """
    predictions, _ = _tested(run)
    classifier = Classifier.load(run)
    if classifier.onnx is None:
        raise Mismatch(f"There is no {ONNX} to predict with.")
    if predictions.split == OUT_OF_FOLD:
        return _reference_images(classifier)
    outputs = _predicted(classifier, folder, predictions.files, progress)
    compared = [("the probability", predictions.probabilities, outputs.probabilities)]
    if predictions.ood_scores is not None and outputs.ood_scores is not None:
        # Relative, because OOD scores have no upper limit; above 1 is out of distribution.
        scale = np.maximum(1.0, np.abs(predictions.ood_scores))
        compared.append(
            (
                "the OOD score",
                (predictions.ood_scores / scale)[:, None],
                (outputs.ood_scores / scale)[:, None],
            )
        )
    elif (predictions.ood_scores is None) != (outputs.ood_scores is None):
        raise Mismatch(
            "predictions.csv has OOD scores and the classifier no OOD detector, or the reverse."
        )
    differences = {what: np.abs(a - b).max(axis=1) for what, a, b in compared}
    for what, difference in differences.items():
        worst = int(np.nan_to_num(difference, nan=np.inf).argmax())
        if not difference[worst] <= LARGEST:
            raise Mismatch(
                f"{int((~(difference <= LARGEST)).sum()):,} of {len(difference):,} images: "
                f"{what} differs; the worst, {predictions.files[worst]}, differs by "
                f"{difference[worst]:.3g}."
            )
    largest = max(float(difference.max()) for difference in differences.values())
    return (
        f"{len(predictions.files):,} images of {predictions.split} predicted again; the "
        f"largest difference is {largest:.1e}"
    )


def _reference_images(classifier: Classifier) -> str:
    """Compare the reference images, where all predictions of a run are out of fold.

    Those are of single networks, whose mean is what the classifier computes.
    """
    kept = classifier.reference_images
    if kept is None:
        raise Mismatch("There are no reference images to predict again.")
    largest = kept.largest_difference(classifier.predict_pixels)
    if not largest <= LARGEST:
        raise Mismatch(f"The probabilities of the reference images differ by up to {largest:.3g}.")
    return (
        f"{len(kept.pixels):,} reference images predicted again; the largest difference is "
        f"{largest:.1e}. Out-of-fold predictions are of single networks and were not repeated"
    )


def _predicted(
    classifier: Classifier, folder: Path, files: Sequence[str], progress: Progress
) -> Outputs:
    """Decode and predict images in batches."""
    batches = []
    paths = [folder / file for file in files]
    with DecoderPool() as pool, progress.task("Predicting again", len(files), "images") as task:
        decoded = pool.map(classifier.spec.request(str(path)) for path in paths)
        read = (_pixels(path, each) for path, each in zip(paths, decoded, strict=True))
        while pixels := [*islice(read, _BATCH)]:
            batches.append(classifier.infer(np.stack(pixels)))
            task.advance(len(pixels))
    ood_scores = [each.ood_scores for each in batches if each.ood_scores is not None]
    return Outputs(
        np.concatenate([each.probabilities for each in batches]),
        np.concatenate(ood_scores) if ood_scores else None,
    )


def _pixels(path: Path, decoded: Decoded) -> Pixels:
    try:
        return decoded.or_error()
    except ImageError as error:
        raise Mismatch(f"{path} cannot be read: {error}.") from error
