"""Options that several commands share, and functions that read arguments and print JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, echo

from lucency.cli.completion import run_names, settings, words
from lucency.errors import ConfigError

# What JSON leaves as it is: signs that a terminal executes, that are invisible or reverse text, and
# halves of characters, which stand for bytes of a name that are not UTF-8.
_HARMFUL = re.compile("[\x7f-\x9f\u200b\u200e-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")

_DATA, _EVALUATION, _TRAINING = "Data", "Evaluation", "Training"

Folders = Annotated[
    list[Path],
    Argument(
        help="Data folder: one folder per class, or train, val and test with these inside. Also "
        "a zip file of it, or an address (https, s3, gs). Several are one data set.",
    ),
]
RunFolder = Annotated[
    Path,
    Argument(
        help="Run folder, its name under runs/, or its address (https, s3, gs).",
        autocompletion=run_names,
    ),
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print no progress, only the result.")]
AsJson = Annotated[bool, Option("--json", help="Print the result as one JSON document.")]
Cache = Annotated[
    str | None,
    Option(help="Cache folder for decoded images.", metavar="DIR", rich_help_panel=_DATA),
]
Seed = Annotated[
    int | None,
    Option(
        help="Seed of the split, the weights, the image order and the augmentation (0).",
        rich_help_panel=_TRAINING,
    ),
]
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        help="Set one configuration key. Repeat for more.",
        metavar="KEY=VALUE",
        autocompletion=settings,
    ),
]
ConfigFile = Annotated[
    Path | None, Option("--config", help="Read settings from a TOML file.", metavar="FILE")
]
Labels = Annotated[
    str | None,
    Option(
        help="Read labels from a CSV file: file,label[,group][,split], or a column for each label.",
        metavar="FILE",
        rich_help_panel=_DATA,
    ),
]
FileColumn = Annotated[
    str | None,
    Option(
        help="Column of the CSV with the files (recognised).",
        metavar="NAME",
        rich_help_panel=_DATA,
    ),
]
LabelColumn = Annotated[
    str | None,
    Option(
        help="Column of the CSV with the labels (recognised).",
        metavar="NAME",
        rich_help_panel=_DATA,
    ),
]
GroupColumn = Annotated[
    str | None,
    Option(
        help="Column of the CSV with the patients, or none (recognised).",
        metavar="NAME",
        rich_help_panel=_DATA,
    ),
]
SplitColumn = Annotated[
    str | None,
    Option(
        help="Column of the CSV with the splits, or none (recognised).",
        metavar="NAME",
        rich_help_panel=_DATA,
    ),
]
FollowLinks = Annotated[
    bool | None,
    Option(
        "--follow-links",
        help="Follow symbolic links to images and folders.",
        rich_help_panel=_DATA,
    ),
]
SplitFile = Annotated[
    str | None,
    Option(help="Reuse the split.csv of an earlier run.", metavar="FILE", rich_help_panel=_DATA),
]
GroupRegex = Annotated[
    str | None,
    Option(
        help="Regular expression; its first group in the file path is the patient.",
        metavar="REGEX",
        rich_help_panel=_DATA,
    ),
]
Depth = Annotated[
    int | None,
    Option(
        help="Bits of images of more than 8 (the fewest that hold all images); 1 for floats from 0 "
        "to 1.",
        metavar="BITS",
        rich_help_panel=_DATA,
    ),
]
MaxUnreadable = Annotated[
    float | None,
    Option(help="Accept up to this share of unreadable images (0.01).", rich_help_panel=_DATA),
]
Workers = Annotated[
    int | None,
    Option(help="Decode with this many processes (one per processor).", rich_help_panel=_DATA),
]
On = Annotated[
    str | None,
    Option(
        help="Decode images, predict, and train folds, on the nodes of a Ray cluster: ray (of "
        "this environment), ray://HOST:PORT, or local:N (N processes of this machine).",
        metavar="CLUSTER",
        rich_help_panel=_DATA,
    ),
]
Folds = Annotated[
    str | None,
    Option(
        help="Cross-validate in so many folds, or hold out each value of a column of the CSV, such "
        "as the site; 0 for a validation split; auto for 5 folds where that would be too small, "
        "and with --effort thorough (auto).",
        metavar="auto|N|COLUMN",
        rich_help_panel=_DATA,
    ),
]
OnLeak = Annotated[
    str | None,
    Option(
        help="If test images or patients are also in train or validation: stop, drop them there, "
        "or ignore the leak (stop).",
        metavar="ACTION",
        autocompletion=words("on_leak"),
        rich_help_panel=_DATA,
    ),
]
OperatingPoint = Annotated[
    str | None,
    Option(
        help="Choose the threshold on validation by this rule: balanced, sensitivity>=0.95, "
        "specificity>=0.9, youden or cost:FN=5,FP=1.",
        metavar="RULE",
        autocompletion=words("operating_point"),
        rich_help_panel=_EVALUATION,
    ),
]
Prevalence = Annotated[
    float | None,
    Option(
        help="Share of the positive class where the classifier will be used, between 0 and 1.",
        rich_help_panel=_EVALUATION,
    ),
]
Neighbours = Annotated[
    int | None,
    Option(
        help="Store this many small training images in the run, to show the nearest ones beside "
        "a prediction (0). They stay in every copy of the run.",
        metavar="N",
        rich_help_panel=_TRAINING,
    ),
]
Subgroups = Annotated[
    str | None,
    Option(
        help="Report figures by the attributes in a CSV file: file,ATTRIBUTE,...",
        metavar="FILE",
        rich_help_panel=_EVALUATION,
    ),
]

Recipe = Annotated[
    str | None,
    Option(
        help="default, or article (the system of the tutorial).",
        metavar="NAME",
        autocompletion=words("recipe"),
        rich_help_panel=_TRAINING,
    ),
]
Effort = Annotated[
    str | None,
    Option(
        help="quick, standard, thorough, or the time that the whole command may take, such as 90s, "
        "20min or 1h30min (standard).",
        metavar="LEVEL|TIME",
        autocompletion=words("effort"),
        rich_help_panel=_TRAINING,
    ),
]
Positive = Annotated[
    str | None,
    Option(
        help="Positive class of two, the one to detect (auto).",
        metavar="CLASS",
        rich_help_panel=_EVALUATION,
    ),
]
Task = Annotated[
    str | None,
    Option(
        help="classification; ordinal: the classes are grades, lowest first; multilabel: an image "
        "has several labels; regression: a number, in a column of the labels file (auto: ordinal "
        "with --order, multilabel by the labels file).",
        metavar="TASK",
        autocompletion=words("task"),
        rich_help_panel=_DATA,
    ),
]
Tolerance = Annotated[
    float | None,
    Option(
        help="Of numbers: abstain where the prediction interval is wider than this.",
        metavar="WIDTH",
        rich_help_panel=_EVALUATION,
    ),
]
Uncertain = Annotated[
    str | None,
    Option(
        help="Learn uncertain labels (-1) of several as: ignore, positive, negative or soft "
        "(ignore).",
        metavar="HOW",
        autocompletion=words("uncertain"),
        rich_help_panel=_DATA,
    ),
]
Order = Annotated[
    str | None,
    Option(
        help="The grades, lowest first, as in none,mild,severe (natural order).",
        metavar="CLASS,...",
        rich_help_panel=_DATA,
    ),
]
Unit = Annotated[
    str | None,
    Option(
        help="Give one answer for each image, or also for each patient, DICOM study, DICOM series "
        "or value of a column of the --labels file, from all its images (image).",
        metavar="image|patient|study|series|COLUMN",
        autocompletion=words("unit"),
        rich_help_panel=_EVALUATION,
    ),
]
PositiveFrom = Annotated[
    str | None,
    Option(
        help="Grade from which on an image is positive, such as one to refer.",
        metavar="CLASS",
        rich_help_panel=_EVALUATION,
    ),
]
Start = Annotated[
    str | None,
    Option(
        help="Train from scratch; a linear head on the pretrained EfficientNetLite0 or "
        "EfficientNetLite2; the ensemble of the first two; or what is best of these on held-out "
        "images (auto). A run folder or a .safetensors file is fine-tuned.",
        metavar="START",
        autocompletion=words("start"),
        rich_help_panel=_TRAINING,
    ),
]
Backbone = Annotated[
    str | None,
    Option(
        help="Fine-tune EfficientNetLite0, EfficientNetLite2 or a network of keras.applications.",
        metavar="NAME",
        rich_help_panel=_TRAINING,
    ),
]
Weights = Annotated[
    str | None,
    Option(
        help="Start the backbone from imagenet, none or a .safetensors file (imagenet).",
        metavar="WEIGHTS",
        autocompletion=words("weights"),
        rich_help_panel=_TRAINING,
    ),
]
Track = Annotated[
    str | None,
    Option(
        help="Log the run to tensorboard, mlflow, or both (separated by a comma).",
        metavar="TRACKER",
        autocompletion=words("track"),
    ),
]


def print_json(document: Any) -> None:
    """Print a result as one JSON document on standard output."""
    # Escaped by JSON itself where the output is not UTF-8, so that it stays valid JSON.
    escaped = (sys.stdout.encoding or "").lower().replace("_", "-") not in ("utf-8", "utf8")
    text = json.dumps(document, indent=1, ensure_ascii=escaped, allow_nan=False)
    echo(_HARMFUL.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text))


def data_folder(folders: list[Path], cache: str, quiet: bool) -> Path:
    """Return the data folder for a folder, a zip file or an address, or for several of these."""
    if len(folders) == 1 and folders[0].is_dir():  # without importing anything
        return folders[0]
    from lucency.cli.console import progress
    from lucency.dataset.several import open_sources

    return open_sources(folders, cache, progress(quiet))


def run_folder(run: Path) -> Path:
    """Return the run folder for a path, a name under ``runs/`` or an address.

    A run at an address is downloaded to the cache.

    Raises:
        ConfigError: There is no such folder.
        RunError: There is no complete run at the address, or it cannot be read.
    """
    named = Path("runs") / run
    if not run.exists() and named.exists():
        return named
    if address := run_address(run):
        from lucency.cli.console import progress
        from lucency.run_folder.stored import local_copy

        return local_copy(address, progress(not sys.stderr.isatty()))
    if not run.is_dir():
        raise ConfigError(f"No run folder: {run}. Give the path or name of a training run.")
    return run


def run_address(run: Path) -> str:
    """Return the address that an argument for a run stands for; empty for a path or a name."""
    from lucency.io import address_of

    return "" if run.exists() else address_of(run)


def image_files(files: list[Path], quiet: bool) -> list[Path]:
    """Return the given files, and the images inside the given folders; say what is not used.

    Raises:
        ConfigError: A file does not exist, or no image was found.
        DataError: A folder cannot be read.
    """
    from lucency.cli.console import progress
    from lucency.dataset.beside import images_below

    found: list[Path] = []
    for file in files:
        if not file.exists():
            raise ConfigError(f"No such file: {file}. Give image files, or folders of them.")
        inside, sentences = images_below(file) if file.is_dir() else ([file], ())
        found += inside
        for line in sentences:
            progress(quiet).warn(line)
    if not found:
        raise ConfigError(f"No image in {files[0]}. Give image files, or folders of them.")
    return found
