"""Checks of the files of a run against each other; each returns its result or raises."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from lucency.classifier import Classifier
from lucency.classifier.stored_files import check_entry, read_document
from lucency.dataset import Entry, read_folds, read_split
from lucency.dataset.multilabel import UNCERTAIN, UNKNOWN, written
from lucency.evaluation import OUT_OF_FOLD, Predictions, read_predictions
from lucency.io import read_bytes
from lucency.run_folder.checksums import changed_files
from lucency.run_folder.files import (
    CHECKLIST,
    CHECKSUMS,
    EXPLANATION,
    FOLDS,
    MODEL_CARD,
    NEIGHBOURS,
    ONNX,
    OOD_DETECTOR,
    PREDICTIONS,
    REFERENCE_IMAGES,
    REPORT,
    SPLIT,
    WEIGHTS,
)
from lucency.verify.mismatch import Mismatch

_EXCLUDED = "excluded"
_EDITED = {MODEL_CARD.name, CHECKLIST.name}  # by their authors
_SHOWN = 3  # files
_LARGEST = 1e-9  # difference of a number computed again, relative from 1 on


def unchanged(run: Path) -> str:
    """Compare every file with the checksums that were written when the run was complete.

    The model card and the checklists are for their authors to edit: changes are named.

    Raises:
        Mismatch: Another file was changed, is missing or was added.
        LucencyError: ``checksums.json`` is missing or damaged, or a file cannot be read.
    """
    count, wrong = changed_files(run)
    edited = [name for name in wrong if name in _EDITED and (run / name).exists()]
    named = [f"{name} {what}" for name, what in wrong.items() if name not in edited]
    if named:
        more = f" and {len(named) - _SHOWN:,} more" if len(named) > _SHOWN else ""
        raise Mismatch(
            f"{', '.join(named[:_SHOWN])}{more}, compared with {CHECKSUMS}. Restore the files "
            "from the training run."
        )
    note = f", apart from {' and '.join(edited)}, for its author to edit" if edited else ""
    return f"{count:,} files compared with {CHECKSUMS}: unchanged{note}"


def checksums(run: Path) -> str:
    """Compare the files of the classifier with the checksums in classifier.json.

    Raises:
        Mismatch: A file is listed and missing, or present and not listed.
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
        raise Mismatch(f"classifier.json does not list {ONNX}. Every run has one: restore both.")
    unnamed = [file for key, file in named.items() if key not in present and (run / file).exists()]
    if unnamed:
        raise Mismatch(f"{unnamed[0]} exists but is not listed in classifier.json.")
    return f"{', '.join(map(str, present.values()))}: checksums match classifier.json"


def split(run: Path) -> str:
    """Compare files, classes and patients of predictions.csv, split.csv and folds.csv.

    Raises:
        Mismatch: An image is in one of them only, or differs.
        LucencyError: A file is missing or damaged.
    """
    listed = read_split(run / SPLIT)
    splits = read_predictions(run / PREDICTIONS)
    for split in splits:
        name = "train" if split.split == OUT_OF_FOLD else split.split
        wanted = {entry.file: entry for entry in listed if entry.split == name}
        if len(set(split.files)) < len(split.files):
            raise Mismatch(f"predictions.csv lists an image of {split.split} more than once.")
        if other := sorted(wanted.keys() ^ set(split.files)):
            raise Mismatch(
                f"{len(other):,} images of {split.split} are in split.csv or predictions.csv and "
                f"not in both: {other[0]}."
            )
        _check_truths(split, wanted)
        pairs = {(unit, group) for unit, group in zip(split.units, split.groups, strict=False)}
        several = sorted(name for name, n in Counter(x for x, _ in pairs if x).items() if n > 1)
        if several:
            raise Mismatch(f"{len(several):,} units have several patients: {several[0]}.")
    missing = {entry.split for entry in listed if entry.split in ("val", "test")}
    if FOLDS.is_in(run):
        missing.add(OUT_OF_FOLD)
        _check_folds(read_folds(run / FOLDS), listed)
    if missing := missing - {split.split for split in splits}:
        raise Mismatch(f"predictions.csv has no rows of {', '.join(sorted(missing))}.")
    count = sum(len(split.files) for split in splits)
    return f"{count:,} images with equal files, classes and patients"


def _check_truths(split: Predictions, wanted: Mapping[str, Entry]) -> None:
    """Compare truth and patient of each image of predictions.csv with those of split.csv."""
    rows = zip(split.files, split.groups, split.labels, strict=True)
    for i, (file, group, label) in enumerate(rows):
        found, entry = (split.classes[label], group), wanted[file]
        expected = (entry.label, entry.group)
        if split.targets is not None:
            found = (written(split.classes, split.targets[i]), group)
            expected = (entry.label.replace(UNCERTAIN, UNKNOWN), entry.group)
        if split.values is not None:
            found = (repr(float(split.values[i])), group)
        if found != expected:
            raise Mismatch(
                f"{file}: truth and patient are {found} in predictions.csv and {expected} in "
                "split.csv."
            )


