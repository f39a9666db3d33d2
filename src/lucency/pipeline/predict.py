"""Predict many images: on this machine or on a cluster, into a list or into a folder of parts.

    OUT/part-000000.parquet    rows of the first images, in their order; then of the next ones
    OUT/_manifest.json         what is predicted by what; with the parts once all are written

A part is written whole or not at all, so a repeated command continues behind the last one, and each
image is in one row. Programs that read a folder of Parquet files leave out names that begin with an
underscore.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from lucency.calibration.units import images_of, numbered
from lucency.classifier import Classifier, Prediction, Spec
from lucency.cluster import Shared, connect, in_words, kept_pool
from lucency.config import DICOM_UNITS, FILE, PATIENT, STUDY
from lucency.dataset.groups import find_new_groups
from lucency.dataset.units import alone_warning, named_by_uid, units_in_table
from lucency.errors import BackendError, RunError
from lucency.imaging.decoder.pool import DecoderPool
from lucency.imaging.frames import file_of, opened_as
from lucency.imaging.source import stamp_of
from lucency.io import locked, read_json, sha256_of, write_bytes, write_json
from lucency.progress import SILENT, Progress

FORMAT = 1
ROWS = 1024  # of a part, and images of a task
_MANIFEST, _LOCK = "_manifest.json", ".lock"
UNREADABLE = "unreadable"

Adjust = Callable[[Prediction], Prediction]


@dataclasses.dataclass(frozen=True)
class Written:
    """A folder of predictions.

    Attributes:
        folder: The folder.
        counts: Number of images of each decision; those without one are under ``None``, and those
            that could not be read under ``UNREADABLE``.
        predicted: Number of images that were predicted now, and not by an earlier command.
        seconds: How long that took.
    """

    folder: Path
    counts: Mapping[str | None, int]
    predicted: int
    seconds: float


def adjustment(classifier: Classifier, prevalence: float | None) -> Adjust:
    """Return a function that moves a prediction's probabilities to another prevalence."""
    if prevalence is None:
        return lambda prediction: prediction
    from lucency.evaluation import class_prior, with_prior

    old = classifier.spec.class_prior
    new = class_prior(prevalence, classifier.classes, classifier.positive)

    def adjust(prediction: Prediction) -> Prediction:
        if not prediction.probabilities:
            return prediction
        (row,) = with_prior(np.array([prediction.probabilities]), old, new)
        return dataclasses.replace(prediction, probabilities=tuple(map(float, row)))

    return adjust


def predict_files(
    classifier: Classifier,
    files: Sequence[Path],
    on: str = "",
    *,
    maps: bool = False,
    progress: Progress = SILENT,
) -> Iterator[Prediction]:
    """Yield the predictions of image files, in order.

    Args:
        classifier: What predicts.
        files: Image files, whatever their names.
        on: A cluster, as in ``Config.on``; empty for this machine.
        maps: Whether to compute activation maps.
        progress: Called on every batch.

    Raises:
        LucencyError: The cluster cannot be used.
    """
    with progress.task("Predicting", len(files), "files") as task:
        batches = _on_cluster if on else _here
        for batch in batches(classifier, files, on, maps, progress):
            yield from batch
            task.advance(len(batch))


def _here(
    classifier: Classifier, files: Sequence[Path], _: str, maps: bool, __: Progress
) -> Iterator[list[Prediction]]:
    with DecoderPool() as pool:
        yield from classifier.predict_batches(pool, files, maps=maps)


def _on_cluster(
    classifier: Classifier, files: Sequence[Path], on: str, maps: bool, progress: Progress
) -> Iterator[list[Prediction]]:
    cluster = connect(on, progress)
    cluster.check_sees([str(files[0].parent)] if files else [])
    start = time.monotonic()
    parts = (files[i : i + ROWS] for i in range(0, len(files), ROWS))
    here = Path.cwd()
    with closing(cluster.run(predict_part, parts, cluster.share(classifier), here, maps)) as done:
        yield from done
    progress.note(in_words(cluster, time.monotonic() - start, "predicted"))


