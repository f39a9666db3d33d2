"""Look at a data set before anything is trained: audit, leak check and probes, as a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucency.config import Config
from lucency.dataset import Dataset, load_dataset, write_split
from lucency.errors import LeakError, RunError
from lucency.io import built_folder, write_json
from lucency.pipeline.images import write_check_gallery
from lucency.probes import probe
from lucency.progress import SILENT, Progress
from lucency.report import write_check

_OURS = {"audit.json", "check.html", "images", "split.csv"}


@dataclass(frozen=True)
class Check:
    """What a look at a data set came to.

    Attributes:
        folder: Where its files are.
        page: The page to open.
        data: The data set, divided as training would divide it.
        audit: The content of ``audit.json``.
    """

    folder: Path
    page: Path
    data: Dataset
    audit: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether the leak check holds: no image or patient of test is in another part."""
        return bool(self.audit["leaks"]["status"] != "failed")


def run_check(
    folder: Path,
    config: Config = Config(),  # noqa: B008 - frozen
    *,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> Check:
    """Audit a folder of labelled images; nothing is trained.

    Args:
        folder: Folder of class folders, or of train/val/test folders with class folders.
        config: How to read and divide, as for training.
        out: Folder for ``check.html``, ``audit.json``, ``split.csv`` and ``images/``, replaced
            where it is there; ``checks/<name of the data folder>`` if none.
        progress: Hears of every step.

    Raises:
        LucencyError: The folder is no usable data set, or the files cannot be written.
    """
    try:
        data = load_dataset(folder, config, progress=progress)
    except LeakError as error:  # the check fails: that is what a check is to show
        data = error.dataset
    return write_findings(data, audited(data, config, progress), out or check_folder(folder))


def check_folder(folder: Path) -> Path:
    """Return where the check of a data folder goes when nobody says otherwise."""
    return Path("checks") / (re.sub(r"[^\w-]+", "-", folder.resolve().name).strip("-") or "data")


def audited(data: Dataset, config: Config, progress: Progress) -> dict[str, Any]:
    """Return the content of ``audit.json``: the audit of the files and what the probes find."""
    found = probe(data, seed=config.seed, workers=config.workers, progress=progress)
    return {**data.audit.to_json(), **found.to_json()}


def write_findings(data: Dataset, audit: Mapping[str, Any], out: Path) -> Check:
    """Write the folder of a check, whole or not at all, in the place of an earlier check."""
    others = (
        sorted(path.name for path in out.iterdir() if path.name not in _OURS)
        if out.exists()
        else []
    )
    if others:
        raise RunError(
            f"{out} holds more than an earlier check ({others[0]!r}), and would be replaced. "
            "Give a new folder with --out."
        )
    with built_folder(out, replace=True) as draft:
        write_json(draft / "audit.json", audit)
        write_split(data, draft / "split.csv")
        write_check_gallery(draft, data, audit)
        write_check(draft)
    return Check(out, out / "check.html", data, audit)
