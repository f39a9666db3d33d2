"""The classifier's files: what they are, how large they may be, and their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lucency.errors import ClassifierError
from lucency.io import array_places, arrays_of, open_regular, read_bytes, sha256_of, why
from lucency.run_folder import files
from lucency.run_folder.files import CLASSIFIER, WEIGHTS, RunFile


def entry_of(file: RunFile, data: bytes) -> dict[str, Any]:
    """Return the entry of a file in ``classifier.json``: its name and its sha256."""
    return {"file": file.name, "sha256": hashlib.sha256(data).hexdigest()}


def read_document(folder: Path) -> Mapping[str, Any]:
    """Return the object in ``classifier.json``.

    Raises:
        ClassifierError: It is missing, not a regular file, too large, not a JSON object, or of
            another format.
    """
    if not CLASSIFIER.is_in(folder):
        raise ClassifierError(
            f"No classifier here: {folder} has no {CLASSIFIER}. Give the folder of a training run."
        )
    return files.read_document(folder / CLASSIFIER, CLASSIFIER.largest, ClassifierError)


def check_entry(folder: Path, entry: Any, file: RunFile) -> str:
    """Compare a file's checksum with ``classifier.json`` without reading it into memory.

    Returns:
        The sha256 in hexadecimal.

    Raises:
        ClassifierError: It differs, or the file is missing, too large or not a regular file.
    """
    try:
        with open_regular(folder / file, file.largest) as opened:
            found = sha256_of(opened)
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
    """``weights.safetensors`` of a run: checked immediately, read on first use.

    If there is an ONNX file, it predicts, and only Keras needs the weights.

    Args:
        folder: The run folder.
        entry: The entry of the file in ``classifier.json``.
        expected: Number of weights of the network.

    Attributes:
        sha256: Of the file.

    Raises:
        ClassifierError: The file is missing, damaged or changed, or has another number of weights.
    """

    def __init__(self, folder: Path, entry: Any, expected: int) -> None:
        self._folder, self._entry = folder, entry
        try:
            with open_regular(folder / WEIGHTS, WEIGHTS.largest) as file:
                count = sum(each.size for each in array_places(file).values())
        except OSError as error:
            raise _unreadable(folder / WEIGHTS, error) from error
        except ValueError as error:
            raise _damaged(folder / WEIGHTS, error) from error
        if count != expected:  # before it is all read for its checksum
            raise ClassifierError(
                f"{folder / WEIGHTS} has {count:,} numbers, and the network in {CLASSIFIER} has "
                f"{expected:,}. Restore both from the training run."
            )
        self.sha256 = check_entry(folder, entry, WEIGHTS)

    def read(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by variable name.

        Raises:
            ClassifierError: The file has changed since it was checked.
        """
        return read_arrays(self._folder, self._entry, WEIGHTS)


def _compare(path: Path, entry: Any, found: str) -> None:
    if not isinstance(entry, dict) or entry.get("file") != path.name:
        raise ClassifierError(
            f"{CLASSIFIER} names another file than {path}, which always has this name. Restore it "
            "from the training run."
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
