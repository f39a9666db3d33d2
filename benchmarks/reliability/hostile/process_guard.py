"""Run a command in a forked process, and report everything that it should not do.

Heavy modules are imported once, before the forks. In each fork, an audit hook records actions that
reading a run folder does not need; inotify reports files that compiled code opens, which audit
hooks do not see.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import importlib
import io
import json
import os
import select
import signal
import stat
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.command import ROOT
from lucency.imaging.decoder.pool import DEADLINE
from lucency.imaging.decoder.process import child_command

_TIMEOUT = 20.0  # seconds until a process is killed
_BUSY = 4  # times as long as its processor time that a process may take on a busy machine
_HEAVY = (
    *("lucency.cli", "lucency.cli.predict", "lucency.classifier", "lucency.imaging.image"),
    *("lucency.report", "lucency.pipeline.evaluate", "lucency.cli.console.results"),
    *("lucency.verify", "onnx", "onnxruntime"),
    *("onnx.shape_inference", "onnx.helper", "google.protobuf.message", "safetensors.numpy"),
    *("scipy.stats", "rich.console", "rich.table", "sklearn", "PIL.JpegImagePlugin"),
    *("jinja2", "markdown_it", "pydantic"),
)
# Code, processes, the network, and other files; modules that load models are in _FOREIGN.
_FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile"),
    *("subprocess.", "socket.", "pickle.", "ctypes.", "shutil.", "urllib.", "http.", "webbrowser."),
    *("os.kill", "os.chmod", "os.chown", "os.link", "os.symlink"),
)
_CHANGES = ("os.remove", "os.rmdir", "os.rename", "os.mkdir", "os.truncate")
_FOREIGN = ("keras", "tensorflow", "jax", "torch", "h5py", "dill", "cloudpickle", "tf2onnx")
_OURS = tuple(
    os.path.realpath(path)
    for path in (ROOT / "src", sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"))
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a guarded process did.

    Attributes:
        code: The exit code of the command; None if it was killed or crashed.
        errors: Its standard error.
        raised: The error of the library call, ``ClassName: text``; empty for none.
        rejected: Whether that was a ``LucencyError``.
        forbidden: Forbidden actions, one line each.
        seconds: Processor time of the slower of the two; a quarter of its time if that is longer.
        growth: The growth of memory at its peak, in MiB.
    """

    code: int | None
    errors: str
    raised: str
    rejected: bool
    forbidden: tuple[str, ...]
    seconds: float
    growth: float


def warm_up() -> None:
    """Import and initialise what the commands need, so that forks do not have to."""
    for name in _HEAVY:
        importlib.import_module(name)
    tempfile.gettempdir()  # tests folders by writing into them
    _command(["--help"])
    _command(["predict", os.devnull, os.devnull])  # initialises on the first command
    gc.freeze()  # so that garbage collection does not copy pages in forks


def guarded(
    command: list[str], call: Callable[[], object] | None, allowed: list[Path], canaries: list[Path]
) -> Outcome:
    """Run a command of Lucency in a guarded fork.

    Args:
        command: Its arguments.
        call: An equivalent library call, which is made first; or None.
        allowed: Files and folders that it may open, besides Python's own.
        canaries: Files that it must not open.
    """
    read, write = os.pipe()
    with _opened(canaries) as opened:
        child = os.fork()
        if not child:
            os.close(read)
            _work(write, command, call, [os.path.realpath(path) for path in allowed])
        os.close(write)
        report = _result(child, read)
        report["forbidden"] = (*report["forbidden"], *(f"opened {path}" for path in opened()))
    return Outcome(**report)


