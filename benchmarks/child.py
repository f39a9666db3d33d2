"""A command in a process of its own: its output, how long it took, and the memory it needed."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).parents[1]
LUCENCY = str(Path(sysconfig.get_path("scripts")) / "lucency")
_MIB = 2**20 if sys.platform == "darwin" else 2**10  # in units of ru_maxrss


@dataclasses.dataclass(frozen=True)
class Finished:
    """A command that has ended well.

    Attributes:
        output: What it printed.
        seconds: From its start to its end.
        peak: Most resident memory at any time, in MiB.
    """

    output: str
    seconds: float
    peak: float


def answer(module: str, *arguments: object) -> Any:
    """Run a module of the benchmarks in a process of its own; return its last line, JSON."""
    command = (sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments))
    return json.loads(run(*command).output.splitlines()[-1])


def run(*command: str) -> Finished:
    """Run a command in the root of the checkout.

    ``peak`` starts from the memory of this process, which is forked: keep it small.

    Raises:
        RuntimeError: The command failed; the text holds what it said.
    """
    # Compiled modules are kept, as they are for everybody who starts a program twice.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with TemporaryFile() as output, TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=ROOT, env=kept)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            said = errors.read().decode(errors="replace")
            raise RuntimeError(f"{shlex.join(command)} ended with {process.returncode}:\n{said}")
        return Finished(output.read().decode(), seconds, usage.ru_maxrss / _MIB)
