"""The interface of a tracker, and the values that it logs."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from lucency.config import column_of_unit, plural_of_unit

if TYPE_CHECKING:
    from lucency.config import Config
    from lucency.dataset import Dataset
    from lucency.run_folder.writer import RunWriter
    from lucency.training.plan import Plan

# Keys that concern this machine alone: they may change on resuming, or name its folders.
_MACHINE_KEYS = ("cache", "workers", "on", "checkpoint_seconds", "track")
_FILE_KEYS = ("labels", "split_file", "subgroups", "weights")  # logged without their folders
_FORBIDDEN = re.compile(r"[^\w -]")  # in the name of a metric, for MLflow
_LONGEST_NAME = 100
SPLITS = ("validation", "cross_validation", "test")


@dataclasses.dataclass(frozen=True)
class Start:
    """What is known of a run before its first step.

    Attributes:
        target: The future run folder.
        partial: The folder of the unfinished run, where a tracker may keep a file to resume with;
            the file is removed when the run is complete.
        resumed: Whether training resumes from a checkpoint.
        data: Name of the data folder.
        fingerprint: sha256 over its images.
        version: Of Lucency.
        config: From ``Config.to_json``.
        plan: The plan, as a dictionary of ``lucency.training.plan.Plan``.
    """

    target: Path
    partial: Path
    resumed: bool
    data: str
    fingerprint: str
    version: str
    config: Mapping[str, Any]
    plan: Mapping[str, Any]

    @classmethod
    def of(cls, writer: RunWriter, data: Dataset, config: Config, plan: Plan) -> Self:
        """Collect what is known once the plan is made."""
        return cls(
            target=writer.target,
            partial=writer.partial,
            resumed=writer.resumed,
            data=data.root.name,
            fingerprint=data.fingerprint,
            version=metadata.version("lucency"),
            config=config.to_json(),
            plan=dataclasses.asdict(plan),
        )

    def parameters(self) -> dict[str, bool | int | float | str]:
        """Return configuration and plan by dotted names, without paths and reasons."""
        config = {k: v for k, v in self.config.items() if k not in _MACHINE_KEYS}
        config |= {k: Path(config[k]).name for k in _FILE_KEYS if config.get(k)}
        plan = {k: v for k, v in self.plan.items() if k != "choices"}
        return {**_flat("config", config), **_flat("plan", plan)}


class Tracker(Protocol):
    """Logs a training run; called from one thread, in this order."""

    def begin(self, start: Start) -> str:
        """Log the plan; return a message that says where to watch the run."""

    def epoch(self, row: Any) -> None:
        """Log an epoch, unless it was logged before."""

    def finish(self, folder: Path) -> str:
        """Log the complete run folder; return a message, or ""."""

    def stop(self, interrupted: bool) -> None:
        """Log that the run stopped early: interrupted, or by an error."""


def of_epoch(row: Any) -> dict[str, float]:
    """Return the metrics of an epoch by name, without those that are not finite."""
    figures = {k: float(v) for k, v in dataclasses.asdict(row).items() if k != "epoch"}
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def of_evaluation(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the final metrics of all splits with the ends of their intervals.

    Args:
        document: ``evaluation.json``.

    Returns:
        ``test/auroc``, ``test/auroc_low``, ``test/auroc_high`` and so on, without undefined ones;
        of patients, studies or other units with an answer ``test_patients/auroc`` and so on. Of
        several labels, these are means, and ``test_labels/effusion/auroc`` is that of a label.
    """
    found: dict[str, float] = {}
    for split in SPLITS:
        of_images = document.get(split) or {}
        found |= _estimates(split, of_images)
        found |= _of_labels(split, of_images)
        of_units = of_images.get("per_unit") or {}
        unit = of_units.get("unit", "")
        many = "units" if column_of_unit(unit) else plural_of_unit(unit)
        found |= _estimates(f"{split}_{many}", of_units)
        found |= _of_labels(f"{split}_{many}", of_units)
    return found


def _of_labels(split: str, evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of each label that a mean is made of, under names that trackers accept."""
    found: dict[str, float] = {}
    taken: set[str] = set()
    for number, (name, of) in enumerate((evaluation.get("labels") or {}).items(), start=1):
        plain = _FORBIDDEN.sub("_", name).strip(" .")[:_LONGEST_NAME]
        if not plain or plain in taken:
            plain = f"{plain}_{number}"
        taken.add(plain)
        kept = {key: of["metrics"][key] for key in evaluation["metrics"] if key in of["metrics"]}
        found |= _estimates(f"{split}_labels/{plain}", {"metrics": kept})
    return found


def _estimates(prefix: str, evaluation: Mapping[str, Any]) -> dict[str, float]:
    endings = (("value", ""), ("low", "_low"), ("high", "_high"))
    return {
        f"{prefix}/{name}{ending}": float(estimate[key])
        for name, estimate in (evaluation.get("metrics") or {}).items()
        for key, ending in endings
        if estimate[key] is not None and math.isfinite(estimate[key])
    }


def _flat(prefix: str, value: Any) -> dict[str, bool | int | float | str]:
    if isinstance(value, Mapping):
        return {k: v for key in value for k, v in _flat(f"{prefix}.{key}", value[key]).items()}
    if isinstance(value, (bool, int, float, str)):
        return {prefix: value}
    return {prefix: "" if value is None else str(value)}
