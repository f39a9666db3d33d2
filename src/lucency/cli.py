"""The command line: thin, and quick to start; heavy imports live in the commands."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from lucency.errors import ConfigError, LucencyError
from lucency.screen import progress, say

if TYPE_CHECKING:
    from lucency.classifier import Prediction

# Typer carries its own copy of Click and does not name this base class in public.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="lucency",
    help="Train an image classifier from a folder, prove how good it is, and put it to work.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Folder = Annotated[Path, Argument(help="Folder of class folders, or of train, val and test.")]
RunFolder = Annotated[Path, Argument(help="Run folder, or the name of one under runs/.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="No progress, only the result.")]
AsJson = Annotated[bool, Option("--json", help="Print the result as one JSON document.")]
Cache = Annotated[str | None, Option(help="Folder for decoded pictures.", metavar="DIR")]


@app.command()
def train(  # noqa: PLR0913, PLR0917 - one per option
    folder: Folder,
    recipe: Annotated[
        str | None, Option(help="default, or article (the tutorial's system).")
    ] = None,
    effort: Annotated[str | None, Option(help="quick, standard or thorough.")] = None,
    seed: Annotated[int | None, Option(help="Seed of everything random.")] = None,
    run: Annotated[str, Option(help="Name (made under runs/) or path of the run folder.")] = "",
    config: Annotated[Path | None, Option(help="TOML file of settings.", metavar="FILE")] = None,
    settings: Annotated[
        list[str] | None, Option("--set", help="One setting; may be repeated.", metavar="KEY=VALUE")
    ] = None,
    labels: Annotated[
        str | None, Option(help="CSV with file,label[,group][,split].", metavar="FILE")
    ] = None,
    split_file: Annotated[
        str | None, Option(help="Divide as this split.csv of an earlier run.", metavar="FILE")
    ] = None,
    group_regex: Annotated[
        str | None, Option(help="Expression whose first group is the patient.", metavar="REGEX")
    ] = None,
    positive: Annotated[str | None, Option(help="Class to look for, of two.")] = None,
    max_bad: Annotated[
        float | None, Option(help="Share of unreadable pictures to accept (0.01).")
    ] = None,
    backbone: Annotated[
        str | None, Option(help="keras.applications network to fine-tune.", metavar="NAME")
    ] = None,
    weights: Annotated[str | None, Option(help="imagenet, none or a .weights.h5 file.")] = None,
    cache: Cache = None,
    workers: Annotated[int | None, Option(help="Threads that decode (one per processor).")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train, calibrate and test a classifier, and write its report.

    Example: lucency train chest_xray --effort quick
    """
    from lucency.config import Config

    made = Config.load(
        config, settings or (), recipe=recipe, effort=effort, seed=seed, labels=labels,
        split_file=split_file, group_regex=group_regex, positive=positive, max_bad=max_bad,
        backbone=backbone, weights=weights, cache=cache, workers=workers,
    )  # fmt: skip
    _train(folder, made, run, as_json=as_json, quiet=quiet)


@app.command()
def predict(
    run: RunFolder,
    files: Annotated[list[Path], Argument(help="Picture files, or folders of them.")],
    as_csv: Annotated[bool, Option("--csv", help="Print comma-separated values.")] = False,
    as_json: AsJson = False,
) -> None:
    """Classify pictures.

    Example: lucency predict runs/chest_xray-quick-1 new.jpeg
    """
    from lucency.classifier import Classifier

    classifier = Classifier.load(_run(run))
    predictions = classifier.predict(_pictures(files))
    if as_json:
        _print_json(_predictions_json(classifier.classes, predictions))
    elif as_csv:
        _print_csv(classifier.classes, predictions)
    elif any(prediction.decision for prediction in predictions):
        _print_table(classifier.classes, predictions)
    for prediction in predictions:
        if prediction.reason and not as_json:
            say(f"Not read: {prediction.file}: {prediction.reason}")
    if all(prediction.reason for prediction in predictions):
        raise typer.Exit(2)


