"""SIGKILL at random moments, and inside saves: no run is lost, and the result is the same bytes.

A small data set is trained on by the command line, again and again. Each process is killed at a
moment drawn from the time that an undisturbed one needs, or ends itself at a drawn system call of a
drawn checkpoint; then the same command is given again, until it comes to its end.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.child import ROOT
from benchmarks.trial import Trial
from benchmarks.watched import events

INTERVAL = 0.2  # seconds from one checkpoint to the next inside an epoch
SLACK = 1.0  # seconds that a save may take on a busy machine
CALLS = 14  # of the system in one checkpoint
SAME = (
    "weights.safetensors", "ood_detector.safetensors", "reference_images.safetensors", "classifier.json",
    "history.csv", "predictions.csv", "evaluation.json", "split.csv",
)  # fmt: skip
EPOCHS = 12
_BRIEF = 1  # a seed with which the first process dies early and the second in a save


@dataclasses.dataclass
class Tally:
    """What has happened so far."""

    kills: int = 0
    inside: int = 0
    runs: int = 0
    repeated: float = 0.0  # most seconds of work that had to be done again
    test_evaluations: int = 0  # most looks on record for one run
    failures: list[str] = dataclasses.field(default_factory=list)


def trials(folder: Path, quick: bool) -> list[Trial]:
    backends = [("tensorflow", 2 if quick else 200, 1 if quick else 60)]
    if not quick:
        backends.append(("jax", 20, 6))
    return [_trial(folder / name, name, kills, inside, quick) for name, kills, inside in backends]


def _trial(folder: Path, backend: str, kills: int, inside: int, quick: bool) -> Trial:
    start = time.perf_counter()
    folder.mkdir()
    draw(folder / "radiographs", 60)
    usual = _duration(folder, backend, ("whole",) if quick else ("warm", "whole"))
    drawn, tally = random.Random(_BRIEF if quick else 0), Tally()
    while tally.kills < kills or tally.inside < inside:
        tally.runs += 1
        _one_run(folder, backend, usual, drawn, tally, (kills, inside))
    notes = (
        f"{tally.inside} inside a save, {tally.runs} runs to their end; at most "
        f"{tally.repeated:.1f} s of training repeated (interval {INTERVAL} s), at most "
        f"{tally.test_evaluations} looks at the test part on record for a run"
    )
    name = f"SIGKILL, {backend}: nothing is lost, the same bytes come out"
    return Trial(name, tally.kills, tally.failures, notes, time.perf_counter() - start)


def draw(folder: Path, per_class: int) -> None:
    """Draw two classes of small noisy images, two of each patient."""
    for k, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            numbers = np.random.default_rng([k, i])
            grey = numbers.normal(105 + 40 * k, 25, (24, 24)).clip(0, 255)
            path = folder / name / f"patient{k}{i // 2:03d}_{i % 2}.png"
            Image.fromarray(grey.astype(np.uint8)).save(path)


def command(run: str) -> list[str]:
    """Return the command line of one run."""
    settings = [f"epochs={EPOCHS}", "size=16", "batch=8", f"checkpoint_seconds={INTERVAL}"]
    given = [word for setting in settings for word in ("--set", setting)]
    program = [sys.executable, "-m", "benchmarks.watched", "train", "radiographs"]
    return [*program, "--effort", "quick", "--run", run, *given]


def started(folder: Path, run: str, backend: str, **wanted: object) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own, watched."""
    made = {
        "KERAS_BACKEND": backend,
        "LUCENCY_CACHE": str(folder / "cache"),
        "LUCENCY_LEDGER": str(folder / f"{run}.jsonl"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "VICTIM": json.dumps(wanted | {"log": str(folder / f"{run}.log")}),
    }
    with (folder / f"{run}.err").open("ab") as errors:
        return subprocess.Popen(
            command(run), cwd=folder, stdout=subprocess.DEVNULL, stderr=errors,
            start_new_session=True,
            env=os.environ | made,
        )  # fmt: skip


def _duration(folder: Path, backend: str, runs: Sequence[str]) -> float:
    """Make the undisturbed run that all others are compared with; return its seconds."""
    for run in runs:
        start = time.perf_counter()
        process = started(folder, run, backend)
        if process.wait():
            raise RuntimeError((folder / f"{run}.err").read_text()[-2000:])
    return time.perf_counter() - start


def _one_run(
    folder: Path, backend: str, usual: float, drawn: random.Random, tally: Tally,
    wanted: tuple[int, int],
) -> None:  # fmt: skip
    """Kill a run again and again, until it ends well; then compare it with the undisturbed one."""
    run, target = f"run{tally.runs}", folder / "runs" / f"run{tally.runs}"
    while not target.exists():
        enough = tally.kills >= wanted[0] and tally.inside >= wanted[1]
        if enough:  # now it may come to its end
            code = started(folder, run, backend).wait()
        else:
            inside = tally.inside * wanted[0] < tally.kills * wanted[1] or tally.kills >= wanted[0]
            code = _one_process(folder, run, backend, usual, drawn, inside)
        if code == -signal.SIGKILL:
            tally.kills += 1
            log = events(folder / f"{run}.log") if (folder / f"{run}.log").exists() else []
            tally.inside += bool(log) and log[-1][0] == "saving"
        elif code or not target.exists():
            said = (folder / f"{run}.err").read_text(errors="replace")[-400:]
            tally.failures.append(f"{run}: ended with {code}: {' '.join(said.split())}")
            return
        if tally.kills % 20 == 0:
            print(f"  {backend}: {tally.kills} kills, {tally.inside} inside a save", flush=True)
    _compare(folder, run, tally)


def _one_process(
    folder: Path, run: str, backend: str, usual: float, drawn: random.Random, inside: bool
) -> int:
    """Start a process and have it end, by its own hand inside a save or by ours."""
    if inside:
        save, call = drawn.randint(1, EPOCHS), drawn.randint(1, CALLS)
        half = drawn.random() < 0.5
        return started(folder, run, backend, save=save, call=call, half=half).wait()
    process = started(folder, run, backend)
    try:
        return process.wait(drawn.uniform(0, 1.1 * usual))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _compare(folder: Path, run: str, tally: Tally) -> None:
    whole, target = folder / "runs" / "whole", folder / "runs" / run
    tally.failures += [f"{run}: {line}" for line in differences(whole, target)]
    if found := repeats(events(folder / f"{run}.log")):
        tally.repeated = max(tally.repeated, *(seconds for seconds, _ in found))
        tally.failures += [f"{run}: {fault}" for _, fault in found if fault]
    ledger = (folder / f"{run}.jsonl").read_text().splitlines()
    tally.test_evaluations = max(tally.test_evaluations, len(ledger))
    if not 1 <= len(ledger) <= 2:  # two, where the process died between writing and noting it
        tally.failures.append(f"{run}: {len(ledger)} looks at the test part on record")


def differences(whole: Path, target: Path) -> list[str]:
    """Say which files of a run are not those of the undisturbed one, to the last byte."""
    return [
        f"{name} differs from that of the undisturbed run"
        for name in SAME
        if _content(whole / name) != _content(target / name)
    ]


def _content(path: Path) -> bytes:
    """Return a file's bytes; of classifier.json all but the checksum of the ONNX file.

    TensorFlow's exporter arranges the same operations in one of several ways, by chance.
    """
    data = path.read_bytes()
    if path.name != "classifier.json":
        return data
    return json.dumps({k: v for k, v in json.loads(data).items() if k != "onnx"}).encode()


def repeats(log: list[tuple[str, int, int, float]]) -> list[tuple[float, str]]:
    """Return for every new beginning how many seconds of work were lost, and what was wrong.

    Work is lost from the last checkpoint that was written to the last step before the end. Wrong is
    a new beginning from before that checkpoint, and more lost work than an interval and a step.
    """
    found: list[tuple[float, str]] = []
    saved, when, last, before = (0, 0), None, None, None
    for what, epoch, step, now in log:
        if what == "from":
            if when is not None and last is not None:
                lost = max(0.0, last - when)
                fault = ""
                if (epoch, step) < saved:
                    fault = f"began at {(epoch, step)}, though {saved} had been saved"
                elif before is not None and before - when > INTERVAL + SLACK:
                    fault = f"{lost:.1f} s of work were done again"
                found.append((lost, fault))
            saved, when, last, before = (epoch, step), now, None, None
        elif what == "saved":
            saved, when, last, before = (epoch, step), now, None, None
        elif what == "step":
            last, before = now, last
    return found
