"""One kind of hostile run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

PREDICT = "predict"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way to spoil a run folder.

    Attributes:
        name: What is wrong with it.
        spoil: Called with a sound run folder and a canary: a file that nobody may open.
        command: Of Lucency, which must refuse the folder.
        accepted: Whether it is sound after all: a control, which must be taken.
    """

    name: str
    spoil: Callable[[Path, Path], object]
    command: str = PREDICT
    accepted: bool = False
