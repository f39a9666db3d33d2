"""One file to grey or colour pixels: the only decoding and resizing in the program.

Training, evaluation, prediction and reports all read images here, so they cannot differ. There is
no randomness, and a file only reaches the decoder of the format that was recognised.

Untrusted files are decoded by ``lucency.imaging.decoder``, in processes that call this module.
NumPy and pydicom are imported where they are needed: without them those processes start three times
as fast.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from lucency.errors import ImageError, TransientError
from lucency.imaging.depths import EIGHT, UNIT, in_words, white_of
from lucency.imaging.dicom import is_dicom
from lucency.imaging.headers import ENDS_EARLY, Header, check_sides, frames_in, read_header
from lucency.imaging.notes import Note
from lucency.imaging.raster import decoded, is_transposed, notes_on
from lucency.imaging.source import load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lucency.imaging.dicom.header import DicomHeader

Source = str | Path | bytes | BinaryIO

# Files with these suffixes count as images. Those whose content is no format that can be read are
# excluded with a reason instead of being ignored.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "dib", "tif", "tiff", "webp"),
        *("avif", "heic", "heif", "jp2", "j2k", "j2c", "jxl", "pbm", "pgm", "ppm", "pnm"),
        *("dcm", "dicom"),
    )
)
COLOUR_CHECK_SIZE = (64, 64)  # pixels in which an image is checked for colour
_COLOUR_NOISE = 12  # of 255; grey images saved as colour JPEG stay below


class SourceImage:
    """An image whose header has been read and whose limits have been checked.

    Attributes:
        size: Height and width in pixels, after applying the EXIF orientation; of a DICOM file,
            with square pixels.
        notes: What users should know of the file; after decoding also whether it was clipped.
        bits: After decoding, the smallest depth that holds the samples of a file of more than 8
            bits, as ``lucency.imaging.deep`` has them; 0 for other files.
    """

    def __init__(self, data: bytes, frame: int = 0) -> None:
        """Read the header.

        Args:
            data: The content of an image file.
            frame: Number of the frame or page, from 1; 0 for the middle one of DICOM, else the
                first.

        Raises:
            ImageError: It is another kind of file, or not a single image, or one that is too
                large or too small.
        """
        self._header: Header | DicomHeader
        self.bits = 0
        if is_dicom(data):
            from lucency.imaging.dicom.header import read_dicom

            self._header = dicom = read_dicom(data, frame)
            self.size, self.notes = dicom.size, dicom.notes
        else:
            self._header = header = read_header(data, frame)
            self.size, self.notes = _upright(header), notes_on(header)
        check_sides(*self.size)

    def patient_key(self, salt: bytes) -> bytes:
        """Return the PatientID as 16 hashed bytes, from which it cannot be recovered.

        Images of one patient have equal keys with the same salt. The key is empty where the file
        does not name a patient, as in every format but DICOM.

        Args:
            salt: Secret random bytes; without them, no identifier can be guessed.
        """
        return b"" if isinstance(self._header, Header) else self._header.patient_key(salt)

    def study_key(self, salt: bytes) -> bytes:
        """Return the StudyInstanceUID as 16 hashed bytes, as ``patient_key`` does the PatientID."""
        return b"" if isinstance(self._header, Header) else self._header.study_key(salt)

    def series_key(self, salt: bytes) -> bytes:
        """Return the SeriesInstanceUID as 16 hashed bytes likewise."""
        return b"" if isinstance(self._header, Header) else self._header.series_key(salt)

    def pixels(self, size: tuple[int, int], colour: bool, depth: int = 0) -> NDArray[np.uint8]:
        """Return the result of ``decode`` as (height, width, 1 or 3) uint8."""
        import numpy as np

        rows = bytearray(self.decode(size, colour, depth))  # over bytes it would be read-only
        return np.frombuffer(rows, np.uint8).reshape(*size, 3 if colour else 1)

    def decode(
        self, size: tuple[int, int], colour: bool, depth: int = 0, *, deep: bool = False
    ) -> bytes:
        """Decode and resize.

        The whole image is resized to ``size`` without keeping the aspect ratio: padding would
        reveal the shape of the original file to the network, and in data sets of radiographs that
        alone often separates the classes.

        DICOM files are displayed as they specify. Transparent regions become black.

        Args:
            size: Height and width to return.
            colour: Three channels (red, green, blue) if true, else one (luma, ITU-R BT.601).
            depth: Bits of the samples of files of more than 8: the largest number of that many bits
                is white, and larger ones are clipped. 0 takes the fewest that hold the image, which
                is for display only, as neighbouring images may then differ.
            deep: Whether to return two bytes per value instead of one.

        Returns:
            height x width x 1 or 3 values: rows from the top, pixels from the left. One byte each,
            255 is white; or two bytes each, little endian, 65,535 is white.

        Raises:
            TransientError: There is not enough memory.
            ImageError: The file is damaged, or has more than the 8 bits of ``depth``.
        """
        with _readable_errors():
            if isinstance(self._header, Header) and self._header.bits > 8:
                return self._deep(self._header, size, colour, depth, deep)
            if isinstance(self._header, Header):
                pixels = decoded(self._header, size, colour).tobytes()
            else:
                pixels = _rendered(self._header, size, colour)
        return _doubled(pixels) if deep else pixels

    def _deep(
        self, header: Header, size: tuple[int, int], colour: bool, depth: int, deep: bool
    ) -> bytes:
        from lucency.imaging.deep import DeepImage

        image = DeepImage(header)
        self.bits = image.bits
        depth = depth or image.bits
        if depth == EIGHT != image.bits:
            raise ImageError(_too_deep(image.bits, image.highest))
        if image.highest > white_of(depth):
            self.notes |= Note.CLIPPED
        if deep:
            return image.as_words(size, colour, depth).tobytes()
        return image.as_bytes(size, colour, depth).tobytes()


def count_frames(data: bytes) -> int:
    """Return how many frames a DICOM or GIF file, or pages a TIFF file has; 1 for any other.

    Nothing is decoded. A damaged file has 1: decoding it gives the reason.
    """
    try:
        if is_dicom(data):
            from lucency.imaging.dicom.header import frames_of

            return frames_of(data)
        return frames_in(data)
    except ImageError:
        return 1


def read_image(
    source: Source, size: tuple[int, int], colour: bool, depth: int = 0
) -> NDArray[np.uint8]:
    """Read an image as ``SourceImage.pixels`` does.

    Args:
        source: A path, the content of a file, or an open binary file.
        size: Height and width to return; the aspect ratio is not kept.
        colour: Three channels if true, else one.
        depth: Bits of files of more than 8; 0 for the fewest that hold the image.

    Returns:
        (height, width, 1 or 3) uint8.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    return SourceImage(_content(source)).pixels(size, colour, depth)


