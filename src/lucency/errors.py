"""All exceptions, as one tree.

    LucencyError            the command line prints its one line and exits with 2
    ├── ConfigError         an option, a configuration key or its value
    ├── DataError           the folder, its classes, labels, groups or splits
    │   ├── LeakError       test images or patients are also trained on; exits with 3
    │   ├── InputError      arguments of the scikit-learn interface; also a ValueError
    │   └── ImageError      one file that cannot be read as an image; training excludes it
    │       └── TransientError    not because of its content: it vanished or memory ran out
    ├── RunError            a run folder that exists already, is missing or incomplete
    ├── ClassifierError     classifier files that are damaged, untrusted or inconsistent
    └── BackendError        Keras, its backend or an exporter is missing or failed
        └── ParityError     an exported file predicts differently; exits with 3

A message says what happened, what was expected and how to fix it, with the path and the value
received.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LucencyError(Exception):
    """Any error that the user can fix."""


class ConfigError(LucencyError):
    """An option, a configuration key or its value is not valid."""


class DataError(LucencyError):
    """The data set cannot be used as it is."""


class LeakError(DataError):
    """Images or patients of the test split are also in train or validation.

    Args:
        message: What leaks, and how to proceed.
        dataset: The ``lucency.dataset.Dataset`` without the leaking images.
    """

    def __init__(self, message: str, dataset: Any) -> None:
        super().__init__(message)
        self.dataset = dataset


class InputError(DataError, ValueError):
    """The arguments of ``LucencyClassifier`` cannot be used; also a ValueError."""


class ImageError(DataError):
    """One file cannot be read as an image; ``str(error)`` is the reason, without the path."""


class TransientError(ImageError):
    """The reason is not the content of the file, and may disappear by the next run."""


class RunError(LucencyError):
    """A run folder exists already, is missing or incomplete."""


class ClassifierError(LucencyError):
    """Classifier files are damaged, untrusted or inconsistent."""


class BackendError(LucencyError):
    """Keras, its backend or an exporter is missing or failed."""


class ParityError(BackendError):
    """An exported file predicts differently from the classifier, and was not kept."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name closest to ``name``, or empty."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
