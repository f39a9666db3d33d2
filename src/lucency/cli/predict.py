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
from lucency.cli.console import console, progress, say

if TYPE_CHECKING:
    from lucency.classifier import Classifier, Prediction


def predict(
    run: options.RunFolder,
    files: Annotated[list[Path], Argument(help="PNG, JPEG or DICOM files, or folders of them.")],
    prevalence: options.Prevalence = None,
    explain: Annotated[
        bool, Option("--explain", help="Also say which places speak for and against a class.")
    ] = False,
    as_csv: Annotated[bool, Option("--csv", help="Print comma-separated values.")] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Classify images; abstain from those that are unreadable, unlike the training or ambiguous.

    With --explain the document of --json holds the maps; otherwise a page with overlays is written,
    as by lucency explain.

    Examples:
        lucency predict chest_xray-quick-1 new.jpeg
        lucency predict chest_xray-quick-1 radiographs/ --csv > answers.csv
        lucency predict chest_xray-quick-1 radiographs/ --prevalence 0.02 --json
    """
    from lucency.classifier import Classifier

    folder, images = options.run_folder(run), options.image_files(files)
    classifier = Classifier.load(folder)
    adjust = _adjusted(classifier, prevalence)
    shown = progress(quiet or not sys.stderr.isatty())
    if explain and not as_json:
        predictions = _explained(classifier, folder, images, adjust)
    else:
        predictions = [adjust(each) for each in classifier.predict(images, shown, maps=explain)]
    if as_json:
        rows = [{"file": x.file} | x.to_json(classifier.classes) for x in predictions]
        options.print_json(
            [row | {"activation_map": row.get("activation_map")} for row in rows]
            if explain
            else rows
        )
    elif as_csv:
        _print_csv(classifier.classes, predictions)
    else:
        _print_table(classifier.classes, predictions)
    if not any(each.probabilities for each in predictions):
        raise typer.Exit(2)


def evaluate(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    folder: Annotated[
        Path | None, Argument(help="Labelled images; the run's own test part if left out.")
    ] = None,
    operating_point: options.OperatingPoint = None,
    prevalence: options.Prevalence = None,
    subgroups: options.Subgroups = None,
    cache: options.Cache = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a classifier on labelled images.

    Examples:
        lucency evaluate chest_xray-quick-1 other_hospital/
        lucency evaluate chest_xray-quick-1 --operating-point "cost:FN=5,FP=1" --json
    """
    from lucency.cli.console.results import show_evaluation
    from lucency.config import Config
    from lucency.pipeline.evaluate import examine

    terms = Config.load(
        None, operating_point=operating_point, prevalence=prevalence, subgroups=subgroups,
        cache=cache,
    )  # fmt: skip
    chosen = operating_point is not None
    done = examine(options.run_folder(run), folder, terms, choose=chosen, progress=progress(quiet))
    if as_json:
        options.print_json(done.evaluation.to_json())
        return
    show_evaluation(done.evaluation, done.title)
    if done.test_evaluations is not None:
        typer.echo(done.test_evaluations.sentence)


def compare(
    runs: Annotated[
        list[Path],
        Argument(help="Two or more run folders, or names under runs/.", autocompletion=run_names),
    ],
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Say whether one classifier is better than another on the same test images.

    Runs that differ in the seed alone count as repeats of one system.

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
    folder: Annotated[
        Path | None, Argument(help="The images it was trained on, to predict them again.")
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Compute every figure of a run again from its predictions, and these from the images.

    Exits with 3 when anything differs.

    Examples:
        lucency verify chest_xray-quick-1
        lucency verify chest_xray-quick-1 chest_xray
    """
    from lucency.cli.console.results import show_verification
    from lucency.report import render
    from lucency.verify import verify as verify_run

    done = verify_run(options.run_folder(run), folder, progress(quiet), render=render)
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

    page = write_report(options.run_folder(run))
    if as_json:
        options.print_json({"report": str(page)})
    else:
        typer.echo(page)


def _explained(
    classifier: Classifier, run: Path, files: list[Path], adjust: Any
) -> list[Prediction]:
    """Write the page with overlays, and return the predictions."""
    from lucency.cli.explain import adjusted, write
    from lucency.explain import explained

    found = adjusted([*explained(classifier, files)], adjust)
    if any(each.image is not None for each in found):
        write(classifier, run, found)
    return [each.prediction for each in found]


def _adjusted(classifier: Classifier, prevalence: float | None) -> Any:
    """Return a function that gives predictions the probabilities at another prevalence."""
    if prevalence is None:
        return lambda prediction: prediction
    import dataclasses

    import numpy as np

    from lucency.evaluation import class_prior, with_prior

    given = classifier.spec.prior
    wanted = class_prior(prevalence, classifier.classes, classifier.positive)

    def adjust(prediction: Prediction) -> Prediction:
        if not prediction.probabilities:
            return prediction
        (row,) = with_prior(np.array([prediction.probabilities]), given, wanted)
        return dataclasses.replace(prediction, probabilities=tuple(map(float, row)))

    return adjust


def _print_csv(classes: tuple[str, ...], predictions: list[Prediction]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "decision", *(f"p_{name}" for name in classes), "reason", "notes"])
    for each in predictions:
        probabilities = map(repr, each.probabilities) if each.probabilities else [""] * len(classes)
        notes = "; ".join(each.notes)
        writer.writerow([each.file, each.decision, *probabilities, each.reason, notes])


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
        if each.notes:
            say(f"The file says: {each.file}: {'; '.join(each.notes)}")
