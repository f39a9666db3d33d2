"""The command ``predict``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from lucency.cli import options
from lucency.cli.console import console, print_message, progress, visible
from lucency.errors import ConfigError

if TYPE_CHECKING:
    from lucency.classifier import Classifier, Prediction
    from lucency.pipeline.predict import Adjust, Written


# Keys of ``Prediction.evidence``, and the columns that they are in.
_EVIDENCE = (
    ("images", "images"),
    ("image", "decisive_image"),
    ("change", "change"),
    ("agree", "agree"),
    ("lowest", "lowest"),
    ("highest", "highest"),
)


def predict(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    files: Annotated[list[Path], Argument(help="Image files, or folders.")],
    prevalence: options.Prevalence = None,
    explain: Annotated[
        bool, Option("--explain", help="Also map which places support or oppose the class.")
    ] = False,
    as_csv: Annotated[bool, Option("--csv", help="Print comma-separated values.")] = False,
    as_json: options.AsJson = False,
    out: Annotated[
        Path | None,
        Option(
            help="Write the predictions to Parquet files in this folder; repeat the command to "
            "continue.",
            metavar="DIR",
        ),
    ] = None,
    on: options.On = None,
    labels: Annotated[
        Path | None,
        Option(
            help="CSV with the columns file and that of the unit, where the classifier was trained "
            "with --unit COLUMN.",
            metavar="FILE",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Classify images.

    The classifier abstains if an image is unreadable, out of distribution or ambiguous. If it was
    trained with --unit, each patient, study or other unit has one answer, from all of its images;
    with --explain or --out, each image has. With --explain, a page with overlays is written, as by
    lucency explain; with --json as well, the maps are in the JSON document.

    Examples:
        lucency predict chest_xray-quick-1 new.jpeg
        lucency predict chest_xray-quick-1 new_images/ --csv > predictions.csv
        lucency predict chest_xray-quick-1 archive/ --out predictions --on ray
    """
    from lucency.classifier import Classifier
    from lucency.config import Config
    from lucency.dataset.frames import files_with_frames
    from lucency.pipeline.predict import (
        adjustment,
        predict_files,
        predict_to_folder,
        predict_units,
    )

    _check_options(out, explain, as_csv, on)
    cluster = Config.load(None, on=on).on
    folder, images = options.run_folder(run), options.image_files(files, quiet)
    classifier = Classifier.load(folder)
    images = files_with_frames(images, classifier.unit.frames if classifier.unit else 1)
    rule = classifier.unit if not explain and out is None else None
    _check_labels(labels, rule.name if rule else "image")
    if classifier.unit and not rule:
        why, of = "--explain" if explain else "--out", classifier.unit.name
        progress(quiet).note(f"Each image has an answer; without {why}, each {of} has one.")
    if out is not None:
        written = predict_to_folder(
            classifier, images, out, on=cluster, prevalence=prevalence, progress=progress(quiet)
        )
        _print_written(written, as_json)
        return
    adjust = adjustment(classifier, prevalence)
    shown = progress(quiet or not sys.stderr.isatty())
    if explain and not as_json:
        predictions = _predict_and_explain(classifier, folder, images, adjust)
    else:
        found = predict_files(classifier, images, cluster, maps=explain, progress=shown)
        predictions = [*found] if rule else [*map(adjust, found)]
    answers = []
    if rule:
        folders = [each for each in files if each.is_dir()]
        pooled = predict_units(classifier, predictions, folders, progress(quiet), labels)
        answers = [each.adjusted(adjust) for each in pooled]
        predictions = [each.prediction for each in answers]
    of = rule.name if rule else "file"
    if as_json and rule:
        options.print_json([each.to_json() for each in answers])
    elif as_json:
        rows = [{"file": x.file} | x.to_json(classifier.classes) for x in predictions]
        options.print_json(
            [row | {"activation_map": row.get("activation_map")} for row in rows]
            if explain
            else rows
        )
    elif as_csv:
        _print_csv(classifier.classes, predictions, of)
    else:
        _print_table(classifier.classes, predictions, of)
    if not any(each.probabilities for each in predictions):
        raise typer.Exit(2)


def _predict_and_explain(
    classifier: Classifier, run: Path, files: list[Path], adjust: Adjust
) -> list[Prediction]:
    """Write the page with overlays, and return the predictions."""
    from lucency.cli.explain import adjusted, write_page
    from lucency.explain import explain_files

    found = adjusted([*explain_files(classifier, files)], adjust)
    if any(each.image is not None for each in found):
        write_page(classifier, run, found)
    return [each.prediction for each in found]


def _check_labels(labels: Path | None, unit: str) -> None:
    """Reject a table of units where there are none that a table names."""
    if labels is not None and unit in ("image", "patient", "file"):
        raise ConfigError(
            f"--labels names units such as studies, and here is an answer for each {unit}. Leave "
            "it out."
        )


