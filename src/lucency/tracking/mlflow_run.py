"""A run in an MLflow store: parameters and metrics during training, files at the end.

    MLFLOW_TRACKING_URI       the store; ``sqlite:///mlflow.db`` in the working folder if not set
    MLFLOW_EXPERIMENT_NAME    the experiment; ``lucency`` if not set

Only the client of MLflow is used, so an active run of the calling program stays active.
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
from lucency.run_folder.files import EVALUATION, MODEL_CARD, PLAN, REPORT, TRACKED
from lucency.tracking.tracker import Start, of_epoch, of_evaluation

STORE = "mlflow.db"
EXPERIMENT = "lucency"
# Files of the run folder that are uploaded; the classifier is part of the model.
FILES = (REPORT, MODEL_CARD, EVALUATION, PLAN)
# A program for images of patients must not report its use without consent.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # results are printed there
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # give up on a missing store within seconds
}
_MOST = 100  # parameters per request of MLflow
_MOST_METRICS = 1000  # per request
_LONGEST = 500  # characters of a parameter that every MLflow store accepts
_KEPT_SIZE = 2**16


class MlflowRun:
    """Logs a training run as a run in an MLflow store."""

    def begin(self, start: Start) -> str:
        """Create the run, or resume the one that the unfinished run folder names."""
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or own_store()
        with _quiet():
            from mlflow import MlflowClient

            self._client: Any = MlflowClient(self._uri)
            self._start = start
            self._run, self._last = self._existing() or self._created()
        how = "" if self._uri.startswith("http") else "mlflow ui --backend-store-uri "
        return f"To watch it: {how}{self._uri}"

    def epoch(self, row: Any) -> None:
        """Log the metrics of an epoch."""
        if row.epoch > self._last:
            self._log(of_epoch(row), row.epoch)

    def finish(self, folder: Path) -> str:
        """Log the final metrics, the report and the classifier, and end the run."""
        from lucency.tracking.mlflow_model import publish

        with _quiet(), _at(self._uri):
            plan = PLAN.read(folder)
            self._log(of_evaluation(EVALUATION.read(folder)), plan["best_epoch"])
            for name in FILES:
                self._client.log_artifact(self._run, str(folder / name))
            model, sha256 = publish(folder, self._run, self._client)
            version = self._registered(model)
            self._client.set_tag(self._run, "lucency.sha256", sha256)
            self._client.set_terminated(self._run, "FINISHED")
        return f"In MLflow: models:/{version.name}/{version.version}"

    def stop(self, interrupted: bool) -> None:
        """End the run as killed or failed; it runs again when training resumes."""
        self._client.set_terminated(self._run, "KILLED" if interrupted else "FAILED")

    def _existing(self) -> tuple[str, int] | None:
        """Return the existing run and its last epoch; None without one."""
        from mlflow.exceptions import MlflowException

        try:
            kept = read_json(self._start.partial / TRACKED, _KEPT_SIZE)
            if kept["store"] != self._uri:
                return None
            run = str(kept["run"])
            self._client.update_run(run, status="RUNNING")
        except (OSError, ValueError, KeyError, TypeError, MlflowException):
            return None  # lost or deleted: create a new one
        seen = self._client.get_metric_history(run, "val_loss")
        return run, max((metric.step for metric in seen), default=0)

    def _created(self) -> tuple[str, int]:
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
        write_json(start.partial / TRACKED, {"format": 1, "store": self._uri, "run": run})
        given = [Param(k, str(v)[:_LONGEST]) for k, v in start.parameters().items()]
        for first in range(0, len(given), _MOST):
            self._client.log_batch(run, params=given[first:][:_MOST])
        return run, 0

    def _registered(self, model: str) -> Any:
        """Register the model; models trained on the same data folder are versions of one."""
        from mlflow.exceptions import MlflowException

        name = re.sub(r"[^\w.-]+", "-", self._start.data).strip("-") or "lucency"
        with contextlib.suppress(MlflowException):  # it exists already
            self._client.create_registered_model(name)
        return self._client.create_model_version(
            name, f"models:/{model}", run_id=self._run, model_id=model
        )

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        given = [Metric(k, v, now, step) for k, v in figures.items()]
        for first in range(0, len(given), _MOST_METRICS):
            self._client.log_batch(self._run, given[first:][:_MOST_METRICS])


def own_store() -> str:
    """Return the URI of the store in the working folder, as an absolute path."""
    return f"sqlite:///{Path(STORE).absolute()}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the many log messages of MLflow."""
    import mlflow  # noqa: F401 - importing it sets the levels

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
    """Set the store of MLflow's module functions, and restore the previous one afterwards."""
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
