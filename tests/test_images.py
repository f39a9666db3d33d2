"""Reading images: every supported kind of file, and every way in which one can be corrupted."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile

from lucency.errors import ImageError
from lucency.imaging.image import (
    IMAGE_SUFFIXES,
    SourceImage,
    encode_png,
    full_size,
    is_colour,
    read_image,
)

Pixels = NDArray[np.uint8]

WIDE = np.add.outer(8 * np.arange(20), 3 * np.arange(30)).astype(np.uint8)  # all corners differ
SCENE = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)).resize(
        (1050, 1400), Image.Resampling.BICUBIC
    )
)
TURNED = {
    1: WIDE,
    2: WIDE[:, ::-1],
    3: WIDE[::-1, ::-1],
    4: WIDE[::-1],
    5: WIDE.T,
    6: WIDE[::-1].T,  # rotated by 90 degrees clockwise
    7: WIDE[::-1, ::-1].T,
    8: WIDE.T[::-1],  # rotated by 90 degrees counterclockwise
}


def saved(image: Image.Image | NDArray[Any], kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def flat(mode: str, value: Any, side: int = 16) -> Image.Image:
    return Image.new(mode, (side, side), value)


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png_header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


def reason(source: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source, (16, 16), colour=False)
    return str(caught.value)


def the_value(data: bytes, *, colour: bool) -> list[int]:
    """Return the one colour of an image."""
    pixels = read_image(data, (9, 7), colour)
    assert pixels.shape == (9, 7, 3 if colour else 1)
    assert pixels.dtype == np.uint8
    assert np.ptp(pixels, axis=(0, 1)).max() == 0
    return [int(value) for value in pixels[0, 0]]


# --- sizes and directions


def test_every_pixel_is_kept_at_the_original_size() -> None:
    assert np.array_equal(read_image(saved(WIDE), (20, 30), colour=False)[:, :, 0], WIDE)


def test_size_is_height_then_width() -> None:
    halves = np.zeros((100, 100), np.uint8)
    halves[:, 50:] = 200
    pixels = read_image(saved(halves), (8, 20), colour=False)[:, :, 0]
    assert pixels.shape == (8, 20)
    assert (pixels[:, :9] == 0).all()
    assert (pixels[:, 11:] == 200).all()


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 32))
    pixels = read_image(saved(stripes), (8, 8), colour=False)
    assert np.abs(pixels.astype(int) - 100).max() <= 8


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(WIDE, kind, exif=exif)
    expected = TURNED[orientation]
    assert full_size(data) == expected.shape
    pixels = read_image(data, expected.shape, colour=False)[:, :, 0]
    reference = read_image(saved(expected, kind), expected.shape, colour=False)[:, :, 0]
    assert np.abs(pixels.astype(int) - reference).max() <= (0 if kind == "PNG" else 8)


@pytest.mark.parametrize("size", [(64, 64), (112, 112), (255, 255), (50, 400), (1400, 1050)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_scaled_decoding_is_close_to_full_decoding(size: tuple[int, int], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(SCENE, "JPEG", quality=90, exif=exif)
    full = Image.open(io.BytesIO(data)).convert("L")
    if orientation == 6:
        full = full.transpose(Image.Transpose.ROTATE_270)
    reference = np.asarray(full.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    difference = np.abs(read_image(data, size, colour=False)[:, :, 0] - reference)
    assert difference.mean() < 1
    assert difference.max() < 8


@pytest.mark.real
@pytest.mark.parametrize("side", [112, 224])
def test_scaled_radiographs_are_close_to_full_decoding(side: int, radiographs: Path) -> None:
    files = sorted((radiographs / "chest_xray_native").rglob("*.jpeg"))[::10]
    assert files
    for file in files:
        full = Image.open(file).convert("L").resize((side, side), Image.Resampling.BILINEAR)
        difference = read_image(file, (side, side), colour=False)[:, :, 0] - np.asarray(full, int)
        assert np.abs(difference).mean() < 1
        assert not is_colour(file)


# --- kinds of pixels


@pytest.mark.parametrize(
    ("data", "grey", "colour"),
    [
        (saved(flat("1", 1)), 255, [255, 255, 255]),
        (saved(flat("L", 77)), 77, [77, 77, 77]),
        (saved(flat("L", 77), "JPEG"), 77, [77, 77, 77]),
        # 0.299 * 200 + 0.587 * 100 + 0.114 * 50 = 124.2
        (saved(flat("RGB", (200, 100, 50))), 124, [200, 100, 50]),
        (saved(flat("RGB", (200, 100, 50)).quantize(4)), 124, [200, 100, 50]),
        # half transparent, on black: 128 / 255 of each
        (saved(flat("LA", (200, 128))), 100, [100, 100, 100]),
        (saved(flat("RGBA", (200, 100, 50, 128))), 62, [100, 50, 25]),
        (saved(flat("RGBA", (200, 100, 50, 0))), 0, [0, 0, 0]),
        (saved(flat("RGB", (200, 100, 50)), transparency=(200, 100, 50)), 0, [0, 0, 0]),
        (saved(flat("L", 77), transparency=77), 0, [0, 0, 0]),
        (saved(flat("L", 77), transparency=78), 77, [77, 77, 77]),
        (saved(flat("P", 1), transparency=1), 0, [0, 0, 0]),
        # cyan 55, magenta 155, yellow 205: the remainder is 200, 100, 50
        (saved(flat("CMYK", (55, 155, 205, 0)), "JPEG", quality=100), 124, [200, 100, 50]),
    ],
)
def test_reads_every_kind_of_pixel(data: bytes, grey: int, colour: list[int]) -> None:
    assert the_value(data, colour=False) == pytest.approx([grey], abs=1)
    assert the_value(data, colour=True) == pytest.approx(colour, abs=1)


def test_grey_of_a_colour_jpeg_is_its_luma() -> None:
    data = saved(flat("RGB", (200, 100, 50)), "JPEG", quality=100, subsampling=0)
    assert the_value(data, colour=False) == pytest.approx([124], abs=1)
    assert the_value(data, colour=True) == pytest.approx([200, 100, 50], abs=3)


@pytest.mark.parametrize(
    ("highest", "middle", "expected"),
    [
        (255, 128, 128),  # 8 bits
        (256, 128, 32),  # 10 bits: 128 / 4
        (1023, 512, 128),
        (4095, 2048, 128),  # 12 bits, as most detectors have
        (16383, 8192, 128),
        (65535, 32768, 128),
        (0, 0, 0),
    ],
)
def test_sixteen_bits_keep_the_upper_eight_that_are_used(
    highest: int, middle: int, expected: int
) -> None:
    values = np.full((16, 16), middle, np.uint16)
    values[0, 0] = highest
    pixels = read_image(saved(values), (16, 16), colour=False)
    assert pixels[8, 8, 0] == expected


# --- broken and foreign files


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "not an image"),
        (b"\0" * 128 + b"DICM" + b"\0" * 100, "DICOM"),
        (b"%PDF-1.7", "PDF file"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 12, "export it as JPEG"),
        (saved(WIDE[:7]), "at least 8"),
        (saved(WIDE[:, :7], "JPEG"), "at least 8"),
        (
            saved(flat("L", 1), save_all=True, append_images=[flat("L", 2), flat("L", 3)]),
            "animated (3 frames)",
        ),
    ],
)
def test_the_reason_why_a_file_is_no_image(data: bytes, expected: str) -> None:
    assert expected in reason(data)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (2**31 - 1, 8), (8, 6_291_457)])
def test_implausible_sizes_are_rejected_by_the_header(width: int, height: int) -> None:
    start = b"\x89PNG\r\n\x1a\n" + png_header(width, height)
    assert "too many" in reason(start + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def test_a_second_header_cannot_bypass_the_size_check() -> None:
    small = saved(WIDE)
    assert "damaged" in reason(small[:33] + png_header(30_000, 30_000) + small[33:])
    jpeg = saved(WIDE, "JPEG")
    place = jpeg.index(b"\xff\xc0")
    frame = bytearray(jpeg[place : place + 13])
    frame[5:9] = struct.pack(">HH", 60_000, 60_000)
    assert "damaged" in reason(jpeg[:place] + bytes(frame) + jpeg[place:])


@pytest.mark.parametrize(
    "data",
    [
        saved(WIDE),
        saved(WIDE, "JPEG"),
        saved(WIDE, "JPEG", progressive=True),
        saved(SCENE, "JPEG", quality=30),
    ],
    ids=["png", "jpeg", "progressive", "large"],
)
def test_every_truncation_is_noticed(data: bytes) -> None:
    for end in range(8, len(data) - 1, len(data) // 100 + 1):
        assert "ends early" in reason(data[:end])


def test_a_changed_byte_of_a_png_is_noticed() -> None:
    data = saved(WIDE)
    for place in range(8, len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x10
        assert reason(bytes(changed))


def test_only_image_errors_and_no_warnings() -> None:
    """Two thousand mutations; warnings are errors here."""
    seeds = [
        saved(flat("RGB", (9, 99, 199)).quantize(8), transparency=bytes(range(8))),
        saved(np.arange(400, dtype=np.uint16).reshape(20, 20)),
        saved(flat("RGBA", (1, 2, 3, 4))),
        saved(WIDE, "JPEG"),
        saved(flat("CMYK", (1, 2, 3, 4)), "JPEG", progressive=True),
    ]
    rng = random.Random(7)  # noqa: S311 - not for secrets
    read = 0
    for _ in range(2000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 3, 10))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(ImageError):
            read += len(read_image(bytes(data), (12, 12), colour=bool(rng.randrange(2)))) == 12
    assert read > 50


def test_metadata_never_matters() -> None:
    bomb = b"note\0\0" + zlib.compress(bytes(50_000_000))
    data = saved(WIDE)
    loaded = (
        data[:33]
        + chunk(b"zTXt", bomb)
        + chunk(b"iCCP", b"profile\0\0nonsense")
        + chunk(b"eXIf", b"II*\0\xff\xff\xff\x7f")
        + chunk(b"acTL", struct.pack(">II", 0, 0))
        + data[33:]
    )
    assert np.array_equal(read_image(loaded, (20, 30), False), read_image(data, (20, 30), False))
    jpeg = saved(WIDE, "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x77" * 40
    junk = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
        for marker, content in ((0xE1, exif), (0xE2, b"MPF\0" + exif), (0xED, exif), (0xFE, b"hi"))
    )
    loaded = jpeg[:2] + junk + b"\xff\xff" + jpeg[2:]
    assert np.array_equal(read_image(loaded, (20, 30), False), read_image(jpeg, (20, 30), False))


def test_truncated_images_are_rejected() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# --- files


def test_paths_bytes_and_open_files_are_equivalent(tmp_path: Path) -> None:
    data = saved(WIDE)
    path = tmp_path / "Ä image 肺.png"
    path.write_bytes(data)
    expected = read_image(data, (12, 12), colour=False)
    for source in (path, str(path), io.BytesIO(data)):
        assert np.array_equal(read_image(source, (12, 12), colour=False), expected)


def test_a_png_with_another_suffix_is_read(tmp_path: Path) -> None:
    path = tmp_path / "image.jpeg"
    path.write_bytes(saved(WIDE))
    assert full_size(path) == (20, 30)


def test_other_than_regular_files_are_rejected_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        assert "not a regular file" in reason(path)


def test_missing_looping_and_forbidden_files_are_rejected(tmp_path: Path) -> None:
    assert "No such file" in reason(tmp_path / "missing.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert "symbolic links" in reason(tmp_path / "loop.png")
    if os.geteuid():  # root may read everything
        (tmp_path / "secret.png").write_bytes(saved(WIDE))
        (tmp_path / "secret.png").chmod(0)
        assert "Permission denied" in reason(tmp_path / "secret.png")


def test_huge_files_are_rejected_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(10 * 2**40)  # sparse
    assert "at most" in reason(path)
    assert str(path) not in reason(path)


# --- the rest


def test_visible_colour_counts() -> None:
    rng = np.random.default_rng(1)
    grey = Image.fromarray(rng.integers(0, 256, (300, 200), np.uint8))
    assert not is_colour(saved(grey, "JPEG"))
    assert not is_colour(saved(grey.convert("RGB"), "JPEG", quality=60))
    assert not is_colour(saved(grey.convert("RGBA")))
    tinted = np.asarray(grey.convert("RGB")).copy()
    tinted[100:160, 50:100, 2] //= 2
    assert is_colour(saved(tinted))
    assert is_colour(saved(tinted, "JPEG", quality=60))


@pytest.mark.parametrize("shape", [(5, 9, 1), (5, 9, 3)])
def test_encoding_keeps_every_pixel(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(encode_png(pixels))))
    assert np.array_equal(decoded.reshape(shape), pixels)


def test_pixels_can_be_decoded_twice() -> None:
    image = SourceImage(saved(SCENE, "JPEG"))
    small, large = (image.pixels((side, side), False) for side in (20, 300))
    assert np.array_equal(image.pixels((20, 20), False), small)
    assert large.shape == (300, 300, 1)


def test_suffixes_are_compared_in_lower_case() -> None:
    assert {".png", ".jpg", ".jpeg", ".dcm", ".tif"} <= IMAGE_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)
