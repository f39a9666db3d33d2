"""The verb: an export is made, checked, and only then given its name."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lucency import backend
from lucency.classifier import Classifier
from lucency.errors import ParityError, RunError
from lucency.export.certificate import FLOAT32, INT8, TIE, Agreement, Tolerance, compared, timed
from lucency.export.description import described, metadata, readme
from lucency.export.formats import format_of, versions
from lucency.export.images import Chosen, choose
from lucency.io import built_folder, sync_files, write_json, write_text
from lucency.progress import SILENT, Progress

FORMAT = 1
CERTIFICATE, MODEL, README = "certificate.json", "model.json", "README.md"


@dataclasses.dataclass(frozen=True)
class Export:
    """An exported classifier.

    Attributes:
        folder: Where it is.
        certificate: What ``certificate.json`` says.
    """

    folder: Path
    certificate: Mapping[str, Any]


def export(
    run: Path,
    name: str,
    *,
    folder: Path | None = None,
    quantize: str | None = None,
    out: Path | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Export:
    """Write the classifier of a run in another format, if that answers as the classifier does.

    Args:
        run: The run folder.
        name: A key of ``FORMATS``.
        folder: The data folder that the run was made from: the whole validation part is compared,
            and training images scale 8-bit numbers. Without it the reference images do.
        quantize: ``"int8"`` for 8-bit weights and activations.
        out: Folder to make; ``exports/RUN-FORMAT`` where left out.
        force: Whether to replace an earlier export there.
        progress: Hears how far it is.

    Raises:
        ConfigError: There is no such format, or none such with 8-bit numbers.
        RunError: The folder is in the way or cannot be written, or there are no images.
        DataError: An image is missing or has changed.
        BackendError: A library is missing or refuses the classifier.
        ParityError: The export answers otherwise than the classifier; nothing is left of it.
    """
    chosen = format_of(name, quantize)
    out = out or Path("exports") / "-".join([run.resolve().name, name, *filter(None, [quantize])])
    refuse_in_the_way(out, force=force)
    classifier = Classifier.load(run)
    images = choose(run, folder, classifier, scale=quantize is not None)
    first = images.check.first()
    classifier.predict_pixels(first)  # a foreign file is refused before anything is made of it
    document = described(name, chosen.file, classifier, run.resolve().name)
    tolerance = INT8 if quantize else FLOAT32
    with built_folder(out, replace=force) as draft:
        path = draft / chosen.file
        progress.note(f"Writing {name}.")
        examples = images.scale.all() if images.scale else None
        chosen.make(classifier, path, metadata(document), examples)
        written = _written(draft)
        answers = chosen.load(path)
        agreement = compared(classifier, answers, images.check, progress)
        _refuse_disagreement(name, agreement, tolerance)
        certificate = {
            "format": FORMAT,
            "exported": name,
            "quantized": quantize,
            "classifier": document["classifier"],
            "reference": "ONNX Runtime" if classifier.onnx else "Keras",
            **_figures(images, agreement, tolerance),
            "latency": [each.to_json() for each in timed(classifier, answers, first)],
            "files": written,
            "bytes": sum(each["bytes"] for each in written),
            "versions": versions(name),
            "machine": backend.machine(),
        }
        write_json(draft / CERTIFICATE, certificate)
        write_json(draft / MODEL, document)
        write_text(draft / README, readme(document, classifier.spec, certificate))
        sync_files(draft)
    return Export(out, certificate)


def refuse_in_the_way(out: Path, *, force: bool) -> None:
    """Refuse to write over anything, unless it is an earlier export and that is meant.

    Raises:
        RunError: Something is there.
    """
    if not (out.exists() or out.is_symlink()):
        return
    if not force:
        raise RunError(
            f"{out} exists already. Give another folder with --out, or --force to replace an "
            "earlier export."
        )
    if out.is_symlink() or not (out / CERTIFICATE).is_file():
        raise RunError(
            f"{out} is no earlier export (it has no {CERTIFICATE}), and is not replaced. Give a "
            "new folder with --out."
        )


def _written(draft: Path) -> list[dict[str, Any]]:
    """Return name, size and sha256 of every file that makes up the export itself."""
    found = []
    for path in sorted(path for path in draft.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = path.relative_to(draft).as_posix()
        found.append({"file": name, "bytes": path.stat().st_size, "sha256": sha256})
    return found


def _figures(images: Chosen, agreement: Agreement, tolerance: Tolerance) -> dict[str, Any]:
    share = {"decision_agreement": agreement.decision_agreement}
    return {
        "images": images.check.source,
        "scaled_by": images.scale and f"{images.scale.n:,} images: {images.scale.source}",
        "agreement": dataclasses.asdict(agreement) | share | {"tie": TIE},
        "tolerance": dataclasses.asdict(tolerance),
        "passed": True,  # no other is written
    }


def _refuse_disagreement(name: str, agreement: Agreement, tolerance: Tolerance) -> None:
    if agreement.within(tolerance):
        return
    raise ParityError(
        f"The {name} file answers otherwise than the classifier on {agreement.n:,} images: "
        f"probabilities differ by up to {agreement.max_abs_difference:.2g} (at most "
        f"{tolerance.max_abs_difference:g} allowed) and {agreement.differing:,} decisions "
        f"({agreement.decision_agreement:.1%} agree, at least {tolerance.decision_agreement:.0%} "
        "needed). It was not kept."
    )
