"""What a run is and what it was made from: each fact in one sentence, None where not known."""

from __future__ import annotations

from lucency.report.model_card.documents import (
    Documents,
    at,
    count,
    items_of,
    list_of,
    number,
    plain,
)

_PARTS = {"train": "training", "val": "validation", "test": "test"}
_TRAINING = ("epochs", "batch", "optimiser", "label smoothing", "precision")


def _joined(pieces: list[str | None], between: str = "; ") -> str | None:
    """Return the pieces that are known, joined; None where none is."""
    known = [piece for piece in pieces if piece]
    return between.join(known) or None


def choice(documents: Documents, *names: str) -> str | None:
    """Return what the plan decided under these names, with the reasons."""
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
    """Return the name of the run and what made it."""
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
    """Return where the command is that made the run; it may name folders of the author's own."""
    known = at(documents.plan, "command")
    return "one command makes the whole run again; it is in plan.json" if known else None


def network(documents: Documents) -> str | None:
    """Return the architecture and its size."""
    name, size = at(documents.classifier, "architecture", "name"), at(documents.plan, "parameters")
    parameters = count(size)
    return _joined(
        [
            name and f"architecture {plain(name)}",
            parameters and f"{parameters} parameters",
            choice(documents, "network"),
        ]
    )


def input_(documents: Documents) -> str | None:
    """Return what the classifier sees."""
    size = [count(at(documents.classifier, "input", key)) for key in ("height", "width")]
    channels = at(documents.classifier, "input", "channels")
    if None in size or channels not in (1, 3):
        return None
    colour = "grey" if channels == 1 else "colour"
    return (
        f"the pixels of one image, {colour}, {size[0]} x {size[1]} (height x width), "
        "and nothing else that is known of the person"
    )


def preparation(documents: Documents) -> str | None:
    """Return how files become what the classifier sees."""
    seen = input_(documents)
    return seen and _joined([seen, choice(documents, "input")])


def outcome(documents: Documents) -> str | None:
    """Return the classes."""
    classes = list_of(documents.classifier, "classes") or list_of(documents.evaluation, "classes")
    if not classes:
        return None
    positive = at(documents.classifier, "positive") or at(documents.evaluation, "positive")
    looked_for = f"; looked for: {plain(positive)}" if positive else ""
    return f"{len(classes)} classes: {', '.join(map(plain, classes))}{looked_for}"


def source(documents: Documents) -> str | None:
    """Return which data it was made from, as far as files can tell."""
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


def left_out(documents: Documents) -> str | None:
    """Return how many images were not used."""
    found, used = count(at(documents.audit, "found")), count(at(documents.audit, "used"))
    if found is None or used is None:
        return None
    out = len(list_of(documents.audit, "excluded"))
    reasons = "; each with its reason in audit.json" if out else ""
    return f"{found} images found, {used} used, {out:,} set aside{reasons}"


def splits(documents: Documents) -> str | None:
    """Return images and patients of each part, by class."""
    return _joined([_part(documents, part) for part in _PARTS])


def _part(documents: Documents, part: str) -> str | None:
    counts = [(name, count(n)) for name, n in items_of(documents.audit, "counts", part)]
    if not counts or any(n is None for _, n in counts):
        return None
    known = at(documents.audit, "groups", "source") not in (None, "none")
    patients = count(at(documents.audit, "groups", "counts", part)) if known else None
    classes = ", ".join(f"{n} {plain(name)}" for name, n in counts)
    return f"{_PARTS[part]}: {classes}" + (f" ({patients} patients)" if patients else "")


def training_part(documents: Documents) -> str | None:
    """Return images and patients of the parts that training used."""
    return _joined([_part(documents, part) for part in ("train", "val")])


def test_part(documents: Documents) -> str | None:
    """Return images and patients of the test part."""
    return _part(documents, "test")


def class_shares(documents: Documents) -> str | None:
    """Return how the mix of classes differs between the parts."""
    shares = []
    for part, word in _PARTS.items():
        counts = [(name, number(n)) for name, n in items_of(documents.audit, "counts", part)]
        total = sum(n or 0.0 for _, n in counts)
        if total:
            each = ", ".join(
                f"{plain(name)} {100 * (n or 0.0) / total:.1f} %" for name, n in counts
            )
            shares.append(f"{word}: {each}")
    return "; ".join(shares) if len(shares) > 1 else None


