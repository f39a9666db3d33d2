"""What a tracker is told, as plain names and numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from lucency.config import Config
    from lucency.dataset import Dataset
    from lucency.run_folder.writer import Claim
    from lucency.training.plan import Plan

# What depends on this machine alone: it may change between two parts of one run, and names places.
_OF_THE_MACHINE = ("cache", "workers", "checkpoint_seconds", "track")
_PLACES = ("labels", "split_file", "subgroups", "weights")  # files, of which the name will do
_PARTS = ("validation", "test")


@dataclasses.dataclass(frozen=True)
class Start:
    """What is known of a run before its first step.

    Attributes:
        target: The run folder that will be.
        draft: The folder in which it is made, and in which a tracker may keep what it needs to go
            on: a file of its own, which vanishes when the run is complete.
        resumed: Whether training goes on from a checkpoint.
        data: Name of the data folder.
        fingerprint: sha256 over its images.
        version: Of Lucency.
        config: What was asked for, as ``Config.to_json`` gives it.
        plan: What was decided, as a dictionary of ``lucency.training.plan.Plan``.
    """

    target: Path
    draft: Path
    resumed: bool
    data: str
    fingerprint: str
    version: str
    config: Mapping[str, Any]
    plan: Mapping[str, Any]

    @classmethod
    def of(cls, claim: Claim, data: Dataset, config: Config, plan: Plan) -> Self:
        """Gather what is known once the plan is made."""
        return cls(
            target=claim.target,
            draft=claim.draft,
            resumed=claim.resumed,
            data=data.root.name,
            fingerprint=data.fingerprint,
            version=metadata.version("lucency"),
            config=config.to_json(),
            plan=dataclasses.asdict(plan),
        )

    def parameters(self) -> dict[str, bool | int | float | str]:
        """Return configuration and plan by dotted names; no path to any file, no reasons."""
        config = {k: v for k, v in self.config.items() if k not in _OF_THE_MACHINE}
        config |= {k: Path(config[k]).name for k in _PLACES if config.get(k)}
        plan = {k: v for k, v in self.plan.items() if k != "choices"}
        return {**_flat("config", config), **_flat("plan", plan)}


class Tracker(Protocol):
    """Somebody who is told of a training run; called from one thread, in this order."""

    def begin(self, start: Start) -> str:
        """Take in the plan, and return one line for people: where to look."""

    def epoch(self, row: Any) -> None:
        """Take in an epoch, unless it has been taken in before."""

    def finish(self, folder: Path) -> str:
        """Take in the complete run folder, and return one line for people; empty for none."""

    def stop(self, interrupted: bool) -> None:
        """Take in that the run did not get to its end: interrupted, or by an error."""


def of_epoch(row: Any) -> dict[str, float]:
    """Return the figures of an epoch by name; those that are not numbers are left out."""
    figures = {k: float(v) for k, v in dataclasses.asdict(row).items() if k != "epoch"}
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def of_evaluation(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the final figures of both parts with the ends of their intervals.

    Args:
        document: ``evaluation.json``.

    Returns:
        ``test/auroc``, ``test/auroc_low`` and ``test/auroc_high``, and so on; without those that
        are undefined.
    """
    found: dict[str, float] = {}
    for part in _PARTS:
        for name, estimate in ((document[part] or {}).get("metrics") or {}).items():
            for key, ending in (("value", ""), ("low", "_low"), ("high", "_high")):
                if estimate[key] is not None and math.isfinite(estimate[key]):
                    found[f"{part}/{name}{ending}"] = float(estimate[key])
    return found


def _flat(prefix: str, value: Any) -> dict[str, bool | int | float | str]:
    if isinstance(value, Mapping):
        return {k: v for key in value for k, v in _flat(f"{prefix}.{key}", value[key]).items()}
    if isinstance(value, (bool, int, float, str)):
        return {prefix: value}
    return {prefix: "" if value is None else str(value)}
