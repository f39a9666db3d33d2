"""The process that decodes: reads requests from standard input until it ends, and answers them."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from typing import BinaryIO

from lucency.errors import ImageError, PassingError
from lucency.imaging.decoder.protocol import (
    GREETING,
    Answer,
    Outcome,
    Request,
    packed_answer,
    read_request,
    reason_payload,
)
from lucency.imaging.dicom import Note
from lucency.imaging.image import SourceImage
from lucency.imaging.source import load

# Address space. The dearest image allowed, a progressive CMYK JPEG of 50 megapixels, takes
# 1.0 GiB (400 MB of coefficients, 200 MB of CMYK, 200 MB of RGB, the rest beside them), and its
# file of up to 256 MiB lies in memory up to three times. DICOM of 50 megapixels and 16 bits takes
# 0.9 GiB beside NumPy and pydicom.
_MEMORY = 2 * 2**30
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_MARGIN = 5.0  # seconds after the deadline of the parent, which is the one to end this process


def main() -> None:
    """Decode what is asked for, until the parent closes the pipe or is gone."""
    deadline = float(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to decide about
    requests, answers = sys.stdin.buffer, _private_output()
    _limit()
    # NumPy, which DICOM needs, would start threads that the limits forbid.
    os.environ |= dict.fromkeys(_THREADS, "1")
    try:
        answers.write(GREETING)
        answers.flush()
        while True:
            request = read_request(lambda count: _exactly(requests, count))
            _alarm(deadline + _MARGIN)
            answer = _answer(request)
            _alarm(0)  # for the parent to read may take any time, as after Ctrl-Z
            answers.write(packed_answer(answer))
            answers.write(answer.payload)
            answers.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # without a last flush into a pipe that nobody reads


def _private_output() -> BinaryIO:
    """Return standard output, which from now on nothing else can write to."""
    answers = os.fdopen(os.dup(1), "wb", buffering=2**16)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return answers


def _limit() -> None:
    """Bound what a decoder can do, as far as the system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # No more memory, no core dumps (they hold images), no new file content, few open files, and
    # no new processes (where not the superuser).
    wanted = {"AS": _MEMORY, "CORE": 0, "FSIZE": 0, "NOFILE": 16, "NPROC": 0}
    for name, most in wanted.items():
        if (number := getattr(resource, f"RLIMIT_{name}", None)) is None:
            continue
        _, hard = resource.getrlimit(number)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(number, (least, least))
        except (ValueError, OSError):
            if sys.platform != "darwin":  # which has RLIMIT_AS and refuses to set it
                raise


def _alarm(seconds: float) -> None:
    """Have the system end this process by then, should the parent be gone and not do it."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _answer(request: Request) -> Answer:
    sha256, size, notes, patient = "", (0, 0), Note(0), b""
    try:
        source = request.source
        data = source if isinstance(source, bytes) else load(source, request.found)
        sha256 = hashlib.sha256(data).hexdigest()
        image = SourceImage(data)
        size, notes = image.size, image.notes
        patient = image.patient_key(request.salt) if request.salt else b""
        pixels = image.decode(request.size or size, request.colour)
    except ImageError as error:
        outcome = Outcome.PASSING if isinstance(error, PassingError) else Outcome.REFUSED
        return Answer(outcome, sha256, size, reason_payload(str(error)))
    except MemoryError:
        return Answer(Outcome.PASSING, sha256, size, b"not enough memory to read it")
    return Answer(Outcome.PIXELS, sha256, size, pixels, notes, patient)


if __name__ == "__main__":
    main()
