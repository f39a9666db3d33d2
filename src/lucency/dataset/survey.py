"""Estimate what a data set costs before it is decoded: how many images, and the time of each."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lucency.cluster import decoders
from lucency.config import Config
from lucency.dataset.load import COLOUR_SAMPLE, is_colour_dataset, scan_source
from lucency.dataset.split import MOST_VALIDATION
from lucency.progress import SILENT

_WARM_UP = 4  # images per process, decoded before time is measured


@dataclass(frozen=True)
class Survey:
    """What training will work on; nothing has been split yet, so the counts are estimates.

    Attributes:
        classes: Names, in natural order or in that of their grades.
        colour: Whether images are decoded to three channels.
        train: Number of training images, at least 1.
        val: Number of validation images.
        test: Number of test images.
        reading: Seconds that decoding all images will take, if the cache has none of them.
    """

    classes: tuple[str, ...]
    colour: bool
    train: int
    val: int
    test: int
    reading: float


def survey(folder: Path, config: Config) -> Survey:
    """Scan a data set and decode a sample of its images.

    Raises:
        DataError: The folder is not a usable data set.
    """
    found = scan_source(folder, config, SILENT)
    files = [str(found.root / entry.file) for entry in found.entries]
    with decoders(config) as pool:
        is_colour_dataset(files[: _WARM_UP * pool.workers], pool)
        start = time.perf_counter()
        colour = is_colour_dataset(files, pool)
        seconds = time.perf_counter() - start
    given = Counter(entry.split for entry in found.entries)
    test = given["test"] or (0 if given["train"] else round(config.test_fraction * len(files)))
    rest = len(files) - test
    val = min(round(config.val_fraction * rest), MOST_VALIDATION)
    return Survey(
        classes=found.classes,
        colour=colour,
        train=max(1, rest - val),
        val=val,
        test=test,
        reading=seconds / min(len(files), COLOUR_SAMPLE) * len(files),
    )
