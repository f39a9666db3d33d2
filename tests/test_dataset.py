"""From a folder of image files to a split data set and its audit."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucency.config import Config
from lucency.dataset import Dataset, load_dataset, load_labelled, write_split
from lucency.errors import DataError

SIZE = (8, 8)
Load = Callable[..., Dataset]


def draw(file: Path, seed: int, *, colour: bool = False) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (12, 10, 3) if colour else (12, 10)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(file)


def make(root: Path, prefix: str = "", n: int = 12, start: int = 0) -> Path:
    """Draw images of n patients in each of two classes, all different."""
    for place, label in enumerate(("cat", "dog")):
        for i in range(start, start + n):
            draw(root / prefix / label / f"patient{label}_{i}.png", 100_000 * place + i)
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(make(tmp_path / "data", "train", 30), "test", 5, start=500)


@pytest.fixture
def load(cache: Path) -> Load:
    def load_with(folder: Path, colour: bool | None = None, **options: object) -> Dataset:
        options = {"on_leak": "drop"} | options
        config = Config(cache=str(cache), workers=1, **options)  # type: ignore[arg-type]
        return load_dataset(folder, config, size=SIZE, colour=colour)

    return load_with


def test_pixels_labels_and_files_correspond(folder: Path, load: Load) -> None:
    data = load(folder, group_regex=r"patient(\w+)\.")
    assert data.classes == ("cat", "dog")
    assert data.test is not None
    assert [len(split) for split in (data.train, data.val, data.test)] == [52, 8, 10]
    for split in (data.train, data.val, data.test):
        pixels = split.pixels(range(len(split)))
        assert pixels.shape == (len(split), 8, 8, 1)
        assert pixels.dtype == np.uint8
        assert split.labels.dtype == np.int64
        for place, file in enumerate(split.files):
            assert file.split("/")[1] == data.classes[split.labels[place]]
            assert split.groups[place] == Path(file).stem.removeprefix("patient")
            with Image.open(data.root / file) as image:
                mean = np.asarray(image).mean()
            assert pixels[place].mean() == pytest.approx(mean, abs=4)
        assert (split.pixels([2, 0]) == pixels[[2, 0]]).all()


def test_audit_counts_every_file(folder: Path, load: Load) -> None:
    (folder / "train/cat/broken.png").write_bytes(b"no image")
    (folder / "train/cat/notes.txt").write_text("x")
    (folder / "train/cat/link.png").symlink_to(folder / "train/cat/patientcat_1.png")
    shutil.copy(folder / "test/dog/patientdog_500.png", folder / "train/dog/patientdog_77.png")
    shutil.copy(folder / "train/dog/patientdog_1.png", folder / "train/cat/patientcat_78.png")
    shutil.copy(folder / "train/dog/patientdog_2.png", folder / "train/dog/patientdog_79.png")
    data = load(folder, max_unreadable=0.05)
    audit = data.audit.to_json()
    assert json.loads(json.dumps(audit)) == audit
    assert audit["found"] == 30 + 30 + 5 + 5 + 5
    assert audit["found"] == audit["used"] + len(audit["excluded"])
    reasons = {each["file"]: each["reason"] for each in audit["excluded"]}
    assert reasons.pop("train/cat/broken.png")
    assert reasons == {
        "train/cat/link.png": "symbolic link, not followed: use --follow-links",
        "train/dog/patientdog_77.png": "identical to test/dog/patientdog_500.png",
        "train/cat/patientcat_78.png": "label conflict: identical to train/dog/patientdog_1.png",
        "train/dog/patientdog_1.png": "label conflict: identical to train/cat/patientcat_78.png",
    }
    assert [each["file"] for each in audit["ignored"]] == ["train/cat/notes.txt"]
    pair = ["train/dog/patientdog_2.png", "train/dog/patientdog_79.png"]
    assert audit["duplicates"] == [pair]
    assert sum(n for split in audit["counts"].values() for n in split.values()) == audit["used"]
    assert audit["counts"]["test"] == {"cat": 5, "dog": 5}
    assert audit["groups"]["counts"]["test"] == 10
    assert audit["sizes"] == {"min": [12, 10], "median": [12, 10], "max": [12, 10]}
    assert audit["colour"] is False
    homes = {file: s.name for s in (data.train, data.val) for file in s.files}
    assert homes[pair[0]] == homes[pair[1]]


def test_images_that_are_not_used_are_counted(folder: Path, load: Load) -> None:
    draw(folder / "extra/cat/1.png", 1)
    draw(folder / "train/loose.png", 2)
    draw(folder / "pred/3.png", 3)
    shutil.copy(folder / "train/cat/patientcat_1.png", folder / "train/cat/patientcat_99.jpg_large")
    audit = load(folder).audit
    assert (audit.found, audit.used) == (74, 71)
    assert [*map(tuple, audit.not_used)] == [
        ("extra", 1, "next to the train folder, not in it"),
        ("pred", 1, "images to predict: they have no labels"),
        ("train", 1, "not in a class folder"),
    ]
    assert audit.balance == "74 images found: 71 used, 0 excluded, 3 not used."
    document = audit.to_json()
    assert document["not_used"][0]["folder"] == "extra"
    assert sum("Not used: " in line for line in document["warnings"]) == 3


def test_copies_in_two_splits_are_found_through_links(tmp_path: Path, load: Load) -> None:
    store, data = make(tmp_path / "store", n=20), tmp_path / "data"
    for split, start in (("train", 0), ("test", 15)):
        for label in ("cat", "dog"):
            (data / split / label).mkdir(parents=True)
            for file in sorted((store / label).iterdir())[start : start + 18]:
                (data / split / label / file.name).symlink_to(file)
    with pytest.raises(DataError, match="use --follow-links"):
        load(data)
    audit = load(data, follow_links=True).audit
    assert audit.leaks.status == "dropped"
    assert len(audit.leaks.pairs) == 2 * 3
    assert audit.found == audit.used + len(audit.excluded) == 2 * (18 + 5)


def test_too_many_unreadable_images_stop_the_run(folder: Path, load: Load) -> None:
    for i in range(5):
        (folder / f"train/cat/broken{i}.png").write_bytes(b"")
    says = r"5 of 75 images cannot be read \(6.7%; at most 1.0%.*broken0.png \(.*2 more.*0.07"
    with pytest.raises(DataError, match=says):
        load(folder)
    assert load(folder, max_unreadable=0.07).audit.found == 75


def test_no_readable_image(tmp_path: Path, load: Load) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(b"")
    with pytest.raises(DataError, match="no readable image among the 2"):
        load(tmp_path / "data", max_unreadable=1)


def test_a_class_that_cannot_be_read(folder: Path, load: Load) -> None:
    for file in (folder / "train/cat").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="class 'cat' has 0 usable images"):
        load(folder, max_unreadable=1)


@pytest.mark.parametrize(("coloured", "colour"), [(1, False), (2, True)])
def test_colour_where_more_than_2_percent_are_coloured(
    tmp_path: Path,
    load: Load,
    coloured: int,
    colour: bool,
) -> None:
    make(tmp_path / "data", n=30)
    for i in range(coloured):
        draw(tmp_path / f"data/cat/patientcat_{i}.png", i, colour=True)
    data = load(tmp_path / "data")
    assert data.audit.colour is colour
    assert data.train.pixels([0]).shape == (1, 8, 8, 3 if colour else 1)
    assert load(tmp_path / "data", colour=not colour).audit.colour is not colour


def test_same_folder_same_data_set(folder: Path, load: Load) -> None:
    first, second, other = load(folder), load(folder), load(folder, seed=1)
    assert (first.train.files, first.fingerprint) == (second.train.files, second.fingerprint)
    assert second.train.cache.decoded == 0
    assert first.fingerprint != other.fingerprint
    draw(folder / "train/cat/patientcat_3.png", 12345)
    assert load(folder).fingerprint != first.fingerprint


def test_the_fingerprint_is_that_of_a_list_of_all_images(folder: Path, load: Load) -> None:
    data = load(folder)
    used = [entry for entry in data.entries if entry.split != "excluded"]
    lines = sorted((entry.file, entry.sha256, entry.label, entry.split) for entry in used)
    assert data.fingerprint == hashlib.sha256(json.dumps(lines).encode()).hexdigest()
    assert len(lines) > 60


def test_split_file_gives_the_same_data_set(folder: Path, load: Load, tmp_path: Path) -> None:
    shutil.copy(folder / "test/dog/patientdog_500.png", folder / "train/dog/patientdog_77.png")
    first = load(folder, seed=5)
    write_split(first, tmp_path / "split.csv")
    again = load(folder, split_file=str(tmp_path / "split.csv"))
    assert again.fingerprint == first.fingerprint
    assert again.train.groups == first.train.groups
    assert again.audit.group_source == "split file"
    assert [tuple(e) for e in again.audit.excluded] == [
        ("train/dog/patientdog_77.png", "excluded by split.csv")
    ]
    write_split(again, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "split.csv").read_bytes()
    text = (tmp_path / "split.csv").read_text().replace(",train,", ",val,", 1)
    (tmp_path / "split.csv").write_text(text)
    edited = load(folder, split_file=str(tmp_path / "split.csv"))
    assert len(edited.val) == len(first.val) + 1
    draw(folder / "train/cat/patientcat_3.png", 12345)
    with pytest.raises(DataError, match="have changed since the split was made: train/cat/pat"):
        load(folder, split_file=str(tmp_path / "split.csv"))


def test_a_split_file_that_splits_a_patient_causes_a_warning(tmp_path: Path, load: Load) -> None:
    for i in range(16):
        draw(tmp_path / f"data/{'ab'[i // 8]}/patient{i // 2}_{i}.png", i)
    write_split(load(tmp_path / "data"), tmp_path / "split.csv")
    lines = (tmp_path / "split.csv").read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if ",train," in line)
    lines[place] = lines[place].replace(",train,", ",val,")
    (tmp_path / "split.csv").write_text("\n".join(lines))
    edited = load(tmp_path / "data", split_file=str(tmp_path / "split.csv"))
    assert any("has 1 patient in more than one split" in line for line in edited.audit.warnings)


def test_labels_make_a_three_class_task_of_two_folders(tmp_path: Path, load: Load) -> None:
    lines = ["file,label"]
    for number, (split, n, start) in enumerate((("train", 10, 0), ("test", 3, 50))):
        for i in range(start, start + n):
            names = [
                (f"{split}/NORMAL/IM-{i:04d}-0001.png", "NORMAL"),
                (f"{split}/PNEUMONIA/person{i}_bacteria_1.png", "bacteria"),
                (f"{split}/PNEUMONIA/person{i}_virus_1.png", "virus"),
            ]
            for kind, (name, label) in enumerate(names):
                draw(tmp_path / "data" / name, 1000 * number + 10 * i + kind)
                lines.append(f"{name},{label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    data = load(tmp_path / "data", labels=str(tmp_path / "labels.csv"))
    assert data.classes == ("bacteria", "NORMAL", "virus")
    assert data.audit.counts["test"] == dict.fromkeys(data.classes, 3)
    assert data.audit.group_source == "kermany"
    assert data.test is not None
    assert all(file.startswith("test/") for file in data.test.files)


def test_train_and_validation_alone_have_no_test(tmp_path: Path, load: Load) -> None:
    make(make(tmp_path / "data", "train", 30), "val", 10, start=500)
    data = load(tmp_path / "data")
    assert data.test is None
    assert set(data.audit.counts) == {"train", "val"}
    assert len(data.val) == 20
    assert any("no test split" in line for line in data.audit.warnings)


def test_a_test_split_with_one_class_causes_a_warning(folder: Path, load: Load) -> None:
    shutil.rmtree(folder / "test/cat")
    data = load(folder)
    assert data.test is not None
    assert set(data.test.labels.tolist()) == {1}
    assert any("no image of cat" in line for line in data.audit.warnings)


def test_one_class_can_be_evaluated_on_but_not_trained_on(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(folder / "test/dog", alone / "dog")
    config = Config(cache=str(tmp_path / "cache"))
    split = load_labelled(alone, ("cat", "dog"), config, size=SIZE, colour=False)
    assert split.labels.tolist() == [1] * 5
    with pytest.raises(DataError, match="only one class"):
        load_dataset(alone, config)
