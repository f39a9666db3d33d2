"""The protocol of a decoding process: requests and responses, byte by byte.

    request    header (below), path or content of a file
    response   header (below), pixels or the reason why there are none

Responses are untrusted: a compromised decoder may have written them. All lengths are known or
bounded before anything is read, and nothing is unpickled.
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Callable
from typing import NamedTuple

from lucency.imaging.depths import KNOWN
from lucency.imaging.headers import MOST_PIXELS
from lucency.imaging.notes import EVERY_NOTE, Note
from lucency.imaging.source import Stamp

GREETING = b"lucency decoder 5\n"
# is content?, has stamp?, length, height, width, colour, depth, deep?, stamp, has salt?, salt
_REQUEST = struct.Struct(">??IHHBB?3q?16s")
# outcome, has sha256?, sha256, height, width, length, notes, bits, has patient?, patient,
# has study?, study, has series?, series
_RESPONSE = struct.Struct(">B?32sIIIHB?16s?16s?16s")
SALT_BYTES = 16
_MOST_REASON = 1000  # bytes

Read = Callable[[int], bytes | bytearray]  # returns that many bytes or raises EOFError


class ProtocolError(Exception):
    """The response does not fit the request."""


class Outcome(enum.IntEnum):
    """Pixels, an image that cannot be decoded, or a transient failure."""

    PIXELS = 0
    REJECTED = 1
    TRANSIENT = 2


class Request(NamedTuple):
    """An image to be decoded.

    Attributes:
        source: A path, or the content of a file as bytes.
        size: Height and width to return; ``None`` for the image's own.
        colour: Three channels if true, else one.
        stamp: Of the file when it was found; ``None`` if unknown.
        salt: 16 secret bytes to hash patient, study and series with; empty if these are not wanted.
        depth: Bits of files of more than 8; 0 for the fewest that hold the image.
        deep: Whether to return two bytes per value.
    """

    source: str | bytes
    size: tuple[int, int] | None
    colour: bool
    stamp: Stamp | None = None
    salt: bytes = b""
    depth: int = 0
    deep: bool = False


class Response(NamedTuple):
    """The result of a request.

    Attributes:
        outcome: Whether there are pixels.
        sha256: Of the bytes of the file, in hexadecimal; empty where they could not be read.
        size: Height and width of the image; zeros where unknown.
        payload: The pixels, height x width x 1 or 3 values, or the reason in UTF-8.
        notes: What users should know of the file.
        patient: PatientID, 16 bytes hashed with the salt; empty where unknown.
        bits: The smallest depth that holds a file of more than 8 bits; 0 for others.
        study: StudyInstanceUID, hashed like the patient; empty where unknown.
        series: SeriesInstanceUID likewise.
    """

    outcome: Outcome
    sha256: str
    size: tuple[int, int]
    payload: bytes | bytearray
    notes: Note = Note(0)
    patient: bytes = b""
    bits: int = 0
    study: bytes = b""
    series: bytes = b""


def pack_request(request: Request) -> bytes:
    """Return a request as bytes.

    Raises:
        ValueError: A side is not from 1 to 65,535.
    """
    content = isinstance(request.source, bytes)
    body = request.source if isinstance(request.source, bytes) else os.fsencode(request.source)
    height, width = request.size or (0, 0)
    if request.size and not (0 < height <= 0xFFFF and 0 < width <= 0xFFFF):
        raise ValueError(f"Expected sides from 1 to 65,535. Received: {height} x {width}.")
    stamp, salt = request.stamp or (0, 0, 0), request.salt
    head = (content, bool(request.stamp), len(body), height, width, request.colour)
    depth = (request.depth, request.deep)
    return _REQUEST.pack(*head, *depth, *stamp, bool(salt), salt) + body


def read_request(read: Read) -> Request:
    """Read a request; the parent process is trusted."""
    head = _REQUEST.unpack(read(_REQUEST.size))
    content, stamped, length, height, width, colour, depth, deep, *stamp, salted, salt = head
    body = bytes(read(length))
    return Request(
        body if content else os.fsdecode(body),
        (height, width) if height else None,
        bool(colour),
        Stamp(*stamp) if stamped else None,
        salt if salted else b"",
        depth,
        deep,
    )


def pack_response(response: Response) -> bytes:
    """Return the header of a response; its payload follows."""
    hashed, digest = bool(response.sha256), bytes.fromhex(response.sha256)
    head = (response.outcome, hashed, digest, *response.size, len(response.payload))
    keys = response.patient, response.study, response.series
    parts = [part for key in keys for part in (bool(key), key)]
    return _RESPONSE.pack(*head, response.notes, response.bits, *parts)


def reason_payload(reason: str) -> bytes:
    """Return a reason as one printable line of bounded length."""
    return _line(reason).encode()[:_MOST_REASON].decode(errors="ignore").encode()


def read_response(read: Read, request: Request) -> Response:
    """Read the response to a request.

    Raises:
        ProtocolError: It is not one.
        EOFError: It ends early.
    """
    head = _RESPONSE.unpack(read(_RESPONSE.size))
    kind, hashed, digest, height, width, length, notes, bits, *parts = head
    known, keys = parts[::2], parts[1::2]
    if kind not in Outcome.__members__.values():
        raise ProtocolError(f"outcome {kind}")
    if height * width > MOST_PIXELS or (height == 0) != (width == 0):
        raise ProtocolError(f"an image of {height} x {width}")
    if notes & ~EVERY_NOTE or bits not in (0, *KNOWN) or (any(known) and not request.salt):
        raise ProtocolError("notes, bits, a patient, a study or a series that were not requested")
    outcome, size = Outcome(kind), (height, width)
    if outcome == Outcome.PIXELS:
        rows, columns = request.size or size
        expected = rows * columns * (3 if request.colour else 1) * (2 if request.deep else 1)
        if length != expected or not height or not hashed:
            raise ProtocolError(f"{length} bytes of pixels where {expected} were expected")
    elif not 0 < length <= _MOST_REASON:
        raise ProtocolError(f"a reason of {length} bytes")
    payload = read(length)
    sha256 = digest.hex() if hashed else ""
    patient, study, series = (
        key if is_known else b"" for is_known, key in zip(known, keys, strict=True)
    )
    return Response(outcome, sha256, size, payload, Note(notes), patient, bits, study, series)


def reason_of(response: Response) -> str:
    """Return why there are no pixels, as one printable line whatever was sent."""
    return _line(response.payload.decode("utf-8", "replace"))


def _line(text: str) -> str:
    """Remove line ends, control characters and whatever else a terminal may interpret."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
