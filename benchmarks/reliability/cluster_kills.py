"""SIGKILL of processes, nodes and drivers of a cluster: nothing is lost or double, same bytes.

A cluster of two nodes on this machine decodes, predicts and trains. At a random moment of the time
that an undisturbed command needs, a process of a node is killed, a node, or the command itself; a
dead node is replaced by a new one, and a dead command is repeated. The result is compared with that
of this machine alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.command import LUCENCY, ROOT
from benchmarks.local_cluster import LocalCluster, local_cluster, wait_until
from benchmarks.results import Skipped
from benchmarks.small_network import COMMAND
from benchmarks.trial import Trial

VICTIMS = ("node", "command", "process")
_LONGEST = 600.0  # seconds of one command


def trials(folder: Path, quick: bool) -> list[Trial]:
    if not importlib.util.find_spec("ray"):
        raise Skipped('it needs Ray: pip install "lucency[cluster]"')
    data = draw(folder / "data", 400 if quick else 1500)
    run = folder / "run"
    train = (*COMMAND, "train", str(data), "--effort", "quick", "--start", "scratch", "--quiet")
    train = (*train, "--folds", "0", "--set", "size=32", "--set", "precision=float32")
    _call(*train, "--set", "epochs=1", "--run", str(run), "--cache", str(folder / "cache"))
    predict = (LUCENCY, "predict", str(run), str(data), "--quiet", "--out")
    shards = (*train, "--set", "epochs=3", "--set", "shards=2", "--cache", str(folder / "cache"))
    check = (LUCENCY, "check", str(data), "--set", "size=64", "--quiet")
    counts = (0, 2, 0) if quick else (20, 60, 20)
    with local_cluster(2) as cluster:
        found = [
            kill_trial("decode", counts[0], folder, cluster, lambda out: (
                *check, "--cache", str(out), "--out", f"{out}-page"
            ), ("[0-9a-f]*/pixels.bin",)),
            kill_trial("predict", counts[1], folder, cluster, lambda out: (
                *predict, str(out)
            ), ("*.parquet",)),
            kill_trial("train", counts[2], folder, cluster, lambda out: (
                *shards, "--run", str(out)
            ), ("weights.safetensors",), {"KERAS_BACKEND": "jax"}),
        ]  # fmt: skip
        return [each for each in found if each.n]


def kill_trial(
    name: str,
    kills: int,
    folder: Path,
    cluster: LocalCluster,
    command: Callable[[Path], tuple[str, ...]],
    files: Sequence[str],
    env: dict[str, str] | None = None,
) -> Trial:
    """Give a command again and again, kill something each time, and compare its files."""
    if not kills:
        return Trial(name, 0)
    environment, start = os.environ | (env or {}), time.perf_counter()
    _call(*command(folder / f"{name}-here"), env=environment)
    expected = _hashes(folder / f"{name}-here", files)
    began = time.perf_counter()
    _call(*command(folder / f"{name}-there"), "--on", "ray", env=environment)
    usual = time.perf_counter() - began
    failures, killed = [], dict.fromkeys(VICTIMS, 0)
    for number in range(kills):
        chosen = random.Random(f"{name} {number}")
        victim, out = VICTIMS[number % len(VICTIMS)], folder / f"{name}-{number}"
        moment = chosen.uniform(0.2, 0.9) * usual
        if _disturbed((*command(out), "--on", "ray"), environment, cluster, victim, moment):
            killed[victim] += 1
        if _hashes(out, files) != expected:
            failures.append(f"kill {number} of a {victim} after {moment:.1f} s: other bytes")
    notes = ", ".join(f"{count} times a {victim}" for victim, count in killed.items())
    return Trial(
        f"{name}: the same bytes whatever is killed", sum(killed.values()), failures, notes,
        time.perf_counter() - start,
    )  # fmt: skip


def _disturbed(
    command: tuple[str, ...],
    environment: dict[str, str],
    cluster: LocalCluster,
    victim: str,
    moment: float,
) -> bool:
    """Run a command to its end, and kill something in the middle; tell whether it was there."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(moment)
    if process.poll() is not None:
        return False
    if victim == "command":
        process.kill()
        process.wait()
        _call(*command, env=environment)
        return True
    if victim == "node":
        cluster.kill(cluster.nodes[0])
        cluster.add()
        killed = True
    else:
        killed = wait_until(lambda: cluster.workers() or process.poll() is not None, 60)
        if workers := cluster.workers():
            os.kill(workers[0], signal.SIGKILL)
        else:
            killed = False
    if process.wait(_LONGEST):
        raise RuntimeError(f"{command} ended with {process.returncode} after a {victim} was killed")
    return killed


def _hashes(folder: Path, files: Sequence[str]) -> list[str]:
    paths = [path for pattern in files for path in sorted(folder.glob(pattern))]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths] or ["nothing"]


def _call(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=_LONGEST
    )
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")


def draw(folder: Path, per_class: int) -> Path:
    """Draw noise that is darker in one class than in the other."""
    for k, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            noise = np.random.default_rng([k, i]).normal(100 + 60 * k, 20, (200, 200))
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(
                folder / name / f"person{k}{i:05d}_1.png"
            )
    return folder
