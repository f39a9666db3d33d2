"""A time budget in a training run: measure, decide, and keep to the decision when resumed."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from lucency.config import Config
from lucency.dataset import Dataset
from lucency.dataset.survey import survey
from lucency.errors import RunError
from lucency.progress import Progress
from lucency.run_folder.files import BUDGET
from lucency.run_folder.writer import RunWriter
from lucency.training.budget import Bought, Images, Speed, buy, described, fill
from lucency.training.plan import Plan


def spend(
    writer: RunWriter, folder: Path, config: Config, progress: Progress
) -> tuple[Bought | None, Config]:
    """Return what the time budget buys, or ``None`` without one, and the settings to train with.

    Time is spent on one network, without folds. The number of epochs is decided by ``settle``,
    once the images have been read.

    Raises:
        ConfigError: Not even the smallest training fits.
        DataError: The folder is not a usable data set.
        RunError: The decision of the unfinished run cannot be read.
    """
    if config.seconds is None:
        return None, config
    if BUDGET.is_in(writer.partial):
        stored = _stored(writer, config)
        return stored, dataclasses.replace(stored.config, folds=0)
    from lucency.training.speed import measure_speed, noise_split  # loads the backend

    progress.note(f"Measuring how fast this machine trains, for --effort {config.effort}.")
    found = survey(folder, config)
    count = min(found.train, config.batch or 100)

    def measure(settings: Config) -> Speed:
        shape = (*settings.input_size, 3 if found.colour else 1)
        return measure_speed(
            noise_split(found.classes, shape, count), settings, config.seconds or 0
        )

    images = Images(found.train, found.val, found.test)
    bought = buy(config, images, lambda: _left(writer, config), measure, found.reading)
    return bought, dataclasses.replace(bought.config, folds=0)


def settle(
    writer: RunWriter, bought: Bought | None, config: Config, data: Dataset, plan: Plan
) -> Plan:
    """Return the plan with as many epochs as the time that is left allows.

    The decision is stored, and a resumed run keeps to it.

    Args:
        writer: The run.
        bought: From ``spend``; without it the plan stays as it is.
        config: With the time.
        data: As it was read.
        plan: Made from ``bought.config``.
    """
    if bought is None:
        return plan
    if not BUDGET.is_in(writer.partial):
        images = Images(len(data.train), len(data.val), len(data.test) if data.test else 0)
        bought = fill(bought, _left(writer, config), images, config)
        BUDGET.write(writer.partial, bought.to_json())
    return described(plan, bought, config)


def spent(partial: Path) -> dict[str, Any]:
    """Return ``time_budget`` of ``plan.json``; nothing where the effort is no time."""
    stored = BUDGET.read_if_there(partial)
    return {"time_budget": {k: v for k, v in stored.items() if k != "format"}} if stored else {}


def _left(writer: RunWriter, config: Config) -> float:
    return writer.began + (config.seconds or 0) - time.monotonic()


def _stored(writer: RunWriter, config: Config) -> Bought:
    try:
        return Bought.from_json(BUDGET.read(writer.partial), config)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{writer.partial / BUDGET} is damaged. Start over with --no-resume."
        ) from error
