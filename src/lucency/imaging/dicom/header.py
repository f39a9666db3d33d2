"""The header of a DICOM image, validated before a pixel is decoded.

Plain Python without pydicom, as it must be safe in the main process for any file.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from lucency.errors import ImageError
from lucency.imaging.dicom import tags, values
from lucency.imaging.dicom.deflated import Deflated
from lucency.imaging.dicom.detect import ENOUGH, has_magic
from lucency.imaging.dicom.elements import (
    DAMAGED,
    Element,
    Walk,
    fragments,
    frame_fragments,
)
from lucency.imaging.dicom.sop_classes import check_sop_class
from lucency.imaging.dicom.transfer_syntaxes import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    Coding,
    Syntax,
    find_syntax,
)
from lucency.imaging.dicom.values import Elements
from lucency.imaging.dicom.windows import window_of
from lucency.imaging.headers import ENDS_EARLY, check_sides
from lucency.imaging.notes import Note
from lucency.imaging.source import MOST_BYTES

_GREY, _PALETTE = ("MONOCHROME1", "MONOCHROME2"), "PALETTE COLOR"
_TRUE = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_LONGEST_PIXEL = 10  # times its width; beyond, the numbers are wrong
_ANONYMOUS = {"", "0", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "NONE", "NA", "N/A",
           "UNKNOWN", "REMOVED", "PATIENT", "NULL"}  # fmt: skip
KEY_BYTES = 16
_MOST_FRAMES = 100_000


class DicomHeader(NamedTuple):
    """A DICOM image that has not been decoded.

    Attributes:
        syntax: Transfer syntax.
        rows: Height in pixels, as stored.
        columns: Width in pixels, as stored.
        samples: 1 or 3.
        colours: PhotometricInterpretation.
        planar: Whether the colours are stored in planes.
        allocated: BitsAllocated, 8, 16 or 32.
        stored: BitsStored.
        signed: Whether samples may be negative.
        ratio: Height of a pixel divided by its width.
        notes: What users should know.
        pixels: The element with the pixels.
        elements: Elements that define grey levels and colours.
        frames: Number of frames in the pixels.
        frame: Which of them the image is, from 0.
    """

    syntax: Syntax
    rows: int
    columns: int
    samples: int
    colours: str
    planar: bool
    allocated: int
    stored: int
    signed: bool
    ratio: float
    notes: Note
    pixels: Element
    elements: Elements
    frames: int = 1
    frame: int = 0

    def __repr__(self) -> str:  # without any data of the patient
        return f"DicomHeader({self.rows} x {self.columns}, {self.colours})"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in square pixels, at the finer resolution."""
        tall = max(self.ratio, 1.0)
        wide = max(1 / self.ratio, 1.0)
        return round(self.rows * tall), round(self.columns * wide)

    @property
    def native(self) -> memoryview:
        """The bytes of uncompressed pixels."""
        if self.frames == 1:
            return self.pixels.value
        count = _native_bytes(self)
        return self.pixels.value[self.frame * count : (self.frame + 1) * count]

    @property
    def fragments(self) -> list[memoryview]:
        """The fragments of compressed pixels.

        Raises:
            ImageError: They are damaged, or nothing says where the frame begins.
        """
        if self.frames == 1:
            return fragments(self.pixels)
        return frame_fragments(self.pixels, self.frames, self.frame)

    @property
    def identity(self) -> bool:
        """Whether stored values are grey levels as they are: 8 bits, without a modality LUT."""
        return self.stored <= 8 and tags.MODALITY_LUT not in self.elements

    @property
    def grey(self) -> bool:
        """Whether stored values are grey levels."""
        return self.colours in _GREY

    @property
    def palette(self) -> bool:
        """Whether stored values are indices into a palette."""
        return self.colours == _PALETTE

    def patient_key(self, salt: bytes) -> bytes:
        """Return the PatientID as 16 bytes, hashed with the salt.

        The key is empty where the file has no PatientID, or a placeholder of an anonymiser.
        """
        name = values.text(self.elements, tags.PATIENT_ID)
        if name.upper().strip("<>[]() ") in _ANONYMOUS:
            return b""
        return hmac.digest(salt, name.encode(), hashlib.sha256)[:KEY_BYTES]

    def study_key(self, salt: bytes) -> bytes:
        """Return the StudyInstanceUID as 16 bytes, hashed with the salt; empty without one."""
        return self._uid_key(tags.STUDY_INSTANCE_UID, salt)

    def series_key(self, salt: bytes) -> bytes:
        """Return the SeriesInstanceUID as 16 bytes, hashed with the salt; empty without one."""
        return self._uid_key(tags.SERIES_INSTANCE_UID, salt)

    def _uid_key(self, tag: int, salt: bytes) -> bytes:
        uid = values.text(self.elements, tag)
        return hmac.digest(salt, uid.encode(), hashlib.sha256)[:KEY_BYTES] if uid else b""


