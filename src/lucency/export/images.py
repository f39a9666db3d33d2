"""What an export is checked on, and what its 8-bit numbers are scaled by.

Never the same images: 8-bit numbers fit those best that they were scaled by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier, ReferenceImages, Spec
from lucency.dataset import Entry, evenly
from lucency.errors import DataError, ImageError, RunError
from lucency.evaluation.ledger import read_split
from lucency.imaging.decoder.pool import DecoderPool, Request
from lucency.verify.pixels import inside

BATCH = 32
_CALIBRATION = 256  # images; ranges of activations change little after some dozens


@dataclasses.dataclass(frozen=True)
class Images:
    """Images at the network's size.

    Attributes:
        n: How many.
        source: Where they are from, in words.
        batches: Yields all of them, (up to 32, height, width, channels) uint8 at a time.
    """

    n: int
    source: str
    batches: Callable[[], Iterator[NDArray[np.uint8]]]

    def first(self) -> NDArray[np.uint8]:
        """Return the first batch."""
        return next(self.batches())

    def all(self) -> NDArray[np.uint8]:
        """Return all of them at once."""
        return np.concatenate([*self.batches()])


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The images of an export.

    Attributes:
        check: To compare answers on.
        scale: To scale 8-bit numbers by; ``None`` where there are none.
    """

    check: Images
    scale: Images | None


def choose(run: Path, folder: Path | None, classifier: Classifier, *, scale: bool) -> Chosen:
    """Choose validation images to check an export on, and others to scale it by.

    Args:
        run: The run folder.
        folder: The data folder that the run was made from; without it, the reference images kept
            with the run are all there is.
        classifier: Of that run.
        scale: Whether images to scale by are needed: up to 256 training images, or, without a
            folder, half of the reference images, which then do not check.

    Raises:
        RunError: There is no folder, and no reference images were kept; or no validation part.
        DataError: An image to be read is missing or has changed; raised when it is read.
    """
    if folder is None:
        return _reference_images(run, classifier.reference_images, scale=scale)
    entries = read_split(run / "split.csv")
    val = [entry for entry in entries if entry.split == "val"]
    train = _spread([entry for entry in entries if entry.split == "train"], classifier.classes)
    for split, found in (("validation", val), ("training", train)):
        if not found:
            raise RunError(f"{run / 'split.csv'} lists no {split} images. Train again.")
    check = _read(folder, val, "the run's whole validation part", classifier.spec)
    words = f"{len(train):,} training images"
    return Chosen(check, _read(folder, train, words, classifier.spec) if scale else None)


def _reference_images(
    run: Path, reference_images: ReferenceImages | None, *, scale: bool
) -> Chosen:
    if reference_images is None or (scale and len(reference_images.pixels) < 2):
        raise RunError(
            f"{run} keeps no validation images to check an export on (older runs do not). Give "
            f"the data folder that it was made from: lucency export {run} FOLDER; or train again."
        )
    words = "reference images: validation images kept with the run"
    if not scale:
        return Chosen(_held(reference_images.pixels, words), None)
    # By class and certainty of the answers: images of one class in either half would scale the
    # logits for that class alone, and cut off those of the others.
    order = np.lexsort(
        (reference_images.probabilities.max(axis=1), reference_images.probabilities.argmax(axis=1))
    )
    check, other = (
        reference_images.pixels[np.sort(order[1::2])],
        reference_images.pixels[np.sort(order[::2])],
    )
    return Chosen(_held(check, f"half of the {words}"), _held(other, "the other half"))


def _held(pixels: NDArray[np.uint8], source: str) -> Images:
    def batches() -> Iterator[NDArray[np.uint8]]:
        return (pixels[k : k + BATCH] for k in range(0, len(pixels), BATCH))

    return Images(len(pixels), source, batches)


def _spread(entries: Sequence[Entry], classes: Sequence[str]) -> list[Entry]:
    """Return up to 256 images, evenly over the classes and then over their order."""
    room = max(1, _CALIBRATION // len(classes))
    chosen: list[Entry] = []
    for name in classes:
        of_class = [entry for entry in entries if entry.label == name]
        chosen += [of_class[place] for place in evenly(len(of_class), room)]
    return chosen


def _read(folder: Path, entries: Sequence[Entry], source: str, spec: Spec) -> Images:
    # A name that leads out of the data folder would have other files read.
    if outside := [entry.file for entry in entries if not inside(entry.file)]:
        raise DataError(f"split.csv names no path below a data folder: {outside[0]!r}.")

    def batches() -> Iterator[NDArray[np.uint8]]:
        pixels = _pixels(folder, entries, spec)
        while batch := [*islice(pixels, BATCH)]:
            yield np.stack(batch)

    return Images(len(entries), source, batches)


def _pixels(folder: Path, entries: Sequence[Entry], spec: Spec) -> Iterator[NDArray[np.uint8]]:
    """Decode images in order; those of another content than split.csv names are refused."""
    requests = (Request(str(folder / x.file), spec.size, spec.channels == 3) for x in entries)
    with DecoderPool() as pool:
        for entry, decoded in zip(entries, pool.map(requests), strict=True):
            try:
                pixels = decoded.or_error()
            except ImageError as error:
                raise DataError(
                    f"{folder / entry.file} cannot be read: {error}. Give the data folder that "
                    "the run was made from."
                ) from error
            if decoded.sha256 != entry.sha256:
                raise DataError(
                    f"{folder / entry.file} has another content than split.csv names. Give the "
                    "data folder that the run was made from."
                )
            yield pixels
