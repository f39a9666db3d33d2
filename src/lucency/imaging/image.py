"""One file -> grey or colour ``uint8`` pixels: the only decoding and resizing in the program.

Training, testing, prediction and reports all read images here, so they cannot differ. There is
no randomness, and PNG, JPEG and DICOM are the only formats whose decoders can be reached.

Files of others are decoded by ``lucency.imaging.decoder``, in processes that call this module. NumPy and
pydicom are loaded where they are needed, as those processes start in a third of the time without.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from lucency.errors import ImageError, PassingError
from lucency.imaging import headers
from lucency.imaging.dicom import Note, is_dicom
from lucency.imaging.dicom.recognise import ENOUGH, has_magic
from lucency.imaging.headers import ENDS_EARLY, Header, check_sides, read_header
from lucency.imaging.source import first_bytes, load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lucency.imaging.dicom.header import DicomHeader

Source = str | Path | bytes | BinaryIO

# Files with these names are counted as images. Those that are neither PNG, JPEG nor DICOM
# inside are set aside with a reason, instead of being overlooked.
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "tif", "tiff", "webp", "avif"),
        *("heic", "heif", "jp2", "j2k", "jxl", "pgm", "ppm", "pnm", "dcm", "dicom"),
    )
)
# Archives name DICOM files by a number or not at all: IM000001, 1.2.840.113619.2.5.
_NAMELESS = re.compile(r"(?:\.(?:\d+|dc3|dic|ima))?", re.IGNORECASE)
MOST_PIXELS = headers.MOST_PIXELS
# A JPEG is decoded at the smallest of 1/8, 1/4, 1/2 and 1/1 that is still this many times larger
# than asked for. On radiographs of 1.4 megapixels this is 0.2 to 0.3 grey levels (mean) from a
# full decode in half the time; what is left is mostly entropy decoding, which no scale saves.
_DRAFT = 1.25
COLOUR_LOOK = (64, 64)  # pixels in which an image is looked at for colour
_COLOUR_NOISE = 12  # of 255; grey images saved as colour JPEG stay below
_TURNS = {
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
        size: Height and width in pixels, after turning the image as its EXIF data says; of a
            DICOM file, with square pixels.
        notes: What a DICOM file says that one should know; nothing of others.
    """

    def __init__(self, data: bytes) -> None:
        """Read the header.

        Args:
            data: The content of a PNG, JPEG or DICOM file.

        Raises:
            ImageError: It is no such file, or holds no single image, or one that is too large
                or too small.
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
        """Return whose image it is as 16 bytes, of which nobody can tell the name.

        Images of one patient have the same with the same salt. Nothing is returned where the
        file does not say, as PNG and JPEG never do.

        Args:
            salt: Secret random bytes; without them, no name can be tried out.
        """
        return b"" if isinstance(self._header, Header) else self._header.patient_key(salt)

    def pixels(self, size: tuple[int, int], colour: bool) -> NDArray[np.uint8]:
        """Return what ``decode`` does as (height, width, 1 or 3) uint8."""
        import numpy as np

        rows = bytearray(self.decode(size, colour))  # an array over bytes could not be written to
        return np.frombuffer(rows, np.uint8).reshape(*size, 3 if colour else 1)

    def decode(self, size: tuple[int, int], colour: bool) -> bytes:
        """Decode and resize.

        The whole image is squashed or stretched to ``size``: padding to keep its proportions
        would hand the network the shape of the original file, and in collections of radiographs
        that alone often tells the classes apart.

        Grey PNG files of more than 8 bits keep the upper 8 of the smallest of 8, 10, 12, 14 and 16
        bits that hold their greatest value, as PNG does not record the depth of the detector.
        DICOM files are shown as they ask to be. Transparent parts lie on black.

        Args:
            size: Height and width to return.
            colour: Three channels (red, green, blue) if true, else one (luma, ITU-R BT.601).

        Returns:
            height x width x 1 or 3 bytes: rows from the top, pixels from the left.

        Raises:
            PassingError: There is not enough memory.
            ImageError: The file is damaged.
        """
        with _plainly():
            if isinstance(self._header, Header):
                return _decoded(self._header, size, colour)
            return _rendered(self._header, size, colour)


def is_image(path: str | Path) -> bool:
    """Tell whether a file should be an image: by its name, else by its first bytes.

    Only files without a suffix, or with a number for one, are looked into, for 132 bytes: they are
    images if they are marked as DICOM. A DICOMDIR is none, but a list of images.
    """
    name = PurePath(path)
    if name.suffix.lower() in IMAGE_SUFFIXES:
        return True
    if not _NAMELESS.fullmatch(name.suffix) or name.name.upper() == "DICOMDIR":
        return False
    return has_magic(first_bytes(path, ENOUGH))


def read_image(source: Source, size: tuple[int, int], colour: bool) -> NDArray[np.uint8]:
    """Read an image as ``SourceImage.pixels`` does.

    Args:
        source: A path, the content of a file, or an open binary file.
        size: Height and width to return; the image is squashed to it.
        colour: Three channels if true, else one.

    Returns:
        (height, width, 1 or 3) uint8.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    return SourceImage(_content(source)).pixels(size, colour)