def predict_part(
    files: Sequence[Path], shared: Shared[Classifier], folder: Path, maps: bool
) -> list[Prediction]:
    """Predict images in the process of a node.

    Args:
        files: Paths, perhaps relative.
        shared: The classifier.
        folder: What relative paths are relative to.
        maps: Whether to compute activation maps.
    """
    classifier = shared.value
    classifier.threads = 1  # the node has as many processes as processors
    paths = [folder / file for file in files]
    found = chain.from_iterable(classifier.predict_batches(kept_pool(), paths, maps=maps))
    return [
        dataclasses.replace(each, file=str(file)) for file, each in zip(files, found, strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class UnitAnswer:
    """The answer for a unit, such as a patient, and those for its images.

    Attributes:
        prediction: Of the unit; its ``file`` is the name of the unit.
        images: Of each image.
        classes: Class names, in the order of the probabilities.
        key: The key of the name in JSON, such as ``patient``.
    """

    prediction: Prediction
    images: tuple[Prediction, ...]
    classes: tuple[str, ...]
    key: str = PATIENT

    def adjusted(self, adjust: Adjust) -> UnitAnswer:
        """Return it with all probabilities moved to another prevalence, as by ``adjustment``."""
        images, found = tuple(map(adjust, self.images)), adjust(self.prediction)
        if found.evidence and "class" in found.evidence:
            of = self.classes.index(found.evidence["class"])
            p = [each.probabilities[of] for each in images if each.probabilities]
            evidence = {**found.evidence, "lowest": min(p), "highest": max(p)}
            found = dataclasses.replace(found, evidence=evidence)
        return dataclasses.replace(self, prediction=found, images=images)

    def to_json(self) -> dict[str, Any]:
        """Return the name, the prediction and those of the images."""
        images = [{"file": each.file, **each.to_json(self.classes)} for each in self.images]
        return {
            self.key: self.prediction.file,
            **self.prediction.to_json(self.classes),
            "images": images,
        }


def predict_units(
    classifier: Classifier,
    predictions: Sequence[Prediction],
    folders: Sequence[Path] = (),
    progress: Progress = SILENT,
    table: Path | None = None,
) -> list[UnitAnswer]:
    """Return one answer for each unit, in order of their first image.

    Units are identified by the rule of the training. Patients: by PatientID of DICOM, well-known
    names of files, or the regular expression that was given. Studies: by StudyInstanceUID. Other
    units: by the table. An image without a unit stands alone.

    Args:
        classifier: Trained with a ``unit``.
        predictions: For the images, not adjusted to another prevalence.
        folders: What the expression searches are paths relative to these, as in training, and the
            names of files elsewhere.
        progress: Warned of images without a unit.
        table: CSV with the columns file and that of the unit; ``None`` without one.

    Raises:
        ClassifierError: The classifier has answers for images only.
        ConfigError: The regular expression is not valid.
        DataError: The table cannot be read.
    """
    rule, key = classifier.unit, PATIENT
    if rule is None or (rule.name == PATIENT and table is None):
        groups = find_new_groups(
            [file_of(each.file) for each in predictions],
            regex=rule.regex or None if rule else None,
            searched=[_below(Path(file_of(each.file)), folders) for each in predictions],
            patients=[each.patient for each in predictions],
        )
        keys, warnings = [*groups.keys], groups.warnings
    else:
        key = rule.key
        keys, warnings = _keys(rule.name, predictions, table)
    for line in warnings:
        progress.warn(line)
    names, unit = numbered(keys)
    images = [tuple(predictions[i] for i in own) for own in images_of(unit)]
    pairs = zip(names, images, strict=True)
    classes = classifier.classes
    return [
        UnitAnswer(classifier.predict_unit(name, own), own, classes, key) for name, own in pairs
    ]


def _keys(
    unit: str, predictions: Sequence[Prediction], table: Path | None
) -> tuple[list[str], tuple[str, ...]]:
    """Return the unit of each image, its own path where it has none, and warnings."""
    files = [file_of(each.file) for each in predictions]
    if table is not None:
        names = units_in_table(table, unit, [*map(Path, files)])
    elif unit == FILE:
        names = files
    elif unit in DICOM_UNITS:
        uids = [each.study if unit == STUDY else each.series for each in predictions]
        names = named_by_uid(files, uids)
    else:
        names = [""] * len(files)
    keys = [name or file for name, file in zip(names, files, strict=True)]
    alone = [file for name, file in zip(names, files, strict=True) if not name]
    if not alone:
        return keys, ()
    warning = alone_warning(unit, alone, len(files))
    if table is None and unit not in DICOM_UNITS:
        warning += f" Give a CSV with the columns file and {unit}: --labels FILE"
    return keys, (warning,)


def _below(file: Path, folders: Sequence[Path]) -> str:
    folder = next((each for each in folders if file.is_relative_to(each)), file.parent)
    return file.relative_to(folder).as_posix()


def predict_to_folder(
    classifier: Classifier,
    files: Sequence[Path],
    out: Path,
    *,
    on: str = "",
    prevalence: float | None = None,
    progress: Progress = SILENT,
) -> Written:
    """Predict images into a folder of Parquet files, or continue what an earlier command began.

    Args:
        classifier: What predicts.
        files: Image files, whatever their names.
        out: The folder; made if it does not exist.
        on: A cluster, as in ``Config.on``; empty for this machine.
        prevalence: That the probabilities are moved to; ``None`` leaves them.
        progress: Called on every batch.

    Raises:
        BackendError: pyarrow is not installed.
        RunError: The folder holds other files or other predictions, another process works on it,
            or it cannot be written.
    """
    _check_installed()
    adjust = adjustment(classifier, prevalence)
    start = time.monotonic()
    with _opened(out):
        job = _job(classifier, files, prevalence)
        _begin(out, job)
        parts = _finished(out)
        first = min(len(parts) * ROWS, len(files))
        if first and first < len(files):
            progress.note(f"Continuing behind {first:,} images that are predicted.")
        found = map(adjust, predict_files(classifier, files[first:], on, progress=progress))
        while some := [*islice(found, ROWS)]:
            parts.append(_write_part(out, len(parts), some, classifier.spec))
        rows = [{"name": part.name, "sha256": part.sha256} for part in parts]
        write_json(out / _MANIFEST, job | {"parts": rows})
    counts: Counter[str | None] = sum((part.counts for part in parts), Counter())
    return Written(out, counts, len(files) - first, time.monotonic() - start)


@dataclasses.dataclass(frozen=True)
class _Part:
    name: str
    sha256: str
    counts: Counter[str | None]


@contextmanager
def _opened(folder: Path) -> Iterator[None]:
    """Make a folder, and hold its lock."""
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(folder / _LOCK))
        except OSError as error:
            raise RunError(
                f"{folder} cannot be written ({error.strerror}). Give another folder to --out."
            ) from error
        except RunError as error:
            raise RunError(
                f"Another process ({error}) writes predictions into {folder}. Wait for it, or give "
                "another folder to --out."
            ) from error
        yield


def _job(classifier: Classifier, files: Sequence[Path], prevalence: float | None) -> dict[str, Any]:
    """Return what the predictions depend on."""
    spec = json.dumps(classifier.spec.to_json(), sort_keys=True)
    listed = hashlib.sha256()
    for file in files:
        try:
            stamp = stamp_of(Path(opened_as(file)[0]).stat())
        except OSError:
            stamp = None
        listed.update(repr((os.fsencode(file), stamp)).encode())
    return {
        "format": FORMAT,
        "classifier": hashlib.sha256(f"{classifier.fingerprint} {spec}".encode()).hexdigest(),
        "prevalence": prevalence,
        "files": len(files),
        "files_sha256": listed.hexdigest(),
        "rows": ROWS,
    }


def _begin(folder: Path, job: Mapping[str, Any]) -> None:
    """Write the manifest of a new folder, or check that it is the one that is there."""
    for left in folder.glob(".*.tmp"):  # by a process that was killed
        left.unlink()
    if (folder / _MANIFEST).exists():
        try:
            found = dict(read_json(folder / _MANIFEST))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(
                f"{folder / _MANIFEST} is damaged ({error}). Give a new folder to --out."
            ) from error
        if {name: found.get(name) for name in job} == dict(job):
            return
        raise RunError(
            f"{folder} holds the predictions of other images, of another classifier or at another "
            "prevalence. Give a new folder to --out."
        )
    if any(path.name != _LOCK for path in folder.iterdir()):
        raise RunError(f"{folder} holds other files than predictions. Give a new folder to --out.")
    write_json(folder / _MANIFEST, job)


def _finished(folder: Path) -> list[_Part]:
    """Return the parts that are written."""
    import pyarrow.parquet as pq

    parts: list[_Part] = []
    while (path := folder / _name(len(parts))).exists():
        try:
            table = pq.read_table(path, columns=["decision", "unreadable"])
        except (OSError, ValueError) as error:  # pyarrow's errors are both
            raise RunError(
                f"{path} is damaged. Remove it and repeat the command, which predicts its images "
                "again."
            ) from error
        with path.open("rb") as file:
            counts = _counted(*(table[name].to_pylist() for name in table.column_names))
            parts.append(_Part(path.name, sha256_of(file), counts))
    return parts


def _write_part(folder: Path, number: int, some: Sequence[Prediction], spec: Spec) -> _Part:
    """Write the next part, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    nothing = [None] * len(spec.classes)
    columns = {
        "file": pa.array([_text(each.file) for each in some], pa.string()),
        "decision": pa.array([each.decision or None for each in some], pa.string()),
        **{
            f"p_{name}": pa.array(
                [(each.probabilities or nothing)[k] for each in some], pa.float64()
            )
            for k, name in enumerate(spec.classes)
        },
        **(
            {
                "positive": pa.array([_at_cut(each, "positive") for each in some], pa.bool_()),
                "positive_probability": pa.array(
                    [_at_cut(each, "probability") for each in some], pa.float64()
                ),
            }
            if spec.cut
            else {}
        ),
        **{
            f"present_{name}": pa.array([_present(each, name) for each in some], pa.bool_())
            for name in (spec.classes if spec.labels else ())
        },
        **{
            name: pa.array([_of_value(each, k) for each in some], pa.float64())
            for k, name in enumerate(("value", "low", "high") if spec.value else ())
        },
        "reason": pa.array([each.reason or None for each in some], pa.string()),
        "unreadable": pa.array([not each.probabilities for each in some], pa.bool_()),
        "prediction_set": pa.array(
            [[*each.prediction_set] for each in some], pa.list_(pa.string())
        ),
        "ood_score": pa.array([each.ood_score for each in some], pa.float64()),
        "notes": pa.array([[*each.notes] for each in some], pa.list_(pa.string())),
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    data, name = file.getvalue(), _name(number)
    write_bytes(folder / name, data)
    counts = _counted(*(columns[name].to_pylist() for name in ("decision", "unreadable")))
    return _Part(name, hashlib.sha256(data).hexdigest(), counts)


def _at_cut(prediction: Prediction, key: str) -> Any:
    return prediction.cut[key] if prediction.cut else None


def _present(prediction: Prediction, name: str) -> bool | None:
    return prediction.labels[name]["present"] if prediction.labels else None


def _of_value(prediction: Prediction, k: int) -> float | None:
    """Return the predicted number, or the lower or upper end of its interval."""
    found = prediction.value or {}
    cells: list[float | None] = [found.get("predicted"), *(found.get("interval") or (None, None))]
    return cells[k]


def _name(number: int) -> str:
    return f"part-{number:06d}.parquet"


def _counted(decisions: Iterable[str | None], unreadable: Iterable[bool]) -> Counter[str | None]:
    pairs = zip(decisions, unreadable, strict=True)
    return Counter(UNREADABLE if failed else decision for decision, failed in pairs)


def _text(name: str) -> str:
    """Return a file name whose bytes may not be UTF-8 as text."""
    return name.encode("utf-8", "backslashreplace").decode()


def _check_installed() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise BackendError(
            '--out needs pyarrow: pip install "lucency[parquet]". Or print the predictions with '
            "--csv."
        ) from error
