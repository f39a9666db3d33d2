"""What each benchmark of the service uses: two classifiers, a folder, and the sample size.

All traffic is on 127.0.0.1. The client shares the processors with the service, and its share is
among the figures. The overload uses a slower classifier (the article's network), as a client in
Python cannot send ten times as many requests as a fast classifier can process.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmarks.command import LUCENCY, run
from benchmarks.sample_images import NATIVE, images


class Setup(NamedTuple):
    """What a benchmark of the service uses.

    Attributes:
        run: The run folder to serve.
        heavy: The run folder of a slower classifier.
        folder: An empty folder to work in.
        quick: Whether a small sample is enough.
    """

    run: Path
    heavy: Path
    folder: Path
    quick: bool


def classifiers(folder: Path, given: Path | None, heavy: Path | None) -> tuple[Path, Path]:
    """Return the classifiers that the user has given; train the others in a folder."""
    fast = given or trained_for_one_epoch(folder / "quick", "default")
    return fast, heavy or given or trained_for_one_epoch(folder / "article", "article")


def trained_for_one_epoch(target: Path, recipe: str) -> Path:
    """Train a run for one epoch, and return its folder: the speed does not depend on weights."""
    images(NATIVE, 1)  # raises Skipped if there are none
    options = ("--recipe", recipe, "--effort", "quick", "--set", "epochs=1", "--quiet")
    places = ("--folds", "0", "--run", str(target), "--cache", str(target.parent / "cache"))
    run(LUCENCY, "train", str(NATIVE), *options, *places)
    return target
