"""Facts about a run and its data: one sentence each, None if unknown."""

from __future__ import annotations

from lucency.report.model_card.documents import (
    Documents,
    at,
    count,
    items_of,
    list_of,
    number,
    one_line,
    plain,
    without_names,
)
from lucency.task import MULTILABEL, ORDINAL, REGRESSION

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_TRAINING = ("epochs", "batch", "optimiser", "label smoothing", "precision")


def _joined(pieces: list[str | None], between: str = "; ") -> str | None:
    """Return the pieces that are known, joined; None where none is."""
    known = [piece for piece in pieces if piece]
    return between.join(known) or None


def choice(documents: Documents, *names: str) -> str | None:
    """Return these choices of the plan, with their reasons."""
    made = {at(each, "name"): each for each in list_of(documents.plan, "choices")}
    found = [made[name] for name in names if name in made]
    return _joined(
        [
            plain(f"{at(each, 'name')}: {at(each, 'value')} ({at(each, 'reason')})")
            for each in found
            if at(each, "value") is not None
        ]
    )


def identity(documents: Documents) -> str | None:
    """Return the name of the run, its recipe and the software."""
    plan = documents.plan
    made = _joined([f"{key} {plain(at(plan, key))}" for key in ("recipe", "effort", "seed")
                    if at(plan, key) is not None], ", ")  # fmt: skip
    run = at(plan, "run")
    return _joined([run and f"run {plain(run)}", made, software(documents)])


def software(documents: Documents) -> str | None:
    """Return the versions of the programs and the machine."""
    known = items_of(documents.plan, "environment") or items_of(documents.classifier, "versions")
    return _joined([f"{plain(key)} {plain(value)}" for key, value in known if value], ", ")


def command(documents: Documents) -> str | None:
    """Return where the command of the run is; the command itself may name private folders."""
    known = at(documents.plan, "command")
    return "one command reproduces the run; it is in plan.json" if known else None


def network(documents: Documents) -> str | None:
    """Return the architecture, its size, and where its initial weights come from."""
    name, size = at(documents.classifier, "architecture", "name"), at(documents.plan, "parameters")
    parameters, origin = count(size), at(documents.classifier, "weights_origin")
    return _joined(
        [
            name and f"architecture {plain(name)}",
            parameters and f"{parameters} parameters",
            choice(documents, "network"),
            origin and f"initial weights: {plain(origin)}",
        ]
    )


def input_(documents: Documents) -> str | None:
    """Return the input of the classifier."""
    size = [count(at(documents.classifier, "input", key)) for key in ("height", "width")]
    channels = at(documents.classifier, "input", "channels")
    if None in size or channels not in (1, 3):
        return None
    colour = "grey" if channels == 1 else "colour"
    return (
        f"the pixels of one image, {colour}, {size[0]} x {size[1]} (height x width), "
        "and no other information about the person"
    )


def preparation(documents: Documents) -> str | None:
    """Return how files become the input of the classifier."""
    seen = input_(documents)
    return seen and _joined([seen, choice(documents, "input")])


def outcome(documents: Documents) -> str | None:
    """Return the classes."""
    classes = list_of(documents.classifier, "classes") or list_of(documents.evaluation, "classes")
    if not classes:
        return None
    if at(documents.classifier, "task") == REGRESSION:
        return _number(documents)
    positive = at(documents.classifier, "positive") or at(documents.evaluation, "positive")
    cut = at(documents.classifier, "cut", "from")
    suffix = f"; positive: {plain(positive)}" if positive else ""
    suffix = f"; positive from {plain(cut)} on" if cut else suffix
    ordinal = at(documents.classifier, "task") == ORDINAL
    kind = "grades, the lowest first" if ordinal else "classes"
    if at(documents.classifier, "task") == MULTILABEL:
        kind = "labels, of which an image may have several"
    return f"{len(classes)} {kind}: {', '.join(map(plain, classes))}{suffix}"


