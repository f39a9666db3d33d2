"""The export itself: written, compared with the classifier, and only then renamed."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lucency import backend
from lucency.classifier import Classifier
from lucency.errors import ParityError, RunError
from lucency.export.answers import Answers
from lucency.export.certificate import (
    FLOAT32,
    INT8,
    TIE,
    Agreement,
    Tolerance,
    compare,
    measure_latency,
)
from lucency.export.description import describe, metadata, readme
from lucency.export.formats import format_of, onnx_runner, versions
from lucency.export.images import Chosen, choose
from lucency.io import built_folder, sync_files, write_json, write_text
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import FORMAT

CERTIFICATE, MODEL, README = "certificate.json", "model.json", "README.md"


@dataclasses.dataclass(frozen=True)
class Export:
    """An exported classifier.

    Attributes:
        folder: Where it is.
        certificate: The content of ``certificate.json``.
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
    """Write the classifier of a run in another format, if its predictions stay the same.

    Args:
        run: The run folder.
        name: A key of ``FORMATS``.
        folder: The data folder of the run: the whole validation split is compared, and training
            images calibrate 8-bit numbers. Without it, reference images are used for both.
        quantize: ``"int8"`` for 8-bit weights and activations.
        out: Folder to make; ``exports/RUN-FORMAT`` if ``None``.
        force: Whether to replace an earlier export there.
        progress: Called on every batch.

    Raises:
        ConfigError: The format is unknown, or has no 8-bit variant.
        RunError: The output folder exists or cannot be written, or there are no images.
        DataError: An image is missing or has changed.
        BackendError: A library is missing or cannot export the classifier.
        ParityError: The predictions differ from the classifier's; nothing is written.
    """
    chosen = format_of(name, quantize)
    out = out or Path("exports") / "-".join([run.resolve().name, name, *filter(None, [quantize])])
    check_output(out, force=force)
    classifier = Classifier.load(run)
    images = choose(run, folder, classifier, scale=quantize is not None)
    first = images.check.first()
    classifier.predict_pixels(first)  # a foreign file is rejected before anything is written
    document = describe(name, chosen.file, classifier, run.resolve().name)
    tolerance = INT8 if quantize else FLOAT32
    with built_folder(out, replace=force) as partial:
        path = partial / chosen.file
        progress.note(f"Writing {name}.")
        examples = images.scale.all() if images.scale else None
        chosen.write(classifier, path, metadata(document), examples)
        files = _list_files(partial)
        predict = chosen.load(path)
        answers = Answers(classifier.spec, onnx_runner(path)) if name == "onnx" else None
        agreement = compare(classifier, predict, images.check, progress, answers)
        _check_agreement(name, agreement, tolerance)
        certificate = {
            "format": FORMAT,
            "exported": name,
            "quantized": quantize,
            "classifier": document["classifier"],
            "reference": "ONNX Runtime" if classifier.onnx else "Keras",
            **_figures(images, agreement, tolerance),
            "answers": answers.figures(tolerance.max_abs_difference) if answers else {},
            "latency": [each.to_json() for each in measure_latency(classifier, predict, first)],
            "files": files,
            "bytes": sum(each["bytes"] for each in files),
            "versions": versions(name),
            "machine": backend.machine(),
        }
        write_json(partial / CERTIFICATE, certificate)
        write_json(partial / MODEL, document)
        write_text(partial / README, readme(document, classifier.spec, certificate))
        sync_files(partial)
    return Export(out, certificate)


def check_output(out: Path, *, force: bool) -> None:
    """Check that the output folder does not exist, or is an earlier export to be replaced.

    Raises:
        RunError: It exists.
    """
    if not (out.exists() or out.is_symlink()):
        return
    if not force:
        raise RunError(
            f"{out} exists already. Choose another folder with --out, or replace an earlier export "
            "with --force."
        )
    if out.is_symlink() or not (out / CERTIFICATE).is_file():
        raise RunError(
            f"{out} is not an earlier export (it has no {CERTIFICATE}), and is not replaced. "
            "Choose a new folder with --out."
        )


def _list_files(folder: Path) -> list[dict[str, Any]]:
    """Return name, size and sha256 of every file of the exported network."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        name = path.relative_to(folder).as_posix()
        found.append({"file": name, "bytes": path.stat().st_size, "sha256": sha256})
    return found


def _figures(images: Chosen, agreement: Agreement, tolerance: Tolerance) -> dict[str, Any]:
    share = {"decision_agreement": agreement.decision_agreement}
    return {
        "images": images.check.source,
        "scaled_by": images.scale and f"{images.scale.n:,} images: {images.scale.source}",
        "agreement": dataclasses.asdict(agreement) | share | {"tie": TIE},
        "tolerance": dataclasses.asdict(tolerance),
        "passed": True,  # otherwise there is no certificate
    }


def _check_agreement(name: str, agreement: Agreement, tolerance: Tolerance) -> None:
    if agreement.within(tolerance):
        return
    raise ParityError(
        f"The predictions of the {name} file differ from the classifier's on {agreement.n:,} "
        f"images: probabilities differ by up to {agreement.max_abs_difference:.2g} (at most "
        f"{tolerance.max_abs_difference:g} allowed), and {agreement.differing:,} decisions differ "
        f"({agreement.decision_agreement:.1%} agree, at least {tolerance.decision_agreement:.0%} "
        "required). It was not kept."
    )
