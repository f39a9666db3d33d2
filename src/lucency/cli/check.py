"""The command ``check``: data without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from lucency.cli import options
from lucency.cli.console import progress


def check(  # noqa: PLR0913, PLR0917 - one per option
    folders: options.Folders,
    out: Annotated[
        Path | None, Option(help="Write the page to this folder (checks/NAME).", metavar="DIR")
    ] = None,
    labels: options.Labels = None,
    file_column: options.FileColumn = None,
    label_column: options.LabelColumn = None,
    group_column: options.GroupColumn = None,
    split_column: options.SplitColumn = None,
    follow_links: options.FollowLinks = None,
    split_file: options.SplitFile = None,
    group_regex: options.GroupRegex = None,
    task: options.Task = None,
    max_unreadable: options.MaxUnreadable = None,
    depth: options.Depth = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    cache: options.Cache = None,
    workers: options.Workers = None,
    on: options.On = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Check the data for leaks, duplicates, shortcuts and shift.

    Also finds patients and outliers. Nothing is trained. Exits with 3 if test images or patients
    are also in train or validation.

    Examples:
        lucency check chest_xray
        lucency check chest_xray --labels patients.csv --json > audit.json
    """
    from lucency.cli.console.results import show_check
    from lucency.config import Config
    from lucency.pipeline.check import run_check

    made = Config.load(
        config, settings or (), labels=labels, split_file=split_file, group_regex=group_regex,
        max_unreadable=max_unreadable, follow_links=follow_links, cache=cache, workers=workers,
        file_column=file_column, label_column=label_column, group_column=group_column,
        split_column=split_column, task=task, depth=depth, on=on,
    )  # fmt: skip
    folder = options.data_folder(folders, made.cache, quiet)
    done = run_check(folder, made, out=out, progress=progress(quiet))
    if as_json:
        options.print_json(done.audit)
    else:
        show_check(done)
    if not done.passed:
        raise typer.Exit(3)