def _number(documents: Documents) -> str | None:
    """Return what the predicted number is, and its range in training."""
    edges = [number(x) for x in list_of(documents.classifier, "value", "edges")]
    name, mean = (at(documents.classifier, "value", key) for key in ("name", "mean"))
    if name is None or not edges or edges[0] is None or edges[-1] is None:
        return None
    known = number(mean)
    average = "" if known is None else f", {known:.4g} on average"
    return f"a number, {plain(name)}: in training from {edges[0]:.4g} to {edges[-1]:.4g}{average}"


def source(documents: Documents) -> str | None:
    """Return the data folder, its size and its fingerprint."""
    folder, found = at(documents.plan, "data", "folder"), count(at(documents.audit, "found"))
    print_ = at(documents.plan, "data", "fingerprint") or at(
        documents.classifier, "data", "fingerprint"
    )
    return _joined(
        [
            folder and f"folder {plain(folder)}",
            found and f"{found} images found",
            print_ and f"fingerprint sha256 {plain(print_)}",
        ]
    )


def excluded(documents: Documents) -> str | None:
    """Return how many images were excluded."""
    found, used = count(at(documents.audit, "found")), count(at(documents.audit, "used"))
    if found is None or used is None:
        return None
    out = len(list_of(documents.audit, "excluded"))
    unused = sum(number(at(each, "images")) or 0 for each in list_of(documents.audit, "not_used"))
    others = f", {unused:,.0f} not used" if unused else ""
    reasons = "; each with its reason in audit.json" if out or unused else ""
    return f"{found} images found, {used} used, {out:,} excluded{others}{reasons}"


def splits(documents: Documents) -> str | None:
    """Return images and patients of each split, by class."""
    return _joined([_split(documents, split) for split in _SPLITS])


def _split(documents: Documents, split: str) -> str | None:
    counts = [(name, count(n)) for name, n in items_of(documents.audit, "counts", split)]
    if not counts or any(n is None for _, n in counts):
        return None
    known = at(documents.audit, "groups", "source") not in (None, "none")
    patients = count(at(documents.audit, "groups", "counts", split)) if known else None
    classes = ", ".join(f"{n} {plain(name)}" for name, n in counts)
    if at(documents.classifier, "task") == REGRESSION:  # bins say nothing to a reader
        total = sum(number(n) or 0 for _, n in items_of(documents.audit, "counts", split))
        classes = f"{total:,.0f} images"
    return f"{_SPLITS[split]}: {classes}" + (f" ({patients} patients)" if patients else "")


def training_splits(documents: Documents) -> str | None:
    """Return images and patients of the training and validation splits."""
    return _joined([_split(documents, split) for split in ("train", "val")])


def test_split(documents: Documents) -> str | None:
    """Return images and patients of the test split."""
    return _split(documents, "test")


def class_shares(documents: Documents) -> str | None:
    """Return the share of each class in each split; None of numbers, whose bins are alike."""
    if at(documents.classifier, "task") == REGRESSION:
        return None
    shares = []
    for split, word in _SPLITS.items():
        counts = [(name, number(n)) for name, n in items_of(documents.audit, "counts", split)]
        total = sum(n or 0.0 for _, n in counts)
        if total:
            each = ", ".join(
                f"{plain(name)} {100 * (n or 0.0) / total:.1f} %" for name, n in counts
            )
            shares.append(f"{word}: {each}")
    return "; ".join(shares) if len(shares) > 1 else None


def patients(documents: Documents) -> str | None:
    """Return how patients are identified."""
    by = at(documents.audit, "groups", "source")
    if by is None:
        return None
    if by == "none":
        return "patients are unknown: each image counts as one patient"
    return f"patients are identified by: {plain(by)}"


def partition(documents: Documents) -> str | None:
    """Return how the images were split."""
    notes = [plain(note) for note in list_of(documents.audit, "notes")[:3]]
    known = patients(documents)
    return known and _joined([known, leaks(documents), *notes])