def patients(documents: Documents) -> str | None:
    """Return how patients are told apart."""
    by = at(documents.audit, "groups", "source")
    if by is None:
        return None
    if by == "none":
        return "patients are unknown: each image counts as a patient of its own"
    return f"patients are told apart by: {plain(by)}"


def division(documents: Documents) -> str | None:
    """Return how images came into the parts."""
    notes = [plain(note) for note in list_of(documents.audit, "notes")[:3]]
    known = patients(documents)
    return known and _joined([known, leaks(documents), *notes])


def leaks(documents: Documents) -> str | None:
    """Return the verdict on copies and patients shared between the parts."""
    status = at(documents.audit, "leaks", "status")
    if status is None:
        return None
    pairs = len(list_of(documents.audit, "leaks", "pairs"))
    return f"leak check {plain(status)}: {pairs:,} pairs of copies between the parts"


def findings(documents: Documents) -> str | None:
    """Return what small models found that see no content; None where they were not asked."""
    if not isinstance(at(documents.audit, "findings"), list):
        return None
    found = [plain(at(each, "text")) for each in list_of(documents.audit, "findings")]
    shown = " ".join([text for text in found if text][:4])
    return shown or "probes for shortcuts and shift were run and reported nothing"


def weighting(documents: Documents) -> str | None:
    """Return how unequal class sizes were dealt with."""
    chosen = choice(documents, "class weights")
    if chosen is None and at(documents.plan, "config", "class_weighting") is False:
        return "classes are not weighted, as class_weighting=false asks for"
    return chosen


def training(documents: Documents) -> str | None:
    """Return how it was trained."""
    return choice(documents, *_TRAINING, "augmentation")


def kept(documents: Documents) -> str | None:
    """Return which weights were kept."""
    epoch = count(at(documents.plan, "best_epoch"))
    return _joined([choice(documents, "weights kept"), epoch and f"epoch {epoch}"])


def output(documents: Documents) -> str | None:
    """Return what the classifier says and how it becomes a decision."""
    rule = at(documents.classifier, "operating_point", "rule")
    threshold = number(at(documents.classifier, "operating_point", "threshold"))
    if rule is None:
        return None
    temperature = number(at(documents.classifier, "temperature"))
    return _joined(
        [
            "a probability for each class",
            f"decision: {plain(rule)}",
            None if threshold is None else f"threshold {threshold:.4g}",
            None if temperature is None else f"temperature {temperature:.3f}, from validation",
            choice(documents, "decision"),
        ]
    )


def weights(documents: Documents) -> str | None:
    """Return where the whole classifier is, and its checksums."""
    files = [
        f"{plain(at(documents.classifier, kind, 'file'))} (sha256 "
        f"{plain(at(documents.classifier, kind, 'sha256'))})"
        for kind in ("weights", "onnx")
        if at(documents.classifier, kind, "sha256")
    ]
    return ", ".join(files) or None


def parity(documents: Documents) -> str | None:
    """Return how predictions were computed, and the check of the exported classifier."""
    n = count(at(documents.classifier, "onnx", "parity", "n"))
    most = number(at(documents.classifier, "onnx", "parity", "max_abs_difference"))
    if n is None or most is None:
        return None
    return f"Keras and ONNX Runtime agree on {n} images within {most:.1g} in probability"


def abstaining(documents: Documents) -> str | None:
    """Return what happens with images unlike those it was trained on."""
    if not at(documents.classifier, "ood_detector"):
        return None
    limit = number(at(documents.classifier, "ood_detector", "threshold"))
    where = "" if limit is None else f" above a distance of {limit:.4g}"
    return f"images unlike the training images are marked as such{where}"


def unjudged(documents: Documents) -> str | None:
    """Return that no person's judgement enters what the classifier sees."""
    return input_(documents) and "none needs judgement: pixels are used as the file gives them"


def warnings(documents: Documents) -> str | None:
    """Return the warnings of the checks of the data."""
    if not isinstance(at(documents.audit, "warnings"), list):
        return None
    found = [plain(line) for line in list_of(documents.audit, "warnings")]
    return " ".join(found) or "the checks of the data gave no warning"
