"""Log a training run to TensorBoard and MLflow, without affecting it.

    tracker          interface of a tracker, and the values that it logs
    worker           a thread that calls one tracker; its errors are warnings
    tensorboard      event files beside the run folder
    curves           precision-recall and ROC curves for TensorBoard
    mlflow_run       a run in an MLflow store: parameters, metrics, files
    mlflow_model     the classifier as an MLflow model
    pyfunc_model     the script that MLflow predicts with; copied into that model

Nothing here draws random numbers or changes the network, so a run is bit for bit the same with and
without a tracker. A resumed run continues in the tracker.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucency.errors import ConfigError, nearest
from lucency.progress import SILENT, Progress
from lucency.tracking.mlflow_run import MlflowRun
from lucency.tracking.tensorboard import EventFiles
from lucency.tracking.tracker import Start, Tracker
from lucency.tracking.worker import CLOSE_SECONDS, INTERRUPTED_SECONDS, Worker

__all__ = ["Start", "Tracker", "Tracks", "tracked"]

_TRACKERS: dict[str, type[Tracker]] = {"tensorboard": EventFiles, "mlflow": MlflowRun}
_TITLES = {"tensorboard": "TensorBoard", "mlflow": "MLflow"}


class Trackers:
    """The trackers of one training run, each in its own thread.

    Args:
        names: ``tensorboard``, ``mlflow``, both or none.
        progress: Shows their messages and warnings.
    """

    def __init__(self, names: tuple[str, ...] = (), progress: Progress = SILENT) -> None:
        self._progress = progress
        self._workers = [Worker(_TITLES[name], _TRACKERS[name](), progress) for name in names]
        self._target: Path | None = None

    def begin(self, start: Start) -> None:
        """Log the plan, before training."""
        self._target = start.target
        for worker in self._workers:
            worker.start(start)

    def epoch(self, row: Any) -> None:
        """Log an epoch (``lucency.training.state.Epoch``), unless it was logged before."""
        for worker in self._workers:
            worker.call("epoch", row)

    def finish(self) -> None:
        """Log the complete run folder, and wait until everything is logged."""
        for worker in self._workers:
            worker.call("finish", self._target)
        self._close(CLOSE_SECONDS)

    def stop(self, *, interrupted: bool) -> None:
        """Log that the run stopped early."""
        for worker in self._workers:
            worker.call("stop", interrupted)
        self._close(INTERRUPTED_SECONDS if interrupted else CLOSE_SECONDS)

    def _close(self, seconds: float) -> None:
        for worker in self._workers:
            worker.close(seconds)


@contextlib.contextmanager
def tracked(wanted: str, progress: Progress = SILENT) -> Iterator[Trackers]:
    """Yield the trackers of a training run, and log its end when the block ends.

    Args:
        wanted: ``tensorboard``, ``mlflow``, both with a comma, or "".
        progress: Shows their messages and warnings.

    Raises:
        ConfigError: There is no such tracker, or its package is not installed.
    """
    trackers = Trackers(_names(wanted), progress)
    try:
        yield trackers
    except BaseException as error:
        trackers.stop(interrupted=not isinstance(error, Exception))
        raise
    trackers.finish()


def _names(wanted: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in wanted.split(",") if name.strip()))
    for name in names:
        if name not in _TRACKERS:
            raise ConfigError(
                f"track must be {' or '.join(_TRACKERS)}, or both with a comma. Received: {name!r}."
                f"{nearest(name, _TRACKERS)}"
            )
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f'{_TITLES[name]} is not installed: pip install "lucency[{name}]"')
    return names
