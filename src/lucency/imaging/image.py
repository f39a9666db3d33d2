"""One file to grey or colour ``uint8`` pixels: the only decoding and resizing in the program.

Training, evaluation, prediction and reports all read images here, so they cannot differ. There is
no randomness, and PNG, JPEG and DICOM are the only formats whose decoders can be reached.

Untrusted files are decoded by ``lucency.imaging.decoder``, in processes that call this module.
NumPy and pydicom are imported where they are needed: without them those processes start three times
as fast.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from lucency.errors import ImageError, TransientError
from lucency.imaging import headers
from lucency.imaging.detect import HEAD, is_image_content
from lucency.imaging.dicom import Note, is_dicom
from lucency.imaging.headers import ENDS_EARLY, Header, check_sides, read_header
from lucency.imaging.source import first_bytes, load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lucency.imaging.dicom.header import DicomHeader

Source = str | Path | bytes | BinaryIO

# Files with these suffixes count as images. Those whose content is neither PNG, JPEG nor DICOM are
# excluded with a reason instead of being ignored.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "tif", "tiff", "webp", "avif"),
        *("heic", "heif", "jp2", "j2k", "jxl", "pgm", "ppm", "pnm", "dcm", "dicom"),
    )
)
MOST_PIXELS = headers.MOST_PIXELS
# A JPEG is decoded at the smallest scale of 1/8, 1/4, 1/2 and 1/1 that is still this many times
# larger than requested. On radiographs of 1.4 megapixels the mean difference from a full decode is
# 0.2 to 0.3 grey levels, in half the time; the rest is mostly entropy decoding, at any scale.
_DRAFT = 1.25
COLOUR_CHECK_SIZE = (64, 64)  # pixels in which an image is checked for colour
_COLOUR_NOISE = 12  # of 255; grey images saved as colour JPEG stay below
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class SourceImage:
    """An image whose header has been read and whose limits have been checked.

    Attributes:
        size: Height and width in pixels, after applying the EXIF orientation; of a DICOM file,
            with square pixels.
        notes: What users should know of a DICOM file; empty for others.
    """

    def __init__(self, data: bytes) -> None:
        """Read the header.

        Args:
            data: The content of a PNG, JPEG or DICOM file.

        Raises:
            ImageError: It is another kind of file, or not a single image, or one that is too
                large or too small.
        """
        self._header: Header | DicomHeader
        if is_dicom(data):
            from lucency.imaging.dicom.header import read_dicom

            self._header = dicom = read_dicom(data)
            self.size, self.notes = dicom.size, dicom.notes
        else:
            self._header = header = read_header(data)
            self.size, self.notes = _upright(header), Note(0)
        check_sides(*self.size)

    def patient_key(self, salt: bytes) -> bytes:
        """Return the PatientID as 16 hashed bytes, from which it cannot be recovered.

        Images of one patient have equal keys with the same salt. The key is empty where the file
        does not name a patient, as in every PNG and JPEG.

        Args:
            salt: Secret random bytes; without them, no identifier can be guessed.
        """
        return b"" if isinstance(self._header, Header) else self._header.patient_key(salt)

    def pixels(self, size: tuple[int, int], colour: bool) -> NDArray[np.uint8]:
        """Return the result of ``decode`` as (height, width, 1 or 3) uint8."""
        import numpy as np

        rows = bytearray(self.decode(size, colour))  # an array over bytes would be read-only
        return np.frombuffer(rows, np.uint8).reshape(*size, 3 if colour else 1)

    def decode(self, size: tuple[int, int], colour: bool) -> bytes:
        """Decode and resize.

        The whole image is resized to ``size`` without keeping the aspect ratio: padding would
        reveal the shape of the original file to the network, and in data sets of radiographs that
        alone often separates the classes.

        Grey PNG files of more than 8 bits keep the upper 8 of the smallest of 8, 10, 12, 14 and 16
        bits that hold their maximum, as PNG does not record the bit depth of the detector. DICOM
        files are displayed as they specify. Transparent regions become black.

        Args:
            size: Height and width to return.
            colour: Three channels (red, green, blue) if true, else one (luma, ITU-R BT.601).

        Returns:
            height x width x 1 or 3 bytes: rows from the top, pixels from the left.

        Raises:
            TransientError: There is not enough memory.
            ImageError: The file is damaged.
        """
        with _readable_errors():
            if isinstance(self._header, Header):
                return _decoded(self._header, size, colour)
            return _rendered(self._header, size, colour)


def is_image(path: str | Path) -> bool:
    """Tell whether a file should be an image: by its name, else by its first bytes.

    A DICOMDIR is a list of images, not an image.
    """
    name = PurePath(path)
    if name.suffix.lower() in IMAGE_SUFFIXES:
        return True
    return name.name.upper() != "DICOMDIR" and is_image_content(first_bytes(path, HEAD))


def read_image(source: Source, size: tuple[int, int], colour: bool) -> NDArray[np.uint8]:
    """Read an image as ``SourceImage.pixels`` does.

    Args:
        source: A path, the content of a file, or an open binary file.
        size: Height and width to return; the aspect ratio is not kept.
        colour: Three channels if true, else one.

    Returns:
        (height, width, 1 or 3) uint8.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    return SourceImage(_content(source)).pixels(size, colour)


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


