"""DICOM files are rendered as a viewer would first show them, and as PNG files of that image."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from benchmarks.dicom_files import (
    BIG,
    CAPTURE,
    CR,
    DEFLATED,
    DX,
    DX_RAW,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_LS,
    PHOTO,
    RLE,
    ULTRASOUND,
    dicom,
    table,
    written,
)
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file

from conftest import DATA
from lucency.errors import ImageError
from lucency.imaging.decoder.pool import DecoderPool, Request
from lucency.imaging.dicom import is_dicom
from lucency.imaging.image import SourceImage, encode_png, is_colour, read_image
from lucency.imaging.notes import Note, describe_notes

WHEEL = Path(pydicom.__file__).parent / "data"
SHARED = DATA / "dicom"
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def files() -> list[Path]:
    found = [each for each in sorted(WHEEL.rglob("*")) if each.suffix not in (".py", ".pyc")]
    return [each for each in (*found, *sorted(SHARED.glob("*.dcm"))) if each.is_file()]


def grey_levels(data: bytes) -> NDArray[np.uint8]:
    image = SourceImage(data)
    return image.pixels(image.size, colour=False)[..., 0]


def reason(data: bytes) -> str:
    with pytest.raises(ImageError) as error:
        grey_levels(data)
    return str(error.value)


def shared(name: str) -> bytes:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no {path}: set LUCENCY_DATA")
    return path.read_bytes()


def as_capture(path: str | Path) -> bytes:
    """Return a file as a secondary capture, where its own SOP class is not supported."""
    file = pydicom.dcmread(path)
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = CAPTURE
    return written(file)


# --- every file there is


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[Path, object]]:
    """Decode all files as untrusted files are decoded: in sandboxed processes."""
    with DecoderPool(2) as pool:
        found = files()
        yield dict(zip(found, pool.map(Request(str(f), None, True) for f in found), strict=True))
        assert pool.lost == 0


def test_every_file_is_read_or_rejected_with_a_reason(answers: dict[Path, object]) -> None:
    assert len(answers) > 170
    read = 0
    for file, answer in answers.items():
        assert not answer.transient, (file, answer.reason)
        read += answer.pixels is not None
        assert (answer.pixels is None) == bool(answer.reason), file
        assert answer.reason.isprintable()
        assert len(answer.reason) < 200
    assert read >= 80


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("liver_1frame.dcm", "Segmentation Storage"),
        ("test-SR.dcm", "Comprehensive SR Storage"),
        ("rtplan.dcm", "RT Plan Storage"),
        ("ExplVR_BigEnd.dcm", "Ultrasound Image Storage"),
        ("waveform_ecg.dcm", "12-lead ECG Waveform Storage"),
        ("dicomdirtests/DICOMDIR", "index of a disc"),
        ("MR_truncated.dcm", "ends early"),
        ("rtplan_truncated.dcm", "ends early"),
        ("JPGExtended.dcm", "JPEG of 12 bits"),
        ("empty_charset_LEI.dcm", "has no SOP class"),
        ("JPEG2000-embedded-sequence-delimiter.dcm", "damaged"),
        ("SC_rgb_small_odd.dcm", "at least 8"),
        ("priv_SQ.dcm", "without pixels"),
    ],
)
def test_the_reason_of_a_rejection(name: str, words: str) -> None:
    assert words in reason((WHEEL / "test_files" / name).read_bytes())


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # pytest would catch them, a terminal would show them
        for file in files():
            data = file.read_bytes()
            try:
                grey_levels(data)
            except ImageError:
                continue
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


# --- encodings


def test_seven_encodings_of_one_image_are_one_array() -> None:
    endings = ("", "_implicit", "_expb", "_bigendian", "_RLE", "_jp2klossless", "_jpeg_ls_lossless")
    names = [*(f"MR_small{end}.dcm" for end in endings), "MR_small_padded.dcm"]
    first, *others = [grey_levels((WHEEL / "test_files" / name).read_bytes()) for name in names]
    assert np.ptp(first) > 200
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG, DEFLATED, RLE, JPEG_LS, JPEG_2000])
@pytest.mark.parametrize("colour", [False, True])
def test_written_encodings_agree(syntax: str, colour: bool) -> None:
    shape = (70, 67, 3) if colour else (70, 67)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    kind = PHOTO if colour else CR
    read = read_image(dicom(pixels, syntax=syntax, kind=kind), (70, 67), colour)
    np.testing.assert_array_equal(read.reshape(shape), pixels)


def test_a_file_without_preamble_is_read() -> None:
    whole = dicom(RAMP, syntax=EXPLICIT, BitsStored=12)
    assert is_dicom(whole[132:])
    np.testing.assert_array_equal(grey_levels(whole[132:]), grey_levels(whole))
    bare = whole[whole.index(b"\x08\0\x16\0") :]
    assert is_dicom(bare)
    np.testing.assert_array_equal(grey_levels(bare), grey_levels(whole))


def test_colours_of_jpeg_are_right() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    data = dicom(pixels, syntax=JPEG, kind=PHOTO, PhotometricInterpretation="YBR_FULL_422")
    assert read_image(data, (8, 8), True)[4, 4] == pytest.approx([200, 100, 50], abs=3)


def test_palettes() -> None:
    path = get_testdata_file("examples_palette.dcm", download=False)
    file = pydicom.dcmread(path)
    theirs = pydicom.pixels.apply_color_lut(file.pixel_array, file) >> 8
    image = SourceImage(as_capture(path))
    np.testing.assert_array_equal(image.pixels(image.size, colour=True), theirs)


def test_jpeg_lossless_with_its_extra() -> None:
    pytest.importorskip("gdcm", reason="needs the extra gdcm")
    lossless = (WHEEL / "test_files" / "SC_rgb_jpeg_gdcm.dcm").read_bytes()
    plain = (WHEEL / "test_files" / "SC_rgb_rle.dcm").read_bytes()
    ours = read_image(lossless, (100, 100), True)
    np.testing.assert_array_equal(ours, read_image(plain, (100, 100), True))


def test_jpeg_lossless_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    hidden = lambda name: None if name == "gdcm" else find(name)  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", hidden)
    said = reason((WHEEL / "test_files" / "SC_rgb_jpeg_gdcm.dcm").read_bytes())
    assert "JPEG Lossless" in said
    assert "lucency[gdcm]" in said


# --- grey levels, by hand


def test_a_linear_window_by_hand() -> None:
    """PS3.3, C.11.2.1.2.1: with c = 2048 and w = 4096, 0 is black and 4095 white."""
    shown = grey_levels(dicom(RAMP, BitsStored=12, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_array_equal(shown, np.rint(RAMP / 4095 * 255))
    shown = grey_levels(dicom(RAMP, BitsStored=12, WindowCenter=1000, WindowWidth=101)).ravel()
    assert shown[949] == 0
    assert shown[1000] == round(255 * ((1000 - 999.5) / 100 + 0.5))
    assert shown[1050] == 255


def test_exact_and_sigmoid_windows_by_hand() -> None:
    window = {"BitsStored": 12, "WindowCenter": 1000, "WindowWidth": 100}
    exact = grey_levels(dicom(RAMP, **window, VOILUTFunction="LINEAR_EXACT")).ravel()
    assert [exact[950], exact[1000], exact[1050]] == [0, 128, 255]
    bent = grey_levels(dicom(RAMP, **window, VOILUTFunction="SIGMOID")).ravel()
    assert bent[1025] == round(255 / (1 + np.exp(-1)))
    assert (np.diff(bent.astype(int)) >= 0).all()


def test_a_window_of_one_value_is_a_step() -> None:
    shown = grey_levels(dicom(RAMP, BitsStored=12, WindowCenter=1000, WindowWidth=1)).ravel()
    assert [shown[998], shown[999], shown[1000], shown[4000]] == [0, 0, 255, 255]


def test_rescaling_comes_before_the_window() -> None:
    slope = {"RescaleSlope": 0.5, "RescaleIntercept": -1000}
    moved = grey_levels(dicom(RAMP, BitsStored=12, WindowCenter=0, WindowWidth=401, **slope))
    plain = grey_levels(dicom(RAMP, BitsStored=12, WindowCenter=2000, WindowWidth=801))
    assert abs(moved.astype(int) - plain).max() <= 1


def test_signed_values() -> None:
    values = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    window = {"WindowCenter": 0, "WindowWidth": 4096}
    shown = grey_levels(dicom(values, BitsStored=12, **window))
    np.testing.assert_array_equal(shown, np.rint(RAMP / 4095 * 255))


def test_unused_bits_are_ignored() -> None:
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    np.testing.assert_array_equal(
        grey_levels(dicom(RAMP | 0xF000, **window)), grey_levels(dicom(RAMP, **window))
    )


def test_luts_take_precedence_over_windows() -> None:
    entries = np.linspace(0, 1023, 2048).astype(np.uint16)
    data = dicom(
        RAMP, BitsStored=12, VOILUTSequence=table(1000, entries, 10), WindowCenter=9, WindowWidth=9
    )
    shown = grey_levels(data).ravel()
    assert (shown[:1000] == 0).all()
    assert (shown[3048:] == 255).all()
    assert shown[2024] == round(255 * int(entries[1024]) / 1023)


def test_a_modality_lut_replaces_rescaling() -> None:
    squares = (np.arange(4096, dtype=np.float64) ** 2 / 4095).astype(np.uint16)
    lut = table(0, squares, 12)
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    shown = grey_levels(dicom(RAMP, ModalityLUTSequence=lut, **window)).ravel()
    np.testing.assert_array_equal(shown, np.rint(squares / 4095 * 255))


def test_without_a_window_contrast_is_stretched() -> None:
    values = np.full((100, 100), 1000, np.uint16)
    values[:50] = 2000
    values[0, :40] = 60_000  # a marker, 0.4 % of the pixels
    values[99, :40] = 0
    shown = grey_levels(dicom(values))
    assert (shown[70, 5], shown[20, 5]) == (0, 255)
    assert SourceImage(dicom(values)).notes == Note.NO_WINDOW


def test_eight_bits_without_a_window_are_not_changed() -> None:
    pixels = np.random.default_rng(1).integers(30, 90, (20, 20), np.uint8)
    data = dicom(pixels, kind=CAPTURE)
    np.testing.assert_array_equal(grey_levels(data), pixels)
    assert SourceImage(data).notes == Note.SECONDARY_CAPTURE


def test_a_flat_image_is_read() -> None:
    assert np.ptp(grey_levels(dicom(np.full((20, 20), 777, np.uint16)))) == 0


# --- polarity


TWIN = {"BitsStored": 12, "WindowCenter": 1500, "WindowWidth": 2000}


@pytest.mark.parametrize(
    "given",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "INVERSE"},
    ],
)
@pytest.mark.parametrize("high", [4095, 3000])
def test_both_polarities_give_the_same_image(given: dict[str, str], high: int) -> None:
    """Inverted pixels declared as inverted, by one element or two, give the same image."""
    values = np.minimum(RAMP, high)
    plain = grey_levels(dicom(values, **TWIN))
    mirrored = TWIN | {"WindowCenter": 4095 - 1500 + 1}
    twin = grey_levels(dicom(4095 - values, **mirrored, **given))
    np.testing.assert_array_equal(twin, plain)


def test_both_polarities_are_stretched_equally() -> None:
    values = np.random.default_rng(2).integers(500, 3000, (64, 64)).astype(np.uint16)
    plain = grey_levels(dicom(values, BitsStored=12)).astype(int)
    inverse = dicom(4095 - values, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    assert abs(grey_levels(inverse) - plain).max() <= 1


@pytest.mark.parametrize("polarity", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_ignored(polarity: str) -> None:
    values = np.random.default_rng(3).integers(1000, 2000, (64, 64)).astype(np.uint16)
    given = {"BitsStored": 12, "PhotometricInterpretation": polarity}
    alone = grey_levels(dicom(values, **given))
    values[:, :20] = 4095
    values[:, 20:24] = 4090
    padded = grey_levels(
        dicom(values, PixelPaddingValue=4095, PixelPaddingRangeLimit=4090, **given)
    )
    assert (padded[:, :24] == 0).all()
    assert abs(padded[:, 24:].astype(int) - alone[:, 24:]).max() <= 3


# --- sizes


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, (64, 64)),
        ({"PixelSpacing": [0.4, 0.2]}, (128, 64)),
        ({"PixelSpacing": [0.2, 0.4]}, (64, 128)),
        ({"ImagerPixelSpacing": [0.3, 0.2]}, (96, 64)),
        ({"PixelAspectRatio": [2, 1]}, (128, 64)),
        ({"PixelSpacing": [0.2, 0.2], "PixelAspectRatio": [2, 1]}, (64, 64)),
        ({"PixelSpacing": [0, 0]}, (64, 64)),
        ({"PixelAspectRatio": [1000, 1]}, (64, 64)),  # implausible
    ],
)
def test_the_size_is_in_square_pixels(given: dict[str, list[float]], size: tuple[int, int]) -> None:
    assert SourceImage(dicom(RAMP, BitsStored=12, **given)).size == size


def test_the_aspect_ratio_is_physical() -> None:
    """A circle on a detector with pixels of 0.4 x 0.2 mm has half as many rows as columns."""
    y, x = np.mgrid[:50, :100]
    disc = (((y - 24.5) * 2) ** 2 + (x - 49.5) ** 2 < 40**2).astype(np.uint8) * 255
    image = SourceImage(dicom(disc, PixelSpacing=[0.4, 0.2]))
    shown = image.pixels(image.size, colour=False)[..., 0] > 127
    assert shown.any(axis=0).sum() == pytest.approx(shown.any(axis=1).sum(), abs=2)


def test_a_png_of_the_image_gives_the_same_pixels() -> None:
    for data in (
        dicom(RAMP, BitsStored=12, WindowCenter=2000, WindowWidth=3000),
        (WHEEL / "test_files" / "MR_small.dcm").read_bytes(),
    ):
        image = SourceImage(data)
        png = encode_png(image.pixels(image.size, colour=False))
        for size in ((20, 20), (33, 90)):
            ours, again = (read_image(each, size, False) for each in (data, png))
            np.testing.assert_array_equal(ours, again)


def test_colour_is_recognised() -> None:
    assert is_colour((WHEEL / "test_files" / "SC_rgb_rle.dcm").read_bytes())
    assert not is_colour(dicom(RAMP, BitsStored=12))


# --- what one should know


@pytest.mark.parametrize(
    ("given", "note"),
    [
        ({"BurnedInAnnotation": "YES"}, Note.BURNED_IN),
        ({"BurnedInAnnotation": "NO"}, Note(0)),
        ({"ViewPosition": "LL"}, Note.LATERAL),
        ({"ViewPosition": "PA"}, Note(0)),
        ({"kind": DX_RAW}, Note.FOR_PROCESSING),
        ({"kind": CAPTURE}, Note.SECONDARY_CAPTURE),
        ({"WindowCenter": [1, 2], "WindowWidth": [3, 4]}, Note.SEVERAL_WINDOWS),
        ({"WindowCenter": None, "WindowWidth": None}, Note.NO_WINDOW),
        ({"WindowWidth": 0}, Note.NO_WINDOW),
    ],
)
def test_notes(given: dict[str, object], note: Note) -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert SourceImage(dicom(RAMP, **{"BitsStored": 12, **window, **given})).notes == note


def test_every_note_has_its_own_text() -> None:
    assert describe_notes(Note(0)) == ()
    words = [describe_notes(note) for note in Note]
    assert all(len(each) == 1 and each[0] for each in words)
    assert len(set(words)) == len(Note)
    assert describe_notes(Note.BURNED_IN | Note.LATERAL) == (
        "a lateral view",
        "text is burned into the pixels",
    )


def test_overlays_are_noted_and_ignored() -> None:
    overlay = (WHEEL / "test_files" / "examples_overlay.dcm").read_bytes()
    assert SourceImage(overlay).notes == Note.OVERLAY | Note.SEVERAL_WINDOWS


def test_the_same_patient_has_the_same_key_without_the_name() -> None:
    def key(salt: bytes, **given: object) -> bytes:
        return SourceImage(dicom(RAMP, BitsStored=12, **given)).patient_key(salt)

    anna = key(b"salt", PatientID="ANNA-7")
    assert len(anna) == 16
    assert key(b"salt", PatientID="ANNA-7 ", ViewPosition="PA", syntax=IMPLICIT) == anna
    assert key(b"salt", PatientID="ANNA-8") != anna
    assert key(b"pepper", PatientID="ANNA-7") != anna
    for nobody in ("", None, "Anonymous", "0", "<Unknown>"):
        assert key(b"salt", PatientID=nobody) == b""
    assert SourceImage(encode_png(np.zeros((9, 9, 1), np.uint8))).patient_key(b"salt") == b""


# --- against highdicom


def test_agrees_with_highdicom() -> None:
    """All real files with a window that both read, except padding, within one grey level."""
    highdicom = pytest.importorskip("highdicom", reason="an independent reader")
    compared = 0
    for file in files():
        data = file.read_bytes()
        if not (is_dicom(data) and b"MONOCHROME" in data):
            continue
        try:
            ours = grey_levels(data)
        except ImageError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = pydicom.dcmread(io.BytesIO(data))
            if "WindowCenter" not in opened and "VOILUTSequence" not in opened:
                continue
            if opened.file_meta.TransferSyntaxUID == BIG:  # not read by highdicom
                continue
            image = highdicom.Image.from_dataset(opened)
            theirs = 255 * image.get_frame(
                1, apply_real_world_transform=False, apply_voi_transform=True
            )
            stored = opened.pixel_array
        if ours.shape != theirs.shape:  # non-square pixels
            ours = np.asarray(Image.fromarray(_stored_size(data)))
        seen = stored != opened.get("PixelPaddingValue", np.nan)
        assert abs(theirs - ours)[seen].max(initial=0) <= 1, file
        compared += 1
    assert compared >= 35


def _stored_size(data: bytes) -> NDArray[np.uint8]:
    from lucency.imaging.dicom.header import read_dicom
    from lucency.imaging.dicom.render import rendered

    return np.asarray(rendered(read_dicom(data)))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("dx_image.dcm", (169, 211)),
        ("RG1_J2KI.dcm", (1955, 1841)),
        ("RG3_J2KI.dcm", (1760, 1760)),
        ("RG3_J2KR.dcm", (1760, 1760)),
        ("mlut_18.dcm", (512, 512)),
        ("vlut_04.dcm", (512, 512)),
    ],
)
def test_real_radiographs(name: str, size: tuple[int, int]) -> None:
    image = SourceImage(shared(name))
    assert image.size == size
    shown = image.pixels(size, colour=False)
    assert np.ptp(shown) > 150  # their windows are wider than their range of values


@pytest.mark.real
def test_real_jpeg_lossless_is_an_ultrasound() -> None:
    pytest.importorskip("gdcm", reason="needs the extra gdcm")
    name = "JPGLosslessP14SV1_1s_1f_8b.dcm"
    assert "Ultrasound" in reason(shared(name))
    assert np.ptp(grey_levels(as_capture(SHARED / name))) == 255


def test_sop_classes_are_named() -> None:
    assert "Ultrasound Image Storage" in reason(dicom(RAMP, kind=ULTRASOUND))
    assert "unknown kind" in reason(dicom(RAMP, kind="1.2.3.4.5"))
    assert grey_levels(dicom(RAMP, kind=DX)).shape == (64, 64)