@app.command()
def evaluate(
    run: RunFolder,
    folder: Annotated[
        Path | None, Argument(help="Labelled pictures; the run's own test part if left out.")
    ] = None,
    cache: Cache = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure a classifier on labelled pictures.

    Example: lucency evaluate runs/chest_xray-quick-1 other_hospital/
    """
    from lucency.screen import show_evaluation

    title, evaluation = _evaluate(_run(run), folder, cache, quiet)
    if as_json:
        _print_json(evaluation.to_json())
    else:
        show_evaluation(evaluation, title)


@app.command()
def report(run: RunFolder) -> None:
    """Draw report.html again from the files of a run.

    Example: lucency report runs/chest_xray-quick-1
    """
    from lucency.report import write_report

    typer.echo(write_report(_run(run)))


@app.command()
def demo(
    folder: Annotated[Path, Argument(help="New folder for the drawn pictures and the run.")] = Path(
        "demo"
    ),
    quiet: Quiet = False,
) -> None:
    """Draw stand-in chest films and train on them.

    Example: lucency demo
    """
    from lucency.config import Config
    from lucency.phantoms import draw_dataset

    films = folder / "films"
    if not films.exists():
        draw_dataset(films, images=600, progress=progress(quiet))
    config = Config(effort="quick", epochs=60, cache=str(folder / "cache"))
    number = 1 + sum(1 for _ in folder.glob("run-*"))
    _train(films, config, f"{folder}/run-{number}", as_json=False, quiet=quiet)


def main() -> None:
    """Run the command line; errors that a user can put right are one line and exit code 2."""
    signal.signal(signal.SIGTERM, _end)  # so that a half-built run folder is cleared away
    try:
        outcome = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except LucencyError as error:
        _fail(str(error))
    except _UsageError as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        say("Stopped.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(141) from None
    raise SystemExit(outcome if isinstance(outcome, int) else 0)


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _fail(message: str) -> None:
    say("lucency: " + " ".join(message.split()))
    raise SystemExit(2)


def _train(folder: Path, config: Any, run: str, *, as_json: bool, quiet: bool) -> None:
    from lucency.pipeline import run_training
    from lucency.screen import show_run

    command = shlex.join(["lucency", *sys.argv[1:]])
    done = run_training(folder, config, run=run, command=command, progress=progress(quiet))
    if not as_json:
        show_run(done)
        return
    test = done.test.to_json() if done.test else None
    _print_json(
        {
            "run": str(done.folder),
            "report": str(done.report),
            "seconds": done.seconds,
            "validation": done.validation.to_json(),
            "test": test,
            "warnings": list(done.data.audit.warnings),
        }
    )


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


def _evaluate(run: Path, folder: Path | None, cache: str | None, quiet: bool) -> tuple[str, Any]:
    from lucency.classifier import Classifier
    from lucency.config import Config
    from lucency.dataset import load_labelled
    from lucency.evaluation import evaluate as measure
    from lucency.evaluation import evaluate_found, read_predictions

    classifier = Classifier.load(run)
    if folder is None:
        found = read_predictions(run / "predictions.csv")[-1]
        evaluation = evaluate_found(classifier, found)
        return f"{found.split.capitalize()}: {evaluation.n:,} pictures", evaluation
    spec = classifier.spec
    split = load_labelled(
        folder, spec.classes, Config(cache=cache or ""), size=spec.size,
        colour=spec.channels == 3, progress=progress(quiet),
    )  # fmt: skip
    evaluation = measure(classifier, split, progress(quiet))
    return f"{folder}: {evaluation.n:,} pictures", evaluation


def _predictions_json(
    classes: tuple[str, ...], predictions: list[Prediction]
) -> list[dict[str, Any]]:
    return [
        {
            "file": p.file,
            "decision": p.decision or None,
            "probabilities": dict(zip(classes, p.probabilities, strict=False)) or None,
            "reason": p.reason or None,
        }
        for p in predictions
    ]


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def _print_csv(classes: tuple[str, ...], predictions: list[Prediction]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "decision", *(f"p_{name}" for name in classes), "reason"])
    for p in predictions:
        probabilities = map(repr, p.probabilities) if p.probabilities else [""] * len(classes)
        writer.writerow([p.file, p.decision, *probabilities, p.reason])


def _print_table(classes: tuple[str, ...], predictions: list[Prediction]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("file", "decision", *classes):
        table.add_column(Text(name), overflow="fold")
    for p in predictions:
        if not p.reason:
            shares = (f"{value:.1%}" for value in p.probabilities)
            table.add_row(*(Text(cell) for cell in (p.file, p.decision, *shares)))
    Console(highlight=False).print(table)
