"""The commands ``evaluate``, ``compare`` and ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from lucency.cli import options
from lucency.cli.completion import run_names
from lucency.cli.console import progress
from lucency.errors import ConfigError


def evaluate(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    folders: Annotated[
        list[Path] | None,
        Argument(help="Labelled images. Default: the test split of the run."),
    ] = None,
    labels: options.Labels = None,
    operating_point: options.OperatingPoint = None,
    prevalence: options.Prevalence = None,
    subgroups: options.Subgroups = None,
    follow_links: options.FollowLinks = None,
    cache: options.Cache = None,
    on: options.On = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Evaluate a classifier on labelled images.

    Examples:
        lucency evaluate chest_xray-quick-1 other_hospital/
        lucency evaluate chest_xray-quick-1 --operating-point "cost:FN=5,FP=1" --json
    """
    from lucency.cli.console.results import show_evaluation
    from lucency.config import Config
    from lucency.pipeline.evaluate import evaluate_run

    made = Config.load(
        None, labels=labels, operating_point=operating_point, prevalence=prevalence,
        subgroups=subgroups, cache=cache, follow_links=follow_links, on=on,
    )  # fmt: skip
    chosen = operating_point is not None
    done = evaluate_run(
        options.run_folder(run), folders or None, made, choose=chosen, progress=progress(quiet)
    )
    if as_json:
        options.print_json(done.evaluation.to_json())
        return
    show_evaluation(done.evaluation, done.title)
    if done.test_evaluations is not None:
        typer.echo(done.test_evaluations.sentence)


def compare(
    runs: Annotated[
        list[Path],
        Argument(
            help="Two or more run folders, their names under runs/, or their addresses.",
            autocompletion=run_names,
        ),
    ],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare classifiers on the same test images.

    Runs that differ only in the seed count as repeats of one system.

    Examples:
        lucency compare chest_xray-quick-1 chest_xray-standard-1
        lucency compare chest_xray-quick-1 chest_xray-quick-2 chest_xray-quick-3 --json
    """
    from lucency.cli.console.results import show_comparison
    from lucency.comparison import compare as compare_runs
    from lucency.pipeline.evaluate import record_comparison

    found = compare_runs([options.run_folder(run) for run in runs])
    record_comparison(found, progress(quiet or as_json))
    if as_json:
        options.print_json(found.to_json())
    else:
        show_comparison(found)


def verify(
    run: options.RunFolder,
    folders: Annotated[
        list[Path] | None,
        Argument(
            help="The data folder of the run, or all of them, to predict its images again.",
        ),
    ] = None,
    redraw: Annotated[
        bool, Option("--redraw", help="First draw report.html again from the files of the run.")
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Recompute the figures of a run and report every difference.

    The figures are recomputed from the predictions. With a data folder, the predictions are
    recomputed from the images too. Exits with 3 if anything differs.

    Examples:
        lucency verify chest_xray-quick-1
        lucency verify chest_xray-quick-1 chest_xray
        lucency verify chest_xray-quick-1 --redraw
    """
    from lucency.cli.console.results import show_verification
    from lucency.report import render, write_report
    from lucency.verify import verify as verify_run

    if redraw and options.run_address(run):
        raise ConfigError(
            "--redraw writes report.html, and a run at an address is never changed. Copy it "
            "to a folder first."
        )
    run = options.run_folder(run)
    page = write_report(run) if redraw else None
    folder = options.data_folder(folders, "", quiet) if folders else None
    done = verify_run(run, folder, progress(quiet), render=render)
    if as_json:
        options.print_json(done.to_json() | ({"report": str(page)} if page else {}))
    else:
        show_verification(done, page)
    if not done.passed:
        raise typer.Exit(3)
