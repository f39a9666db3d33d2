"""One decoding process as its parent sees it: started, asked, and listened to when it dies."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from io import FileIO
from pathlib import Path
from typing import cast

from lucency.errors import RunError
from lucency.imaging.decoder.protocol import (
    GREETING,
    Answer,
    ProtocolError,
    Request,
    packed_request,
    read_answer,
)

# Those behind Pillow are for DICOM, and loaded when there is some.
_LOADED = ("lucency", "PIL", "numpy", "pydicom", "pylibjpeg", "openjpeg", "jpeg_ls", "gdcm")
_START = 60.0  # seconds within which a process has to be ready, on a machine that is very busy
_PIPE = 2**20  # bytes that may wait in a pipe: rows of pixels, where the system has 64 KiB
_PATIENCE = 5.0  # seconds that a process may take to end after it closed its pipe


def child_command(deadline: float) -> list[str]:
    """Return the command of a decoding process.

    It looks for modules where this process found its own, and nowhere else: not in the working
    folder, which may hold anything, and not where environment variables point. Without ``site``,
    and with no collection of garbage until all is loaded, it starts in two thirds of the time.
    """
    found = map(importlib.util.find_spec, _LOADED)  # tells where, without loading any
    folders = {_folder_of(spec) for spec in found if spec}
    script = (
        f"import gc, sys; gc.disable(); sys.path += {sorted(folders)!r}; "
        "from lucency.imaging.decoder.child import main; gc.enable(); main()"
    )
    flags = ["-B"] if sys.dont_write_bytecode else []
    return [sys.executable, "-I", "-S", *flags, "-c", script, str(deadline)]


def _folder_of(spec: ModuleSpec) -> str:
    """Return where a module is looked for to be found."""
    inside = spec.submodule_search_locations  # of a package
    return str(Path((inside and inside[0]) or spec.origin or "").parent)


class DecoderLostError(Exception):
    """A process ended instead of answering; ``str(error)`` is the reason, for a person.

    Attributes:
        killed: Whether somebody ended it from outside, as a system without free memory does, so
            that its image may have nothing to do with it.
    """

    def __init__(self, reason: str, killed: bool = False) -> None:
        super().__init__(reason)
        self.killed = killed


class Child:
    """A decoding process. One thread may ask at a time; another may call ``check``.

    Attributes:
        answers: How many images it has answered.
        alive: Whether it can be asked again.
        late: Whether it was ended because an image took too long.
    """

    def __init__(self, command: Sequence[str], deadline: float) -> None:
        """Start the process, without waiting until it is ready.

        Args:
            command: What to run; ``child_command`` makes it.
            deadline: Seconds that an image may take.

        Raises:
            RunError: It cannot be started.
        """
        self.answers, self.alive, self.late = 0, True, False
        self._deadline, self._due = deadline, float("inf")
        self._lock = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                # Ctrl-C goes to all of a group; the parent alone is to decide what it means.
                process_group=0 if os.name == "posix" else None,
            )
        except OSError as error:
            self._errors.close()
            raise RunError(_no_start(str(error))) from error
        self._requests = cast(FileIO, self._process.stdin)  # as they are not buffered
        self._answers = cast(FileIO, self._process.stdout)
        _widen(self._answers)

    @property
    def number(self) -> int:
        """What the system calls the process."""
        return self._process.pid

    def ask(self, request: Request) -> Answer:
        """Have an image decoded.

        Raises:
            DecoderLostError: The process died, took too long or answered nonsense; it is gone.
            RunError: The process could not even start.
        """
        self.alive = False  # until it has answered
        if not self.answers:
            self._due_in(_START)
            self._greeted()
        self._due_in(self._deadline)
        try:
            self._write(packed_request(request))
            answer = read_answer(self._read, request)
        except ProtocolError as error:
            self.kill()
            raise DecoderLostError(f"its decoder answered nonsense ({error})") from error
        except (OSError, EOFError) as error:
            raise self._last_words() from error
        self._due_in(float("inf"))
        self.answers += 1
        self.alive = not self.late  # else it was ended in the very moment of its answer
        return answer

    def check(self, now: float) -> None:
        """End the process if it should have answered before ``now``."""
        with self._lock:
            if now > self._due and not self.late:
                self.late = True
                self._process.kill()

    def grant(self, seconds: float) -> None:
        """Give the process more time for its image."""
        with self._lock:
            self._due += seconds

    def kill(self) -> None:
        """End the process at once; ``close`` is still to come."""
        self._process.kill()

    def close(self) -> None:
        """End the process, whatever it does, and leave neither it nor a pipe behind."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers, self._errors):
            pipe.close()

    def _due_in(self, seconds: float) -> None:
        with self._lock:
            self._due = time.monotonic() + seconds

    def _greeted(self) -> None:
        try:
            if self._read(len(GREETING)) != GREETING:
                raise RunError(_no_start("it does not answer as a decoder does"))
        except (OSError, EOFError) as error:
            self._ended()
            self._errors.seek(0)
            said = self._errors.read(100_000).decode(errors="replace").strip().splitlines()
            why = (
                f"not ready in {_START:.0f} s" if self.late else (said or ["it ended at once"])[-1]
            )
            raise RunError(_no_start(why)) from error

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._requests.write(rest) :]

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        rest = memoryview(data)
        while rest:
            got = self._answers.readinto(rest)
            if not got:
                raise EOFError
            rest = rest[got:]
        return data

    def _ended(self) -> int:
        """Wait for the end of a process that has closed its pipe; return how it ended."""
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _last_words(self) -> DecoderLostError:
        code = self._ended()
        if self.late:
            return DecoderLostError(f"took longer than {self._deadline:g} s to decode")
        if code >= 0:
            return DecoderLostError(f"its decoder ended (exit code {code})")
        killed = -code == getattr(signal, "SIGKILL", 0)
        why = "; perhaps the machine ran out of memory" if killed else ""
        return DecoderLostError(f"its decoder crashed (signal {-code}{why})", killed)


def _widen(pipe: FileIO) -> None:
    """Let a whole image wait in the pipe, so that the process can go on to the next."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except (ImportError, AttributeError, OSError):
        return  # a convenience that few systems have


def _no_start(why: str) -> str:
    return (
        f"The process that decodes images cannot be started ({why}). Expected to start "
        f"{sys.executable} with the installed lucency and Pillow. Free memory or processes, or "
        "install lucency again."
    )
