"""Commands on hostile folders, each in a forked process that is watched while it works.

Heavy modules are imported once, before the forks. In each, an audit hook notes whatever a program
that only reads a run folder has no business to do; inotify tells of files that compiled code opens,
of which Python knows nothing.
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

from benchmarks.child import ROOT
from lucency.imaging.decoder.pool import DEADLINE
from lucency.imaging.decoder.process import child_command

_PATIENCE = 20.0  # seconds until a process is killed
_HEAVY = (
    *(
        "lucency.cli",
        "lucency.cli.predict",
        "lucency.classifier",
        "lucency.imaging.image",
        "lucency.report",
    ),
    *(
        "lucency.pipeline.evaluate",
        "lucency.cli.console.results",
        "lucency.verify",
        "onnx",
        "onnxruntime",
    ),
    *("onnx.shape_inference", "onnx.helper", "google.protobuf.message", "safetensors.numpy"),
    *("scipy.stats", "rich.console", "rich.table", "sklearn", "PIL.JpegImagePlugin"),
)
# Code, processes, the network, other people's files, and modules that read models their own way.
_FORBIDDEN = (
    *(
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "os.startfile",
    ),
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
    """What a watched process did.

    Attributes:
        code: Exit code of the command; None where it was killed or died.
        said: What it printed on standard error.
        raised: By calling the library instead, ``ClassName: text``; empty where nothing was.
        refused: Whether that was a ``LucencyError``.
        forbidden: What it should not have done, one line each.
        seconds: How long the slower of the two took.
        growth: MiB that its memory grew at its peak.
    """

    code: int | None
    said: str
    raised: str
    refused: bool
    forbidden: tuple[str, ...]
    seconds: float
    growth: float


def warm_up() -> None:
    """Import and build what the commands need, so that forks need not."""
    for name in _HEAVY:
        importlib.import_module(name)
    tempfile.gettempdir()  # which tries folders by writing into them
    _command(["--help"])
    _command(["predict", os.devnull, os.devnull])  # what is first done when a command is run
    gc.freeze()  # so that forks need not copy what they only look through


def watched(
    command: list[str],
    call: Callable[[], object] | None,
    allowed: list[Path],
    canaries: list[Path],
) -> Outcome:
    """Run a command of Lucency in a fork and watch it.

    Args:
        command: Its arguments.
        call: What does the same from Python, tried first; or None.
        allowed: Files and folders that it may open, beside Python's own.
        canaries: Files that nobody may open.
    """
    read, write = os.pipe()
    with _opened(canaries) as touched:
        child = os.fork()
        if not child:
            os.close(read)
            _work(write, command, call, [os.path.realpath(path) for path in allowed])
        os.close(write)
        report = _awaited(child, read)
        report["forbidden"] = (*report["forbidden"], *(f"opened {path}" for path in touched()))
    return Outcome(**report)


def _awaited(child: int, read: int) -> dict[str, Any]:
    text, end = b"", time.monotonic() + _PATIENCE
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
    died = f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "said nothing"
    return {
        "code": None, "said": died, "raised": died, "refused": False, "forbidden": [],
        "seconds": _PATIENCE, "growth": 0.0,
    }  # fmt: skip


def _work(
    write: int, command: list[str], call: Callable[[], object] | None, allowed: list[str]
) -> None:
    """Do both in this process, tell what came of it, and end."""
    try:
        raised, refused, first = "", False, 0.0
        before = _reset_peak()
        watch = _Watch((*_OURS, *allowed))
        sys.addaudithook(watch)
        if call is not None:
            start = time.perf_counter()
            try:
                call()
            except BaseException as error:  # whatever it is, it is told
                raised, refused = f"{type(error).__name__}: {error}", _ours(error)
            first = time.perf_counter() - start
        start = time.perf_counter()
        code, said = _command(command)
        seconds = max(first, time.perf_counter() - start)
        watch.awake = False
        told = {
            "code": code, "said": said[:9000], "raised": raised[:9000], "refused": refused,
            "forbidden": sorted(watch.forbidden)[:9], "seconds": seconds,
            "growth": _memory("VmHWM") - before,
        }  # fmt: skip
        os.write(write, json.dumps(told).encode())
    finally:
        os._exit(0)


def _ours(error: BaseException) -> bool:
    from lucency.errors import LucencyError

    return isinstance(error, LucencyError)


def _command(arguments: list[str]) -> tuple[int | None, str]:
    from lucency.cli import main

    said = io.StringIO()
    sys.argv = ["lucency", *arguments]
    try:
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        return (end.code if isinstance(end.code, int) else 1), said.getvalue()
    except BaseException as error:
        return None, f"{type(error).__name__}: {error}"
    return 0, said.getvalue()


class _Watch:
    """An audit hook that notes what should not happen; it cannot be taken off, but sleep."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.awake, self.forbidden = True, set[str]()
        self._allowed, self._below = allowed, tuple(f"{each}/" for each in allowed)

    def __call__(self, event: str, details: Any) -> None:
        if self.awake and (complaint := self._complaint(event, details)):
            self.forbidden.add(complaint)

    def _inside(self, path: Any) -> bool:
        real = os.path.realpath(os.fsdecode(path))
        return real in self._allowed or real.startswith(self._below)

    def _complaint(self, event: str, details: Any) -> str:
        what = details[0] if details else None
        wrong = event.startswith(_FORBIDDEN) and not _of_a_decoder(event, details)
        if event == "open" and what == tempfile.gettempdir():
            wrong = False  # the folder itself: a file without a name, for what decoders say
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


def _of_a_decoder(event: str, details: Any) -> bool:
    """Tell whether this starts or ends a process that decodes images, which predicting does."""
    if event == "subprocess.Popen":
        return list(details[1]) == child_command(DEADLINE)
    if event == "os.kill":  # each is alone in a group of its own
        pid, number = details
        return number == signal.SIGKILL and pid != os.getpid() and os.getpgid(pid) == pid
    return False


def _regular(path: str | bytes) -> bool:
    try:
        mode = Path(os.fsdecode(path)).stat().st_mode
    except OSError:
        return True  # there is nothing to open
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _reset_peak() -> float:
    """Forget the peak of this process's memory so far, and return the MiB that it holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{name}:"))


@contextmanager
def _opened(paths: list[Path]) -> Iterator[Callable[[], list[str]]]:
    """Watch files, and yield a function that returns those that anybody has opened since."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify cannot be started")
    watches = {
        libc.inotify_add_watch(descriptor, os.fsencode(path), 0x20 | 0x1 | 0x2): str(path)
        for path in paths  # IN_OPEN, IN_ACCESS, IN_MODIFY
    }

    def touched() -> list[str]:
        try:
            data = os.read(descriptor, 2**16)
        except BlockingIOError:
            return []
        events = [int.from_bytes(data[i : i + 4], sys.byteorder) for i in range(0, len(data), 16)]
        return sorted({watches[event] for event in events if event in watches})

    try:
        yield touched
    finally:
        os.close(descriptor)
