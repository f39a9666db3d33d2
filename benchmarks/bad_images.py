"""Every kind of bad image among good ones: none stops the program, and every one is told."""

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
from numpy.typing import NDArray

from benchmarks import bad_decoder
from benchmarks.bad_files import USED, image
from benchmarks.bad_kinds import IGNORED, Kind, kinds
from benchmarks.parts import saved
from benchmarks.told import told
from benchmarks.trial import Trial
from lucency.classifier import Classifier, Outputs
from lucency.classifier.spec import Spec
from lucency.config import Config
from lucency.dataset import Dataset, load_dataset
from lucency.dataset.walk import shown
from lucency.imaging.decoder.pool import DecoderPool, Request
from lucency.progress import Progress, Task

_GOOD = 20  # per class
_SIDE = 32

Found = Mapping[str, str]  # what became of files, by path: USED, IGNORED or the reason


class _Guess(Classifier):
    """A classifier that reads images as all do, and then says the same of each."""

    def __init__(self) -> None:
        spec = Spec(
            classes=("a", "b"),
            positive=None,
            size=(_SIDE, _SIDE),
            channels=1,
            architecture="none",
            network_channels=1,
            parameters={},
        )
        super().__init__(spec, {})

    def infer(self, pixels: NDArray[np.uint8], _maps: bool = False) -> Outputs:
        self._check_pixels(pixels)
        return Outputs(np.full((len(pixels), 2), 0.5))


class _Meddler(Progress):
    """Changes files between the moment when they are found and that when they are read."""

    def __init__(self, work: Mapping[Path, Callable[[Path], object]]) -> None:
        self._work = dict(work)

    def task(self, name: str, total: int, unit: str = "") -> Task:
        if name == "Reading images":
            for path, change in self._work.items():
                change(path)
            self._work = {}
        return super().task(name, total, unit)


def trials(folder: Path, quick: bool) -> list[Trial]:
    del quick  # all of them take seconds
    root, known = _corpus(folder / "corpus")
    return [
        _loaded(root, known, folder / "cache"),
        _checked(root, known, folder),
        _predicted(root, known),
        _meddled(folder / "meddled", folder / "cache"),
        _misdecoded(folder / "misdecoded", folder / "cache"),
        _forbidden(folder / "forbidden"),
    ]


def _good(root: Path) -> dict[str, Kind]:
    made = {}
    for k, label in enumerate("ab"):
        (root / label).mkdir(parents=True)
        for i in range(_GOOD):
            kind = Kind(f"good {i}.png", Path.exists, USED)
            (root / label / kind.name).write_bytes(saved(image(1000 * (k + 1) + i)))
            made[f"{label}/{kind.name}"] = kind
    return made


def _corpus(root: Path) -> tuple[Path, dict[str, Kind]]:
    """Write good and bad images; return the kind of every path."""
    known = _good(root)
    for kind in kinds():
        kind.make(root / "a" / kind.name)
        known[f"a/{kind.name}"] = kind
    return root, known


def _config(cache: Path) -> Config:
    return Config(size=_SIDE, max_unreadable=1.0, cache=str(cache), on_leak="ignore")


def _of_data(data: Dataset) -> Found:
    audit = data.audit
    used = [*data.train.files, *data.val.files, *(data.test.files if data.test else ())]
    return (
        {each.file: IGNORED for each in audit.ignored}
        | {each.file: each.reason for each in audit.excluded}
        | dict.fromkeys(used, USED)
    )


def _differences(known: Mapping[str, str], found: Found) -> list[str]:
    """Compare what was expected of each path with what became of it."""
    wrong = []
    for file, outcome in known.items():
        became = found.get(shown(file), "never mentioned")
        folder = outcome == IGNORED and became == "never mentioned"  # nothing is lost in it
        right = became == outcome if outcome in (USED, IGNORED) else outcome in became
        if not (right or folder):
            wrong.append(f"{file!r}: {became}; expected: {outcome}")
        if len(became.splitlines()) != 1 or not became.isprintable():
            wrong.append(f"{file!r}: the reason is not one line that can be printed")
    more = set(found) - {shown(file) for file in known}
    return wrong + [f"{file!r} turned up from nowhere" for file in sorted(more)]


def _miscounted(found: int, used: int, excluded: int, expected: int) -> list[str]:
    counted = f"found {found}, used {used}, set aside {excluded}, there were {expected}"
    return [] if found == used + excluded == expected else [counted]


def _countable(known: Mapping[str, Kind]) -> int:
    return sum(kind.outcome != IGNORED for kind in known.values())


def _loaded(root: Path, known: Mapping[str, Kind], cache: Path) -> Trial:
    start = time.perf_counter()
    data = load_dataset(root, _config(cache))
    audit = data.audit
    failures = _differences({file: kind.outcome for file, kind in known.items()}, _of_data(data))
    failures += _miscounted(audit.found, audit.used, len(audit.excluded), _countable(known))
    used = sum(kind.outcome == USED for kind in kinds())
    aside = sum(kind.outcome not in (USED, IGNORED) for kind in kinds())
    return Trial(
        "each kind of bad image is used, or set aside with its reason",
        len(kinds()),
        failures,
        f"{used} used, {aside} set aside, the rest no images; counts add up",
        time.perf_counter() - start,
    )