def _result(child: int, read: int) -> dict[str, Any]:
    text, end = b"", time.monotonic() + _TIMEOUT
    with os.fdopen(read, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            if not (part := pipe.read(2**16)):
                break
            text += part
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if text:
        return dict(json.loads(text))
    killed = f"ended by signal {os.WTERMSIG(status)}"
    died = killed if os.WIFSIGNALED(status) else "no result"
    return {
        "code": None, "errors": died, "raised": died, "rejected": False, "forbidden": [],
        "seconds": _TIMEOUT, "growth": 0.0,
    }  # fmt: skip


def _now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter() / _BUSY


def _since(start: tuple[float, float]) -> float:
    return max(now - before for now, before in zip(_now(), start, strict=True))


def _work(
    write: int, command: list[str], call: Callable[[], object] | None, allowed: list[str]
) -> None:
    """Make the call and run the command in this process, write the result, and exit."""
    try:
        raised, rejected, first = "", False, 0.0
        before = _reset_peak()
        guard = _Guard((*_OURS, *allowed))
        sys.addaudithook(guard)
        if call is not None:
            start = _now()
            try:
                call()
            except BaseException as error:  # any error is reported
                raised, rejected = f"{type(error).__name__}: {error}", _ours(error)
            first = _since(start)
        start = _now()
        code, errors = _command(command)
        seconds = max(first, _since(start))
        guard.active = False
        result = {
            "code": code, "errors": errors[:9000], "raised": raised[:9000],
            "rejected": rejected,
            "forbidden": sorted(guard.forbidden)[:9], "seconds": seconds,
            "growth": _memory("VmHWM") - before,
        }  # fmt: skip
        os.write(write, json.dumps(result).encode())
    finally:
        os._exit(0)


def _ours(error: BaseException) -> bool:
    from lucency.errors import LucencyError

    return isinstance(error, LucencyError)


def _command(arguments: list[str]) -> tuple[int | None, str]:
    from lucency.cli import main

    errors = io.StringIO()
    sys.argv = ["lucency", *arguments]
    try:
        with redirect_stderr(errors), redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        return (end.code if isinstance(end.code, int) else 1), errors.getvalue()
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"
    return 0, errors.getvalue()


class _Guard:
    """An audit hook that records forbidden actions; it cannot be removed, only deactivated."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.active, self.forbidden = True, set[str]()
        self._allowed, self._below = allowed, tuple(f"{each}/" for each in allowed)

    def __call__(self, event: str, details: Any) -> None:
        if self.active and (complaint := self._complaint(event, details)):
            self.forbidden.add(complaint)

    def _inside(self, path: Any) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return real in self._allowed or real.startswith(self._below)

    def _complaint(self, event: str, details: Any) -> str:
        what = details[0] if details else None
        wrong = event.startswith(_FORBIDDEN) and not _is_decoder(event, details)
        if event == "open" and what == tempfile.gettempdir():
            wrong = False  # an unnamed file in it, for the errors of decoders
        elif event == "open" and isinstance(what, (str, bytes)):
            wrong = not (self._inside(what) and _regular(what))
        elif event in _CHANGES:
            wrong = not self._inside(what)
        elif event == "import":
            wrong = str(what).partition(".")[0] in _FOREIGN
        elif event == "exec":
            what = str(getattr(what, "co_filename", "?"))
            wrong = not (what.startswith("<") or self._inside(what))
        return f"{event} {str(what)[:120]}" if wrong else ""


def _is_decoder(event: str, details: Any) -> bool:
    """Whether this starts or kills a decoder process, which predicting needs."""
    if event == "subprocess.Popen":
        return list(details[1]) == child_command(DEADLINE)
    if event == "os.kill":  # each has its own process group
        pid, number = details
        return number == signal.SIGKILL and pid != os.getpid() and os.getpgid(pid) == pid
    return False


def _regular(path: str | bytes) -> bool:
    try:
        mode = Path(os.fsdecode(path)).stat().st_mode
    except OSError:
        return True  # it does not exist
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _reset_peak() -> float:
    """Reset the peak memory of this process, and return its resident memory in MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{name}:"))


@contextmanager
def _opened(paths: list[Path]) -> Iterator[Callable[[], list[str]]]:
    """Monitor files, and yield a function that returns those opened since."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify cannot be started")
    watches = {
        libc.inotify_add_watch(descriptor, os.fsencode(path), 0x20 | 0x1 | 0x2): str(path)
        for path in paths  # IN_OPEN, IN_ACCESS, IN_MODIFY
    }

    def opened() -> list[str]:
        try:
            data = os.read(descriptor, 2**16)
        except BlockingIOError:
            return []
        events = [int.from_bytes(data[i : i + 4], sys.byteorder) for i in range(0, len(data), 16)]
        return sorted({watches[event] for event in events if event in watches})

    try:
        yield opened
    finally:
        os.close(descriptor)
