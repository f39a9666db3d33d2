"""What is asked of a decoding process and what it answers, byte by byte.

    request   header (below), path or content of a file
    answer    header (below), pixels or the reason why there are none

The reader of an answer trusts nothing in it: a decoder that was taken over may have written it. All
lengths are known or bounded before anything is read, and nothing is unpickled.
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Callable
from typing import NamedTuple

from lucency.imaging.dicom import EVERY_NOTE, Note
from lucency.imaging.image import MOST_PIXELS
from lucency.imaging.source import Stamp

GREETING = b"lucency decoder 2\n"
# content?, stamped?, length, height, width, colour, stamp, salted?, salt
_REQUEST = struct.Struct(">??IHHB3q?16s")
# outcome, hashed?, sha256, height, width, length, notes, patient known?, patient
_ANSWER = struct.Struct(">B?32sIIIH?16s")
SALT_BYTES = 16
_MOST_REASON = 1000  # bytes

Read = Callable[[int], bytes | bytearray]  # returns that many bytes or raises EOFError


class ProtocolError(Exception):
    """What was read is no answer to what was asked."""


class Outcome(enum.IntEnum):
    """How it went: pixels, a fault of the image, or one that may be gone by the next run."""

    PIXELS = 0
    REFUSED = 1
    PASSING = 2


class Request(NamedTuple):
    """An image to be decoded.

    Attributes:
        source: A path, or the content of a file as bytes.
        size: Height and width to return; ``None`` for the image's own.
        colour: Three channels if true, else one.
        found: The stamp of the file when it was found; ``None`` where nobody has looked.
        salt: 16 secret bytes to hash the patient with; empty where nobody wants to know.
    """

    source: str | bytes
    size: tuple[int, int] | None
    colour: bool
    found: Stamp | None = None
    salt: bytes = b""


class Answer(NamedTuple):
    """What became of it.

    Attributes:
        outcome: Whether there are pixels.
        sha256: Of the bytes of the file, in hexadecimal; empty where they could not be read.
        size: Height and width of the image; zeros where unknown.
        payload: The pixels, height x width x 1 or 3 bytes, or the reason in UTF-8.
        notes: What a DICOM file says that one should know.
        patient: Whose image it is, 16 bytes hashed with the salt; empty where unknown.
    """

    outcome: Outcome
    sha256: str
    size: tuple[int, int]
    payload: bytes | bytearray
    notes: Note = Note(0)
    patient: bytes = b""


def packed_request(request: Request) -> bytes:
    """Return a request as bytes.

    Raises:
        ValueError: A side is not from 1 to 65,535.
    """
    content = isinstance(request.source, bytes)
    body = request.source if isinstance(request.source, bytes) else os.fsencode(request.source)
    height, width = request.size or (0, 0)
    if request.size and not (0 < height <= 0xFFFF and 0 < width <= 0xFFFF):
        raise ValueError(f"Expected sides from 1 to 65,535. Received: {height} x {width}.")
    stamp, salt = request.found or (0, 0, 0), request.salt
    head = (content, bool(request.found), len(body), height, width, request.colour, *stamp)
    return _REQUEST.pack(*head, bool(salt), salt) + body


def read_request(read: Read) -> Request:
    """Read a request; the one who asks is trusted."""
    head = _REQUEST.unpack(read(_REQUEST.size))
    content, stamped, length, height, width, colour, *stamp, salted, salt = head
    body = bytes(read(length))
    return Request(
        body if content else os.fsdecode(body),
        (height, width) if height else None,
        bool(colour),
        Stamp(*stamp) if stamped else None,
        salt if salted else b"",
    )


def packed_answer(answer: Answer) -> bytes:
    """Return the header of an answer; its payload follows."""
    hashed, digest = bool(answer.sha256), bytes.fromhex(answer.sha256)
    known = (answer.notes, bool(answer.patient), answer.patient)
    return _ANSWER.pack(answer.outcome, hashed, digest, *answer.size, len(answer.payload), *known)


def reason_payload(reason: str) -> bytes:
    """Return a reason as one line that can be printed, and of bounded length."""
    return _line(reason).encode()[:_MOST_REASON].decode(errors="ignore").encode()


def read_answer(read: Read, request: Request) -> Answer:
    """Read the answer to a request.

    Raises:
        ProtocolError: It is none.
        EOFError: It ends early.
    """
    head = _ANSWER.unpack(read(_ANSWER.size))
    kind, hashed, digest, height, width, length, notes, known, patient = head
    if kind not in Outcome.__members__.values():
        raise ProtocolError(f"outcome {kind}")
    if height * width > MOST_PIXELS or (height == 0) != (width == 0):
        raise ProtocolError(f"an image of {height} x {width}")
    if notes & ~EVERY_NOTE or (known and not request.salt):
        raise ProtocolError("notes or a patient that nobody asked for")
    outcome, size = Outcome(kind), (height, width)
    if outcome == Outcome.PIXELS:
        rows, columns = request.size or size
        expected = rows * columns * (3 if request.colour else 1)
        if length != expected or not height or not hashed:
            raise ProtocolError(f"{length} bytes of pixels where {expected} were due")
    elif not 0 < length <= _MOST_REASON:
        raise ProtocolError(f"a reason of {length} bytes")
    payload = read(length)
    sha256, whose = digest.hex() if hashed else "", patient if known else b""
    return Answer(outcome, sha256, size, payload, Note(notes), whose)


def reason_of(answer: Answer) -> str:
    """Return why there are no pixels, as one line that can be printed whatever was sent."""
    return _line(answer.payload.decode("utf-8", "replace"))


def _line(text: str) -> str:
    """Leave out line ends, control characters and whatever else a terminal may act upon."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
