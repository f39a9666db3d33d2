"""The commands ``train`` and ``demo``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from lucency.cli import options
from lucency.cli.console import progress


def train(  # noqa: PLR0913, PLR0917 - one per option
    folders: options.Folders,
    recipe: options.Recipe = None,
    effort: options.Effort = None,
    seed: options.Seed = None,
    run: Annotated[
        str,
        Option(
            help="Name of the run (under runs/), path of its folder, or address (s3, gs).",
            metavar="RUN",
        ),
    ] = "",
    resume: Annotated[
        bool | None,
        Option(
            "--resume/--no-resume",
            help="Require an unfinished run to resume, or start over. Default: resume if there is "
            "one.",
        ),
    ] = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    labels: options.Labels = None,
    file_column: options.FileColumn = None,
    label_column: options.LabelColumn = None,
    group_column: options.GroupColumn = None,
    split_column: options.SplitColumn = None,
    follow_links: options.FollowLinks = None,
    split_file: options.SplitFile = None,
    group_regex: options.GroupRegex = None,
    folds: options.Folds = None,
    on_leak: options.OnLeak = None,
    task: options.Task = None,
    tolerance: options.Tolerance = None,
    uncertain: options.Uncertain = None,
    order: options.Order = None,
    positive_from: options.PositiveFrom = None,
    unit: options.Unit = None,
    positive: options.Positive = None,
    operating_point: options.OperatingPoint = None,
    prevalence: options.Prevalence = None,
    subgroups: options.Subgroups = None,
    neighbours: options.Neighbours = None,
    max_unreadable: options.MaxUnreadable = None,
    depth: options.Depth = None,
    start: options.Start = None,
    backbone: options.Backbone = None,
    weights: options.Weights = None,
    track: options.Track = None,
    cache: options.Cache = None,
    workers: options.Workers = None,
    on: options.On = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a classifier, evaluate it and write its report.

    To resume an unfinished run, repeat its command. Ctrl-C and SIGTERM save the run and exit with
    75; a second signal exits at once. Exits with 3 if test images or patients are also in train
    or validation (see --on-leak).

    Examples:
        lucency train chest_xray --effort quick --folds 5
        lucency train chest_xray --operating-point "sensitivity>=0.95" --prevalence 0.1
        lucency train chest_xray --track mlflow --set epochs=30 --run mine
    """
    from lucency.config import Config

    made = Config.load(
        config, settings or (), recipe=recipe, effort=effort, seed=seed, labels=labels,
        split_file=split_file, group_regex=group_regex, folds=folds, on_leak=on_leak,
        positive=positive, operating_point=operating_point, prevalence=prevalence,
        subgroups=subgroups, task=task, tolerance=tolerance, uncertain=uncertain, order=order,
        positive_from=positive_from, unit=unit, neighbours=neighbours,
        max_unreadable=max_unreadable, start=start, backbone=backbone, weights=weights,
        cache=cache, workers=workers, track=track, follow_links=follow_links,
        file_column=file_column, label_column=label_column, group_column=group_column,
        split_column=split_column, depth=depth, on=on,
    )  # fmt: skip
    folder = options.data_folder(folders, made.cache, quiet)
    _train(folder, made, run, resume, as_json=as_json, quiet=quiet)


def demo(
    folder: Annotated[Path, Argument(help="New folder for the images and the run.")] = Path("demo"),
    start: options.Start = None,
    task: options.Task = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw synthetic chest radiographs and train on them.

    The images have known flaws, which the report finds. Training is from scratch, in minutes;
    --start auto compares it with a pretrained network. With --task ordinal, the classes are grades;
    with --task multilabel, an image has any of four findings; with --task regression, it has a
    cardiothoracic ratio.

    Examples:
        lucency demo
        lucency demo my_demo --start auto
        lucency demo grades --task ordinal
    """
    from lucency.config import Config
    from lucency.dataset.phantoms import (
        GRADES,
        LABELS,
        RATIO,
        draw_dataset,
        draw_findings,
        draw_ratios,
    )

    order = ",".join(GRADES) if task == "ordinal" else ""
    kinds = {"ordinal": "graded_", "multilabel": "labelled_", "regression": "measured_"}
    radiographs = folder / f"{kinds.get(task or '', '')}radiographs"
    of_table = {"multilabel": draw_findings, "regression": draw_ratios}.get(task or "")
    # With fewer validation patients, no class could be ruled out: every prediction would abstain.
    # Folds would hold more of them out, and take five times as long.
    config = Config.load(
        None, effort="quick", epochs=None if start else 60, start=start or "scratch", folds=0,
        on_leak="drop", cache=str(folder / "cache"), val_fraction=0.25, task=task, order=order,
        labels=LABELS if of_table else None,
        label_column=RATIO if task == "regression" else None,
    )  # fmt: skip
    shown = progress(quiet)
    if of_table and not radiographs.exists():
        of_table(radiographs, images=600, progress=shown)
    elif not radiographs.exists():
        draw_dataset(radiographs, images=600, grades=bool(order), progress=shown)
    number = 1
    while (folder / f"run-{number}").exists():
        number += 1
    _train(radiographs, config, f"{folder}/run-{number}", None, as_json=as_json, quiet=quiet)


def _train(
    folder: Path, config: Any, run: str, resume: bool | None, *, as_json: bool, quiet: bool
) -> None:
    from lucency.io import redacted
    from lucency.run_folder.writer import open_run
    from lucency.tracking import tracked

    shown = progress(quiet)
    with (
        tracked(config.track, shown) as trackers,
        open_run(folder, config, run, resume, shown) as writer,
    ):
        # Imported only now, so that a second process on the same run fails at once.
        from lucency.cli.console.results import show_run
        from lucency.pipeline.train import fill

        # An address may hold a password or a signature, and the run folder keeps the command.
        command = shlex.join(["lucency", *map(redacted, sys.argv[1:])])
        done = fill(writer, folder, config, command=command, progress=shown, trackers=trackers)
    if not as_json:
        show_run(done)
        return
    document = {
        "run": done.shown,
        "report": str(done.report),
        "seconds": done.seconds,
        "validation": None if done.folds else done.validation.to_json(),
        "test": done.test.to_json() if done.test else None,
        "warnings": list(done.data.audit.warnings),
    }
    if done.folds:
        document["cross_validation"] = done.folds.to_json()
    options.print_json(document)
