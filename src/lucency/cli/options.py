"""Options that several commands share, and the one way in which they print JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option, echo

Folder = Annotated[Path, Argument(help="Folder of class folders, or of train, val and test.")]
RunFolder = Annotated[Path, Argument(help="Run folder, or the name of one under runs/.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="No progress, only the result.")]
AsJson = Annotated[bool, Option("--json", help="Print the result as one JSON document.")]
Cache = Annotated[str | None, Option(help="Folder for decoded pictures.", metavar="DIR")]
Seed = Annotated[int | None, Option(help="Seed of everything random.")]
Settings = Annotated[
    list[str] | None, Option("--set", help="One setting; may be repeated.", metavar="KEY=VALUE")
]
ConfigFile = Annotated[
    Path | None, Option("--config", help="TOML file of settings.", metavar="FILE")
]
Labels = Annotated[str | None, Option(help="CSV with file,label[,group][,split].", metavar="FILE")]
SplitFile = Annotated[
    str | None, Option(help="Divide as this split.csv of an earlier run.", metavar="FILE")
]
GroupRegex = Annotated[
    str | None, Option(help="Expression whose first group is the patient.", metavar="REGEX")
]
MaxBad = Annotated[float | None, Option(help="Share of unreadable pictures to accept (0.01).")]
Workers = Annotated[int | None, Option(help="Processes that decode (one per processor).")]
OnLeak = Annotated[
    str | None, Option(help="stop, drop or ignore, where test pictures are in train too.")
]
OperatingPoint = Annotated[
    str | None,
    Option(
        help="How the threshold is chosen on validation: balanced, sensitivity>=0.95, "
        "specificity>=0.9, youden or cost:FN=5,FP=1.",
        metavar="RULE",
    ),
]
Prevalence = Annotated[
    float | None, Option(help="Share of the positive class where it will be used, 0 to 1.")
]
Neighbours = Annotated[
    int | None,
    Option(
        help="Training pictures to keep, small, to compare new ones with (0); they travel with "
        "the run.",
        metavar="N",
    ),
]
Subgroups = Annotated[
    str | None, Option(help="CSV with file and attributes to report figures by.", metavar="FILE")
]


def print_json(document: Any) -> None:
    """Print a result as one JSON document on standard output."""
    echo(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))
