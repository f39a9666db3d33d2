"""Images that carry words wherever their formats have room for text."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.dicom_files import dicom, written
from benchmarks.file_structure import chunk, saved, segment

WORD = "XQZMETA"  # every planted word starts with it, and ends with its place
NAME = "XQZNAME"  # in the names of files and folders
CLASSES = ("dark", "light")
_SIDE = 48
_KINDS = ("png", "jpg", "dcm")
_TAGS = (
    *("PatientName", "PatientID", "PatientComments", "OtherPatientNames", "StudyDescription"),
    *("SeriesDescription", "InstitutionName", "ReferringPhysicianName", "AccessionNumber"),
    *("ImageComments", "StationName", "OperatorsName", "ProtocolName", "StudyID"),
)
# Elements that decide how an image is read, and so are quoted by a careless message.
_STRUCTURAL = (
    *("PhotometricInterpretation", "SOPClassUID", "PresentationLUTShape", "VOILUTFunction"),
    *("NumberOfFrames", "WindowCenter", "RescaleSlope", "PixelAspectRatio", "Modality"),
)


def write_images(folder: Path, per_class: int) -> Path:
    """Write PNG, JPEG and DICOM files of two classes, two images per patient."""
    for k, label in enumerate(CLASSES):
        inner = folder / label / f"{NAME}folder"
        inner.mkdir(parents=True)
        for i in range(per_class):
            kind = _KINDS[i % 3]
            (inner / f"{NAME}{k}{i:03d}.{kind}").write_bytes(image(kind, k, i))
    return folder


def write_unreadable(folder: Path) -> Path:
    """Write files that cannot be read, and would be quoted in the reason."""
    folder.mkdir()
    for kind in _KINDS:
        data = image(kind, 0, 0)
        (folder / f"short {NAME}.{kind}").write_bytes(data[: len(data) * 2 // 3])
        (folder / f"text {NAME}.{kind}").write_text(f"{WORD}text " * 99, encoding="utf-8")
    for tag in _STRUCTURAL:
        (folder / f"{tag} {NAME}.dcm").write_bytes(_with_text(tag))
    png = image("png", 0, 0)
    (folder / f"chunk {NAME}.png").write_bytes(png[:33] + chunk(b"XQZM", b"") + png[33:])
    return folder


def image(kind: str, label: int, number: int) -> bytes:
    """Return an image file whose metadata hold words."""
    random = np.random.default_rng([label, number])
    pixels = random.integers(90 * label, 130 + 90 * label, (_SIDE, _SIDE)).astype(np.uint8)
    return {"png": _png, "jpg": _jpeg, "dcm": _dicom}[kind](pixels, number)


def _word(place: str) -> str:
    return f"{WORD}{place}"


def _profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    old = "sRGB".encode("utf-16-be")
    return profile.replace(old, _word("icc")[: len(old) // 2].encode("utf-16-be"))


def _exif() -> Image.Exif:
    exif = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0110, 0x0131, 0x013B, 0x8298, 0x9C9C):
        exif[tag] = _word(f"exif{tag:x}")
    return exif


def _xmp() -> str:
    return f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{_word('xmp')}</x:xmpmeta>"


def _png(pixels: NDArray[np.uint8], _: int) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", _word("text"))
    text.add_text("Description", _word("ztxt"), zip=True)
    text.add_itxt("Author", _word("itxt"), zip=True)
    text.add_itxt("XML:com.adobe.xmp", _xmp())
    text.add(b"prVt", _word("private").encode())
    data = saved(pixels, pnginfo=text, exif=_exif(), icc_profile=_profile())
    return data + _word("afterpng").encode()


def _jpeg(pixels: NDArray[np.uint8], _: int) -> bytes:
    data = saved(
        pixels, "JPEG", quality=95, exif=_exif(), comment=_word("com"), xmp=_xmp().encode(),
        icc_profile=_profile(),
    )  # fmt: skip
    iptc = segment(0xED, b"Photoshop 3.0\0" + _word("iptc").encode())
    return data[:2] + iptc + data[2:] + _word("afterjpeg").encode()


def _dicom(pixels: NDArray[np.uint8], number: int) -> bytes:
    tags = {tag: _word(tag)[:16] for tag in _TAGS}
    tags["PatientID"] = _word(f"id{number // 6}")
    file = pydicom.dcmread(io.BytesIO(dicom(pixels, **tags)))
    block = file.private_block(0x0011, _word("creator"), create=True)
    block.add_new(1, "LO", _word("private"))
    inner = Dataset()
    inner.PatientName = _word("inner")
    file.RequestAttributesSequence = Sequence([inner])
    file.preamble = _word("preamble").encode().ljust(128, b"\0")
    return written(file)


def _with_text(tag: str) -> bytes:
    """Return a DICOM file with a word in an element that is no text."""
    file = pydicom.dcmread(io.BytesIO(_dicom(np.zeros((_SIDE, _SIDE), np.uint8), 0)))
    element = pydicom.DataElement(pydicom.tag.Tag(tag), "LO", _word(tag)[:16])
    file[element.tag] = element
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the text is not valid there
        return written(file)
