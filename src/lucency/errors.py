"""What can go wrong, as one tree.

    LucencyError            the command line prints its one line and exits with 2
    ├── ConfigError         an option, a configuration key or its value
    ├── DataError           the folder, its classes, labels, groups or splits
    │   ├── LeakError       test images or patients are also trained on; exits with 3
    │   ├── InputError      what scikit-learn's interface was given; a ValueError too
    │   └── ImageError    one file that cannot be read as an image; training sets it aside
    │       └── PassingError    not for what is in it: it vanished, changed, or memory ran out
    ├── RunError            a run folder that is in the way, missing or incomplete
    ├── ClassifierError     classifier files that are damaged, foreign or do not fit together
    └── BackendError        Keras, its backend or an exporter is missing or failed
        └── ParityError     an exported file answers otherwise than the classifier; exits with 3

A message says what happened, what was expected and how to put it right, with the path and the
value received.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LucencyError(Exception):
    """Any error whose cause the user can put right."""


class ConfigError(LucencyError):
    """An option, a configuration key or its value is not one that exists."""


class DataError(LucencyError):
    """The data set cannot be used as it is."""


class LeakError(DataError):
    """Images or patients of the test part are also in train or validation.

    Args:
        message: What leaks, and the ways on.
        dataset: The ``lucency.dataset.Dataset`` as it would be without them.
    """

    def __init__(self, message: str, dataset: Any) -> None:
        super().__init__(message)
        self.dataset = dataset


class InputError(DataError, ValueError):
    """What ``LucencyClassifier`` was given cannot be used; as scikit-learn has it, a ValueError."""


class ImageError(DataError):
    """One file cannot be read as an image; ``str(error)`` is the reason, without the path."""


class PassingError(ImageError):
    """A reason that lies not in the content of the file and may be gone by the next run."""


class RunError(LucencyError):
    """A run folder is in the way, missing or incomplete."""


class ClassifierError(LucencyError):
    """Classifier files are damaged, foreign or do not fit together."""


class BackendError(LucencyError):
    """Keras, its backend or an exporter is missing or failed."""


class ParityError(BackendError):
    """An exported file answers otherwise than the classifier, and was not kept."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name most like ``name``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
