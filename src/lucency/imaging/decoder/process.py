"""One decoding process, as used by its parent: start it, send requests, report why it died."""

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
    ProtocolError,
    Request,
    Response,
    pack_request,
    read_response,
)

# Those after Pillow are for DICOM, and imported when needed or to be ready for it.
_LOADED = ("lucency", "PIL", "numpy", "pydicom", "pylibjpeg", "openjpeg", "jpeg_ls", "gdcm")
_START = 60.0  # seconds until a process must be ready, even on a very busy machine
_PIPE = 2**20  # bytes of pixels that fit into a pipe, instead of the usual 64 KiB
_EXIT = 5.0  # seconds that a process may take to exit after it closed its pipe


def child_command(deadline: float, *, preload: bool = False) -> list[str]:
    """Return the command of a decoding process.

    It imports modules only from where this process imported them: not from the working folder,
    which may contain anything, and not from where environment variables point. Without ``site``,
    and without garbage collection until everything is imported, it starts in two thirds of the
    time.

    Args:
        deadline: Seconds that an image may take.
        preload: Whether it imports what all formats need before it is ready; otherwise it does so
            within the deadline of the first file.
    """
    found = map(importlib.util.find_spec, _LOADED)  # finds them without importing
    folders = {_folder_of(spec) for spec in found if spec}
    script = (
        f"import gc, sys; gc.disable(); sys.path += {sorted(folders)!r}; "
        "from lucency.imaging.decoder.child import main; gc.enable(); main()"
    )
    flags = ["-B"] if sys.dont_write_bytecode else []
    given = [str(deadline), *(["preload"] if preload else [])]
    return [sys.executable, "-I", "-S", *flags, "-c", script, *given]


def _folder_of(spec: ModuleSpec) -> str:
    """Return the search path on which a module is found."""
    inside = spec.submodule_search_locations  # of a package
    return str(Path((inside and inside[0]) or spec.origin or "").parent)


class DecoderError(Exception):
    """A process ended without a response; ``str(error)`` is a readable reason.

    Attributes:
        killed: Whether it was killed from outside, as by a system without free memory, so that its
            image may not be the cause.
    """

    def __init__(self, reason: str, killed: bool = False) -> None:
        super().__init__(reason)
        self.killed = killed


class Child:
    """A decoding process. One thread at a time may call ``send``; another may call ``check``.

    Attributes:
        responses: Number of responses received.
        alive: Whether it can take another request.
        timed_out: Whether it was killed because an image took too long.
    """

    def __init__(self, command: Sequence[str], deadline: float) -> None:
        """Start the process, without waiting until it is ready.

        Args:
            command: As returned by ``child_command``.
            deadline: Seconds that an image may take.

        Raises:
            RunError: It cannot be started.
        """
        self.responses, self.alive, self.timed_out = 0, True, False
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
                # Ctrl-C is sent to the whole process group; only the parent should handle it.
                process_group=0 if os.name == "posix" else None,
            )
        except OSError as error:
            self._errors.close()
            raise RunError(_start_error(str(error))) from error
        self._requests = cast(FileIO, self._process.stdin)  # as they are not buffered
        self._responses = cast(FileIO, self._process.stdout)
        _enlarge(self._responses)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send(self, request: Request) -> Response:
        """Have an image decoded.

        Raises:
            DecoderError: The process died, timed out or sent an invalid response; it has ended.
            RunError: The process could not start.
        """
        self.alive = False  # until it has responded
        if not self.responses:
            self._set_deadline(_START)
            self._receive_greeting()
        self._set_deadline(self._deadline)
        try:
            self._write(pack_request(request))
            response = read_response(self._read, request)
        except ProtocolError as error:
            self.kill()
            raise DecoderError(f"its decoder sent an invalid response ({error})") from error
        except (OSError, EOFError) as error:
            raise self._exit_error() from error
        self._set_deadline(float("inf"))
        self.responses += 1
        self.alive = not self.timed_out  # it may have been killed at the moment of its response
        return response

    def check(self, now: float) -> None:
        """Kill the process if its deadline was before ``now``."""
        with self._lock:
            if now > self._due and not self.timed_out:
                self.timed_out = True
                self._process.kill()

    def extend(self, seconds: float) -> None:
        """Extend the deadline of the current image."""
        with self._lock:
            self._due += seconds

    def kill(self) -> None:
        """Kill the process at once; ``close`` must still be called."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process, whatever it does, and close its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._responses, self._errors):
            pipe.close()

    def _set_deadline(self, seconds: float) -> None:
        with self._lock:
            self._due = time.monotonic() + seconds

    def _receive_greeting(self) -> None:
        try:
            if self._read(len(GREETING)) != GREETING:
                raise RunError(_start_error("it does not respond like a decoder"))
        except (OSError, EOFError) as error:
            self._wait()
            self._errors.seek(0)
            lines = self._errors.read(100_000).decode(errors="replace").strip().splitlines()
            last = (lines or ["it ended at once"])[-1]
            reason = f"not ready in {_START:.0f} s" if self.timed_out else last
            raise RunError(_start_error(reason)) from error

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._requests.write(rest) :]

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        rest = memoryview(data)
        while rest:
            count = self._responses.readinto(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return data

    def _wait(self) -> int:
        """Wait for a process that has closed its pipe to exit; return its exit code."""
        try:
            return self._process.wait(_EXIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _exit_error(self) -> DecoderError:
        code = self._wait()
        if self.timed_out:
            return DecoderError(f"took longer than {self._deadline:g} s to decode")
        if code >= 0:
            return DecoderError(f"its decoder ended (exit code {code})")
        killed = -code == getattr(signal, "SIGKILL", 0)
        cause = "; perhaps the machine ran out of memory" if killed else ""
        return DecoderError(f"its decoder crashed (signal {-code}{cause})", killed)


def _enlarge(pipe: FileIO) -> None:
    """Let a whole image fit into the pipe, so that the process can continue with the next."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    except (ImportError, AttributeError, OSError):
        return  # an optimisation that few systems support


def _start_error(reason: str) -> str:
    return (
        f"The process that decodes images cannot be started ({reason}). Expected to start "
        f"{sys.executable} with the installed lucency and Pillow. Free memory or processes, or "
        "install lucency again."
    )
