"""The leak check: what of test is in train or validation, and what is done about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from lucency.config import Config
from lucency.dataset import Dataset, load_dataset, load_labelled, write_split
from lucency.dataset.duplicates import identical_pairs, near_pairs
from lucency.dataset.entry import Entry
from lucency.dataset.leaks import check_leaks
from lucency.dataset.near_duplicates import NearDuplicate
from lucency.errors import DataError, LeakError
from lucency.progress import Progress

SIDE = 64
Load = Callable[..., Dataset]


def entry(file: str, label: str, split: str = "", group: str = "", sha256: str = "") -> Entry:
    return Entry(file, label, split, group or file, sha256 or f"hash of {file}")


def near(
    first: Entry, second: Entry, kind: str = "mirrored", similarity: float = 0.98
) -> NearDuplicate:
    return NearDuplicate(first, second, kind, similarity)


# the check alone


def test_copies_of_test_images_are_excluded_and_test_is_kept() -> None:
    entries = [
        entry("test/a/1", "a", "test", sha256="same"),
        entry("train/a/2", "a", "train", sha256="same"),
        entry("train/b/3", "b", "train", sha256="same"),
        entry("val/a/4", "a", "val", sha256="same"),
        entry("train/a/5", "a", "train"),
    ]
    cleaned = check_leaks(entries)
    assert [each.file for each in cleaned.entries] == ["test/a/1", "train/a/5"]
    assert [(each.file, reason) for each, reason in cleaned.excluded] == [
        (file, "identical to test/a/1") for file in ("train/a/2", "train/b/3", "val/a/4")
    ]
    assert "exact copies of test images: 3 images" in cleaned.warnings[0]
    assert cleaned.leaks.status == "dropped"
    assert check_leaks(cleaned.entries).leaks.status == "passed"


def test_near_duplicates_leak_with_their_identical_copies() -> None:
    entries = [
        entry("test/a/1", "a", "test", "p", "x"),
        entry("test/a/2", "a", "test", "p", "w"),
        entry("train/a/3", "a", "train", "q", "y"),
        entry("train/a/4", "a", "train", "r", "y"),
        entry("train/a/5", "a", "train", "s", "z"),
    ]
    copies = [near(entries[0], entries[2]), near(entries[1], entries[2], "resized", 0.999)]
    cleaned = check_leaks(entries, copies)
    assert [(each.file, reason) for each, reason in cleaned.excluded] == [
        ("train/a/3", "resized copy of test/a/2"),
        ("train/a/4", "resized copy of test/a/2"),
    ]
    assert cleaned.leaks.to_json()["pairs"][1] == {
        "first": "test/a/2", "second": "train/a/4", "kind": "resized", "similarity": 0.999,
        "splits": ["test", "train"], "labels": ["a", "a"],
    }  # fmt: skip
    assert "modified copies of test images: 2 images" in cleaned.warnings[0]


def test_ignored_leaks_stay_and_invalidate_test() -> None:
    entries = [
        entry("test/a/1", "a", "test", "p", "x"),
        entry("train/a/2", "a", "train", "q", "x"),
        entry("train/a/3", "a", "train", "p"),
    ]
    cleaned = check_leaks(entries, on_leak="ignore")
    assert {each.file for each in cleaned.entries} == {each.file for each in entries}
    assert cleaned.leaks.status == "ignored"
    assert cleaned.leaks.patients == {"p": {"test": 1, "elsewhere": 1}}
    assert "test split are invalid" in cleaned.warnings[0]
    assert "train/a/2 is identical to test/a/1" in cleaned.warnings[0]


def test_all_contradictory_copies_are_excluded() -> None:
    entries = [
        entry("a/1", "a", sha256="same"),
        entry("a/2", "a", sha256="same"),
        entry("b/3", "b", sha256="same"),
        entry("b/4", "b"),
    ]
    cleaned = check_leaks(entries)
    assert [each.file for each in cleaned.entries] == ["b/4"]
    assert [reason for _, reason in cleaned.excluded] == [
        "label conflict: identical to b/3",
        "label conflict: identical to b/3",
        "label conflict: identical to a/1",
    ]
    assert cleaned.leaks.status == "passed"


def test_contradictions_in_test_only_cause_a_warning() -> None:
    entries = [entry(f"test/{c}/1", c, "test", sha256="same") for c in "ab"]
    cleaned = check_leaks(entries)
    assert [each.file for each in cleaned.entries] == [each.file for each in entries]
    assert "Contradictory labels in the test split: 2 images" in cleaned.warnings[0]


def test_duplicates_share_a_group() -> None:
    entries = [
        entry("a/1", "a", group="p", sha256="x"),
        entry("a/2", "a", group="q", sha256="x"),
        entry("a/3", "a", group="q", sha256="y"),
        entry("a/4", "a", group="r", sha256="y"),
        entry("a/5", "a", group="s", sha256="z"),
        entry("b/6", "b", group="t"),
    ]
    copies = [near(entries[3], entries[4])]
    cleaned = check_leaks(entries, copies)
    assert [each.group for each in cleaned.entries] == ["p", "p", "p", "p", "p", "t"]
    assert identical_pairs(cleaned.entries) == (("a/1", "a/2"), ("a/3", "a/4"))
    assert not cleaned.excluded
    back = check_leaks(entries[::-1], copies).entries
    assert {each.file: each.group for each in back} == {
        each.file: each.group for each in cleaned.entries
    }


def test_copies_of_validation_are_excluded_from_train() -> None:
    entries = [
        entry("val/a/1", "a", "val", sha256="x"),
        entry("train/a/2", "a", "train", sha256="x"),
        entry("train/a/3", "a", "train", sha256="y"),
        entry("train/a/4", "a", "train"),
    ]
    cleaned = check_leaks(entries, [near(entries[0], entries[2], "cropped")])
    assert [reason for _, reason in cleaned.excluded] == [
        "identical to val/a/1",
        "cropped copy of val/a/1",
    ]
    assert "copies of validation images: 2 images" in cleaned.notes[0]
    assert (cleaned.leaks.status, cleaned.leaks.found) == ("no test split", False)


@pytest.mark.parametrize(("shared", "excluded"), [(20, 20), (21, 0)])
def test_patients_of_test_are_excluded_unless_too_many(shared: int, excluded: int) -> None:
    train = [entry(f"train/{i}", "a", "train", f"a-{i}") for i in range(100)]
    test = [entry(f"test/{i}.", "a", "test", f"a-{i}") for i in range(shared)]
    cleaned = check_leaks(train + test)
    assert [(each.file, reason) for each, reason in cleaned.excluded] == [
        (f"train/{i}", "patient also in test") for i in range(excluded)
    ]
    warning = f"shares {shared} patients with train or validation (a-0, a-1, a-10 and"
    assert warning in cleaned.warnings[0]
    assert ("nothing was excluded" in cleaned.warnings[0]) == (not excluded)
    assert cleaned.leaks.status == ("dropped" if excluded else "failed")
    stopped = check_leaks(train + test, on_leak="stop").leaks
    assert stopped.status == "failed"
    assert f"{shared} images of {shared} patients who are in test" in stopped.message
    assert ("the rule that identifies patients is wrong" in stopped.message) == (not excluded)


def test_a_shared_file_name_is_no_leak() -> None:
    cleaned = check_leaks([entry(f"{p}/a/001.png", "a", p) for p in ("train", "test")])
    assert cleaned.leaks.status == "passed"
    assert not cleaned.excluded
    assert "1 file name of the test split also occur elsewhere (001.png)" in cleaned.notes[0]


def test_near_pairs_are_listed_once_per_split() -> None:
    entries = [
        entry(f"{split}/{k}", "ab"[k % 2], split, sha256=f"{k // 2}{split == 'val'}")
        for split in ("train", "val")
        for k in range(4)
    ]
    copies = [
        near(entries[0], entries[2]),
        near(entries[4], entries[6]),
        near(entries[2], entries[6]),
    ]
    pairs = near_pairs(entries, copies)
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("train/0", "train/2"),
        ("val/0", "val/2"),
    ]


# the check on folders


def scene(seed: int) -> Image.Image:
    """Draw soft clouds of many sizes, different for every seed."""
    random = np.random.default_rng(seed)
    cloud = np.zeros((96, 96))
    for cells in (4, 8, 16, 32):
        small = Image.fromarray(random.normal(0, 1, (cells, cells)).astype(np.float32))
        cloud += np.asarray(small.resize((96, 96), Image.Resampling.BICUBIC))
    return Image.fromarray((128 + 25 * cloud).clip(0, 255).astype(np.uint8))


def save(image: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two classes of 20 training and 5 test images, all different."""
    root = tmp_path / "data"
    for k, label in enumerate(("cat", "dog")):
        for i in range(25):
            split = "train" if i < 20 else "test"
            save(scene(100 * k + i), root / split / label / f"patient{label}_{i}.png")
    return root


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_with(
        folder: Path, on_leak: Literal["stop", "drop", "ignore"] = "stop", **options: str
    ) -> Dataset:
        config = Config(cache=str(tmp_path / "cache"), workers=1, on_leak=on_leak, **options)  # type: ignore[arg-type]
        return load_dataset(folder, config, size=(SIDE, SIDE), colour=False)

    return load_with


