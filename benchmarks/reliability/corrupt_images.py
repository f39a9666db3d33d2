"""Corrupt images among valid ones: none stops the program, and each is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.file_structure import saved
from benchmarks.reliability import faulty_decoder
from benchmarks.reliability.corrupt_cases import IGNORED, Case, cases
from benchmarks.reliability.corrupt_files import USED, drawn
from benchmarks.trial import Trial
from lucency.classifier import Classifier, Outputs
from lucency.classifier.spec import Spec
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.dataset.walk import printable
from lucency.imaging.decoder.pool import DecoderPool, Pixels, Request
from lucency.progress import Progress, Task

_VALID = 20  # per class
_SIDE = 32

Outcomes = Mapping[str, str]  # outcome by path: USED, IGNORED or the reason


class _Constant(Classifier):
    """A classifier that reads images normally and predicts the same for each."""

    def __init__(self) -> None:
        spec = Spec(
            classes=("a", "b"), positive=None, size=(_SIDE, _SIDE), channels=1,
            architecture="none", network_channels=1, parameters={}, depth=16,
        )  # fmt: skip
        super().__init__(spec, {})

    def infer(self, pixels: Pixels, _maps: bool = False) -> Outputs:
        self._checked(pixels)
        return Outputs(np.full((len(pixels), 2), 0.5))


class _FileChanger(Progress):
    """Changes files after they are found and before they are read."""

    def __init__(self, work: Mapping[Path, Callable[[Path], object]]) -> None:
        self._work = dict(work)

    def task(self, name: str, total: int, unit: str = "") -> Task:
        if name == "Reading images":
            for path, change in self._work.items():
                change(path)
            self._work = {}
        return super().task(name, total, unit)


def trials(folder: Path, quick: bool) -> list[Trial]:
    del quick  # all take seconds
    root, known = _corpus(folder / "corpus")
    return [
        _load(root, known, folder / "cache"),
        _check(root, known, folder),
        _predict(root, known),
        _change(folder / "changed", folder / "cache"),
        _fail_to_decode(folder / "undecoded", folder / "cache"),
        _without_permission(folder / "forbidden"),
    ]


def _valid(root: Path) -> dict[str, Case]:
    made = {}
    for k, label in enumerate("ab"):
        (root / label).mkdir(parents=True)
        for i in range(_VALID):
            case = Case(f"valid {i}.png", Path.exists, USED)
            (root / label / case.name).write_bytes(saved(drawn(1000 * (k + 1) + i)))
            made[f"{label}/{case.name}"] = case
    return made


def _corpus(root: Path) -> tuple[Path, dict[str, Case]]:
    """Write valid and corrupt images; return the case of every path."""
    known = _valid(root)
    for case in cases():
        case.make(root / "a" / case.name)
        known[f"a/{case.name}"] = case
    return root, known


def _config(cache: Path) -> Config:
    return Config(size=_SIDE, max_unreadable=1.0, cache=str(cache), on_leak="ignore")


def _of_data(data: Dataset) -> Outcomes:
    audit = data.audit
    used = [*data.train.files, *data.val.files, *(data.test.files if data.test else ())]
    return (
        {each.file: IGNORED for each in audit.ignored}
        | {each.file: each.reason for each in audit.excluded}
        | dict.fromkeys(used, USED)
    )


def _differences(known: Mapping[str, str], found: Outcomes) -> list[str]:
    """Compare the expected outcome of each path with the actual one."""
    wrong = []
    for file, outcome in known.items():
        actual = found.get(printable(file), "not reported")
        folder = outcome == IGNORED and actual == "not reported"  # it contains no image
        correct = actual == outcome if outcome in (USED, IGNORED) else outcome in actual
        if not (correct or folder):
            wrong.append(f"{file!r}: {actual}; expected: {outcome}")
        if len(actual.splitlines()) != 1 or not actual.isprintable():
            wrong.append(f"{file!r}: the reason is not one line that can be printed")
    unexpected = set(found) - {printable(file) for file in known}
    return wrong + [f"{file!r} was not expected" for file in sorted(unexpected)]


def _miscounted(found: int, used: int, excluded: int, expected: int) -> list[str]:
    counted = f"found {found}, used {used}, excluded {excluded}, expected {expected}"
    return [] if found == used + excluded == expected else [counted]


def _countable(known: Mapping[str, Case]) -> int:
    return sum(case.outcome != IGNORED for case in known.values())


def _load(root: Path, known: Mapping[str, Case], cache: Path) -> Trial:
    start = time.perf_counter()
    data = load_dataset(root, _config(cache))
    audit = data.audit
    failures = _differences({file: case.outcome for file, case in known.items()}, _of_data(data))
    found = audit.found - sum(each.images for each in audit.not_used)
    failures += _miscounted(found, audit.used, len(audit.excluded), _countable(known))
    used = sum(case.outcome == USED for case in cases())
    excluded = sum(case.outcome not in (USED, IGNORED) for case in cases())
    return Trial(
        "each corrupt image is used, or excluded with its reason",
        len(cases()),
        failures,
        f"{used} used, {excluded} excluded, the others are not images; counts add up",
        time.perf_counter() - start,
    )


def _check(root: Path, known: Mapping[str, Case], folder: Path) -> Trial:
    """Run ``lucency check`` with all corrupt images allowed, and with few."""
    start = time.perf_counter()
    out = folder / "check"
    done = _command(root, "1", folder / "cache", out)
    failures = _complaints(done, 0)
    if not failures:
        audit = json.loads((out / "audit.json").read_text())
        excluded = {each["file"]: each["reason"] for each in audit["excluded"]}
        listed = {file: case.outcome for file, case in known.items()}
        expected = {f: words for f, words in listed.items() if words not in (USED, IGNORED)}
        failures += _differences(expected, excluded)
        found = audit["found"] - sum(each["images"] for each in audit["not_used"])
        failures += _miscounted(found, audit["used"], len(excluded), _countable(known))
    rejected = _command(root, "0.01", folder / "cache", folder / "rejected")
    failures += _complaints(rejected, 2)
    if rejected.stderr.count("--max-unreadable") != 1 or (folder / "rejected").exists():
        failures.append(f"more corrupt images than allowed: {rejected.stderr[-300:]}")
    return Trial(
        "lucency check reports each corrupt image, or prints one line that there are too many",
        len(cases()),
        failures,
        seconds=time.perf_counter() - start,
    )


def _command(
    root: Path, max_unreadable: str, cache: Path, out: Path
) -> subprocess.CompletedProcess[str]:
    script = "from lucency.cli import main; main()"
    places = ("--cache", str(cache), "--out", str(out))
    options = ("--max-unreadable", max_unreadable, *places, "--quiet")
    return subprocess.run(
        [sys.executable, "-c", script, "check", str(root), *options],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"LUCENCY_LEDGER": str(out.parent / "test_evaluations.jsonl")},
        check=False,
    )


def _complaints(done: subprocess.CompletedProcess[str], code: int) -> list[str]:
    failures = []
    if done.returncode != code:
        failures.append(f"exit code {done.returncode} instead of {code}: {done.stderr[-300:]}")
    if "Traceback" in done.stderr + done.stdout:
        failures.append(f"a traceback: {done.stderr[-300:]}")
    return failures


def _predict(root: Path, known: Mapping[str, Case]) -> Trial:
    start = time.perf_counter()
    files = [*known, "a/missing.png"]
    expected = {file: case.requested or case.outcome for file, case in known.items()}
    expected["a/missing.png"] = "No such file"
    predictions = _Constant().predict([root / file for file in files])
    found = {
        printable(file): USED if each.probabilities else each.reason
        for file, each in zip(files, predictions, strict=True)
    }
    # A file that is not an image by its place or name is read if it is requested.
    expected = {file: words for file, words in expected.items() if words != IGNORED}
    failures = _differences(
        expected, {printable(file): found[printable(file)] for file in expected}
    )
    return Trial(
        "predict returns a prediction or a reason for each corrupt image",
        len(files),
        failures,
        seconds=time.perf_counter() - start,
    )


def _change(root: Path, cache: Path) -> Trial:
    """Remove and change files after they were found; the next run must not report that."""
    known = {file: case.outcome for file, case in _valid(root).items()}

    def grow(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def to_pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def to_link(path: Path) -> None:
        path.unlink()
        path.symlink_to("../a/valid 9.png")

    changes: list[tuple[Callable[[Path], object], str]] = [
        (Path.unlink, "vanished"),
        (lambda path: path.write_bytes(saved(drawn(7))), "changed after"),
        (grow, "changed after"),
        (lambda path: os.truncate(path, 100), "changed after"),
        (os.utime, "changed after"),
        (to_pipe, "not a regular file"),
        (to_link, "changed after"),
        (lambda path: path.rename(path.with_suffix(".gone")), "vanished"),
    ]
    for i, (_, words) in enumerate(changes):
        known[f"b/valid {i}.png"] = words
    work = {root / f"b/valid {i}.png": change for i, (change, _) in enumerate(changes)}
    start = time.perf_counter()
    data = load_dataset(root, _config(cache), progress=_FileChanger(work))
    failures = _differences(known, _of_data(data))
    audit = data.audit
    failures += _miscounted(audit.found, audit.used, len(audit.excluded), 2 * _VALID)
    again = load_dataset(root, _config(cache)).audit
    if any("vanished" in each.reason or "changed" in each.reason for each in again.excluded):
        failures.append("the next run still reported a transient reason")
    return Trial(
        "files that vanish or change after they were found are reported",
        len(changes),
        failures,
        seconds=time.perf_counter() - start,
    )


def _fail_to_decode(root: Path, cache: Path) -> Trial:
    """Make the decoder fail in every way for some images; the others must be read."""
    known = {file: case.outcome for file, case in _valid(root).items()}
    for seed, (failure, words) in enumerate(faulty_decoder.FAILURES.items(), 500):
        for i in range(3):
            known[f"a/{failure} {i}.png"] = words
            (root / "a" / f"{failure} {i}.png").write_bytes(saved(drawn(10 * seed + i)))

    def pool(workers: int = 0) -> DecoderPool:
        return DecoderPool(workers, deadline=0.5, command=faulty_decoder.command(0.5))

    start = time.perf_counter()
    with patch("lucency.cluster.decoding.DecoderPool", pool):
        data = load_dataset(root, _config(cache))
    failures = _differences(known, _of_data(data))
    audit = data.audit
    failures += _miscounted(audit.found, audit.used, len(audit.excluded), len(known))
    again = load_dataset(root, _config(cache)).audit  # with a working decoder
    if again.used != len(known):
        failures.append(f"{len(known) - again.used} images were still excluded afterwards")
    return Trial(
        "a decoder that crashes, hangs or runs out of memory costs one image",
        3 * len(faulty_decoder.FAILURES),
        failures,
        ", ".join(faulty_decoder.FAILURES),
        time.perf_counter() - start,
    )


# Root may read everything, so this decoder drops its privileges.
_UNPRIVILEGED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from lucency.imaging.decoder import child
if not os.geteuid():
    os.setgid(65534), os.setuid(65534)
child.main()
"""


def _without_permission(folder: Path) -> Trial:
    folder.mkdir()
    path = folder / "secret.png"
    path.write_bytes(saved(drawn(3)))
    path.chmod(0)
    command = [sys.executable, "-c", _UNPRIVILEGED, *faulty_decoder.command(30)[2:]]
    with DecoderPool(1, command=command) as pool:
        reason = pool.submit(Request(str(path), (_SIDE, _SIDE), colour=False)).result().reason
    path.chmod(0o600)
    failures = [] if "Permission denied" in reason else [f"without permission: {reason!r}"]
    return Trial("a file without read permission is reported", 1, failures)