def leaks(documents: Documents) -> str | None:
    """Return the result of the leak check."""
    status = at(documents.audit, "leaks", "status")
    if status is None:
        return None
    pairs = len(list_of(documents.audit, "leaks", "pairs"))
    return f"leak check {plain(status)}: {pairs:,} pairs of copies between the splits"


def findings(documents: Documents) -> str | None:
    """Return the findings of the probes for shortcuts and shift; None if there were none."""
    if not isinstance(at(documents.audit, "findings"), list):
        return None
    found = [plain(at(each, "text")) for each in list_of(documents.audit, "findings")]
    shown = " ".join([text for text in found if text][:4])
    return shown or "probes for shortcuts and shift were run and reported nothing"


def weighting(documents: Documents) -> str | None:
    """Return how class imbalance was handled."""
    chosen = choice(documents, "class weights")
    if chosen is None and at(documents.plan, "config", "class_weighting") is False:
        return "classes are not weighted (class_weighting=false)"
    return chosen


def training(documents: Documents) -> str | None:
    """Return how it was trained."""
    return choice(documents, *_TRAINING, "augmentation")


def selection(documents: Documents) -> str | None:
    """Return which weights were kept."""
    epoch = count(at(documents.plan, "best_epoch"))
    return _joined([choice(documents, "weights kept", "best epoch"), epoch and f"epoch {epoch}"])


def output(documents: Documents) -> str | None:
    """Return the output of the classifier and how it becomes a decision."""
    rule = at(documents.classifier, "operating_point", "rule")
    threshold = number(at(documents.classifier, "operating_point", "threshold"))
    if rule is None:
        return None
    temperature = number(at(documents.classifier, "temperature"))
    is_number = at(documents.classifier, "task") == REGRESSION
    return _joined(
        [
            "a number with a prediction interval, from a probability for each bin of its axis"
            if is_number
            else "a probability for each class",
            f"decision: {plain(rule)}",
            None if threshold is None or is_number else f"threshold {threshold:.4g}",
            None if temperature is None else f"temperature {temperature:.3f}, from validation",
            choice(documents, "decision"),
            choice(documents, "unit"),
        ]
    )


def weights(documents: Documents) -> str | None:
    """Return the files of the classifier and their checksums."""
    files = [
        f"{plain(at(documents.classifier, kind, 'file'))} (sha256 "
        f"{plain(at(documents.classifier, kind, 'sha256'))})"
        for kind in ("weights", "onnx")
        if at(documents.classifier, kind, "sha256")
    ]
    return ", ".join(files) or None


def parity(documents: Documents) -> str | None:
    """Return how closely the exported classifier reproduces the trained one."""
    n = count(at(documents.classifier, "onnx", "parity", "n"))
    most = number(at(documents.classifier, "onnx", "parity", "max_abs_difference"))
    if n is None or most is None:
        return None
    return f"Keras and ONNX Runtime agree on {n} images within {most:.1g} in probability"


def abstention(documents: Documents) -> str | None:
    """Return what happens with out-of-distribution images."""
    if not at(documents.classifier, "ood_detector"):
        return None
    limit = number(at(documents.classifier, "ood_detector", "threshold"))
    where = "" if limit is None else f" above an OOD score of {limit:.4g}"
    return f"out-of-distribution images get no decision{where}"


def no_judgement(documents: Documents) -> str | None:
    """Return that the input needs no human judgement."""
    return input_(documents) and "none needs judgement: pixels are used as the file gives them"


def warnings(documents: Documents) -> str | None:
    """Return the warnings of the data checks, without names: a model card may be published."""
    if not isinstance(at(documents.audit, "warnings"), list):
        return None
    lines = [one_line(line) for line in list_of(documents.audit, "warnings")]
    unused = "Some images of the folder are not used."  # instead of the names of their folders
    found = [unused if x.startswith("Not used: ") else without_names(x) for x in lines]
    return " ".join(map(plain, dict.fromkeys(found))) or "the data checks gave no warning"