def _checked(root: Path, known: Mapping[str, Kind], folder: Path) -> Trial:
    """Run ``lucency check`` as a person does, with all bad images allowed and with few."""
    start = time.perf_counter()
    out = folder / "check"
    done = _command(root, "1", folder / "cache", out)
    failures = _complaints(done, 0)
    if not failures:
        audit = json.loads((out / "audit.json").read_text())
        aside = {each["file"]: each["reason"] for each in audit["excluded"]}
        listed = {file: kind.outcome for file, kind in known.items()}
        expected = {f: words for f, words in listed.items() if words not in (USED, IGNORED)}
        failures += _differences(expected, aside)
        failures += _miscounted(audit["found"], audit["used"], len(aside), _countable(known))
    refused = _command(root, "0.01", folder / "cache", folder / "refused")
    failures += _complaints(refused, 2)
    if refused.stderr.count("--max-unreadable") != 1 or (folder / "refused").exists():
        failures.append(f"more bad images than allowed: {refused.stderr[-300:]}")
    return Trial(
        "lucency check tells every bad image, or says in one line that there are too many",
        len(kinds()),
        failures,
        seconds=time.perf_counter() - start,
    )


def _command(root: Path, max_unreadable: str, cache: Path, out: Path) -> subprocess.CompletedProcess[str]:
    script = "from lucency.cli import main; main()"
    options = ("--max-unreadable", max_unreadable, "--cache", str(cache), "--out", str(out), "--quiet")
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


def _predicted(root: Path, known: Mapping[str, Kind]) -> Trial:
    start = time.perf_counter()
    files = [*known, "a/missing.png"]
    expected = {file: kind.asked or kind.outcome for file, kind in known.items()}
    expected["a/missing.png"] = "No such file"
    said = _Guess().predict([root / file for file in files])
    found = {
        shown(file): USED if each.probabilities else each.reason
        for file, each in zip(files, said, strict=True)
    }
    # What is no image by its place or name is read all the same where it is asked for.
    expected = {file: words for file, words in expected.items() if words != IGNORED}
    failures = _differences(expected, {shown(file): found[shown(file)] for file in expected})
    return Trial(
        "predict answers or gives the reason for each kind of bad image",
        len(files),
        failures,
        seconds=time.perf_counter() - start,
    )


def _meddled(root: Path, cache: Path) -> Trial:
    """Have files vanish and change after they were found, and be right again the next time."""
    known = {file: kind.outcome for file, kind in _good(root).items()}

    def grow(path: Path) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def to_pipe(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def to_link(path: Path) -> None:
        path.unlink()
        path.symlink_to("../a/good 9.png")

    changes: list[tuple[Callable[[Path], object], str]] = [
        (Path.unlink, "vanished"),
        (lambda path: path.write_bytes(saved(image(7))), "changed after"),
        (grow, "changed after"),
        (lambda path: os.truncate(path, 100), "changed after"),
        (os.utime, "changed after"),
        (to_pipe, "not a regular file"),
        (to_link, "changed after"),
        (lambda path: path.rename(path.with_suffix(".gone")), "vanished"),
    ]
    for i, (_, words) in enumerate(changes):
        known[f"b/good {i}.png"] = words
    work = {root / f"b/good {i}.png": change for i, (change, _) in enumerate(changes)}
    start = time.perf_counter()
    data = load_dataset(root, _config(cache), progress=_Meddler(work))
    failures = _differences(known, _of_data(data))
    audit = data.audit
    failures += _miscounted(audit.found, audit.used, len(audit.excluded), 2 * _GOOD)
    again = load_dataset(root, _config(cache)).audit
    if any("vanished" in each.reason or "changed" in each.reason for each in again.excluded):
        failures.append("a reason that had passed was still given by the next run")
    return Trial(
        "files that vanish or change after they were found are named",
        len(changes),
        failures,
        seconds=time.perf_counter() - start,
    )


def _misdecoded(root: Path, cache: Path) -> Trial:
    """Have the decoder fail in every way for some images, and read the others all the same."""
    known = {file: kind.outcome for file, kind in _good(root).items()}
    for seed, (failure, words) in enumerate(bad_decoder.FAILURES.items(), 500):
        for i in range(3):
            known[f"a/{failure} {i}.png"] = words
            (root / "a" / f"{failure} {i}.png").write_bytes(saved(image(10 * seed + i)))

    def pool(workers: int = 0) -> DecoderPool:
        return DecoderPool(workers, deadline=0.5, command=bad_decoder.command(0.5))

    start = time.perf_counter()
    with patch("lucency.dataset.load.DecoderPool", pool):
        data = load_dataset(root, _config(cache))
    failures = _differences(known, _of_data(data))
    audit = data.audit
    failures += _miscounted(audit.found, audit.used, len(audit.excluded), len(known))
    again = load_dataset(root, _config(cache)).audit  # by a decoder that is sound
    if again.used != len(known):
        failures.append(f"{len(known) - again.used} images were still set aside afterwards")
    return Trial(
        "a decoder that crashes, hangs or eats memory costs the one image",
        3 * len(bad_decoder.FAILURES),
        failures,
        ", ".join(bad_decoder.FAILURES),
        time.perf_counter() - start,
    )


# Permissions do not hold for the superuser; this decoder stops being that.
_NOBODY = """
import os, sys
sys.path.insert(0, sys.argv[2])
from lucency.decoding import child
if not os.geteuid():
    os.setgid(65534), os.setuid(65534)
child.main()
"""


def _forbidden(folder: Path) -> Trial:
    folder.mkdir()
    path = folder / "secret.png"
    path.write_bytes(saved(image(3)))
    path.chmod(0)
    command = [sys.executable, "-c", _NOBODY, *bad_decoder.command(30)[2:]]
    with DecoderPool(1, command=command) as pool:
        reason = pool.submit(Request(str(path), (_SIDE, _SIDE), colour=False)).result().reason
    path.chmod(0o600)
    failures = [] if "Permission denied" in reason else [f"without permission: {reason!r}"]
    return Trial("a file that may not be read is named", 1, failures)


if __name__ == "__main__":
    raise SystemExit(told(trials))
