"""Checks of the files of a run against each other; each returns what it found, or raises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lucency.classifier import Classifier
from lucency.classifier.stored_files import (
    NEIGHBOURS,
    ONNX,
    OOD_DETECTOR,
    REFERENCE_IMAGES,
    WEIGHTS,
    check_entry,
    read_document,
)
from lucency.evaluation import read_predictions
from lucency.evaluation.ledger import read_split
from lucency.io import read_bytes, read_json
from lucency.verify.finding import Differs

EXPLANATION = "explanation.json"
_EXCLUDED = "excluded"
_LARGEST_PAGE = 256 * 2**20  # bytes


def checksums(run: Path) -> str:
    """Compare the classifier's files with the checksums in classifier.json.

    Raises:
        Differs: A file is named and not there, or there and not named.
        LucencyError: A file is missing or damaged.
    """
    document = read_document(run)
    named = {
        "weights": WEIGHTS,
        "onnx": ONNX,
        "ood_detector": OOD_DETECTOR,
        "reference_images": REFERENCE_IMAGES,
    }
    named |= {"neighbours": NEIGHBOURS}
    present = {key: file for key, file in named.items() if document.get(key)}
    for key, file in present.items():
        check_entry(run, document[key], file)
    if "onnx" not in present:
        raise Differs(f"classifier.json names no {ONNX}. Every run has one: restore both.")
    unnamed = [file for key, file in named.items() if key not in present and (run / file).exists()]
    if unnamed:
        raise Differs(f"{unnamed[0]} is there and classifier.json does not name it.")
    return f"{', '.join(present.values())}: as classifier.json names them"


def split(run: Path) -> str:
    """Compare files, classes and patients of predictions.csv and split.csv.

    Raises:
        Differs: The first image that stands in one of them only, or stands there otherwise.
        LucencyError: A file is missing or damaged.
    """
    listed = read_split(run / "split.csv")
    splits = read_predictions(run / "predictions.csv")
    for split in splits:
        wanted = {entry.file: entry for entry in listed if entry.split == split.split}
        if len(set(split.files)) < len(split.files):
            raise Differs(f"predictions.csv lists an image of {split.split} more than once.")
        if other := sorted(wanted.keys() ^ set(split.files)):
            raise Differs(
                f"{len(other):,} images of {split.split} are in split.csv or predictions.csv and "
                f"not in both: {other[0]}."
            )
        for file, group, label in zip(split.files, split.groups, split.labels, strict=True):
            said, entry = (split.classes[label], group), wanted[file]
            if said != (entry.label, entry.group):
                raise Differs(
                    f"{file}: class and patient are {said} in predictions.csv and "
                    f"{(entry.label, entry.group)} in split.csv."
                )
    missing = {entry.split for entry in listed if entry.split in ("val", "test")}
    if missing := missing - {split.split for split in splits}:
        raise Differs(f"predictions.csv has no row of {', '.join(sorted(missing))}.")
    return f"{sum(len(split.files) for split in splits):,} images: same files, classes, patients"


def fingerprint(run: Path) -> str:
    """Compute the fingerprint of the data set again from split.csv.

    Raises:
        Differs: It is not the one that classifier.json was written with.
        LucencyError: A file is missing or damaged.
    """
    stated = read_document(run)["data"]["fingerprint"]
    used = (entry for entry in read_split(run / "split.csv") if entry.split != _EXCLUDED)
    lines = sorted((entry.file, entry.sha256, entry.label, entry.split) for entry in used)
    found = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    if found != stated:
        raise Differs(
            f"split.csv has the fingerprint {found[:12]}..., and classifier.json was trained on "
            f"{str(stated)[:12]}...: a file, class, content or part was changed."
        )
    return f"{len(lines):,} images, as classifier.json was trained on"


def decisions(run: Path) -> str:
    """Decide every image again, from its probabilities at the operating point.

    Raises:
        Differs: Decisions in predictions.csv are others.
        LucencyError: A file is missing or damaged.
    """
    classifier = Classifier.load(run)
    count = 0
    for split in read_predictions(run / "predictions.csv"):
        if split.classes != classifier.classes:
            raise Differs("predictions.csv and classifier.json name other classes.")
        expected = classifier.decide(split.probabilities)
        wrong = np.flatnonzero(split.decisions != expected)
        if len(wrong):
            i = int(wrong[0])
            raise Differs(
                f"{len(wrong):,} decisions of {split.split} do not follow from the probabilities: "
                f"{split.files[i]} is {split.classes[split.decisions[i]]!r}, expected "
                f"{split.classes[expected[i]]!r}."
            )
        count += len(expected)
    return f"{count:,} decisions follow from the probabilities"


def maps(run: Path) -> str:
    """Compare what classifier.json says of the activation maps with the tests of them.

    Raises:
        Differs: It says something else, or the verdict does not follow from the figures.
        LucencyError: A file is missing or damaged.
    """
    found = read_json(run / EXPLANATION)
    stated = read_document(run).get("explanation")
    if stated != {key: found[key] for key in ("method", "scale", "informative", "sentence")}:
        raise Differs(f"classifier.json and {EXPLANATION} say different things of the maps.")
    low = found["deletion"]["beyond_centre"]["low"]
    shuffled, pairs = found["randomisation"]["rows"][-1], found["randomisation"]["pairs"]
    changes = all(shuffled[key]["value"] < pairs[key]["value"] for key in pairs)
    if found["informative"] != (changes and low is not None and low > 0):
        raise Differs(f"The verdict on the maps does not follow from the figures in {EXPLANATION}.")
    word = "informative" if found["informative"] else "uninformative"
    return f"{word}, as follows from the tests on {found['n']} images"


def report(run: Path, render: Callable[[Path], str]) -> str:
    """Draw the report again and compare every byte.

    Raises:
        Differs: The page is another.
        LucencyError: A file is missing or damaged.
    """
    path = run / "report.html"
    try:
        stated = read_bytes(path, _LARGEST_PAGE)
    except FileNotFoundError as error:
        raise Differs(f"There is no {path}. Draw it again with `lucency report`.") from error
    except OSError as error:
        reason = error.strerror or error
        raise Differs(f"{path} cannot be read: {reason}. Draw it again.") from error
    drawn = render(run).encode("utf-8", errors="surrogateescape")
    if stated != drawn:
        same = next(
            (i for i, pair in enumerate(zip(stated, drawn, strict=False)) if pair[0] != pair[1]),
            min(len(stated), len(drawn)),
        )
        raise Differs(
            f"report.html ({len(stated):,} bytes) is not what the files give ({len(drawn):,} "
            f"bytes): they differ from byte {same:,} on. A page that another version of Lucency "
            "drew differs too: draw it again with `lucency report`."
        )
    return f"drawn again from the files, equal in all {len(drawn):,} bytes"
