"""Commands that use and examine classifiers."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from lucency.cli import options
from lucency.cli.completion import run_names
from lucency.errors import ConfigError
from lucency.screen import console, progress, say

if TYPE_CHECKING:
    from lucency.classifier import Classifier, Prediction


def predict(
    run: options.RunFolder,
    files: Annotated[list[Path], Argument(help="Picture files, or folders of them.")],
    prevalence: options.Prevalence = None,
    as_csv: Annotated[bool, Option("--csv", help="Print comma-separated values.")] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Classify pictures; abstain from those that are unreadable, unlike the training or ambiguous.

    Examples:
        lucency predict chest_xray-quick-1 new.jpeg
        lucency predict chest_xray-quick-1 films/ --csv > answers.csv
        lucency predict chest_xray-quick-1 films/ --prevalence 0.02 --json
    """
    from lucency.classifier import Classifier

    classifier = Classifier.load(_run(run))
    adjust = _adjusted(classifier, prevalence)
    shown = progress(quiet or not sys.stderr.isatty())
    predictions = [adjust(each) for each in classifier.predict(_pictures(files), shown)]
    if as_json:
        options.print_json([_prediction_json(classifier.classes, each) for each in predictions])
    elif as_csv:
        _print_csv(classifier.classes, predictions)
    else:
        _print_table(classifier.classes, predictions)
    if not any(each.probabilities for each in predictions):
        raise typer.Exit(2)


def evaluate(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    folder: Annotated[
        Path | None, Argument(help="Labelled pictures; the run's own test part if left out.")
    ] = None,
    operating_point: options.OperatingPoint = None,
    prevalence: options.Prevalence = None,
    subgroups: options.Subgroups = None,
    cache: options.Cache = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a classifier on labelled pictures.

    Examples:
        lucency evaluate chest_xray-quick-1 other_hospital/
        lucency evaluate chest_xray-quick-1 --operating-point "cost:FN=5,FP=1" --json
    """
    from lucency.config import Config
    from lucency.examination import examine
    from lucency.screen.results import show_evaluation

    terms = Config.load(
        None, operating_point=operating_point, prevalence=prevalence, subgroups=subgroups,
        cache=cache,
    )  # fmt: skip
    chosen = operating_point is not None
    done = examine(_run(run), folder, terms, choose=chosen, progress=progress(quiet))
    if as_json:
        options.print_json(done.evaluation.to_json())
        return
    show_evaluation(done.evaluation, done.title)
    if done.looks is not None:
        typer.echo(done.looks.sentence)


def compare(
    runs: Annotated[
        list[Path],
        Argument(help="Two or more run folders, or names under runs/.", autocompletion=run_names),
    ],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Say whether one classifier is better than another on the same test pictures.

    Runs that differ in the seed alone count as repeats of one system.

    Examples:
        lucency compare chest_xray-quick-1 chest_xray-standard-1
        lucency compare chest_xray-quick-1 chest_xray-quick-2 chest_xray-quick-3 --json
    """
    from lucency.comparison import compare as compare_runs
    from lucency.examination import note_comparison
    from lucency.screen.results import show_comparison

    found = compare_runs([_run(run) for run in runs])
    note_comparison(found, progress(quiet or as_json))
    if as_json:
        options.print_json(found.to_json())
    else:
        show_comparison(found)


def verify(
    run: options.RunFolder,
    folder: Annotated[
        Path | None, Argument(help="The pictures it was trained on, to predict them again.")
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Compute every figure of a run again from its predictions, and these from the pictures.

    Exits with 3 when anything differs.

    Examples:
        lucency verify chest_xray-quick-1
        lucency verify chest_xray-quick-1 chest_xray
    """
    from lucency.report import render
    from lucency.screen.results import show_verification
    from lucency.verify import verify as verify_run

    done = verify_run(_run(run), folder, progress(quiet), render=render)
    if as_json:
        options.print_json(done.to_json())
    else:
        show_verification(done)
    if not done.passed:
        raise typer.Exit(3)


def report(run: options.RunFolder, as_json: options.AsJson = False) -> None:
    """Draw report.html again from the files of a run.

    Examples:
        lucency report chest_xray-quick-1
        lucency report /media/from_a_colleague/run
    """
    from lucency.report import write_report

    page = write_report(_run(run))
    if as_json:
        options.print_json({"report": str(page)})
    else:
        typer.echo(page)


def _run(run: Path) -> Path:
    """Return the run folder of a path or a name under ``runs/``."""
    named = Path("runs") / run
    if not run.exists() and named.exists():
        return named
    if not run.is_dir():
        raise ConfigError(f"No run folder: {run}. Give the path or name of a training run.")
    return run


def _pictures(files: list[Path]) -> list[Path]:
    from lucency.images import PICTURE_SUFFIXES

    found: list[Path] = []
    for file in files:
        if not file.exists():
            raise ConfigError(f"No such file: {file}. Give picture files, or folders of them.")
        inside = sorted(file.rglob("*")) if file.is_dir() else [file]
        found += [
            path
            for path in inside
            if path == file or (path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES)
        ]
    if not found:
        raise ConfigError(f"No picture in {files[0]}. Give picture files, or folders of them.")
    return found


def _adjusted(classifier: Classifier, prevalence: float | None) -> Any:
    """Return a function that gives predictions the probabilities at another prevalence."""
    if prevalence is None:
        return lambda prediction: prediction
    import dataclasses

    import numpy as np

    from lucency.evaluation import shares_at, with_prior

    given = classifier.spec.prior
    wanted = shares_at(prevalence, classifier.classes, classifier.positive)

    def adjust(prediction: Prediction) -> Prediction:
        if not prediction.probabilities:
            return prediction
        (row,) = with_prior(np.array([prediction.probabilities]), given, wanted)
        return dataclasses.replace(prediction, probabilities=tuple(map(float, row)))

    return adjust


def _prediction_json(classes: tuple[str, ...], each: Prediction) -> dict[str, Any]:
    return {
        "file": each.file,
        "decision": each.decision or None,
        "probabilities": dict(zip(classes, each.probabilities, strict=False)) or None,
        "reason": each.reason or None,
        "prediction_set": list(each.prediction_set),
        "distance": each.distance,
    }


def _print_csv(classes: tuple[str, ...], predictions: list[Prediction]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "decision", *(f"p_{name}" for name in classes), "reason"])
    for each in predictions:
        probabilities = map(repr, each.probabilities) if each.probabilities else [""] * len(classes)
        writer.writerow([each.file, each.decision, *probabilities, each.reason])


def _print_table(classes: tuple[str, ...], predictions: list[Prediction]) -> None:
    """Print the answers; those of abstentions carry no probabilities to be taken for answers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("file", "decision", *classes):
        table.add_column(Text(name), overflow="fold")
    for each in predictions:
        if each.decision:
            shares = [f"{value:.1%}" for value in each.probabilities]
            table.add_row(*(Text(cell) for cell in (each.file, each.decision, *shares)))
    if table.row_count:
        console().print(table)
    for each in predictions:
        if each.reason:
            what = "No answer" if each.probabilities else "Not read"
            say(f"{what}: {each.file}: {each.reason}")
