"""The classifier's files: what they are, how large they may be, and their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from lucency.errors import ClassifierError
from lucency.io import array_places, arrays_of, open_regular, read_bytes, read_json, why
from lucency.run_folder.files import CLASSIFIER, WEIGHTS, RunFile, check_format

_CHUNK = 2**20


def entry_of(file: RunFile, data: bytes) -> dict[str, Any]:
    """Return what ``classifier.json`` says of a file: its name and its sha256."""
    return {"file": file.name, "sha256": hashlib.sha256(data).hexdigest()}


def read_document(folder: Path) -> Mapping[str, Any]:
    """Return the object in ``classifier.json``.

    Raises:
        ClassifierError: There is none, it is no regular file, too large or no JSON object.
    """
    path = folder / CLASSIFIER
    try:
        document = read_json(path, CLASSIFIER.largest)
    except FileNotFoundError as error:
        raise ClassifierError(
            f"No classifier here: {folder} has no {CLASSIFIER}. Give the folder of a training run."
        ) from error
    except (OSError, ValueError) as error:
        raise ClassifierError(f"{path} cannot be read as JSON ({why(error)}).") from error
    if not isinstance(document, dict):
        raise ClassifierError(f"{path} is not a classifier: expected a JSON object.")
    check_format(path, document.get("format"), ClassifierError)
    return document


def check_entry(folder: Path, entry: Any, file: RunFile) -> str:
    """Compare a file's checksum with the one in ``classifier.json``, without holding the file.

    Returns:
        The sha256 in hexadecimal.

    Raises:
        ClassifierError: It is another, or the file is missing or none that we would write.
    """
    try:
        with open_regular(folder / file, file.largest) as opened:
            found = _checksum(opened)
    except OSError as error:
        raise _unreadable(folder / file, error) from error
    _compare(folder / file, entry, found)
    return found


def read_entry(folder: Path, entry: Any, file: RunFile) -> bytes:
    """Return a file's bytes after checking them against the checksum in ``classifier.json``."""
    try:
        data = read_bytes(folder / file, file.largest)
    except OSError as error:
        raise _unreadable(folder / file, error) from error
    _compare(folder / file, entry, hashlib.sha256(data).hexdigest())
    return data


def read_arrays(folder: Path, entry: Any, file: RunFile) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file after checking its checksum and header."""
    data = read_entry(folder, entry, file)
    try:
        return arrays_of(data)
    except ValueError as error:
        raise _damaged(folder / file, error) from error


class StoredWeights:
    """``weights.safetensors`` of a run: checked at once, read when somebody asks.

    Where an ONNX file predicts, the weights are only kept for whoever goes on in Keras.

    Args:
        folder: The run folder.
        entry: What ``classifier.json`` says of the file.
        expected: How many numbers the network has that the weights are for.

    Attributes:
        sha256: Of the file.

    Raises:
        ClassifierError: The file is missing, damaged, not the one that was written, or holds
            another number of them.
    """

    def __init__(self, folder: Path, entry: Any, expected: int) -> None:
        self._folder, self._entry = folder, entry
        try:
            with open_regular(folder / WEIGHTS, WEIGHTS.largest) as file:
                held = sum(place.size for place in array_places(file).values())
        except OSError as error:
            raise _unreadable(folder / WEIGHTS, error) from error
        except ValueError as error:
            raise _damaged(folder / WEIGHTS, error) from error
        if held != expected:  # before it is all read for its checksum
            raise ClassifierError(
                f"{folder / WEIGHTS} holds {held:,} numbers, and the network in {CLASSIFIER} has "
                f"{expected:,}. Restore both from the training run."
            )
        self.sha256 = check_entry(folder, entry, WEIGHTS)

    def read(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by variable name.

        Raises:
            ClassifierError: The file is no longer the one that was checked.
        """
        return read_arrays(self._folder, self._entry, WEIGHTS)


def _checksum(file: BinaryIO) -> str:
    found, most = hashlib.sha256(), 2**31
    while most > 0 and (data := file.read(_CHUNK)):
        found.update(data)
        most -= len(data)  # a file that grows while it is read ends somewhere too
    return found.hexdigest()


def _compare(path: Path, entry: Any, found: str) -> None:
    if not isinstance(entry, dict) or entry.get("file") != path.name:
        raise ClassifierError(
            f"{CLASSIFIER} names another file than {path}; ours are always called so. Restore it from "
            "the training run."
        )
    if found != entry.get("sha256"):
        raise ClassifierError(
            f"{path} is not the file that {CLASSIFIER} was written with (its sha256 differs). "
            "Restore both from the training run."
        )


def _unreadable(path: Path, error: OSError) -> ClassifierError:
    return ClassifierError(
        f"{path} cannot be read: {why(error)}. Restore it from the training run."
    )


def _damaged(path: Path, error: ValueError) -> ClassifierError:
    return ClassifierError(
        f"The arrays are damaged: {path} ({error}). Restore it from the training run."
    )
