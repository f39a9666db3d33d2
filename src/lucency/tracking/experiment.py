"""A run in an MLflow store: parameters and metrics while it trains, files when it is complete.

    MLFLOW_TRACKING_URI       the store; ``sqlite:///mlflow.db`` in the working folder if not set
    MLFLOW_EXPERIMENT_NAME    the experiment; ``lucency`` if not set

Only MLflow's client is used: a program that has a run of its own open keeps it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lucency.io import read_json, write_json
from lucency.run_folder.writer import TRACKED
from lucency.tracking.facts import Start, of_epoch, of_evaluation

STORE = "mlflow.db"
EXPERIMENT = "lucency"
# What of a run folder is sent; the classifier goes with its model.
FILES = ("report.html", "model_card.md", "evaluation.json", "plan.json")
# A program for images of patients does not report its use to anybody unasked.
_MANNERS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # where results go
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # seconds of waiting for a store that is not there
}
_MOST = 100  # parameters that MLflow takes at once
_LONGEST = 500  # characters of a parameter that all its stores take
_KEPT_SIZE = 2**16


class Experiment:
    """Fills a run in an MLflow store."""

    def begin(self, start: Start) -> str:
        """Make the run, or go on with the one that an unfinished run folder names."""
        for name, value in _MANNERS.items():
            os.environ.setdefault(name, value)
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or own_store()
        with _calm():
            from mlflow import MlflowClient

            self._client: Any = MlflowClient(self._uri)
            self._start = start
            self._run, self._last = self._found() or self._made()
        how = "" if self._uri.startswith("http") else "mlflow ui --backend-store-uri "
        return f"To watch it: {how}{self._uri}"

    def epoch(self, row: Any) -> None:
        """Send the figures of an epoch."""
        if row.epoch > self._last:
            self._send(of_epoch(row), row.epoch)

    def finish(self, folder: Path) -> str:
        """Send the final figures, the report and the classifier, and end the run."""
        from lucency.tracking.package import publish

        with _calm(), _at(self._uri):
            plan = read_json(folder / "plan.json")
            self._send(of_evaluation(read_json(folder / "evaluation.json")), plan["best_epoch"])
            for name in FILES:
                self._client.log_artifact(self._run, str(folder / name))
            model, sha256 = publish(folder, self._run, self._client)
            version = self._registered(model)
            self._client.set_tag(self._run, "lucency.sha256", sha256)
            self._client.set_terminated(self._run, "FINISHED")
        return f"In MLflow: models:/{version.name}/{version.version}"

    def stop(self, interrupted: bool) -> None:
        """End the run, as stopped or as failed; it is open again when training goes on."""
        self._client.set_terminated(self._run, "KILLED" if interrupted else "FAILED")

    def _found(self) -> tuple[str, int] | None:
        """Return the run that was begun before, and the last epoch that it holds."""
        from mlflow.exceptions import MlflowException

        try:
            kept = read_json(self._start.draft / TRACKED, _KEPT_SIZE)
            if kept["store"] != self._uri:
                return None
            run = str(kept["run"])
            self._client.update_run(run, status="RUNNING")
        except (OSError, ValueError, KeyError, TypeError, MlflowException):
            return None  # lost or removed: a new one is made
        seen = self._client.get_metric_history(run, "val_loss")
        return run, max((metric.step for metric in seen), default=0)

    def _made(self) -> tuple[str, int]:
        from mlflow.entities import Param

        start = self._start
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        tags = {
            "mlflow.source.name": "lucency",
            "mlflow.source.type": "LOCAL",
            "lucency.version": start.version,
            "lucency.data": start.data,
            "lucency.data_fingerprint": start.fingerprint,
        }
        made = self._client.create_run(experiment, tags=tags, run_name=start.target.name)
        run = str(made.info.run_id)
        write_json(start.draft / TRACKED, {"format": 1, "store": self._uri, "run": run})
        given = [Param(k, str(v)[:_LONGEST]) for k, v in start.parameters().items()]
        for first in range(0, len(given), _MOST):
            self._client.log_batch(run, params=given[first:][:_MOST])
        return run, 0

    def _registered(self, model: str) -> Any:
        """Make the model a version: those that learnt from the same folder are versions of one."""
        from mlflow.exceptions import MlflowException

        name = re.sub(r"[^\w.-]+", "-", self._start.data).strip("-") or "lucency"
        with contextlib.suppress(MlflowException):  # it is there already
            self._client.create_registered_model(name)
        return self._client.create_model_version(
            name, f"models:/{model}", run_id=self._run, model_id=model
        )

    def _send(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._run, [Metric(k, v, now, step) for k, v in figures.items()])


def own_store() -> str:
    """Return the URI of the store in the working folder; MLflow confuses relative ones."""
    return f"sqlite:///{Path(STORE).absolute()}"


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Keep MLflow's own notes, of which there are many, off the screen."""
    import mlflow  # noqa: F401 - which sets the levels when it is loaded

    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _at(store: str) -> Iterator[None]:
    """Have MLflow's module functions use a store, and then again what they used before."""
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    was_set = mlflow.is_tracking_uri_set()
    used = mlflow.get_tracking_uri() if was_set else None
    mlflow.set_tracking_uri(store)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(used or "")
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
