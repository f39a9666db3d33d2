"""Patients of images: named patterns, regular expressions and columns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lucency.dataset.groups import find_groups
from lucency.dataset.scan import scan
from lucency.errors import ConfigError, DataError

KERMANY = {
    "train/PNEUMONIA/person1_bacteria_1.jpeg": "person1_bacteria",
    "train/PNEUMONIA/person1_bacteria_2.jpeg": "person1_bacteria",
    "train/PNEUMONIA/person1_virus_6.jpeg": "person1_virus",
    "train/PNEUMONIA/person1372_virus_2364_1.jpeg": "person1372_virus",
    "train/NORMAL/IM-0115-0001.jpeg": "IM-0115",
    "train/NORMAL/IM-0115-0001-0002.jpeg": "IM-0115",
    "train/NORMAL/NORMAL2-IM-0115-0001.jpeg": "NORMAL2-IM-0115",
    "test/NORMAL/NORMAL2-IM-0381-0001-0001.jpeg": "NORMAL2-IM-0381",
}


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("kermany", KERMANY),
        ("nih", {"a/00000001_000.png": "00000001", "b/00000001_001.png": "00000001"}),
        (
            "chexpert",
            {
                "a/patient00001/study1/view1_frontal.jpg": "patient00001",
                "b/patient00002/study12/view2_lateral.jpg": "patient00002",
            },
        ),
        ("mimic", {"a/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg": "p10000032"}),
        ("patient", {"a/patient001_1.png": "patient001", "b/Patient-7.b.png": "Patient-7"}),
    ],
)
def test_named_patterns(source: str, keys: dict[str, str]) -> None:
    groups = find_groups(list(keys))
    assert groups.source == source
    assert groups.keys == tuple(keys.values())
    assert not groups.warnings


def test_without_a_pattern_every_image_stands_alone_with_a_warning() -> None:
    groups = find_groups(["a/x1.png", "b/x1.png"])
    assert groups.source == "none"
    assert groups.keys == ("a/x1.png", "b/x1.png")
    assert groups.warnings[0].startswith("Patients unknown: ")


@pytest.mark.parametrize(("others", "source"), [(5, "nih"), (6, "none")])
def test_a_pattern_needs_95_percent(others: int, source: str) -> None:
    files = [f"a/{i:08d}_000.png" for i in range(100 - others)]
    files += [f"a/other{i}.png" for i in range(others)]
    groups = find_groups(files)
    assert groups.source == source
    assert groups.keys[-1] == files[-1]
    if source == "nih":
        assert "5 of 100 images (a/other0.png" in groups.warnings[0]


@pytest.mark.parametrize("regex", [r"/(\w+?)-", r"([a-z])/(?P<patient>\w+?)-"])
def test_expression(regex: str) -> None:
    groups = find_groups(["a/anna-1.png", "a/anna-2.png", "b/ben-1.png"], regex=regex)
    assert (groups.source, groups.keys) == ("regex", ("anna", "anna", "ben"))


@pytest.mark.parametrize(
    ("regex", "error", "message"),
    [
        ("(", ConfigError, "not a valid regular expression"),
        (r"\d+", ConfigError, "needs a group in parentheses"),
        (r"(anna)", DataError, r"50.0% of the paths.*for example, b/ben-1.png"),
        (r"(x*)", DataError, r"0.0% of the paths"),
    ],
)
def test_invalid_expressions(regex: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_groups(["a/anna-1.png", "b/ben-1.png"], regex=regex)


def test_the_column_takes_precedence_and_gaps_stand_alone() -> None:
    files = ["a/00000001_000.png", "a/00000001_001.png", "b/00000002_000.png"]
    groups = find_groups(files, given=["p", "", "q"])
    assert (groups.source, groups.keys) == ("csv", ("p", files[1], "q"))
    assert "1 of 3 images (a/00000001_001.png)" in groups.warnings[0]


def shared_patients(root: Path, regex: str | None = None) -> tuple[str, int]:
    entries = scan(root).entries
    groups = find_groups([entry.file for entry in entries], regex=regex)
    owners = {
        split: {
            key for entry, key in zip(entries, groups.keys, strict=True) if entry.split == split
        }
        for split in ("train", "test")
    }
    return groups.source, len(owners["train"] & owners["test"])


@pytest.mark.real
def test_official_radiographs_share_no_patient() -> None:
    data = Path(os.environ.get("LUCENCY_DATA", "../shared/data")) / "chest_xray"
    if not data.is_dir():
        pytest.skip("the chest radiographs are not here; LUCENCY_DATA names their folder")
    assert shared_patients(data) == ("kermany", 0)
    # The number restarts with every disease, so alone it would merge different people.
    source, shared = shared_patients(data, r"(person\d+|(?:NORMAL2-)?IM-\d+)")
    assert source == "regex"
    assert shared > 50
