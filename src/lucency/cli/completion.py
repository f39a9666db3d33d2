"""What the shell completes: names of runs, and the words and keys that options take.

Each Tab starts the program anew, so nothing here imports what takes long.
"""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

_RUNS = Path("runs")
_MARK = "classifier.json"  # what makes a folder a run folder
_MOST = 200  # names to offer
_RULES = ("balanced", "sensitivity>=0.95", "specificity>=0.9", "youden", "cost:FN=5,FP=1")
_WORDS = {
    "operating_point": _RULES,
    "format": ("onnx", "keras", "saved_model", "litert", "openvino", "web"),
    "track": ("tensorboard", "mlflow", "tensorboard,mlflow"),
    "weights": ("imagenet", "none"),
}


def run_names(incomplete: str) -> list[str]:
    """Return names of runs under ``runs/`` and paths of run folders, the newest first.

    Where there is none the shell goes on with names of files.
    """
    folder, _, start = incomplete.rpartition("/")
    place = Path(folder or "/") if "/" in incomplete else _RUNS
    given = f"{folder}/" if "/" in incomplete else ""
    found = [
        (each.stat().st_mtime, f"{given}{each.name}")
        for each in _folders(place)
        if each.name.startswith(start) and os.path.isfile(f"{each.path}/{_MARK}")  # noqa: PTH113
    ]
    return [name for _, name in sorted(found, reverse=True)][:_MOST]


def words(key: str) -> Callable[[str], list[str]]:
    """Return a function that completes the values of a configuration key."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in _words(key) if word.startswith(incomplete)]

    return complete


def settings(incomplete: str) -> list[str]:
    """Complete ``KEY=VALUE``: the key, then its words where it takes words."""
    from lucency.config import Config

    key, equals, value = incomplete.partition("=")
    if equals:
        return [f"{key}={word}" for word in _words(key) if word.startswith(value)]
    keys = [field.name for field in dataclasses.fields(Config)]
    return [f"{each}=" for each in keys if each.startswith(key)]


def _words(key: str) -> tuple[str, ...]:
    from lucency.config import Config

    hint = typing.get_type_hints(Config).get(key)
    if hint is bool or bool in typing.get_args(hint):
        return ("true", "false")
    inside = [hint, *typing.get_args(hint)]
    literal = [word for each in inside for word in typing.get_args(each) if isinstance(word, str)]
    return _WORDS.get(key) or tuple(dict.fromkeys(literal))


def _folders(place: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(place) as inside:
            yield from (each for each in inside if each.is_dir())
    except OSError:  # nothing to be offered
        return
