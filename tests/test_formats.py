"""Every image format: the pixels that its writer was given, and one line about hostile files."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lucency.errors import ImageError
from lucency.imaging.detect import is_image_content
from lucency.imaging.headers import MOST_PIXELS, read_header
from lucency.imaging.image import SourceImage, full_size, read_image
from lucency.imaging.notes import Note, describe_notes
from test_images import TURNED, WIDE, chunk, flat, reason, saved, the_value
from tiff_files import tiff

COLOUR = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)).resize((30, 20))
)
BMP, GIF = saved(WIDE, "BMP"), saved(WIDE, "GIF")
TWELVE = (WIDE.astype(np.uint16) << 4) + 5  # up to 12 bits
EXACT: list[tuple[str, dict[str, Any]]] = [
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", {"compression": "packbits"}),
    ("TIFF", {"compression": "zstd"}),
    ("TIFF", {"big_tiff": True}),
    ("WEBP", {"lossless": True}),
    ("BMP", {}),
    ("PPM", {}),
    ("JPEG2000", {}),
    ("JPEG2000", {"no_jp2": True}),
]
ALL = [
    *EXACT,
    ("GIF", {}),
    ("WEBP", {"quality": 90}),
    ("AVIF", {"quality": 90}),
    ("TIFF", {"compression": "jpeg"}),
]


def words(data: bytes, depth: int, colour: bool = False) -> NDArray[np.float64]:
    """Return the pixels of a file of 20 x 30 at two bytes per value, as shares of white."""
    rows = SourceImage(data).decode((20, 30), colour, depth, deep=True)
    return np.frombuffer(rows, "<u2").reshape(20, 30, -1) / 65535


# --- the right values


@pytest.mark.parametrize(("kind", "options"), EXACT)
def test_lossless_files_keep_every_pixel(kind: str, options: dict[str, Any]) -> None:
    grey = read_image(saved(WIDE, kind, **options), (20, 30), colour=False)
    assert np.array_equal(grey[:, :, 0], WIDE)
    assert np.array_equal(read_image(saved(COLOUR, kind, **options), (20, 30), True), COLOUR)


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "WEBP", "TIFF"])
def test_lossy_files_are_close(kind: str) -> None:
    options = {"TIFF": {"compression": "jpeg"}, "GIF": {}}.get(kind, {"quality": 95})
    grey = read_image(saved(WIDE, kind, **options), (20, 30), colour=False)[:, :, 0]
    assert np.abs(grey.astype(int) - WIDE).max() <= (0 if kind == "GIF" else 4)
    tint = flat("RGB", (200, 100, 50), 32)
    assert the_value(saved(tint, kind, **options), colour=True) == pytest.approx(
        [200, 100, 50], abs=5
    )


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = saved(WIDE, kind, exif=exif, **(lossless or {"quality": 100}))
    expected = TURNED[orientation]
    assert full_size(data) == expected.shape
    pixels = read_image(data, expected.shape, colour=False)[:, :, 0]
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright.size == expected.shape[::-1]


@pytest.mark.parametrize(
    ("data", "grey", "colour"),
    [
        (saved(flat("1", 1), "TIFF"), 255, [255] * 3),
        (saved(flat("1", 1), "TIFF", compression="group4"), 255, [255] * 3),
        (saved(flat("1", 1), "PPM"), 255, [255] * 3),
        (saved(flat("1", 1), "BMP"), 255, [255] * 3),
        (saved(flat("RGB", (200, 100, 50)).quantize(4), "TIFF"), 124, [200, 100, 50]),
        (saved(flat("RGB", (200, 100, 50)).quantize(4), "BMP"), 124, [200, 100, 50]),
        (saved(flat("RGB", (200, 100, 50)).quantize(4), "GIF"), 124, [200, 100, 50]),
        (saved(flat("P", 1), "GIF", transparency=1), 0, [0, 0, 0]),
        (saved(flat("CMYK", (55, 155, 205, 0)), "TIFF"), 124, [200, 100, 50]),
        (saved(flat("YCbCr", (124, 86, 182)), "TIFF"), 124, [200, 100, 50]),
        # half transparent, on black: 128 / 255 of each
        (saved(flat("RGBA", (200, 100, 50, 128)), "TIFF"), 62, [100, 50, 25]),
        (saved(flat("RGBA", (200, 100, 50, 128)), "WEBP", lossless=True), 62, [100, 50, 25]),
        (saved(flat("RGBA", (200, 100, 50, 128)), "JPEG2000"), 62, [100, 50, 25]),
        (saved(flat("RGBA", (200, 100, 50, 0)), "AVIF"), 0, [0, 0, 0]),
        (b"P1\n# a comment\n16 16\n" + b"0 " * 256, 255, [255] * 3),
        (b"P2 16 16 15\n" + b"5 " * 256, 85, [85] * 3),
        (b"P3 16 16 255\n" + b"200 100 50 " * 256, 124, [200, 100, 50]),
        (b"P5 16 16 15\n" + b"\x05" * 256, 85, [85] * 3),
    ],
)
def test_reads_every_kind_of_pixel(data: bytes, grey: int, colour: list[int]) -> None:
    assert is_image_content(data[:132])
    assert the_value(data, colour=False) == pytest.approx([grey], abs=1)
    assert the_value(data, colour=True) == pytest.approx(colour, abs=2)


def test_only_the_recognised_format_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", None)  # which would try one format after the other
    for kind, options in ALL:
        assert read_image(saved(WIDE, kind, **options), (20, 30), False).shape == (20, 30, 1)


def test_metadata_never_matters() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    plain = read_image(saved(WIDE, "WEBP", lossless=True), (20, 30), False)
    for kind, options in (("TIFF", {}), ("WEBP", {"lossless": True}), ("JPEG2000", {})):
        data = saved(WIDE, kind, exif=exif, icc_profile=b"nonsense", xmp=b"<x>", **options)
        assert b"nonsense" not in read_header(data).stream or kind == "TIFF"
        assert np.array_equal(read_image(data, (20, 30), False), plain)


# --- frames and pages


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "AVIF", "TIFF"])
def test_the_first_of_several_is_read_and_said(kind: str) -> None:
    first, others = flat("L", 60), [flat("L", 160), flat("L", 250)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(first, kind, save_all=True, append_images=others, **options)
    assert the_value(data, colour=False) == pytest.approx([60], abs=3)
    notes = SourceImage(data).notes
    assert notes == (Note.FIRST_PAGE if kind == "TIFF" else Note.FIRST_FRAME)
    assert "first frame" in describe_notes(notes)[0] or "page 1" in describe_notes(notes)[0]
    assert not SourceImage(saved(first, kind, **options)).notes


def test_smaller_copies_of_the_first_page_are_no_pages() -> None:
    copy = tiff(WIDE[:10, :15], more={254: (4, [1])})
    assert not SourceImage(tiff(WIDE, following=copy)).notes
    assert SourceImage(tiff(WIDE, following=tiff(WIDE))).notes == Note.FIRST_PAGE


def test_a_million_frames_or_pages_cost_nothing() -> None:
    data = saved(flat("L", 60), "GIF")
    start = data.index(b"\x2c")
    image = data[start:-1]
    many = data[:-1] + image * 1_000_000 + b";"
    assert len(read_header(many).stream) < 2 * len(data)
    assert the_value(many, colour=False) == [60]
    loop = bytearray(tiff(WIDE))
    (place,) = struct.unpack_from("<I", loop, 4)
    (count,) = struct.unpack_from("<H", loop, place)
    struct.pack_into("<I", loop, place + 2 + 12 * count, place)  # the next page is this one
    assert SourceImage(bytes(loop)).notes == Note.FIRST_PAGE
    assert np.array_equal(read_image(bytes(loop), (20, 30), False)[:, :, 0], WIDE)


# --- more than eight bits


def deep_files() -> list[tuple[str, bytes]]:
    """Return files of more than 8 bits whose samples are ``TWELVE``."""
    found = [
        (f"{kind} {options}", saved(TWELVE, kind, **options))
        for kind, options in (
            ("PNG", {}),
            ("PPM", {}),
            ("JPEG2000", {}),
            ("JPEG2000", {"no_jp2": 1}),
        )
    ]
    kinds = ((np.uint16, 1), (np.int16, 2), (np.int32, 2), (np.float32, 3))
    for order, packed, (kind, fmt) in itertools.product("<>", (False, True), kinds):
        data = tiff(TWELVE.astype(kind), order=order, packed=packed, more={339: (3, [fmt])})
        found.append((f"TIFF {order} {packed} {kind.__name__}", data))
    return [*found, ("TIFF <", tiff(TWELVE.astype(np.uint32)))]


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in deep_files()])
def test_more_than_eight_bits_are_kept(data: bytes) -> None:
    image = SourceImage(data)
    assert np.abs(words(data, 12)[:, :, 0] - TWELVE / 4095).max() < 1e-5
    assert np.abs(words(data, 16)[:, :, 0] - TWELVE / 65535).max() < 1e-5
    eight = image.pixels((20, 30), False, depth=12)[:, :, 0]
    assert np.abs(eight - TWELVE / 4095 * 255).max() <= 0.5
    assert image.bits == 12


def test_floats_from_0_to_1_are_shares_of_white() -> None:
    data = tiff((TWELVE / 4095).astype(np.float32), more={339: (3, [3])})
    assert np.abs(words(data, 1)[:, :, 0] - TWELVE / 4095).max() < 1e-5


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("opacity", [None, 0, 1, 2])
def test_colour_of_sixteen_bits(order: str, packed: bool, opacity: int | None) -> None:
    samples = np.random.default_rng(1).integers(0, 4096, (20, 30, 3)).astype(np.uint16)
    clear = np.full((20, 30, 1), 65535, np.uint16)
    expected = samples / 4095
    if opacity:
        clear[:5], expected[:5] = 0, 0
    if opacity == 1:
        samples[:5] = 0  # colours are multiplied by the opacity
    more: dict[int, Any] = {} if opacity is None else {338: (3, [opacity])}
    given = samples if opacity is None else np.concatenate([samples, clear], axis=2)
    data = tiff(given, order=order, packed=packed, more=more)
    assert np.abs(words(data, 12, colour=True) - expected).max() < 1e-5
    grey = expected @ [0.299, 0.587, 0.114]
    assert np.abs(words(data, 12)[:, :, 0] - grey).max() < 1e-4


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_png_of_sixteen_bits_with_colour_or_opacity(kind: int, channels: int) -> None:
    samples = np.random.default_rng(2).integers(0, 4096, (20, 30, channels)).astype(np.uint16)
    expected = samples / 4095
    if channels in (2, 4):
        samples[:, :, -1] = 65535
        samples[:5, :, -1] = 0
        expected = samples[:, :, :-1] / 4095
        expected[:5] = 0
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = struct.pack(">IIBBBBB", 30, 20, 16, kind, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert np.abs(words(data, 12, colour=channels > 2) - expected).max() < 1e-5


def test_ppm_of_sixteen_bits() -> None:
    samples = np.random.default_rng(3).integers(0, 4096, (20, 30, 3))
    data = b"P6 30 20 4095\n" + samples.astype(">u2").tobytes()
    assert np.abs(words(data, 12, colour=True) - samples / 4095).max() < 1e-5


@pytest.mark.parametrize("order", ["<", ">"])
def test_white_can_be_zero(order: str) -> None:
    data = tiff(TWELVE, order=order, more={262: (3, [0])})
    assert np.abs(words(data, 12)[:, :, 0] - (1 - TWELVE / 4095)).max() < 1e-5
    eight = read_image(tiff(WIDE, order=order, more={262: (3, [0])}), (20, 30), False)
    assert np.array_equal(eight[:, :, 0], 255 - WIDE)


def test_values_above_the_depth_are_clipped_and_said() -> None:
    bright = TWELVE.copy()
    bright[0, 0] = 4100
    image = SourceImage(saved(bright))
    pixels = image.pixels((20, 30), False, depth=12)[:, :, 0]
    assert image.notes == Note.CLIPPED
    assert pixels[0, 0] == 255
    assert np.array_equal(pixels[1:], read_image(saved(TWELVE), (20, 30), False, 12)[1:, :, 0])


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.full((20, 30), -1, np.float32), "negative values (down to -1)"),
        (np.full((20, 30), np.nan, np.float32), "not numbers"),
        (np.full((20, 30), np.inf, np.float32), "not numbers"),
        (np.full((20, 30), 1e20, np.float32), "less than 2^32"),
    ],
)
def test_values_that_are_no_brightness_are_rejected(samples: Any, expected: str) -> None:
    assert expected in reason(tiff(samples, more={339: (3, [3])}))


def test_eight_bits_do_not_take_more() -> None:
    with pytest.raises(ImageError, match=r"12-bit values up to 3,829, but a depth of 8 bits"):
        SourceImage(saved(TWELVE)).decode((20, 30), False, depth=8)
    small = WIDE.astype(np.uint16)
    assert np.array_equal(read_image(saved(small), (20, 30), False, 8)[:, :, 0], WIDE)


# --- hostile and unusual files


@pytest.mark.parametrize("kind", [kind for kind, _ in ALL])
def test_every_truncation_is_noticed(kind: str) -> None:
    data = saved(COLOUR, kind)
    for end in range(8, len(data) - 4, len(data) // 40 + 1):
        assert reason(data[:end])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(WIDE, more={256: (4, [2**31])}), "too many"),
        (tiff(WIDE, more={257: (4, [60_000]), 256: (4, [60_000])}), "too many"),
        (tiff(WIDE, more={273: (4, [8] * 300_000), 279: (4, [1] * 300_000)}), "too many values"),
        (tiff(WIDE, more={273: (4, [8] * 1000), 279: (4, [600] * 1000)}), "overlap"),
        (tiff(WIDE, more={273: (4, [2**31])}), "ends early"),
        (tiff(WIDE, more={259: (3, [6])}), "compression 6"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 40, "ends early"),
        (tiff(WIDE, more={339: (3, [2])}), "signed numbers of 8 bits"),
        (tiff(np.zeros((20, 30, 3), np.uint16), more={284: (3, [2])}), "planes of 16 bits"),
        (tiff(WIDE, more={258: (3, [64])}), "1 x 64 bits"),
        (BMP[:18] + struct.pack("<ii", 30_000, 30_000) + BMP[26:], "ends early"),
        (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 9000, 9000, 1, 8, 1) + bytes(40), "many"),
        (BMP[:30] + struct.pack("<I", 4) + BMP[34:], "compression 4"),
        (b"GIF89a" + struct.pack("<HHB", 60_000, 60_000, 0) + bytes(90), "damaged"),
        (GIF[:6] + struct.pack("<HH", 60_000, 60_000) + GIF[10:], "many"),
        (b"P5 60000 60000 255\n" + bytes(100), "ends early"),
        (b"P2 60000 60000 255\n" + b"1 " * 100, "many"),
        (b"P2 20 20 65535\n" + b"1 " * 400, "numbers above 255 as text"),
        (b"P5 20 20 70000\n" + bytes(800), "highest value is 70000"),
    ],
)  # fmt: skip
def test_hostile_headers_are_rejected_before_decoding(data: bytes, expected: str) -> None:
    found = reason(data)
    assert expected in found
    assert "\n" not in found


def test_a_webp_of_huge_sides_is_rejected() -> None:
    extended = b"VP8X" + struct.pack("<IB3x", 10, 0) + b"\xff\xff\0" * 2
    still = saved(WIDE, "WEBP", lossless=True)[12:]
    body = b"WEBP" + extended + still
    assert "too many" in reason(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_an_avif_or_jpeg_2000_of_huge_sides_is_rejected() -> None:
    avif = saved(WIDE, "AVIF")
    sides = avif.index(b"ispe") + 8
    assert "too many" in reason(
        avif[:sides] + struct.pack(">II", 60_000, 60_000) + avif[sides + 8 :]
    )
    stream = saved(WIDE, "JPEG2000", no_jp2=True)
    assert "too many" in reason(stream[:8] + struct.pack(">II", 60_000, 60_000) + stream[16:])
    tiles = stream[:24] + struct.pack(">II", 1, 1) + stream[32:]
    assert read_header(tiles).height == 20  # 600 tiles are few
    many = stream[:8] + struct.pack(">II", 5_000, 5_000) + stream[16:24] + struct.pack(">II", 1, 1)
    assert "too many tiles" in reason(many + stream[32:])


def test_a_photograph_of_fifty_megapixels_passes_the_limit() -> None:
    assert MOST_PIXELS == 8192 * 6144
    image = Image.new("L", (8192, 6144), 90)
    assert the_value(saved(image, "JPEG"), colour=False) == [90]


def test_heic_says_how_to_convert_it() -> None:
    for brand in (b"heic", b"heix", b"mif1"):
        found = reason(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(50))
        assert "export it as JPEG" in found


def test_names_do_not_matter(tmp_path: Path) -> None:
    for kind, options in ALL:
        path = tmp_path / "image.jpg"
        path.write_bytes(saved(WIDE, kind, **options))
        assert full_size(path) == (20, 30)
