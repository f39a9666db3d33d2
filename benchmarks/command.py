"""Run a command in its own process: output, seconds and peak memory."""

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
    """A command that ended with exit code 0.

    Attributes:
        output: Its standard output.
        seconds: From its start to its end.
        peak: Its peak resident memory in MiB.
    """

    output: str
    seconds: float
    peak: float


def resident(process: int | str = "self") -> float:
    """Return the resident memory of a process in MiB; 0 without /proc."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_json(module: str, *arguments: object) -> Any:
    """Run a module in its own process; return the last line of its output, parsed as JSON."""
    command = (sys.executable, "-m", module, *map(str, arguments))
    return json.loads(run(*command).output.splitlines()[-1])


def run(*command: str) -> Finished:
    """Run a command in the root of the checkout.

    ``peak`` includes the memory of this process, which is forked: keep that small.

    Raises:
        RuntimeError: The command failed; the text contains its standard error.
    """
    # Compiled modules are cached, as they are for a user who runs a command twice.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with TemporaryFile() as output, TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=ROOT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            text = errors.read().decode(errors="replace")
            raise RuntimeError(f"{shlex.join(command)} ended with {process.returncode}:\n{text}")
        return Finished(output.read().decode(), seconds, usage.ru_maxrss / _MIB)
