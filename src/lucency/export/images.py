"""The images that an export is compared on, and the images that calibrate its 8-bit numbers.

They are never the same: 8-bit numbers are most exact on the images that calibrated them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from lucency.classifier import Classifier, ReferenceImages, Spec
from lucency.dataset import Entry, evenly, read_split
from lucency.errors import DataError, ImageError, RunError
from lucency.imaging.decoder.pool import DecoderPool, Pixels
from lucency.run_folder.files import FOLDS, SPLIT
from lucency.verify.pixels import inside

BATCH = 32
_CALIBRATION = 256  # images; ranges of activations change little after a few dozen


@dataclasses.dataclass(frozen=True)
class Images:
    """Images at the network's size.

    Attributes:
        n: Number of images.
        source: Their origin, in words.
        batches: Yields all of them, (up to 32, height, width, channels) at a time.
    """

    n: int
    source: str
    batches: Callable[[], Iterator[Pixels]]

    def first(self) -> Pixels:
        """Return the first batch."""
        return next(self.batches())

    def all(self) -> Pixels:
        """Return all of them at once."""
        return np.concatenate([*self.batches()])


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The images of an export.

    Attributes:
        check: To compare predictions on.
        scale: To calibrate 8-bit numbers with; ``None`` for float32.
    """

    check: Images
    scale: Images | None


def choose(run: Path, folder: Path | None, classifier: Classifier, *, scale: bool) -> Chosen:
    """Choose validation images to compare an export on, and other images to calibrate it with.

    Args:
        run: The run folder.
        folder: The data folder of the run; without it, the reference images of the run are used.
        classifier: Of that run.
        scale: Whether images for calibration are needed: up to 256 training images, or, without a
            folder, half of the reference images, which are then not compared.

    Raises:
        RunError: There is neither a folder nor reference images; or no validation split.
        DataError: An image is missing or has changed; raised when it is read.
    """
    if folder is None:
        return _reference_images(run, classifier.reference_images, scale=scale)
    entries = read_split(run / SPLIT)
    folds = FOLDS.is_in(run)  # without validation
    val = [entry for entry in entries if entry.split == ("train" if folds else "val")]
    train = _spread([entry for entry in entries if entry.split == "train"])
    for split, found in (("validation", val), ("training", train)):
        if not found:
            raise RunError(f"{run / SPLIT} lists no {split} images. Train again.")
    whole = "all images of the run's folds" if folds else "the run's whole validation split"
    check = _read(folder, val, whole, classifier.spec)
    words = f"{len(train):,} training images"
    return Chosen(check, _read(folder, train, words, classifier.spec) if scale else None)


def _reference_images(
    run: Path, reference_images: ReferenceImages | None, *, scale: bool
) -> Chosen:
    if reference_images is None or (scale and len(reference_images.pixels) < 2):
        raise RunError(
            f"{run} has no reference images to compare an export on. Name the data folder of the "
            f"run: lucency export {run} FOLDER; or train again."
        )
    words = "reference images: validation images kept with the run"
    if not scale:
        return Chosen(_in_memory(reference_images.pixels, words), None)
    # Alternate by predicted class and probability: a half with images of one class only would
    # calibrate the logits for that class alone, and clip those of the others.
    order = np.lexsort(
        (reference_images.probabilities.max(axis=1), reference_images.probabilities.argmax(axis=1))
    )
    check, other = (
        reference_images.pixels[np.sort(order[1::2])],
        reference_images.pixels[np.sort(order[::2])],
    )
    return Chosen(_in_memory(check, f"half of the {words}"), _in_memory(other, "the other half"))


def _in_memory(pixels: Pixels, source: str) -> Images:
    def batches() -> Iterator[Pixels]:
        return (pixels[k : k + BATCH] for k in range(0, len(pixels), BATCH))

    return Images(len(pixels), source, batches)


def _spread(entries: Sequence[Entry]) -> list[Entry]:
    """Return up to 256 images, evenly over the classes and then over their order."""
    classes = sorted({entry.label for entry in entries})
    room = max(1, _CALIBRATION // len(classes))
    chosen: list[Entry] = []
    for name in classes:
        of_class = [entry for entry in entries if entry.label == name]
        chosen += [of_class[place] for place in evenly(len(of_class), room)]
    return chosen


def _read(folder: Path, entries: Sequence[Entry], source: str, spec: Spec) -> Images:
    # A path that leads out of the data folder would make us read other files.
    if outside := [entry.file for entry in entries if not inside(entry.file)]:
        raise DataError(f"split.csv has a path outside of the data folder: {outside[0]!r}.")

    def batches() -> Iterator[Pixels]:
        pixels = _pixels(folder, entries, spec)
        while batch := [*islice(pixels, BATCH)]:
            yield np.stack(batch)

    return Images(len(entries), source, batches)


def _pixels(folder: Path, entries: Sequence[Entry], spec: Spec) -> Iterator[Pixels]:
    """Decode images in order; images whose content differs from split.csv are rejected."""
    requests = (spec.request(str(folder / x.file)) for x in entries)
    with DecoderPool() as pool:
        for entry, decoded in zip(entries, pool.map(requests), strict=True):
            try:
                pixels = decoded.or_error()
            except ImageError as error:
                raise DataError(
                    f"{folder / entry.file} cannot be read: {error}. Name the data folder of the "
                    "run."
                ) from error
            if decoded.sha256 != entry.sha256:
                raise DataError(
                    f"The content of {folder / entry.file} differs from split.csv. Name the data "
                    "folder of the run."
                )
            yield pixels