def full_size(source: Source) -> tuple[int, int]:
    """Return height and width from the header, the image being turned as its EXIF data says.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    return SourceImage(_content(source)).size


def is_colour(source: Source) -> bool:
    """Tell whether an image shows colour, whatever its channels.

    It is looked at in 64 x 64 pixels: what JPEG adds to a grey image does not count, nor does a
    coloured speck.

    Raises:
        ImageError: The file cannot be read as an image.
    """
    return shows_colour(read_image(source, COLOUR_LOOK, colour=True))


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
    """Return a PNG file as data inside a page."""
    import base64

    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _content(source: Source) -> bytes:
    return source if isinstance(source, bytes) else load(source)


def _upright(header: Header) -> tuple[int, int]:
    """Return height and width after turning, of a single image."""
    if header.frames > 1:
        raise ImageError(
            f"animated ({header.frames:,} frames); expected one image: save one frame as PNG"
        )
    height, width = header.height, header.width
    return (width, height) if _lies_on_its_side(header) else (height, width)


def _lies_on_its_side(header: Header) -> bool:
    return header.orientation >= 5


def _decoded(header: Header, size: tuple[int, int], colour: bool) -> bytes:
    """Decode PNG or JPEG."""
    height, width = size
    stored = (height, width) if _lies_on_its_side(header) else (width, height)
    mode = "RGB" if colour else "L"
    image = _open(header)
    drafted = image.draft(mode, (round(_DRAFT * stored[0]), round(_DRAFT * stored[1])))
    # A scaled JPEG is filled up to whole pixels; the filling must not shift the rest.
    box = drafted[1] if drafted else None
    small = _plain(image, mode).resize(stored, Image.Resampling.BILINEAR, box)
    if header.orientation != 1:
        small = small.transpose(_TURNS[header.orientation])
    return small.tobytes()


def _open(header: Header) -> ImageFile:
    stream = io.BytesIO(header.stream)
    image = (PngImageFile if header.kind == "PNG" else JpegImageFile)(stream)
    if image.size != (header.width, header.height):
        raise ValueError("two readings of the header differ")
    return image


def _rendered(header: DicomHeader, size: tuple[int, int], colour: bool) -> bytes:
    """Decode DICOM, and go on as with a PNG file of the same image."""
    from lucency.imaging.dicom.render import rendered

    height, width = size
    image = rendered(header).convert("RGB" if colour else "L")
    return image.resize((width, height), Image.Resampling.BILINEAR).tobytes()


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Decode to "L" or "RGB"."""
    if image.mode == "I;16":
        image = _eight_bits(image)
    elif image.has_transparency_data:
        # Palette, grey and true colour keep transparency in different places; RGBA in one.
        layer, image = image.convert("RGBA"), Image.new("RGB", image.size)
        image.paste(layer, mask=layer)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    highest = max(value for value in image.getextrema() if isinstance(value, (int, float)))
    bits = next(bits for bits in (8, 10, 12, 14, 16) if highest < 2**bits)
    # Dividing by a power of two is exact, and what is left of it is cut off.
    return image.point(lambda value: value * (1 / 2 ** (bits - 8)) + 0).convert("L")


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn whatever a decoder raises over a damaged file into a reason a person understands.

    That is any exception at all: damaged files have made Pillow raise OSError, SyntaxError,
    ValueError, struct.error, zlib.error, IndexError and more.
    """
    try:
        yield
    except MemoryError as error:
        raise PassingError("not enough memory to decode it") from error
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