def shows_colour(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether an image of 64 x 64 pixels, (64, 64, 3) uint8, shows colour."""
    import numpy as np

    return bool(np.ptp(pixels, axis=2).max() > _COLOUR_NOISE)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return (height, width, 1 or 3) uint8 as the content of a PNG file."""
    file = io.BytesIO()
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
    if header.frames > 1:
        raise ImageError(
            f"animated ({header.frames:,} frames); expected one image: save one frame as PNG"
        )
    height, width = header.height, header.width
    return (width, height) if _is_transposed(header) else (height, width)


def _is_transposed(header: Header) -> bool:
    return header.orientation >= 5


def _decoded(header: Header, size: tuple[int, int], colour: bool) -> bytes:
    """Decode PNG or JPEG."""
    height, width = size
    stored = (height, width) if _is_transposed(header) else (width, height)
    mode = "RGB" if colour else "L"
    image = _open(header)
    drafted = image.draft(mode, (round(_DRAFT * stored[0]), round(_DRAFT * stored[1])))
    # A scaled JPEG is padded to whole pixels; the padding must not shift the image.
    box = drafted[1] if drafted else None
    small = _converted(image, mode).resize(stored, Image.Resampling.BILINEAR, box)
    if header.orientation != 1:
        small = small.transpose(_TRANSPOSITIONS[header.orientation])
    return small.tobytes()


def _open(header: Header) -> ImageFile:
    stream = io.BytesIO(header.stream)
    image = (PngImageFile if header.kind == "PNG" else JpegImageFile)(stream)
    if image.size != (header.width, header.height):
        raise ValueError("Pillow reads other dimensions in the header")
    return image


def _rendered(header: DicomHeader, size: tuple[int, int], colour: bool) -> bytes:
    """Decode DICOM, then resize as for a PNG file of the same image."""
    from lucency.imaging.dicom.render import rendered

    height, width = size
    image = rendered(header).convert("RGB" if colour else "L")
    return image.resize((width, height), Image.Resampling.BILINEAR).tobytes()


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Decode to "L" or "RGB"."""
    if image.mode == "I;16":
        image = _eight_bits(image)
    elif image.has_transparency_data:
        # Palette, grey and true colour store transparency differently; RGBA unifies them.
        layer, image = image.convert("RGBA"), Image.new("RGB", image.size)
        image.paste(layer, mask=layer)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    highest = max(value for value in image.getextrema() if isinstance(value, (int, float)))
    bits = next(bits for bits in (8, 10, 12, 14, 16) if highest < 2**bits)
    # Division by a power of two is exact, and the remainder is truncated.
    return image.point(lambda value: value * (1 / 2 ** (bits - 8)) + 0).convert("L")


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
