"""Commands that show which places of an image an answer rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from lucency.cli import options
from lucency.cli.console import progress, say
from lucency.errors import ConfigError

if TYPE_CHECKING:
    from lucency.classifier import Classifier, Prediction
    from lucency.explain import Explained
    from lucency.explain.explanations import Method

_METHODS = ("cam", "occlusion")
Adjust = Callable[["Prediction"], "Prediction"]


def explain(
    run: options.RunFolder,
    files: Annotated[list[Path], Argument(help="Image files, or folders of them.")],
    out: Annotated[
        Path | None, Option(help="New folder for the page (explained/NAME).", metavar="DIR")
    ] = None,
    method: Annotated[
        str | None, Option(help="cam (maps of the network) or occlusion (hide and ask again).")
    ] = None,
    layers: Annotated[
        bool, Option("--layers", help="Show what every layer makes of the first image.")
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Show which places of images speak for and against a class, as a page and overlays.

    The page says whether the maps were found to mean something.

    Examples:
        lucency explain chest_xray-quick-1 new.jpeg
        lucency explain chest_xray-quick-1 radiographs/ --method occlusion
    """
    from lucency.classifier import Classifier

    folder = options.run_folder(run)
    classifier = Classifier.load(folder)
    images = options.image_files(files)
    if layers:
        _layers(classifier, folder.resolve().name, images[0], out)
        return
    found = [*_found(classifier, images, method, quiet)]
    readable = any(each.image is not None for each in found)
    written = write(classifier, folder, found, out) if readable else {}
    if as_json:
        options.print_json(_document(classifier, found, written))
    else:
        _print(found, written)
    if not readable:
        raise typer.Exit(2)


def _layers(classifier: Classifier, name: str, file: Path, out: Path | None) -> None:
    from lucency.explain.folder import free_folder
    from lucency.explain.layers import write_layers

    typer.echo(write_layers(classifier, name, file, out or free_folder(f"{name}-layers")))


def _found(
    classifier: Classifier, files: list[Path], method: str | None, quiet: bool
) -> list[Explained]:
    from lucency.explain import explained
    from lucency.explain.explanations import has_maps

    if method not in (None, *_METHODS):
        raise ConfigError(f"--method must be one of {', '.join(_METHODS)}. Received: {method!r}")
    chosen: Method = "occlusion" if method == "occlusion" else "cam"
    if method is None and not has_maps(classifier):
        chosen = "occlusion"
        say("This classifier gives no maps of its own, as an earlier version made it: occlusion.")
    return [*explained(classifier, files, chosen, progress(quiet))]


def write(
    classifier: Classifier, run: Path, found: list[Explained], out: Path | None = None
) -> dict[str, Path]:
    """Write the page of explanations and say where it is; return the overlay of each file."""
    from lucency.explain.folder import PAGE, free_folder, write_explanations

    name = run.resolve().name
    folder = out or free_folder(name)
    written = write_explanations(classifier, name, found, folder)
    say(f"Open the page: {folder / PAGE}")
    return written


def adjusted(found: list[Explained], adjust: Adjust) -> list[Explained]:
    """Return explanations whose probabilities are those at another prevalence."""
    return [dataclasses.replace(each, prediction=adjust(each.prediction)) for each in found]


def _document(
    classifier: Classifier, found: list[Explained], written: dict[str, Path]
) -> dict[str, Any]:
    rows = []
    for each in found:
        said = each.prediction
        place = written.get(said.file)
        rows.append(
            {"file": said.file, **said.to_json(classifier.classes)}
            | {"overlay": None if place is None else str(place)}
        )
        rows[-1].setdefault("activation_map", None)
    explanation = classifier.spec.explanation
    return {"explanation": explanation and dict(explanation), "predictions": rows}


def _print(found: list[Explained], written: dict[str, Path]) -> None:
    for each in found:
        said = each.prediction
        if each.image is None:
            say(f"Not read: {said.file}: {said.reason}")
            continue
        best = max(said.probabilities)
        answer = said.decision or f"no answer, {said.reason}"
        typer.echo(f"{said.file}: {answer} (highest probability {best:.1%}), {written[said.file]}")
        if said.notes:
            say(f"The file says: {said.file}: {'; '.join(said.notes)}")