def read_dicom(data: bytes, frame: int = 0) -> DicomHeader:
    """Read the header of a DICOM image; nothing is decoded.

    Args:
        data: The content of a file for which ``is_dicom`` is true.
        frame: Number of the frame, from 1; 0 for the middle one.

    Raises:
        ImageError: It is no image of a supported kind, has fewer frames, or is damaged.
    """
    whole = memoryview(data)
    syntax, start, sop_class = _meta(whole)
    if not syntax.deflated:
        return _header(_elements(whole, start, syntax), syntax, sop_class, frame)
    deflated = Deflated(whole[start:])
    beginning = _elements(deflated.beginning(), 0, syntax)
    first = _header(beginning, syntax, sop_class, frame, truncated=True)
    most = first.pixels.place + (first.frame + 1) * _native_bytes(first)
    if first.frames > 1 and most > MOST_BYTES:
        raise ImageError(f"unpacks to {most:,} bytes; at most {MOST_BYTES:,} are read")
    return _header(_elements(deflated.up_to(most), 0, syntax), syntax, sop_class, frame)


def frames_of(data: bytes) -> int:
    """Return the number of frames of a DICOM file, without decoding any.

    Raises:
        ImageError: It is damaged.
    """
    whole = memoryview(data)
    syntax, start, _ = _meta(whole)
    if syntax.deflated:
        whole, start = Deflated(whole[start:]).beginning(), 0
    return _frames(_elements(whole, start, syntax))


def _frames(found: Elements) -> int:
    count = max(1, values.whole(found, tags.NUMBER_OF_FRAMES, 1))
    if count > _MOST_FRAMES:
        raise ImageError(f"{count:,} frames; at most {_MOST_FRAMES:,} are read")
    return count


def _meta(data: memoryview) -> tuple[Syntax, int, str]:
    """Return the transfer syntax, the offset of the data set, and the SOP class."""
    start = ENOUGH if has_magic(data[:ENOUGH].tobytes()) else 0
    wanted = (tags.MEDIA_STORAGE_SOP_CLASS, tags.TRANSFER_SYNTAX)
    meta: Elements = {}
    if data[start : start + 2].tobytes() == b"\x02\0":
        meta, start = Walk(data).elements(start, True, "<", wanted, tags.META_ENDS)
    kind, uid = (
        values.text(meta, tags.MEDIA_STORAGE_SOP_CLASS),
        values.text(meta, tags.TRANSFER_SYNTAX),
    )
    if not uid:
        return _guessed(data[start : start + 6].tobytes()), start, kind
    syntax = find_syntax(uid)
    if syntax in (IMPLICIT, EXPLICIT):  # some files declare one and contain the other
        syntax = _guessed(data[start : start + 6].tobytes())
    return syntax, start, kind


def _guessed(beginning: bytes) -> Syntax:
    if not (beginning[4:].isalpha() and beginning[4:].isupper()):
        return IMPLICIT
    return BIG_ENDIAN if beginning[:1] == b"\0" else EXPLICIT


def _elements(data: memoryview, start: int, syntax: Syntax) -> Elements:
    walk = Walk(data)
    return walk.elements(start, syntax.explicit, syntax.order, tags.WANTED, tags.PIXEL_DATA)[0]