def leak(folder: Path) -> str:
    """Put a modified copy of a test image into train; return the expected reason."""
    modified = scene(120).resize((61, 70)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    save(modified, folder / "train/dog/patientdog_77.jpeg")
    return "mirrored copy of test/dog/patientdog_20.png"


def test_a_clean_folder_passes(folder: Path, load: Load) -> None:
    audit = load(folder).audit.to_json()
    assert audit["leaks"] == {"status": "passed", "pairs": [], "patients": {}}
    assert audit["near_duplicates"] == []


def test_a_leak_error_carries_the_data_set_without_it(folder: Path, load: Load) -> None:
    reason = leak(folder)
    with pytest.raises(LeakError) as caught:
        load(folder)
    message = str(caught.value)
    assert f"1 image copied from test (train/dog/patientdog_77.jpeg is {'a ' * 0}" in message
    assert reason in message
    assert "--on-leak drop" in message
    assert "--on-leak ignore" in message
    assert "\n" not in message
    data = caught.value.dataset
    assert data.audit.leaks.status == "failed"
    assert "train/dog/patientdog_77.jpeg" not in data.train.files + data.val.files
    assert data.audit.found == data.audit.used + len(data.audit.excluded) == 51
    assert data.fingerprint == load(folder, "drop").fingerprint


def test_a_leak_can_be_dropped_or_ignored(folder: Path, load: Load) -> None:
    reason = leak(folder)
    dropped = load(folder, "drop").audit
    assert dropped.leaks.status == "dropped"
    assert [tuple(each) for each in dropped.excluded] == [("train/dog/patientdog_77.jpeg", reason)]
    ignored = load(folder, "ignore")
    audit = ignored.audit.to_json()
    assert json.loads(json.dumps(audit)) == audit
    assert audit["leaks"]["status"] == "ignored"
    assert audit["found"] == audit["used"] == 51
    assert "train/dog/patientdog_77.jpeg" in ignored.train.files + ignored.val.files
    assert any("figures of the test split are invalid" in line for line in audit["warnings"])


def test_a_test_split_copied_as_a_whole_is_a_leak(tmp_path: Path, load: Load) -> None:
    for split in ("train", "test"):
        for i in range(8):
            save(scene(i), tmp_path / f"both/{split}/{'ab'[i % 2]}/{split}{i}.png")
    with pytest.raises(LeakError, match="8 images copied from test") as caught:
        load(tmp_path / "both")
    assert caught.value.dataset.audit.leaks.status == "failed"
    with pytest.raises(DataError, match="'a' has 0 usable images"):
        load(tmp_path / "both", "drop")


def test_near_duplicates_are_in_one_split(tmp_path: Path, load: Load) -> None:
    for i in range(40):
        file = tmp_path / f"data/{'ab'[i % 2]}/{i}.png"
        save(scene(i // 2), file) if i % 4 == 0 else save(scene(100 + i), file)
        if i % 4 == 0:
            save(scene(i // 2).resize((64, 64)), file.with_name(f"{i}-again.png"))
    save(scene(101).resize((60, 60)), tmp_path / "data/a/other.png")
    data = load(tmp_path / "data")
    home = {file: split.name for split in (data.train, data.val, data.test) if split
            for file in split.files}  # fmt: skip
    for i in range(0, 40, 4):
        assert home[f"a/{i}.png"] == home[f"a/{i}-again.png"]
    assert len(data.audit.near_duplicates) == 11
    assert {pair.kind for pair in data.audit.near_duplicates} == {"resized"}
    assert any("have different classes: 1 pair (a/other.png and b/1.png)" in each
               for each in data.audit.warnings)  # fmt: skip
    assert data.audit.leaks.status == "passed"


def test_a_split_file_is_checked_for_leaks(folder: Path, load: Load, tmp_path: Path) -> None:
    save(scene(3).resize((64, 64)), folder / "train/cat/patientcat_3b.png")
    first = load(folder)
    file = tmp_path / "split.csv"
    write_split(first, file)
    assert load(folder, split_file=str(file)).fingerprint == first.fingerprint
    line = next(each for each in file.read_text().splitlines() if "patientcat_3b" in each)
    moved = line.replace(",train,", ",test,").replace(",val,", ",test,")
    file.write_text(file.read_text().replace(line, moved))
    with pytest.raises(
        LeakError, match=r"patientcat_3\.png is a resized copy of train/cat/patientcat_3b"
    ):
        load(folder, split_file=str(file))
    dropped = load(folder, "drop", split_file=str(file))
    assert dropped.test is not None
    assert "train/cat/patientcat_3b.png" in dropped.test.files
    assert "train/cat/patientcat_3.png" in [each.file for each in dropped.audit.excluded]


def test_images_to_evaluate_on_are_checked_for_near_duplicates(
    folder: Path, tmp_path: Path
) -> None:
    save(scene(20).resize((50, 50)), folder / "test/cat/again.png")
    notes = []

    class Recorder(Progress):
        def note(self, line: str) -> None:
            notes.append(line)

    config = Config(cache=str(tmp_path / "cache"), workers=1)
    split = load_labelled(
        folder, ("cat", "dog"), config, size=(SIDE, SIDE), colour=False, progress=Recorder()
    )
    assert len(split) == 11
    assert notes == [
        "Near-duplicate images: 1 pair (test/cat/again.png and test/cat/patientcat_20.png)."
    ]


@pytest.mark.real
def test_the_radiographs_pass_and_their_duplicates_are_listed(
    radiographs: Path, load: Load
) -> None:
    data = load(radiographs / "chest_xray")
    audit = data.audit
    assert audit.leaks.to_json() == {"status": "passed", "pairs": [], "patients": {}}
    assert audit.near_duplicates == ()
    assert data.test is not None
    # The number of a person alone, without the disease, would make 88 patients look shared.
    train, test = (
        {found[1] for file in files if (found := re.search(r"(person\d+)_", file))}
        for files in (data.train.files + data.val.files, data.test.files)
    )
    assert len(train & test) == 88
    assert len({first for first, _ in audit.duplicates}) == 27