def _check_folds(folds: Mapping[str, str], listed: Sequence[Entry]) -> None:
    """Compare the images of folds.csv with those of train; a patient is in one fold."""
    train = {entry.file: entry.group for entry in listed if entry.split == "train"}
    if other := sorted(folds.keys() ^ train.keys()):
        raise Mismatch(
            f"{len(other):,} images of train are in split.csv or folds.csv and not in both: "
            f"{other[0]}."
        )
    pairs = {(train[file], fold) for file, fold in folds.items()}
    several = sorted(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
    if several:
        raise Mismatch(f"{len(several):,} patients are in several folds: {several[0]}.")


def fingerprint(run: Path) -> str:
    """Compute the fingerprint of the data set from split.csv.

    Raises:
        Mismatch: It is not the one in classifier.json.
        LucencyError: A file is missing or damaged.
    """
    stated = read_document(run)["data"]["fingerprint"]
    used = (entry for entry in read_split(run / SPLIT) if entry.split != _EXCLUDED)
    lines = sorted((entry.file, entry.sha256, entry.label, entry.split) for entry in used)
    found = hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    if found != stated:
        raise Mismatch(
            f"split.csv has the fingerprint {found[:12]}..., and classifier.json has "
            f"{str(stated)[:12]}...: a file, class, content or split was changed."
        )
    return f"{len(lines):,} images with the fingerprint in classifier.json"


def decisions(run: Path) -> str:
    """Decide every image again from its probabilities at the operating point.

    Raises:
        Mismatch: Decisions in predictions.csv differ.
        LucencyError: A file is missing or damaged.
    """
    classifier = Classifier.load(run)
    count = 0
    for split in read_predictions(run / PREDICTIONS):
        if split.classes != classifier.classes:
            raise Mismatch("predictions.csv and classifier.json have different classes.")
        _check_numbers(classifier, split)
        expected = classifier.decide(split.probabilities)
        other = split.decisions != expected
        wrong = np.flatnonzero(other.reshape(len(other), -1).any(axis=1))
        if len(wrong) and split.targets is not None:
            raise Mismatch(
                f"{len(wrong):,} decisions of {split.split} do not follow from the probabilities: "
                f"the first is that for {split.files[wrong[0]]}."
            )
        if len(wrong):
            i = int(wrong[0])
            raise Mismatch(
                f"{len(wrong):,} decisions of {split.split} do not follow from the probabilities: "
                f"{split.files[i]} is {split.classes[split.decisions[i]]!r}, expected "
                f"{split.classes[expected[i]]!r}."
            )
        count += len(expected)
    return f"{count:,} decisions follow from the probabilities"


def _check_numbers(classifier: Classifier, split: Predictions) -> None:
    """Compute predicted numbers again from the probabilities."""
    if classifier.value is None or split.predicted is None:
        return
    expected = classifier.value.predicted(split.probabilities)
    apart = abs(split.predicted - expected)
    wrong = np.flatnonzero(~(apart <= _LARGEST * np.maximum(1, abs(expected))))
    if len(wrong):
        i = int(wrong[0])
        raise Mismatch(
            f"{len(wrong):,} predicted numbers of {split.split} do not follow from the "
            f"probabilities: {split.files[i]} has {split.predicted[i]:.9g}, expected "
            f"{expected[i]:.9g}."
        )


def maps(run: Path) -> str:
    """Compare the summary of the maps in classifier.json with explanation.json.

    Raises:
        Mismatch: They differ, or "informative" does not follow from the figures.
        LucencyError: A file is missing or damaged.
    """
    found = EXPLANATION.read(run)
    stated = read_document(run).get("explanation")
    if stated != {key: found[key] for key in ("method", "scale", "informative", "sentence")}:
        raise Mismatch(
            f"The summary of the maps differs between classifier.json and {EXPLANATION}."
        )
    low = found["deletion"]["gain_over_centre"]["low"]
    shuffled, pairs = found["randomisation"]["rows"][-1], found["randomisation"]["pairs"]
    changes = all(shuffled[key]["value"] < pairs[key]["value"] for key in pairs)
    if found["informative"] != (changes and low is not None and low > 0):
        raise Mismatch(f'"informative" does not follow from the figures in {EXPLANATION}.')
    word = "informative" if found["informative"] else "uninformative"
    return f"{word}, which follows from the tests on {found['n']} images"


def report(run: Path, render: Callable[[Path], str]) -> str:
    """Draw the report again and compare every byte.

    Raises:
        Mismatch: The page differs.
        LucencyError: A file is missing or damaged.
    """
    path = run / REPORT
    try:
        stored = read_bytes(path, REPORT.largest)
    except FileNotFoundError as error:
        raise Mismatch(
            f"There is no {path}. Draw it again with `lucency verify RUN --redraw`."
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise Mismatch(
            f"{path} cannot be read: {reason}. Draw it again with `lucency verify RUN --redraw`."
        ) from error
    drawn = render(run).encode("utf-8", errors="surrogateescape")
    if stored != drawn:
        same = next(
            (i for i, pair in enumerate(zip(stored, drawn, strict=False)) if pair[0] != pair[1]),
            min(len(stored), len(drawn)),
        )
        raise Mismatch(
            f"report.html ({len(stored):,} bytes) differs from the page drawn from the files "
            f"({len(drawn):,} bytes) from byte {same:,} on. Another version of Lucency draws "
            "another page: draw it again with `lucency verify RUN --redraw`."
        )
    return f"equal to the page drawn from the files in all {len(drawn):,} bytes"