def full_size(source: Source) -> tuple[int, int]:
    """Return height and width from the header, after applying the EXIF orientation.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    return SourceImage(_content(source)).size


def is_colour(source: Source) -> bool:
    """Tell whether an image shows colour, whatever its number of channels.

    It is checked at 64 x 64 pixels, so that JPEG artefacts and coloured specks do not count.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    return shows_colour(read_image(source, COLOUR_CHECK_SIZE, colour=True))


def shows_colour(pixels: NDArray[np.uint8 | np.float32]) -> bool:
    """Tell whether an image of 64 x 64 pixels, (64, 64, 3) of 0 to 255, shows colour."""
    import numpy as np

    return bool(np.ptp(pixels, axis=2).max() > _COLOUR_NOISE)


def encode_png(pixels: NDArray[np.uint8 | np.float32]) -> bytes:
    """Return (height, width, 1 or 3) pixels of 0 to 255 as the content of a PNG file of 8 bits."""
    file = io.BytesIO()
    if pixels.dtype != "uint8":
        pixels = pixels.round().astype("uint8")
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def png_uri(png: bytes) -> str:
    """Return a PNG file as a data URI."""
    import base64

    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _content(source: Source) -> bytes:
    return source if isinstance(source, bytes) else load(source)


def _upright(header: Header) -> tuple[int, int]:
    """Return height and width of a single image after applying the EXIF orientation."""
    if header.frames > 1 and header.kind == "PNG":
        raise ImageError(
            f"animated ({header.frames:,} frames); expected one image: save one frame as PNG"
        )
    height, width = header.height, header.width
    return (width, height) if is_transposed(header) else (height, width)


def _too_deep(bits: int, highest: float) -> str:
    what = in_words(bits) if bits == UNIT else f"{bits}-bit values up to {highest:,.0f}"
    return (
        f"{what}, but a depth of 8 bits; expected values up to 255: convert it to 8 bits, or train "
        f"at its depth (--depth {bits})"
    )


def _doubled(pixels: bytes) -> bytes:
    """Return 8 bits as 16: 257 times each value, so that 255 becomes 65,535."""
    words = bytearray(2 * len(pixels))
    words[0::2] = words[1::2] = pixels
    return bytes(words)


def _rendered(header: DicomHeader, size: tuple[int, int], colour: bool) -> bytes:
    """Decode DICOM, then resize as for a PNG file of the same image."""
    from lucency.imaging.dicom.render import rendered

    height, width = size
    image = rendered(header).convert("RGB" if colour else "L")
    return image.resize((width, height), Image.Resampling.BILINEAR).tobytes()


@contextmanager
def _readable_errors() -> Iterator[None]:
    """Turn any exception of a decoder into an ImageError with a readable reason.

    Damaged files have made Pillow raise OSError, SyntaxError, ValueError, struct.error, zlib.error,
    IndexError and more.
    """
    try:
        yield
    except MemoryError as error:
        raise TransientError("not enough memory to decode it") from error
    except ImageError:
        raise
    except Exception as error:
        if "truncated" in str(error).lower():
            raise ImageError(ENDS_EARLY) from error
        what = str(error) or type(error).__name__
        raise ImageError(
            f"its pixels cannot be decoded ({what}): damaged, or of a rare kind; "
            "get it again, or save it as PNG"
        ) from error
