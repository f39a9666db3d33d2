"""Tell TensorBoard and MLflow of a training run, without ever being in its way.

    facts          what a tracker is told, as plain names and numbers
    worker         a thread beside the training; what goes wrong in it is a warning
    tensorboard    event files beside the run folder
    curves         precision-recall and ROC as TensorBoard takes them
    experiment     a run in an MLflow store: parameters, metrics, files
    package        the classifier as an MLflow model
    served         what MLflow runs to answer; copied into that model

Nothing here draws random numbers or touches the network, so the result is the same bits with a
tracker and without. A run that is gone on with goes on in the tracker too.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucency.errors import ConfigError, nearest
from lucency.progress import SILENT, Progress
from lucency.tracking.experiment import Experiment
from lucency.tracking.facts import Start, Tracker
from lucency.tracking.tensorboard import EventFiles
from lucency.tracking.worker import HASTE, PATIENCE, Worker

__all__ = ["Start", "Tracker", "Tracks", "tracked"]

_KINDS: dict[str, type[Tracker]] = {"tensorboard": EventFiles, "mlflow": Experiment}
_TITLES = {"tensorboard": "TensorBoard", "mlflow": "MLflow"}


class Tracks:
    """The trackers of one training run, each in a thread of its own.

    Args:
        names: Which: ``tensorboard``, ``mlflow``, both or none.
        progress: Hears what they have to say.
    """

    def __init__(self, names: tuple[str, ...] = (), progress: Progress = SILENT) -> None:
        self._progress = progress
        self._workers = [Worker(_TITLES[name], _KINDS[name](), progress) for name in names]
        self._target: Path | None = None

    def begin(self, start: Start) -> None:
        """Tell of the plan, before anything is trained."""
        self._target = start.target
        for worker in self._workers:
            worker.start(start)

    def epoch(self, row: Any) -> None:
        """Tell of an epoch (``lucency.training.state.Epoch``), also of one that was told of before."""
        for worker in self._workers:
            worker.ask("epoch", row)

    def finish(self) -> None:
        """Tell of the complete run folder, and wait until all has been taken in."""
        for worker in self._workers:
            worker.ask("finish", self._target)
        self._close(PATIENCE)

    def stop(self, *, interrupted: bool) -> None:
        """Tell that the run did not get to its end."""
        for worker in self._workers:
            worker.ask("stop", interrupted)
        self._close(HASTE if interrupted else PATIENCE)

    def _close(self, patience: float) -> None:
        for worker in self._workers:
            worker.close(patience)


@contextlib.contextmanager
def tracked(asked: str, progress: Progress = SILENT) -> Iterator[Tracks]:
    """Yield the trackers of a training run, which hear how it ends when the block does.

    Args:
        asked: ``tensorboard``, ``mlflow``, both with a comma, or nothing.
        progress: Hears what they have to say.

    Raises:
        ConfigError: There is no such tracker, or its package is not installed.
    """
    tracks = Tracks(_named(asked), progress)
    try:
        yield tracks
    except BaseException as error:
        tracks.stop(interrupted=not isinstance(error, Exception))
        raise
    tracks.finish()


def _named(asked: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(",") if name.strip()))
    for name in names:
        if name not in _KINDS:
            raise ConfigError(
                f"track must be {' or '.join(_KINDS)}, or both with a comma. Received: {name!r}."
                f"{nearest(name, _KINDS)}"
            )
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f'{_TITLES[name]} is not installed: pip install "lucency[{name}]"')
    return names
