"""SIGKILL at random moments and inside saves: no run is lost, and the result has the same bytes.

The command line trains on a small data set again and again. Each process is killed at a random
moment of the time that an undisturbed one needs, or kills itself at a random system call of a
random checkpoint. Then the same command is repeated until the run is complete.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.command import ROOT
from benchmarks.reliability.monitored_worker import events
from benchmarks.trial import Trial

INTERVAL = 0.2  # seconds between checkpoints within an epoch
SLACK = 1.0  # seconds of processor time for a save
CALLS = 14  # system calls of one checkpoint
SAME = (
    "weights.safetensors", "ood_detector.safetensors", "reference_images.safetensors",
    "classifier.json", "history.csv", "predictions.csv", "evaluation.json", "split.csv",
)  # fmt: skip
EPOCHS = 12
Begin = Callable[..., subprocess.Popen[bytes]]  # start a monitored run, by its name
_ENOUGH = 20  # failures after which nothing more is learnt
_QUICK_SEED = 1  # a seed that kills the first process early and the second in a save


@dataclasses.dataclass
class Tally:
    """Counts so far."""

    kills: int = 0
    inside: int = 0
    runs: int = 0
    repeated: float = 0.0  # most seconds of training that were repeated, of processor time
    test_evaluations: int = 0  # most recorded for one run
    failures: list[str] = dataclasses.field(default_factory=list)


def trials(folder: Path, quick: bool) -> list[Trial]:
    backends = [("tensorflow", 2 if quick else 200, 1 if quick else 60)]
    if not quick:
        backends.append(("jax", 20, 6))
    return [_trial(folder / name, name, kills, inside, quick) for name, kills, inside in backends]


def _trial(folder: Path, backend: str, kills: int, inside: int, quick: bool) -> Trial:
    start = time.perf_counter()
    folder.mkdir()
    draw(folder / "radiographs", 20 if quick else 60)
    begin = functools.partial(started, folder, backend=backend, small=quick)
    typical = _duration(folder, begin, ("whole",) if quick else ("warm", "whole"))
    rng, tally = random.Random(_QUICK_SEED if quick else 0), Tally()
    while (tally.kills < kills or tally.inside < inside) and len(tally.failures) < _ENOUGH:
        tally.runs += 1
        _one_run(folder, begin, typical, rng, tally, (kills, inside))
    notes = (
        f"{tally.inside} inside a save, {tally.runs} complete runs; at most "
        f"{tally.repeated:.1f} s of training repeated (interval {INTERVAL} s), at most "
        f"{tally.test_evaluations} test-set evaluations recorded for a run"
    )
    name = f"SIGKILL, {backend}: nothing is lost, the same bytes result"
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
    interval = f"checkpoint_seconds={INTERVAL}"
    settings = [f"epochs={EPOCHS}", "size=16", "batch=8", "folds=0", interval]
    given = [word for setting in settings for word in ("--set", setting)]
    program = [sys.executable, "-m", "benchmarks.reliability.monitored_worker"]
    return [*program, "train", "radiographs", "--effort", "quick", "--run", run, *given]


def started(folder: Path, run: str, backend: str, **options: object) -> subprocess.Popen[bytes]:
    """Start a monitored run in its own process group."""
    environment = {
        "KERAS_BACKEND": backend,
        "LUCENCY_CACHE": str(folder / "cache"),
        "LUCENCY_LEDGER": str(folder / f"{run}.jsonl"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "MONITOR": json.dumps(options | {"log": str(folder / f"{run}.log")}),
    }
    with (folder / f"{run}.err").open("ab") as errors:
        return subprocess.Popen(
            command(run), cwd=folder, stdout=subprocess.DEVNULL, stderr=errors,
            start_new_session=True,
            env=os.environ | environment,
        )  # fmt: skip


def _duration(folder: Path, begin: Begin, runs: Sequence[str]) -> float:
    """Train the undisturbed run that all others are compared with; return its seconds."""
    for run in runs:
        start = time.perf_counter()
        process = begin(run)
        if process.wait():
            raise RuntimeError((folder / f"{run}.err").read_text()[-2000:])
    return time.perf_counter() - start


def _one_run(
    folder: Path, begin: Begin, typical: float, rng: random.Random, tally: Tally,
    target: tuple[int, int],
) -> None:  # fmt: skip
    """Kill a run repeatedly until it completes; then compare it with the undisturbed one."""
    run, complete = f"run{tally.runs}", folder / "runs" / f"run{tally.runs}"
    while not complete.exists():
        enough = tally.kills >= target[0] and tally.inside >= target[1]
        if enough:  # let it complete
            code = begin(run).wait()
        else:
            inside = tally.inside * target[0] < tally.kills * target[1] or tally.kills >= target[0]
            code = _one_process(begin, run, typical, rng, inside)
        if code == -signal.SIGKILL:
            tally.kills += 1
            log = events(folder / f"{run}.log") if (folder / f"{run}.log").exists() else []
            tally.inside += bool(log) and log[-1][0] == "saving"
        elif code or not complete.exists():
            errors = (folder / f"{run}.err").read_text(errors="replace")[-400:]
            tally.failures.append(f"{run}: ended with {code}: {' '.join(errors.split())}")
            return
        if tally.kills % 20 == 0:
            print(f"  {folder.name}: {tally.kills} kills, {tally.inside} inside a save", flush=True)
    _compare(folder, run, tally)


def _one_process(begin: Begin, run: str, typical: float, rng: random.Random, inside: bool) -> int:
    """Start a process that kills itself inside a save, or kill it; return its exit code."""
    if inside:
        save, call = rng.randint(1, EPOCHS), rng.randint(1, CALLS)
        half = rng.random() < 0.5
        return begin(run, save=save, call=call, half=half).wait()
    process = begin(run)
    try:
        return process.wait(rng.uniform(0, 1.1 * typical))
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
    if not 1 <= len(ledger) <= 2:  # two if it died between writing and recording
        tally.failures.append(f"{run}: {len(ledger)} test-set evaluations recorded")


def differences(whole: Path, target: Path) -> list[str]:
    """Return which files of a run differ from those of the undisturbed one in any byte."""
    return [
        f"{name} differs from that of the undisturbed run"
        for name in SAME
        if _content(whole / name) != _content(target / name)
    ]


def _content(path: Path) -> bytes:
    """Return the bytes of a file; of classifier.json, all but the checksum of the ONNX file.

    TensorFlow's exporter orders the same operations in one of several ways, at random.
    """
    data = path.read_bytes()
    if path.name != "classifier.json":
        return data
    return json.dumps({k: v for k, v in json.loads(data).items() if k != "onnx"}).encode()


def repeats(log: list[tuple[str, int, int, float]]) -> list[tuple[float, str]]:
    """Return for every resume how many seconds of training were lost, and what was wrong.

    Training is lost from the last written checkpoint to the last step before the kill. It is wrong
    to resume from before that checkpoint, and to lose more than an interval and a step.
    """
    found: list[tuple[float, str]] = []
    saved, when, last, before = (0, 0), None, None, None
    for what, epoch, step, now in log:
        if what == "resume":
            if when is not None and last is not None:
                lost = max(0.0, last - when)
                fault = ""
                if (epoch, step) < saved:
                    fault = f"resumed from {(epoch, step)}, although {saved} had been saved"
                elif before is not None and before - when > INTERVAL + SLACK:
                    fault = f"{lost:.1f} s of training were repeated"
                found.append((lost, fault))
            saved, when, last, before = (epoch, step), now, None, None
        elif what == "saved":
            saved, when, last, before = (epoch, step), now, None, None
        elif what == "step":
            last, before = now, last
    return found
