"""Shell completion: names of runs, configuration keys and their values.

Typer installs the completion and calls these functions. Its own completers know only fixed choices
and files. Each Tab starts Python; it takes at most 0.3 s, as nothing here imports NumPy or Keras.
"""

from __future__ import annotations

import dataclasses
import glob
import typing
from collections.abc import Callable
from pathlib import Path

_RUNS = Path("runs")
_CLASSIFIER = "classifier.json"  # every run folder has one
_MOST = 200  # names to offer
_RULES = ("balanced", "sensitivity>=0.95", "specificity>=0.9", "youden", "cost:FN=5,FP=1")
_WORDS = {
    "operating_point": _RULES,
    "format": ("onnx", "saved_model", "litert", "openvino", "web"),
    "track": ("tensorboard", "mlflow", "tensorboard,mlflow"),
    "weights": ("imagenet", "none"),
}


def run_names(incomplete: str) -> list[str]:
    """Return names of runs under ``runs/`` or paths of run folders, the newest first.

    If there is none, the shell completes file names.
    """
    folder, slash, start = incomplete.rpartition("/")
    place = Path(folder or "/") if slash else _RUNS
    found = [file.parent for file in place.glob(f"{glob.escape(start)}*/{_CLASSIFIER}")]
    newest = sorted(found, key=lambda run: run.stat().st_mtime, reverse=True)
    return [f"{folder}{slash}{run.name}" for run in newest[:_MOST]]


def words(key: str) -> Callable[[str], list[str]]:
    """Return a function that completes the values of a configuration key."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in _words(key) if word.startswith(incomplete)]

    return complete


def settings(incomplete: str) -> list[str]:
    """Complete ``KEY=VALUE``: the key, then its value if it is one of a few words."""
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
