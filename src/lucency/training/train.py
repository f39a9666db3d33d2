"""Train a classifier on one split, and calibrate it on another."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Split
from lucency.progress import SILENT, Progress
from lucency.training.budget import Images, buy, described
from lucency.training.calibrate import HeldOut, calibrate, ood_detector
from lucency.training.fit import Fitted, fit
from lucency.training.plan import Plan, make_plan
from lucency.training.pretrained import train_backbone
from lucency.training.speed import measure_speed
from lucency.training.state import Epoch


def train(
    train_split: Split,
    val_split: Split,
    config: Config = Config(),  # noqa: B008 - frozen
    *,
    plan: Plan | None = None,
    progress: Progress = SILENT,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Path | None = None,
) -> Classifier:
    """Train a classifier on ``train_split`` and calibrate it on ``val_split``.

    On a processor, the same data, configuration, versions and machine give the same bits, also
    where training was interrupted and resumed from its checkpoints.

    Args:
        train_split: Images to learn from.
        val_split: Images that temperature, operating point, prediction sets and the limit of the
            out-of-distribution detector are chosen on, and the epoch where the plan asks for the
            best one; never augmented.
        config: The user's choices.
        plan: How to train, as ``make_plan`` derives it from ``train_split`` and ``config``; derived
            here if ``None``. With a time as effort, the speed is measured first, at the size of the
            images; to resume such a training, pass the plan of the first call.
        progress: Called on every step.
        on_epoch: Called with each row of the history as it is measured; when training is resumed,
            first with the rows of the epochs that are complete.
        checkpoints: Folder for checkpoints, made if missing; training resumes from the newest one
            there. ``None`` writes none.

    Returns:
        The classifier; its ``history`` holds one ``Epoch`` per epoch.

    Raises:
        ConfigError: Choices contradict each other.
        RunError: The checkpoints are of another training, or training diverged from the start.
        BackendError: There is not enough memory for one image at a time.
    """
    if plan is None and config.seconds:
        plan = _plan_in_time(train_split, val_split, config)
    plan = plan or make_plan(train_split, config)
    if plan.trained != "all":
        found = train_backbone(
            plan, (train_split, val_split, None), config, progress, checkpoints=checkpoints
        )  # fmt: skip
        return found.backbone.classifier(config, progress, on_epoch)[0]
    fitted = fit(
        (train_split, val_split), plan, config,
        progress=progress, on_epoch=on_epoch, checkpoints=checkpoints,
    )  # fmt: skip
    return finish(fitted, (train_split, val_split), plan, config, progress)


def finish(
    fitted: Fitted,
    splits: tuple[Split, Split],
    plan: Plan,
    config: Config,
    progress: Progress,
) -> Classifier:
    """Calibrate a trained network, and return it with its OOD detector.

    Args:
        fitted: The network.
        splits: Train, and the images to choose on.
        plan: How it was trained.
        config: The user's choices.
        progress: Warned if the images do not reach the rule of the operating point.
    """
    classifier, (train_split, val_split) = fitted.network, splits
    held_out = HeldOut.of(fitted.logits, val_split)
    calibrate(
        classifier, plan, config, train_split.labels, held_out,
        lambda: classifier.predict_split(val_split), progress,
    )  # fmt: skip
    classifier.ood_detector = ood_detector(classifier, train_split, val_split)
    return classifier


def _plan_in_time(train: Split, val: Split, config: Config) -> Plan:
    """Plan what the time budget buys; the images have the size that they were decoded to."""
    end = time.monotonic() + (config.seconds or 0)
    bought = buy(
        dataclasses.replace(config, size=train.cache.shape[0]),
        Images(len(train), len(val), 0, evaluated=False),
        left=lambda: end - time.monotonic(),
        measure=lambda settings: measure_speed(train, settings, config.seconds or 0),
    )
    return described(make_plan(train, bought.config), bought, config)