def _check_options(out: Path | None, explain: bool, as_csv: bool, on: str | None) -> None:
    if out is not None and (explain or as_csv):
        raise ConfigError(
            f"--out writes Parquet files without maps. Leave out "
            f"{'--explain' if explain else '--csv'}, or leave out --out."
        )
    if explain and on:
        raise ConfigError("--explain works on this machine only. Leave out --on.")


def _print_written(written: Written, as_json: bool) -> None:
    """Print how many images were decided how, and where the predictions are."""
    from lucency.pipeline.predict import UNREADABLE

    counts = dict(written.counts)
    unreadable, undecided = counts.pop(UNREADABLE, 0), counts.pop(None, 0)
    total = sum(written.counts.values())
    if as_json:
        options.print_json(
            {
                "folder": str(written.folder),
                "files": total,
                "decisions": counts,
                "no_decision": undecided,
                "unreadable": unreadable,
                "predicted_now": written.predicted,
                "seconds": written.seconds,
            }
        )
    else:
        cells = [(str(name), count) for name, count in sorted(counts.items(), key=str)]
        cells += [("no decision", undecided), ("unreadable", unreadable)]
        typer.echo(", ".join(f"{visible(name)} {count:,}" for name, count in cells))
        typer.echo(f"{total:,} predictions: {written.folder}")
    if unreadable == total:
        raise typer.Exit(2)


def _print_csv(classes: tuple[str, ...], predictions: list[Prediction], of: str) -> None:
    from lucency.io import csv_lines

    cut = any(each.cut for each in predictions)
    at_cut = ["positive", "positive_probability"] if cut else []
    several = any(each.labels for each in predictions)
    at_cut += [f"present_{name}" for name in classes] if several else []
    numbers = any(each.value for each in predictions)
    at_cut += ["value", "low", "high"] if numbers else []
    named = [f"p_{name}" for name in classes]
    of_units = of != "file" or any(each.evidence for each in predictions)
    # Of several labels, each that is present has a decisive image.
    evidence = [*(_EVIDENCE[:1] if several else _EVIDENCE)] if of_units else []
    decisive = [*classes] if of_units and several else []
    heads = [of, "decision", *named, *at_cut, "reason", "notes", *(x for _, x in evidence)]
    heads += [f"decisive_image_{name}" for name in decisive]
    rows: list[list[object]] = [[*heads]]
    for each in predictions:
        probabilities = map(repr, each.probabilities) if each.probabilities else [""] * len(classes)
        values = [(each.cut or {}).get(key) for key in ("positive", "probability")] if cut else []
        if several:
            labels = each.labels or {}
            values += [labels[name]["present"] if labels else None for name in classes]
        if numbers:
            number = each.value or {}
            values += [number.get("predicted"), *(number.get("interval") or (None, None))]
        found = [json.dumps(value) if isinstance(value, bool) else value for value in values]
        notes = "; ".join(each.notes)
        found_in = each.evidence or {}
        known = [found_in.get(key) for key, _ in evidence]
        known += [found_in.get("labels", {}).get(name, {}).get("image") for name in decisive]
        # Numbers stay numbers: a negative one as text could be a formula. None is an empty cell.
        rows.append([each.file, each.decision, *probabilities, *found, each.reason, notes, *known])
    if sys.stdout.isatty():
        rows = [["" if x is None else visible(str(x)) for x in row] for row in rows]
    sys.stdout.writelines(csv_lines(rows))


def _print_table(classes: tuple[str, ...], predictions: list[Prediction], of: str) -> None:
    """Print the decisions; abstentions show no probabilities, which could pass for decisions."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    columns: tuple[str, ...] = ()
    if value := next((each.value for each in predictions if each.value), None):
        columns = (of, value["name"], f"{100 * value['coverage']:g} % interval")
    cut = next((each.cut["from"] for each in predictions if each.cut), None)
    for name in columns or (of, "decision", *classes, *([f"from {cut}"] if cut else [])):
        table.add_column(Text(visible(name)), overflow="fold")
    for each in predictions:
        if each.decision:
            cells = (each.file, each.decision, *_cells(each))
            table.add_row(*(Text(visible(cell)) for cell in cells))
    if table.row_count:
        console().print(table)
    for each in predictions:
        if each.reason:
            what = "No decision" if each.probabilities else "Unreadable"
            print_message(f"{what}: {each.file}: {each.reason}")
        if each.notes:
            print_message(f"DICOM note: {each.file}: {'; '.join(each.notes)}")


def _cells(prediction: Prediction) -> list[str]:
    """Return what the table shows beside the decision."""
    from lucency.classifier.prediction import number_text

    if prediction.value:
        ends = prediction.value["interval"]
        return [" to ".join(map(number_text, ends)) if ends else "none"]
    percent = [f"{p:.1%}" for p in prediction.probabilities]
    if prediction.cut:
        side = "positive" if prediction.cut["positive"] else "negative"
        percent.append(f"{side}, {prediction.cut['probability']:.1%}")
    return percent
