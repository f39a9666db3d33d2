"""Words planted in the metadata of images are in no output, log, cache or temporary file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import LUCENCY, ROOT
from benchmarks.reliability import traces
from benchmarks.reliability.metadata import (
    CLASSES,
    NAME,
    WORD,
    image,
    write_images,
    write_unreadable,
)
from benchmarks.service.client import send
from benchmarks.service.server import Server
from benchmarks.trial import Trial

_TINY = (
    "--effort",
    "quick",
    "--set",
    "size=32",
    "--set",
    "epochs=2",
    "--folds",
    "0",
    "--neighbours",
    "8",
)
_KEPT = ("PATH", "LANG", "OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS")
_PLACES = ("home", "temporary", "work", "output")
_KINDS = ("png", "jpg", "dcm")
# What names images, as the documentation says; a report is also what the service shows as such.
_WITH_NAMES = (
    *("split.csv", "predictions.csv", "audit.json", "report.html", "check.html", "index.json"),
    *("explained.html", "shown report"),
)


def trials(folder: Path, quick: bool) -> list[Trial]:
    """Run every command on images full of words, then search all that they left behind."""
    images = write_images(folder / "images", 30 if quick else 60)
    unreadable = write_unreadable(folder / "unreadable")
    for name in _PLACES:
        (folder / name).mkdir()
    start = time.perf_counter()
    failures = _planted(images)
    commands = _commands(images, unreadable, quick)
    run = _run_in_one_process if quick else _run_each
    codes = run(folder, [arguments for arguments, _ in commands])
    for code, (arguments, expected) in zip(codes, commands, strict=True):
        if code != expected:
            failures.append(f"lucency {' '.join(arguments)}: exit code {code}")
    requests = _serve(folder) if (folder / "work/runs/x").is_dir() else 0
    files = [path for name in _PLACES for path in (folder / name).rglob("*") if path.is_file()]
    found = {path: traces.words_in(path, (WORD, NAME)) for path in sorted(files)}
    leaks = [str(path.relative_to(folder)) for path, words in found.items() if WORD in words]
    named = [
        str(path.relative_to(folder))
        for path, words in found.items()
        if NAME in words and path.name not in _WITH_NAMES and not _is_shown(folder, path)
    ]
    notes = f"of {len(commands)} commands and {requests} requests"
    seconds = time.perf_counter() - start
    return [
        Trial(
            "no file that a command leaves holds words from the metadata of images",
            len(files), [*failures, *leaks], notes, seconds,
        ),
        Trial(
            "names of images are only where the documentation says",
            len(files), named, ", ".join(_WITH_NAMES), seconds,
        ),
    ]  # fmt: skip


def _is_shown(folder: Path, path: Path) -> bool:
    """Tell whether a file is the output of a command, or an overlay named after its image."""
    shown = path.is_relative_to(folder / "output") and path.name.startswith("command")
    return shown or (path.suffix == ".png" and "explained" in path.parts)


def _planted(images: Path) -> list[str]:
    """Return kinds of image in which the search does not find the words that it should."""
    return [
        f"{kind}: the words cannot be found in the image itself"
        for kind in _KINDS
        if traces.words_in(next(images.rglob(f"*.{kind}")), (WORD, NAME)) != {WORD, NAME}
    ]


def _commands(images: Path, unreadable: Path, quick: bool) -> list[tuple[Sequence[str], int]]:
    """Return the arguments of every command, and its exit code."""
    run, data = "runs/x", str(images)
    commands: list[tuple[Sequence[str], int]] = [
        (("check", data), 0),
        (("train", data, "--run", "x", *_TINY), 0),
        (("evaluate", run), 0),
        (("evaluate", run, data), 0),
        (("predict", run, data), 0),
        (("predict", run, data, "--csv"), 0),
        (("predict", run, data, "--json", "--explain"), 0),
        (("predict", run, str(unreadable)), 0),
        (("predict", run, str(unreadable), "--json"), 0),
        (("explain", run, data), 0),
        (("export", run, data, "--format", "onnx"), 0),
        (("verify", run, data, "--redraw"), 0),
    ]
    if not quick:
        again = ("--run", "y", "--seed", "1", "--split-file", f"{run}/split.csv")
        again += ("--track", "tensorboard,mlflow")
        commands += [
            (("predict", run, data, "--explain"), 0),
            (("explain", run, str(unreadable), "--out", "explained/unreadable"), 0),
            (("explain", run, data, "--method", "occlusion", "--out", "explained/o"), 0),
            (("export", run, "--format", "web"), 0),
            (("train", data, *_TINY, *again), 0),
            (("compare", run, "runs/y"), 0),
        ]
    return commands


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary")}


def _shown(folder: Path, number: int, arguments: Sequence[str]) -> tuple[str, str]:
    """Return the files for what a command prints, and for its errors."""
    name = f"command {number} {arguments[0]}"
    return str(folder / f"output/{name} output"), str(folder / f"output/{name} errors")


def _run_each(folder: Path, commands: Sequence[Sequence[str]]) -> list[int]:
    """Run each command as users do; return the exit codes."""
    codes = []
    for number, arguments in enumerate(commands):
        output, errors = _shown(folder, number, arguments)
        with Path(output).open("wb") as out, Path(errors).open("wb") as err:
            done = subprocess.run(
                (LUCENCY, *arguments), check=False, stdout=out, stderr=err, cwd=folder / "work",
                env=_environment(folder),
            )  # fmt: skip
        codes.append(done.returncode)
    return codes


def _run_in_one_process(folder: Path, commands: Sequence[Sequence[str]]) -> list[int]:
    """Run all commands in one process and with a small network; return the exit codes."""
    given = [(*_shown(folder, i, arguments), *arguments) for i, arguments in enumerate(commands)]
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks.reliability.one_process", json.dumps(given)],
        check=True, stdout=subprocess.PIPE, cwd=folder / "work",
        env=_environment(folder) | {"PYTHONPATH": search},
    )  # fmt: skip
    found: list[int] = json.loads(done.stdout)
    return found


def _serve(folder: Path) -> int:
    """Send every kind of image to a service; return the number of requests."""
    output, sent = folder / "output", 0
    with Server(folder / "work/runs/x", "--access-log", temporary=folder / "temporary") as service:
        for kind in _KINDS:
            for label in range(len(CLASSES)):
                head = (
                    f'--b\r\ncontent-disposition: form-data; name="images"; '
                    f'filename="{NAME}.{kind}"\r\n\r\n'
                )
                body = head.encode() + image(kind, label, 0) + b"\r\n--b--\r\n"
                content = {"content-type": "multipart/form-data; boundary=b"}
                for address in ("/v1/predict", "/v1/predict?map=1&neighbours=4"):
                    _, reply = send(service.port, "POST", address, body, content)
                    (output / f"reply {sent}").write_bytes(reply)
                    sent += 1
        for address in ("metrics", "", "v1/classifier", "health/ready", "openapi.json", "report"):
            _, page = send(service.port, "GET", f"/{address}")
            (output / f"shown {address.replace('/', ' ')}").write_bytes(page)
            sent += 1
        (output / "service errors").write_text(service.errors(), encoding="utf-8")
    return sent
