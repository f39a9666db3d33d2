"""Untrusted DICOM files: bombs are rejected at once, corrupted ones cost one image, and nothing
that names a patient comes out anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from benchmarks.dicom_files import (
    CAPTURE,
    DX,
    DX_RAW,
    EXPLICIT,
    JPEG_2000,
    JPEG_LS,
    RLE,
    bombs,
    dicom,
    element,
)
from numpy.typing import NDArray

from conftest import call_lucency, draw_image
from lucency.dataset import load_dataset
from lucency.dataset.beside import images_below
from lucency.dataset.groups import find_groups
from lucency.dataset.walk import walk_folder
from lucency.errors import ImageError, LeakError
from lucency.imaging.decoder.pool import DecoderPool, Request
from lucency.imaging.decoder.protocol import (
    Outcome,
    ProtocolError,
    Response,
    pack_request,
    pack_response,
    read_request,
    read_response,
)
from lucency.imaging.dicom.header import read_dicom
from lucency.imaging.image import SourceImage
from lucency.imaging.notes import Note
from test_decoding import children

BOMBS = bombs()
SALT = bytes(range(16))


def radiograph(seed: int, bright: bool = False) -> NDArray[np.uint16]:
    drawn = draw_image(np.random.default_rng(seed), bright)
    return np.asarray(drawn).astype(np.uint16) * 12


# --- bombs and corrupted files


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_rejected_at_once(name: str) -> None:
    data = BOMBS[name]
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(ImageError) as error:
            SourceImage(data).decode((64, 64), colour=False)
        assert time.process_time() - start < 10  # tracing makes it several times slower
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert "without pixels" not in str(error.value) or "known length" in name


def test_bombs_cost_a_decoder_neither_memory_nor_time() -> None:
    with DecoderPool(1, deadline=10) as pool:
        answers = [*pool.map(Request(data, (64, 64), False) for data in BOMBS.values())]
        assert pool.lost == 0
    assert all(each.pixels is None and not each.transient for each in answers)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_decoder_of_dicom_has_one_thread() -> None:
    """Its limits forbid more threads, unless it runs as superuser."""
    with DecoderPool(1) as pool:
        for syntax in (EXPLICIT, RLE, JPEG_LS, JPEG_2000):
            data = dicom(radiograph(1), BitsStored=16, syntax=syntax)
            assert pool.submit(Request(data, (16, 16), False)).result().pixels is not None
        (child,) = children()
        assert len(list(Path(f"/proc/{child}/task").iterdir())) == 1


def test_truncated_and_corrupted_files_have_a_result() -> None:
    draw = random.Random(0)  # noqa: S311 - no secret
    sound = [dicom(radiograph(1), BitsStored=12, syntax=each) for each in (EXPLICIT, JPEG_2000)]
    corrupted = [sound[0][: 2 * n] for n in range(0, 450, 3)]
    for _ in range(400):
        data = bytearray(draw.choice(sound))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(132, min(len(data), 900))] = draw.randrange(256)
        corrupted.append(bytes(data))
    with DecoderPool(2) as pool:
        answers = [*pool.map(Request(data, (16, 16), False) for data in corrupted)]
        assert pool.lost == 0
    for each in answers:
        assert (each.pixels is None) == bool(each.reason)
        assert each.reason.isprintable()


def test_a_header_does_not_print_its_content() -> None:
    header = read_dicom(dicom(radiograph(1), BitsStored=12, PatientID="ANNA"))
    assert "ANNA" not in repr(header)
    assert "ANNA" not in str(header)


def test_unneeded_elements_are_never_read() -> None:
    """A name that is not text, in an element with an unknown VR."""
    whole = dicom(radiograph(1), BitsStored=12)
    place = whole.index(b"\x28\0\x02\0US")
    odd = element(0x00100010, b"PN", b"\xff\xfe\0\x1b[31m\0") + element(0x00100011, b"ZZ", b"??")
    corrupted = whole[:place] + odd + whole[place:]
    assert SourceImage(corrupted).decode((40, 40), False) == SourceImage(whole).decode(
        (40, 40), False
    )


# --- between the processes


def test_notes_and_patients_round_trip() -> None:
    request = Request("a", (1, 1), False, salt=SALT)
    assert read_request(_reader(pack_request(request))) == request
    answer = Response(Outcome.PIXELS, "ab" * 32, (9, 9), b"x", Note.LATERAL, bytes(range(16)))
    assert read_response(_reader(pack_response(answer) + b"x"), request) == answer


@pytest.mark.parametrize(
    ("notes", "patient", "salt"),
    [(Note(2**15), b"", SALT), (Note(0), b"\1" * 16, b"")],
)
def test_unrequested_notes_and_patients_are_rejected(
    notes: Note, patient: bytes, salt: bytes
) -> None:
    answer = Response(Outcome.PIXELS, "ab" * 32, (9, 9), b"x", notes, patient)
    with pytest.raises(ProtocolError):
        read_response(_reader(pack_response(answer) + b"x"), Request("a", (1, 1), False, salt=salt))


def _reader(data: bytes):  # type: ignore[no-untyped-def]
    rest = bytearray(data)

    def read(count: int) -> bytes:
        part = bytes(rest[:count])
        del rest[:count]
        return part

    return read


def test_a_decoder_without_dicom_imports_neither_numpy_nor_pydicom() -> None:
    code = "import sys, lucency.imaging.decoder.child; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "lucency.imaging.image" in loaded
    assert not {"numpy", "pydicom", "lucency.imaging.dicom.header"} & {*loaded}


# --- folders


def test_files_of_archives_are_found_by_their_content(tmp_path: Path) -> None:
    data = dicom(radiograph(1), BitsStored=12)
    (tmp_path / "a").mkdir()
    for name in ("IM000001", "1.2.840.113619.2", "x.dcm", "y.DICOM", "z.ima"):
        (tmp_path / "a" / name).write_bytes(data)
    for name in ("README", "notes.1", "DICOMDIR", "data.txt", "x.json"):
        (tmp_path / "a" / name).write_bytes(data if name != "README" else b"hello")
    (tmp_path / "a" / "notes.1").write_bytes(b"hello" * 100)
    (tmp_path / "a" / "link").symlink_to("IM000001")
    walk = walk_folder(tmp_path)
    names = ["1.2.840.113619.2", "data.txt", "IM000001", "x.dcm", "x.json", "y.DICOM", "z.ima"]
    assert walk.files == [f"a/{name}" for name in names]
    ignored = {each.file: each.reason for each in walk.ignored}
    assert "index of a DICOM disc" in ignored["a/DICOMDIR"]
    assert {"a/README", "a/notes.1", "a/link"} <= ignored.keys()
    found, _ = images_below(tmp_path)
    assert [path.name for path in found] == sorted([*(path[2:] for path in walk.files), "link"])


def test_a_pipe_without_a_suffix_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "IM000001")
    found, sentences = images_below(tmp_path)
    assert (found, sentences) == ([], ())


# --- patients


def test_dicom_patients_are_named_after_their_first_file() -> None:
    files = [f"x/{n}" for n in range(8)]
    keys = ["a", "b", "a", "c", "b", "d", "c", "a"]
    groups = find_groups(files, patients=keys)
    assert (groups.source, groups.warnings) == ("dicom", ())
    assert groups.keys == ("x/0", "x/1", "x/0", "x/3", "x/1", "x/5", "x/3", "x/0")
    other_salt = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    assert find_groups(files, patients=other_salt) == groups


def test_options_take_precedence_over_dicom() -> None:
    files = ["p1_a", "p1_b", "p2_a", "p2_b", "p3_a", "p3_b"]
    keys = ["a", "b", "a", "b", "c", "d"]
    assert find_groups(files, patients=keys, regex="(p[0-9])").source == "regex"
    assert find_groups(files, patients=keys, given=["z"] * 6).source == "csv"


def test_precedence_of_dicom_files_and_file_names() -> None:
    named = [f"patient{n // 2}_{n}.png" for n in range(20)]
    full = [str(n % 10) for n in range(20)]
    assert find_groups(named, patients=full).source == "dicom"
    assert find_groups(named, patients=[*full[:10], *[""] * 10]).source == "patient"
    mixed = [f"radiograph{n}.dcm" for n in range(20)]
    groups = find_groups(mixed, patients=[*full[:5], *full[:5], *[""] * 10])
    assert groups.source == "dicom"
    assert groups.keys[5:7] == ("radiograph0.dcm", "radiograph1.dcm")
    assert "No patient is known for 10 of 20" in groups.warnings[0]


def test_one_patient_id_for_all_is_ignored() -> None:
    files = [f"{n}.dcm" for n in range(20)]
    groups = find_groups(files, patients=["same"] * 12 + [str(n) for n in range(8)])
    assert groups.source == "none"
    assert "12 of 20 DICOM files have the same one" in groups.warnings[0]
    assert find_groups(files, patients=[""] * 20).source == "none"


# --- the whole way, with thirty canaries


CANARIES = [f"CANARY{n:02d}BIRD" for n in range(30)]
TEXT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientNames", "PatientAddress"),
    *("PatientComments", "InstitutionName", "InstitutionAddress", "ReferringPhysicianName"),
    *("OperatorsName", "PerformingPhysicianName", "StudyDescription", "SeriesDescription"),
    *("AccessionNumber", "StudyID", "StationName", "Manufacturer", "ManufacturerModelName"),
    *("ProtocolName", "RequestedProcedureDescription", "ImageComments", "PatientMotherBirthName"),
    *("MilitaryRank", "Occupation", "EthnicGroup", "DeviceSerialNumber", "SoftwareVersions"),
    *("DetectorID", "BodyPartExamined", "AdmissionID"),
)


def canaries(patient: int) -> dict[str, str]:
    told = dict(zip(TEXT, CANARIES, strict=True))
    return told | {"PatientID": f"{CANARIES[1]}{patient}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two classes of 30 radiographs, two of each patient, and files that are rejected."""
    folder = tmp_path_factory.mktemp("dicom") / "radiographs"
    for k, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for n in range(30):
            polarity = "MONOCHROME1" if n % 3 == 0 else "MONOCHROME2"
            values = radiograph(100 * k + n, bright=k == 1)
            said = {
                "kind": DX_RAW if n % 10 == 0 else DX,
                "BitsStored": 12,
                "WindowCenter": 1536 if n % 3 else 4095 - 1536,
                "WindowWidth": 3061,
                "PhotometricInterpretation": polarity,
                "ViewPosition": "LL" if n % 15 == 0 else "PA",
            }
            data = dicom(
                4095 - values if n % 3 == 0 else values, **said, **canaries(100 * k + n // 2)
            )
            (folder / name / f"IM{n:06d}").write_bytes(data)
        cut = dicom(radiograph(7), BitsStored=12, **canaries(0))[:-100]
        (folder / name / "cut.dcm").write_bytes(cut)
        structure = dicom(radiograph(8), kind="1.2.840.10008.5.1.4.1.1.66.4", **canaries(0))
        (folder / name / "report.dcm").write_bytes(structure)
    return folder


def test_the_data_set_has_patients_and_notes(folder: Path) -> None:
    from lucency.config import Config

    data = load_dataset(folder, Config(max_unreadable=0.1))
    audit = data.audit
    assert audit.group_source == "dicom"
    assert sum(audit.groups.values()) == 30
    splits: dict[str, set[str]] = {}
    for entry in data.entries:
        splits.setdefault(entry.group, set()).add(entry.split)
    assert all(len(each) == 1 for each in splits.values())
    warnings = " ".join(audit.warnings)
    assert "6 DICOM images (dark/IM000000, dark/IM000010" in warnings
    assert "4 DICOM images (dark/IM000000, dark/IM000015" in warnings
    assert "lateral" in warnings
    reasons = " ".join(each.reason for each in audit.excluded)
    assert "ends early" in reasons
    assert "Segmentation Storage" in reasons
    again = load_dataset(folder, Config(max_unreadable=0.1))
    assert again.entries == data.entries


def test_the_leak_check_finds_patients_in_two_splits(tmp_path: Path) -> None:
    for part, count in (("train", 40), ("test", 24)):
        for k, name in enumerate(("dark", "light")):
            (tmp_path / part / name).mkdir(parents=True)
            for n in range(count):
                seed = 1000 * (part == "test") + 100 * k + n
                who = f"P{100 * k + n}" if n < 2 or part == "train" else f"Q{100 * k + n}"
                data = dicom(radiograph(seed, bright=k == 1), BitsStored=12, PatientID=who)
                (tmp_path / part / name / f"{part}{n}.dcm").write_bytes(data)
    with pytest.raises(LeakError, match="4 images of 4 patients who are in test") as error:
        load_dataset(tmp_path)
    assert not re.search(r"\b[PQ]\d", str(error.value))
    assert set(error.value.dataset.audit.leaks.patients) == {
        f"test/{name}/test{n}.dcm" for name in ("dark", "light") for n in (0, 1)
    }


def _lucency(*arguments: str | Path) -> str:
    done = call_lucency(*arguments)
    assert done.returncode in (0, 2, 3), done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def _holds_canary(data: bytes) -> list[str]:
    return [each for each in CANARIES if each.encode() in data]


def test_no_data_of_a_patient_is_written_anywhere(folder: Path, tmp_path: Path) -> None:
    assert len(_holds_canary((folder / "dark" / "IM000000").read_bytes())) == 30
    cache = tmp_path / "cache"
    refused = _lucency("check", folder, "--cache", cache)
    assert "cut.dcm (the file ends early" in refused
    assert _holds_canary(refused.encode()) == []
    given = ("--out", tmp_path / "check", "--cache", cache, "--max-unreadable", "0.1")
    said = _lucency("check", folder, *given)
    assert _holds_canary(said.encode()) == []
    written = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert len(written) > 5
    for file in written:
        assert _holds_canary(file.read_bytes()) == [], file
    assert (
        json.loads((tmp_path / "check" / "audit.json").read_text())["groups"]["source"] == "dicom"
    )


def test_secondary_captures_cause_a_warning(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for n in range(30):
            data = dicom(radiograph(n + 50 * (name == "b")).astype(np.uint8), kind=CAPTURE)
            (tmp_path / name / f"{n}.dcm").write_bytes(data)
    assert any("60 DICOM images" in each for each in load_dataset(tmp_path).audit.warnings)