def _header(
    found: Elements, syntax: Syntax, sop_class: str, frame: int, truncated: bool = False
) -> DicomHeader:
    note = check_sop_class(values.text(found, tags.SOP_CLASS) or sop_class)
    pixels = found.get(tags.PIXEL_DATA)
    if any(tag in found for tag in tags.FLOAT_PIXELS):
        raise ImageError("a DICOM file of floating-point numbers; expected an image")
    if pixels is None or not pixels.value:
        raise ImageError("a DICOM file without pixels; get it again, or the one it belongs to")
    if frame > (frames := _frames(found)):
        raise ImageError(f"frame {frame:,} of {frames:,}; expected one that there is")
    if frames > 1 and not frame:
        note |= Note.MIDDLE_FRAME
    allocated, stored = (
        values.whole(found, tags.BITS_ALLOCATED),
        values.whole(found, tags.BITS_STORED),
    )
    header = DicomHeader(
        syntax,
        rows=values.whole(found, tags.ROWS),
        columns=values.whole(found, tags.COLUMNS),
        samples=values.whole(found, tags.SAMPLES, 1),
        colours=values.text(found, tags.PHOTOMETRIC_INTERPRETATION),
        planar=bool(values.whole(found, tags.PLANAR_CONFIGURATION, 0)),
        allocated=allocated,
        stored=stored,
        signed=bool(values.whole(found, tags.PIXEL_REPRESENTATION, 0)),
        ratio=_ratio(found),
        notes=note,
        pixels=pixels,
        elements=found,
        frames=frames,
        frame=(frame or frames // 2 + 1) - 1,
    )
    _check(header, values.whole(found, tags.HIGH_BIT, stored - 1))
    if (
        not truncated
        and syntax.coding is Coding.NATIVE
        and len(pixels.value) < (header.frame + 1) * _native_bytes(header)
    ):
        raise ImageError(ENDS_EARLY)
    return header._replace(notes=note | _notes(header))


def _check(header: DicomHeader, high: int) -> None:
    """Reject what no device writes, and what is too rare to be read reliably."""
    samples = 3 if header.colours in _TRUE else 1
    if not (header.grey or header.palette or samples == 3):
        raise ImageError(
            "a DICOM image in rare or unnamed colours; expected grey levels, RGB, YBR or a "
            "palette: export it as PNG"
        )
    deepest = 32 if samples == 3 else 16
    bits_fit = header.allocated in (8, 16, 32) and 1 <= header.stored <= header.allocated <= deepest
    if header.samples != samples or not bits_fit or high != header.stored - 1:
        raise ImageError(
            f"a DICOM image of a rare kind ({header.samples} samples of {header.stored} bits in "
            f"{header.allocated}, the highest numbered {high}): export it as PNG"
        )
    if header.pixels.encapsulated == (header.syntax.coding is Coding.NATIVE):
        raise ImageError(DAMAGED.format("its pixels do not match its transfer syntax"))
    check_sides(header.rows, header.columns)


def _native_bytes(header: DicomHeader) -> int:
    """Return the number of bytes of uncompressed pixels."""
    count = header.rows * header.columns * header.samples * header.allocated // 8
    return count * 2 // 3 if header.colours == "YBR_FULL_422" else count


def _ratio(found: Elements) -> float:
    """Return the height of a pixel divided by its width, from the first valid pair of numbers.

    Implausible ratios count as 1.
    """
    for tag in tags.SPACINGS:
        pair = values.numbers(found, tag)
        if len(pair) == 2 and min(pair) > 0:
            ratio = pair[0] / pair[1]
            return ratio if 1 / _LONGEST_PIXEL <= ratio <= _LONGEST_PIXEL else 1.0
    return 1.0


def _notes(header: DicomHeader) -> Note:
    note, found = Note(0), header.elements
    window = window_of(found, header.signed) if header.grey else None
    if window and window.several:
        note |= Note.SEVERAL_WINDOWS
    if header.grey and not window and not header.identity:
        note |= Note.NO_WINDOW
    if values.text(found, tags.BURNED_IN_ANNOTATION).upper() == "YES":
        note |= Note.BURNED_IN
    if values.text(found, tags.VIEW_POSITION).upper() in ("LL", "RL", "LATERAL", "LAT"):
        note |= Note.LATERAL
    if any(tag in found for tag in tags.OVERLAYS):
        note |= Note.OVERLAY
    return note
