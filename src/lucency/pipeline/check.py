"""Check a data set without training: audit, leak check and probes, written as a page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lucency.config import Config
from lucency.dataset import Dataset, load_dataset, write_split
from lucency.errors import LeakError, RunError
from lucency.imaging.depths import in_words
from lucency.io import built_folder
from lucency.pipeline.images import write_check_images
from lucency.pipeline.start import plan_of, with_start
from lucency.probes import probe
from lucency.probes.findings import Finding
from lucency.progress import SILENT, Progress
from lucency.report import write_check
from lucency.run_folder.files import AUDIT, CHECK_PAGE, SPLIT
from lucency.training.warm_start import check_unseen, settled

# Choices of the plan that follow from the data.
_BY_DATA = (
    *("start", "folds", "network", "input", "depth", "epochs", "class weights"),
    *("stretch of each axis",),
)
_OURS = {AUDIT.name, CHECK_PAGE.name, "images", SPLIT.name}


@dataclass(frozen=True)
class Check:
    """The result of checking a data set.

    Attributes:
        folder: The folder of the check.
        page: ``check.html`` in that folder.
        data: The data set, split as for training.
        audit: The content of ``audit.json``.
    """

    folder: Path
    page: Path
    data: Dataset
    audit: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether no image or patient of test is in another split."""
        return bool(self.audit["leaks"]["status"] != "failed")


def run_check(
    folder: Path,
    config: Config = Config(),  # noqa: B008 - frozen
    *,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> Check:
    """Check a folder of labelled images and write the page.

    Args:
        folder: Folder of class folders, or of train/val/test folders with class folders.
        config: How to read and split, as for training.
        out: Folder for ``check.html``, ``audit.json``, ``split.csv`` and ``images/``. An earlier
            check there is replaced. Default: ``checks/<name of the data folder>``.
        progress: Called on every step.

    Raises:
        LucencyError: The folder is not a usable data set, or the files cannot be written.
    """
    config, out = settled(config), out or default_check_folder(folder)
    _check_replaceable(out)
    if config.seconds:
        progress.note(
            f"Training will measure what --effort {config.effort} buys on this machine. Images are "
            f"checked at {config.input_size[0]} px."
        )
    try:
        data = load_dataset(folder, config, auto_folds=True, progress=progress)
    except LeakError as error:  # a leak is a finding to show, not an error
        data = error.dataset
    check_unseen(dataclasses.replace(config, on_leak="ignore"), data, progress)
    audit = audit_data(data, config, progress)
    if not config.seconds:
        _announce(data, config, progress)
    return write_check_folder(data, audit, out)


def _announce(data: Dataset, config: Config, progress: Progress) -> None:
    """Print what the plan of a training depends on, and what it would decide.

    The precision depends on the machine, and asking that takes seconds: a backend is imported.
    """
    progress.note(_in_words(data))
    reason = data.folds_reason or config.why_no_folds
    plan = plan_of(data, dataclasses.replace(config, precision="float32"), reason)
    for choice in with_start(plan, config).choices:
        if choice.name in _BY_DATA:
            progress.note(f"Training would decide {choice.words}")


def _in_words(data: Dataset) -> str:
    """Return the properties of a data set that the plan depends on, in one sentence."""
    train, (height, width) = data.train, data.audit.sizes["median"]
    smallest = int(np.bincount(train.labels, minlength=len(data.classes)).min())
    colour = "in colour" if data.audit.colour else "grey"
    what = f"{len(data.classes)} classes, the smallest with {smallest:,} images"
    if train.values is not None:
        low, high = train.values.min(), train.values.max()
        what = f"{train.value_name} from {low:.6g} to {high:.6g}"
    return (
        f"Dataset: {len(train):,} images of {len(set(train.groups)):,} patients to train on, "
        f"{what}; files of {height} x "
        f"{width} pixels (median), {colour}, {in_words(train.cache.depth)}."
    )


def default_check_folder(folder: Path) -> Path:
    """Return the default folder for the check of a data folder."""
    return Path("checks") / (re.sub(r"[^\w-]+", "-", folder.resolve().name).strip("-") or "data")


def audit_data(data: Dataset, config: Config, progress: Progress) -> dict[str, Any]:
    """Return the content of ``audit.json``: the audit of the files and the probes' findings."""
    probed = data.halves()
    found = probe(probed, seed=config.seed, workers=config.workers, progress=progress).to_json()
    if data.train.values is not None:
        text = f"Numbers are probed as two classes: {' and '.join(probed.classes)}."
        found["findings"].append(Finding("note", text, "sample")._asdict())
    return {**data.audit.to_json(), **found}


def write_check_folder(data: Dataset, audit: Mapping[str, Any], out: Path) -> Check:
    """Write the folder of a check atomically, replacing an earlier check."""
    _check_replaceable(out)
    with built_folder(out, replace=True) as partial:
        AUDIT.write(partial, audit)
        write_split(data, partial / SPLIT)
        write_check_images(partial, data, audit)
        write_check(partial)
    return Check(out, out / CHECK_PAGE, data, audit)


def _check_replaceable(out: Path) -> None:
    """Raise ``RunError`` where a folder holds other files than those of a check, or is a file."""
    if out.is_file():
        raise RunError(f"{out} is a file. Give a new folder with --out.")
    found = out.iterdir() if out.exists() else ()
    others = sorted(path.name for path in found if path.name not in _OURS)
    if others:
        raise RunError(
            f"{out} would be replaced, but holds other files than a check ({others[0]!r}). "
            "Give a new folder with --out."
        )
