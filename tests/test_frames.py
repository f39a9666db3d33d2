"""Frames of DICOM files, and pages of TIFF and GIF files, as images of one unit."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from benchmarks.dicom_files import dicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.filereader import dcmread

from conftest import Heard, call_lucency
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Entry
from lucency.dataset.duplicates import between_files
from lucency.dataset.frames import files_with_frames
from lucency.dataset.groups import find_new_groups
from lucency.dataset.load import load_dataset, load_labelled
from lucency.dataset.near_duplicates import NearDuplicate
from lucency.dataset.units import find_units
from lucency.errors import ConfigError, DataError, ImageError
from lucency.imaging.decoder.pool import DecoderPool, Request, decode_again
from lucency.imaging.frames import content_sha256, file_of, frame_name, opened_as, spread
from lucency.imaging.image import SourceImage, count_frames
from lucency.imaging.notes import Note
from lucency.imaging.source import load
from small_runs import SIDE, TWO
from test_studies import saved_run, with_sets

CINE = "1.2.840.10008.5.1.4.1.1.3.1"  # ultrasound of several frames
GREYS = [20, 60, 100, 140, 180, 220]


def cine(greys: list[int], **elements: object) -> bytes:
    """Return a DICOM file of flat frames of 8 bits."""
    pixels = np.concatenate([np.full((SIDE, SIDE), grey, np.uint8) for grey in greys])
    elements = {"NumberOfFrames": len(greys), **elements}
    return dicom(pixels, kind=CINE, Rows=SIDE, **elements)


def pages(greys: list[int], kind: str) -> bytes:
    file = io.BytesIO()
    first, *others = (Image.new("L", (SIDE, SIDE), grey) for grey in greys)
    first.save(file, kind, save_all=True, append_images=others)
    return file.getvalue()


def grey_of(data: bytes, frame: int = 0) -> int:
    return int(SourceImage(data, frame).pixels((SIDE, SIDE), False).mean().round())


def test_names_of_frames_lead_back_to_the_file(tmp_path: Path) -> None:
    name = frame_name("scans/a.dcm", 3)
    assert (name, file_of(name), opened_as(name)) == (
        "scans/a.dcm#frame=3", "scans/a.dcm", ("scans/a.dcm", 3)
    )  # fmt: skip
    assert file_of("a#frame=0.png") == "a#frame=0.png"
    real = tmp_path / "a.png#frame=2"
    real.write_bytes(b"x")
    assert opened_as(real) == (str(real), 0)
    assert content_sha256(b"x", 1) != content_sha256(b"x", 2) != content_sha256(b"x")


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(1, 5, [1]), (3, "all", [1, 2, 3]), (3, 1, [2]), (10, 2, [3, 8]), (9, 3, [2, 5, 8])],
)  # fmt: skip
def test_frames_are_evenly_spread(count: int, most: int | str, expected: list[int]) -> None:
    assert [*spread(count, most)] == expected
    assert [*spread(1000, 7)] == sorted({*spread(1000, 7)})


@pytest.mark.parametrize("kind", ["DICOM", "RLE", "TIFF", "GIF"])
def test_each_frame_is_read(kind: str) -> None:
    data = pages(GREYS, kind) if kind in ("TIFF", "GIF") else cine(GREYS)
    if kind == "RLE":
        file = dcmread(io.BytesIO(data))
        file.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
        stream = io.BytesIO()
        file.save_as(stream)
        data = stream.getvalue()
    assert count_frames(data) == 6
    assert [grey_of(data, k) for k in range(1, 7)] == pytest.approx(GREYS, abs=2)
    assert grey_of(data) == pytest.approx(140 if kind in ("DICOM", "RLE") else 20, abs=2)
    with pytest.raises(ImageError, match="7 of 6"):
        SourceImage(data, 7)


def test_the_middle_frame_of_a_dicom_file_is_read_and_said() -> None:
    assert Note.MIDDLE_FRAME in SourceImage(cine(GREYS)).notes
    assert Note.MIDDLE_FRAME not in SourceImage(cine(GREYS), 2).notes
    assert Note.FIRST_PAGE not in SourceImage(pages(GREYS, "TIFF"), 2).notes


def test_frames_of_several_fragments_need_a_table_of_offsets() -> None:
    path = get_testdata_file("SC_rgb_rle_2frame.dcm", download=False)
    data = Path(str(path)).read_bytes()
    one, two = (SourceImage(data, k).pixels((100, 100), True) for k in (1, 2))
    expected = dcmread(io.BytesIO(data)).pixel_array
    assert np.abs(one.astype(int) - expected[0]).max() <= 1
    assert np.abs(two.astype(int) - expected[1]).max() <= 1
    file = dcmread(io.BytesIO(data))
    file.PixelData = encapsulate([b"ab" * 20] * 2, fragments_per_frame=2, has_bot=False)
    stream = io.BytesIO()
    file.save_as(stream)
    with pytest.raises(ImageError, match="2 frames in 4 fragments, without a table"):
        SourceImage(stream.getvalue(), 1).pixels((9, 9), False)


@pytest.mark.parametrize("count", ["-3", "0", "200000", "99"])
def test_a_false_number_of_frames_does_no_harm(count: str) -> None:
    data = cine(GREYS[:1], NumberOfFrames=count)
    if count in ("-3", "0"):
        assert grey_of(data) == 20
    else:
        with pytest.raises(
            ImageError, match="at most 100,000" if count == "200000" else "ends early"
        ):
            SourceImage(data)
    assert count_frames(data) == {"99": 99}.get(count, 1)


def test_pages_that_lead_in_a_circle_are_counted_once() -> None:
    loop = bytearray(pages(GREYS[:1], "TIFF"))
    (place,) = struct.unpack_from("<I", loop, 4)
    (count,) = struct.unpack_from("<H", loop, place)
    struct.pack_into("<I", loop, place + 2 + 12 * count, place)
    assert count_frames(bytes(loop)) == 1
    assert count_frames(b"II*\0" + bytes(4)) == count_frames(b"GIF89a") == 1


def test_the_decoders_read_a_frame_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(cine(GREYS))
    names = [frame_name(str(path), k) for k in (1, 6)]
    with DecoderPool(1) as pool:
        one, six = pool.map(Request(name, (SIDE, SIDE), False) for name in names)
        again = [*decode_again(pool, [(Path(names[1]), six.sha256)], (SIDE, SIDE), False)]
    assert (one.or_error().mean(), six.or_error().mean()) == (20, 220)
    assert one.sha256 != six.sha256
    assert again[0].mean() == 220
    assert load(names[0]) == load(path)


def write_scans(folder: Path, scans: int = 8) -> Path:
    """Write a DICOM file of six frames and a TIFF file of three for every patient of a class."""
    for k, name in enumerate(TWO):
        (folder / name).mkdir(parents=True)
        for i in range(scans):
            greys = [40 + 120 * k + 3 * i + 5 * frame for frame in range(6)]
            file = folder / name / f"scan{k}{i}"
            if i % 2:
                file.with_suffix(".tif").write_bytes(pages(greys[:3], "TIFF"))
            else:
                patient = f"P{k}{i}"
                file.with_suffix(".dcm").write_bytes(cine(greys, PatientID=patient))
    return folder


def test_frames_are_images_of_their_file_in_one_split(tmp_path: Path) -> None:
    folder = write_scans(tmp_path / "scans")
    config = Config(cache=str(tmp_path / "cache"), frames=4, workers=1, folds=0)
    data = load_dataset(folder, config, size=(SIDE, SIDE), colour=False)
    splits = [split for split in (data.train, data.val, data.test) if split is not None]
    assert sum(map(len, splits)) == 2 * 4 * (4 + 3)
    files = {file_of(file) for split in splits for file in split.files}
    assert len(files) == 16
    for split in splits:
        assert split.units == tuple(file_of(file) for file in split.files)
        assert len(split.groups) == len(split.units)
    assert not {*data.train.groups} & {*data.val.groups}
    (first, *_) = data.train.pixels([0])
    path = folder / data.train.files[0]
    with DecoderPool(1) as pool:
        (decoded,) = pool.map([Request(str(path), (SIDE, SIDE), False)])
    assert (decoded.or_error() == first).all()
    one = load_dataset(
        folder, Config(cache=str(tmp_path / "cache"), workers=1, folds=0),
        size=(SIDE, SIDE), colour=False,
    )  # fmt: skip
    assert {*one.train.files} <= files
    assert one.train.units == ()


def test_frames_of_one_file_are_no_near_duplicates() -> None:
    one, two = (Entry(f"a.dcm#frame={k}", "x") for k in (1, 2))
    other = Entry("b.dcm#frame=1", "x")
    pairs = [NearDuplicate(one, each, "resized", 0.97) for each in (two, other)]
    assert between_files(pairs) == (pairs[1],)


def test_files_without_frames_are_one_clear_error(tmp_path: Path) -> None:
    for name in TWO:
        (tmp_path / name).mkdir()
        for i in range(6):
            Image.new("L", (SIDE, SIDE), 20 * i).save(tmp_path / name / f"{i}.png")
    config = Config(cache=str(tmp_path / "cache"), frames=4, workers=1)
    with pytest.raises(DataError, match="--set frames needs files of several frames"):
        load_dataset(tmp_path, config, size=(SIDE, SIDE), colour=False)
    for wrong in (0, 10_001):
        with pytest.raises(ConfigError, match="frames must lie between 1 and 10,000, or be all"):
            Config(frames=wrong)
    with pytest.raises(ConfigError, match="frames must be"):
        Config.load(None, ["frames=many"])


def test_frames_of_an_unknown_study_or_patient_are_of_one_unit() -> None:
    names = ["a.dcm#frame=1", "a.dcm#frame=2", "b.dcm"]
    entries = [Entry(name, "x", group=file_of(name)) for name in names]
    units = find_units([*entries, Entry("c.dcm", "x", unit="E")], "exam_id", [""] * 4).entries
    assert [entry.unit for entry in units] == ["a.dcm", "a.dcm", "", "E"]
    assert find_new_groups([*map(file_of, names)]).keys == ("a.dcm", "a.dcm", "b.dcm")


def test_predict_answers_for_files_of_several_frames(tmp_path: Path) -> None:
    folder, run = write_scans(tmp_path / "scans", 2), saved_run(tmp_path / "run", "file")
    document = json.loads((run / "classifier.json").read_text())
    document["unit"] = {**with_sets("file").to_json(), "frames": 2}
    (run / "classifier.json").write_text(json.dumps(document))
    found = call_lucency("predict", run, folder, "--json")
    answers = json.loads(found.stdout)
    assert [Path(each["file"]).name for each in answers] == [
        "scan00.dcm", "scan01.tif", "scan10.dcm", "scan11.tif"
    ]  # fmt: skip
    images = [Path(each["file"]).name for each in answers[0]["images"]]
    assert images == ["scan00.dcm#frame=2", "scan00.dcm#frame=5"]
    rule = Classifier.load(run).unit
    assert rule is not None
    assert rule.frames == 2
    (tmp_path / "x.dcm").write_bytes(b"damaged")
    assert files_with_frames([tmp_path / "x.dcm"], "all") == [tmp_path / "x.dcm"]
    config = Config(cache=str(tmp_path / "cache"), frames=2, workers=1)
    split = load_labelled(folder, TWO, config, size=(SIDE, SIDE), colour=False, progress=Heard())
    assert len(split) == 8
