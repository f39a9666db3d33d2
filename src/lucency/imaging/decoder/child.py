"""The process that decodes: reads requests from standard input and writes responses."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import PurePath
from typing import BinaryIO

from lucency.errors import ImageError, TransientError
from lucency.imaging.decoder.protocol import (
    GREETING,
    Outcome,
    Request,
    Response,
    pack_response,
    read_request,
    reason_payload,
)
from lucency.imaging.detect import HEAD, why_unusable
from lucency.imaging.frames import content_sha256, opened_as
from lucency.imaging.image import SourceImage
from lucency.imaging.raster import PLUGINS
from lucency.imaging.source import load

# Address space. The most expensive image allowed, a progressive CMYK JPEG of 50 megapixels, takes
# 1.0 GiB (400 MB of coefficients, 200 MB of CMYK, 200 MB of RGB and some overhead), and its file of
# up to 256 MiB is in memory up to three times. DICOM of 50 megapixels and 16 bits takes 0.9 GiB in
# addition to NumPy and pydicom, JPEG 2000 and floats take 1.1 GiB, WebP 0.9 GiB.
_MEMORY = 2 * 2**30
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Together over a second of processor time. PNG and JPEG need none of them.
_PRELOADED = (
    *(f"PIL.{module}" for module, _ in PLUGINS.values()),
    "lucency.imaging.deep",
    "lucency.imaging.dicom.header",
    "lucency.imaging.dicom.render",
    "pydicom.pixels.decoders.base",
)
_MARGIN = 5.0  # seconds after the deadline of the parent, which should kill this process


def main() -> None:
    """Decode what is requested, until the parent closes the pipe or ends."""
    deadline, preload = float(sys.argv[1]), "preload" in sys.argv[2:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    requests, responses = sys.stdin.buffer, _private_output()
    _set_limits()
    # NumPy, which DICOM needs, would start threads that the limits forbid.
    os.environ |= dict.fromkeys(_THREADS, "1")
    for module in _PRELOADED if preload else ():
        importlib.import_module(module)
    try:
        responses.write(GREETING)
        responses.flush()
        while True:
            request = read_request(lambda count: _exactly(requests, count))
            _alarm(deadline + _MARGIN)
            response = _respond(request)
            _alarm(0)  # the parent may take any time to read, as after Ctrl-Z
            responses.write(pack_response(response))
            responses.write(response.payload)
            responses.flush()
    except (EOFError, BrokenPipeError):
        os._exit(0)  # without a last flush into a closed pipe


def _private_output() -> BinaryIO:
    """Return standard output, and redirect everything else that is written to it."""
    responses = os.fdopen(os.dup(1), "wb", buffering=2**16)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
    return responses


def _set_limits() -> None:
    """Set resource limits, as far as the system has them."""
    try:
        import resource
    except ImportError:  # Windows
        return
    # Bounded memory, no core dumps (they contain images), no writing to files, few open files, and
    # no new processes (unless superuser).
    limits = {"AS": _MEMORY, "CORE": 0, "FSIZE": 0, "NOFILE": 16, "NPROC": 0}
    for name, most in limits.items():
        if (number := getattr(resource, f"RLIMIT_{name}", None)) is None:
            continue
        _, hard = resource.getrlimit(number)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(number, (least, least))
        except (ValueError, OSError):
            if sys.platform != "darwin":  # which defines RLIMIT_AS but does not allow it
                raise


def _alarm(seconds: float) -> None:
    """Have the system kill this process then, in case the parent no longer exists."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data


def _respond(request: Request) -> Response:
    sha256, size = "", (0, 0)
    patient = study = series = b""
    try:
        source = request.source
        path, frame = ("", 0) if isinstance(source, bytes) else opened_as(source)
        data = source if isinstance(source, bytes) else load(path, request.stamp)
        sha256 = content_sha256(data, frame)
        # The pixels that a camera raw file would give are those of a small preview.
        if reason := why_unusable(PurePath(path).name, data[:HEAD]):
            raise ImageError(reason)
        image = SourceImage(data, frame)
        size = image.size
        if request.salt:
            patient, study = image.patient_key(request.salt), image.study_key(request.salt)
            series = image.series_key(request.salt)
        pixels = image.decode(
            request.size or size, request.colour, request.depth, deep=request.deep
        )
    except ImageError as error:
        outcome = Outcome.TRANSIENT if isinstance(error, TransientError) else Outcome.REJECTED
        return Response(outcome, sha256, size, reason_payload(str(error)))
    except MemoryError:
        return Response(Outcome.TRANSIENT, sha256, size, b"not enough memory to read it")
    return Response(
        Outcome.PIXELS, sha256, size, pixels, image.notes, patient, image.bits, study, series
    )


if __name__ == "__main__":
    main()
