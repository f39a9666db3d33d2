"""Options that several commands share, what they mean, and the one way to print JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, echo

from lucency.cli.completion import run_names, settings, words
from lucency.errors import ConfigError

_DATA, _FIGURES, _TRAINING = "Data", "Figures", "Training"

Folder = Annotated[Path, Argument(help="Folder of class folders, or of train, val and test.")]
RunFolder = Annotated[
    Path, Argument(help="Run folder, or the name of one under runs/.", autocompletion=run_names)
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="No progress, only the result.")]
AsJson = Annotated[bool, Option("--json", help="Print the result as one JSON document.")]
Cache = Annotated[
    str | None,
    Option(help="Folder for decoded images.", metavar="DIR", rich_help_panel=_DATA),
]
Seed = Annotated[int | None, Option(help="Seed of everything random.", rich_help_panel=_TRAINING)]
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="One setting; may be repeated.",
        metavar="KEY=VALUE",
        autocompletion=settings,
    ),
]
ConfigFile = Annotated[
    Path | None, Option("--config", help="TOML file of settings.", metavar="FILE")
]
Labels = Annotated[
    str | None,
    Option(help="CSV with file,label[,group][,split].", metavar="FILE", rich_help_panel=_DATA),
]
SplitFile = Annotated[
    str | None,
    Option(
        help="Divide as this split.csv of an earlier run.", metavar="FILE", rich_help_panel=_DATA
    ),
]
GroupRegex = Annotated[
    str | None,
    Option(
        help="Expression whose first group is the patient.",
        metavar="REGEX",
        rich_help_panel=_DATA,
    ),
]
MaxUnreadable = Annotated[
    float | None,
    Option(help="Share of unreadable images to accept (0.01).", rich_help_panel=_DATA),
]
Workers = Annotated[
    int | None,
    Option(help="Processes that decode (one per processor).", rich_help_panel=_DATA),
]
OnLeak = Annotated[
    str | None,
    Option(
        help="stop, drop or ignore, where test images are in train too.",
        autocompletion=words("on_leak"),
        rich_help_panel=_DATA,
    ),
]
OperatingPoint = Annotated[
    str | None,
    Option(
        help="How the threshold is chosen on validation: balanced, sensitivity>=0.95, "
        "specificity>=0.9, youden or cost:FN=5,FP=1.",
        metavar="RULE",
        autocompletion=words("operating_point"),
        rich_help_panel=_FIGURES,
    ),
]
Prevalence = Annotated[
    float | None,
    Option(
        help="Share of the positive class where it will be used, 0 to 1.",
        rich_help_panel=_FIGURES,
    ),
]
Neighbours = Annotated[
    int | None,
    Option(
        help="Training images to keep, small, to compare new ones with (0); they travel with "
        "the run.",
        metavar="N",
        rich_help_panel=_TRAINING,
    ),
]
Subgroups = Annotated[
    str | None,
    Option(
        help="CSV with file and attributes to report figures by.",
        metavar="FILE",
        rich_help_panel=_FIGURES,
    ),
]

Recipe = Annotated[
    str | None,
    Option(
        help="default, or article (the tutorial's system).",
        autocompletion=words("recipe"),
        rich_help_panel=_TRAINING,
    ),
]
Effort = Annotated[
    str | None,
    Option(
        help="quick, standard or thorough.",
        autocompletion=words("effort"),
        rich_help_panel=_TRAINING,
    ),
]
Positive = Annotated[
    str | None, Option(help="Class to look for, of two.", rich_help_panel=_FIGURES)
]
Backbone = Annotated[
    str | None,
    Option(
        help="keras.applications network to fine-tune.", metavar="NAME", rich_help_panel=_TRAINING
    ),
]
Weights = Annotated[
    str | None,
    Option(
        help="imagenet, none or a .safetensors file.",
        autocompletion=words("weights"),
        rich_help_panel=_TRAINING,
    ),
]
Track = Annotated[
    str | None,
    Option(
        help="Whom to tell: tensorboard, mlflow, or both with a comma.",
        autocompletion=words("track"),
    ),
]


def print_json(document: Any) -> None:
    """Print a result as one JSON document on standard output."""
    echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def run_folder(run: Path) -> Path:
    """Return the run folder of a path or a name under ``runs/``.

    Raises:
        ConfigError: There is none.
    """
    named = Path("runs") / run
    if not run.exists() and named.exists():
        return named
    if not run.is_dir():
        raise ConfigError(f"No run folder: {run}. Give the path or name of a training run.")
    return run


def image_files(files: list[Path]) -> list[Path]:
    """Return image files as they are given, and those inside folders.

    Raises:
        ConfigError: A file does not exist, or there is none.
    """
    from lucency.imaging.image import is_image

    found: list[Path] = []
    for file in files:
        if not file.exists():
            raise ConfigError(f"No such file: {file}. Give image files, or folders of them.")
        inside = sorted(file.rglob("*")) if file.is_dir() else [file]
        found += [p for p in inside if p == file or (p.is_file() and is_image(p))]
    if not found:
        raise ConfigError(f"No image in {files[0]}. Give image files, or folders of them.")
    return found
