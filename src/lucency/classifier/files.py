"""The classifier's files: size caps and checksums before any content is looked at."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lucency.classifier.spec import JSON
from lucency.errors import ClassifierError

WEIGHTS, ONNX, GATE = "weights.safetensors", "model.onnx", "gate.safetensors"
_LARGEST_JSON = 4 * 2**20  # bytes; ours has a few thousand
_LARGEST_MODEL = 4 * 2**30


def entry_of(name: str, data: bytes) -> dict[str, Any]:
    """Return what ``classifier.json`` says of a file: its name and its sha256."""
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def read_document(folder: Path) -> Mapping[str, Any]:
    """Return the object in ``classifier.json``.

    Raises:
        ClassifierError: There is none, it is too large or it is no JSON object.
    """
    path = folder / JSON
    try:
        document = json.loads(_read_capped(path, _LARGEST_JSON))
    except FileNotFoundError as error:
        raise ClassifierError(
            f"No classifier here: {folder} has no {JSON}. Give the folder of a training run."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ClassifierError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(document, dict):
        raise ClassifierError(f"{path} is not a classifier: expected a JSON object.")
    return document


def read_entry(folder: Path, entry: Any, name: str) -> bytes:
    """Return a file's bytes after checking them against the checksum in ``classifier.json``."""
    try:
        data = _read_capped(folder / name, _LARGEST_MODEL)
    except OSError as error:
        raise ClassifierError(f"{folder / name} cannot be read ({error.strerror}).") from error
    if not isinstance(entry, dict) or hashlib.sha256(data).hexdigest() != entry.get("sha256"):
        raise ClassifierError(
            f"{folder / name} is not the file that {JSON} was written with (its sha256 differs). "
            "Restore both from the training run."
        )
    return data


def read_arrays(folder: Path, entry: Any, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file after checking its checksum."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(read_entry(folder, entry, name))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ClassifierError(f"The arrays are damaged: {folder / name} ({error})") from error


def _read_capped(path: Path, most: int) -> bytes:
    if path.stat().st_size > most:
        raise ClassifierError(f"{path} is larger than {most:,} bytes; no classifier of ours is.")
    return path.read_bytes()
