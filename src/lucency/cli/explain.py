"""The command ``explain``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from lucency.cli import options
from lucency.cli.console import print_message, progress, visible
from lucency.errors import ConfigError

if TYPE_CHECKING:
    from lucency.classifier import Classifier
    from lucency.explain import Explanation
    from lucency.explain.explanations import Method
    from lucency.pipeline.predict import Adjust

_METHODS = ("cam", "occlusion")


def explain(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    files: Annotated[list[Path], Argument(help="Image files, or folders.")],
    out: Annotated[
        Path | None,
        Option(help="Write the page to this new folder (explained/NAME).", metavar="DIR"),
    ] = None,
    method: Annotated[
        str | None,
        Option(
            help="cam (class activation maps) or occlusion (blur each place and predict again).",
            metavar="NAME",
        ),
    ] = None,
    label: Annotated[
        str | None,
        Option(
            help="Of several labels, the one to map (default: the most probable of each image).",
            metavar="NAME",
        ),
    ] = None,
    layers: Annotated[
        bool, Option("--layers", help="Show the output of every layer for the first image.")
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Map which places of an image support or oppose a class.

    Writes a page and an overlay of each image. The page states whether the maps passed their
    tests.

    Examples:
        lucency explain chest_xray-quick-1 new.jpeg
        lucency explain chest_xray-quick-1 new_images/ --method occlusion
        lucency explain findings-quick-1 new.jpeg --label effusion
    """
    from lucency.classifier import Classifier

    folder = options.run_folder(run)
    classifier = Classifier.load(folder)
    number = None if label is None else label_number(classifier, label)
    images = options.image_files(files, quiet)
    if layers:
        _write_layers(classifier, folder.resolve().name, images[0], out)
        return
    found = _explain(classifier, images, method, number, quiet)
    readable = any(each.image is not None for each in found)
    overlays = write_page(classifier, folder, found, out) if readable else {}
    if as_json:
        options.print_json(_document(classifier, found, overlays))
    else:
        _print(found, overlays)
    if not readable:
        raise typer.Exit(2)


def _write_layers(classifier: Classifier, name: str, file: Path, out: Path | None) -> None:
    from lucency.explain.folder import free_folder
    from lucency.explain.layers import write_layers

    typer.echo(write_layers(classifier, name, file, out or free_folder(f"{name}-layers")))


def label_number(classifier: Classifier, label: str) -> int:
    """Return the number of a label.

    Raises:
        ConfigError: The classifier does not have it, or answers with one class.
    """
    if not classifier.task.is_multilabel:
        raise ConfigError(
            "--label is for a classifier with several labels; this one answers with one of "
            f"{len(classifier.classes)} classes. Leave it out."
        )
    if label not in classifier.classes:
        raise ConfigError(
            f"--label must be one of {', '.join(classifier.classes)}. Received: {label!r}"
        )
    return classifier.classes.index(label)


def _explain(
    classifier: Classifier, files: list[Path], method: str | None, label: int | None, quiet: bool
) -> list[Explanation]:
    from lucency.explain import explain_files
    from lucency.explain.explanations import has_maps

    if method not in (None, *_METHODS):
        raise ConfigError(f"--method must be one of {', '.join(_METHODS)}. Received: {method!r}")
    chosen: Method = "occlusion" if method == "occlusion" else "cam"
    if method is None and not has_maps(classifier):
        chosen = "occlusion"
        print_message("An earlier version made this classifier, without maps. Using occlusion.")
    return [*explain_files(classifier, files, chosen, progress(quiet), label)]


def write_page(
    classifier: Classifier, run: Path, found: list[Explanation], out: Path | None = None
) -> dict[str, Path]:
    """Write the page of explanations and print its path; return the overlay of each file."""
    from lucency.explain.folder import PAGE, free_folder, write_explanations

    name = run.resolve().name
    folder = out or free_folder(name)
    overlays = write_explanations(classifier, name, found, folder)
    print_message(f"Open the page: {folder / PAGE}")
    return overlays


def adjusted(found: list[Explanation], adjust: Adjust) -> list[Explanation]:
    """Return the explanations with probabilities moved to another prevalence."""
    return [dataclasses.replace(each, prediction=adjust(each.prediction)) for each in found]


def _document(
    classifier: Classifier, found: list[Explanation], overlays: dict[str, Path]
) -> dict[str, Any]:
    rows = []
    for prediction in (each.prediction for each in found):
        row = {"file": prediction.file, "activation_map": None}
        row |= prediction.to_json(classifier.classes)
        overlay = overlays.get(prediction.file)
        rows.append(row | {"overlay": None if overlay is None else str(overlay)})
    explanation = classifier.spec.explanation
    return {"explanation": explanation and dict(explanation), "predictions": rows}


def _print(found: list[Explanation], overlays: dict[str, Path]) -> None:
    for each in found:
        prediction, file = each.prediction, each.prediction.file
        if each.image is None:
            print_message(f"Unreadable: {file}: {prediction.reason}")
            continue
        decision = prediction.decision or f"no decision, {prediction.reason}"
        highest = f"highest probability {max(prediction.probabilities):.1%}"
        typer.echo(visible(f"{file}: {decision} ({highest}), {overlays[file]}"))
        if prediction.notes:
            print_message(f"DICOM note: {file}: {'; '.join(prediction.notes)}")
