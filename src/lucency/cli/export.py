"""The command ``export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from typer import Argument, Option, echo

from lucency.cli import options
from lucency.cli.completion import words
from lucency.cli.console import progress
from lucency.errors import ConfigError
from lucency.progress import Progress


def export(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    folder: Annotated[
        Path | None,
        Argument(help="The data folder of the run, to compare all validation images."),
    ] = None,
    kind: Annotated[
        str,
        Option(
            "--format",
            help="onnx, saved_model, litert, openvino or web.",
            metavar="NAME",
            autocompletion=words("format"),
        ),
    ] = "onnx",
    quantize: Annotated[
        str | None, Option(help="int8: 8-bit integers, smaller and often faster.", metavar="TYPE")
    ] = None,
    out: Annotated[
        Path | None, Option(help="Write to this new folder (exports/RUN-FORMAT).", metavar="DIR")
    ] = None,
    force: Annotated[bool, Option("--force", help="Replace an earlier export.")] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """Export a classifier for use in other programs.

    Images are predicted by the classifier and by the export. If the predictions differ, nothing
    is written and the exit code is 3.

    Examples:
        lucency export chest_xray-quick-1 chest_xray --format openvino
        lucency export chest_xray-quick-1 --format litert --quantize int8
        lucency export chest_xray-quick-1 --format web
    """
    if kind == "web":
        if folder or quantize:
            raise ConfigError("--format web takes neither a data folder nor --quantize.")
        written = _export_web(options.run_folder(run), out, force, progress(quiet or as_json))
        certificate = json.loads((written / "certificate.json").read_text("utf-8"))
        if as_json:
            options.print_json({"out": str(written)} | certificate)
        else:
            echo(written)
        return
    from lucency.cli.console.results import show_export
    from lucency.export import export as export_run

    done = export_run(
        options.run_folder(run), kind, folder=folder, quantize=quantize, out=out, force=force,
        progress=progress(quiet or as_json),
    )  # fmt: skip
    if as_json:
        options.print_json({"out": str(done.folder)} | dict(done.certificate))
    else:
        show_export(done.folder, done.certificate)


def _export_web(run: Path, out: Path | None, force: bool, shown: Progress) -> Path:
    from lucency.classifier import Classifier
    from lucency.export.web import write_web

    target = out or Path("exports") / f"{run.resolve().name}-web"
    return write_web(run, Classifier.load(run), target, shown, force=force)
