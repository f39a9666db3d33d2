"""The scan of a folder: splits, classes, faults and labels files. No file here is an image."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucency.dataset import links, walk
from lucency.dataset.beside import images_below
from lucency.dataset.entry import natural
from lucency.dataset.names import parse
from lucency.dataset.scan import Scan, scan
from lucency.errors import DataError

CLASSES = ("NORMAL", "PNEUMONIA")


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def both(prefix: str) -> list[str]:
    return [f"{prefix}/{name}/{name.lower()}.png" for name in CLASSES]


def splits(found: Scan) -> dict[str, str]:
    return {entry.file: entry.split for entry in found.entries}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "Valid", "TESTING"),
        ("TR", "validation", "tests"),
        ("tRaIn", "dev", "Test"),
    ],
)
def test_split_folders_in_any_spelling(tmp_path: Path, train: str, val: str, test: str) -> None:
    touch(tmp_path, *both(train), *both(val), *both(test))
    found = scan(tmp_path)
    assert found.classes == CLASSES
    assert splits(found) == {
        f"{folder}/{name}/{name.lower()}.png": split
        for folder, split in ((train, "train"), (val, "val"), (test, "test"))
        for name in CLASSES
    }


def test_class_folders_alone_give_no_split(tmp_path: Path) -> None:
    found = scan(touch(tmp_path, "a/1.png", "b/1.JPEG"))
    assert [(e.file, e.label, e.split) for e in found.entries] == [
        ("a/1.png", "a", ""),
        ("b/1.JPEG", "b", ""),
    ]


def test_the_class_is_the_first_level_at_any_depth(tmp_path: Path) -> None:
    found = scan(touch(tmp_path, "train/a/p1/s2/x.png", "train/b/y.png"))
    assert [(e.file, e.label) for e in found.entries] == [
        ("train/a/p1/s2/x.png", "a"),
        ("train/b/y.png", "b"),
    ]


@pytest.mark.parametrize("wrapping", ["", "chest_xray", "chest_xray/chest_xray", "a/b/c"])
def test_nested_folders_of_an_unpacked_zip_are_descended(tmp_path: Path, wrapping: str) -> None:
    touch(tmp_path / wrapping, *both("train"), *both("test"), "train/.DS_Store")
    touch(tmp_path, "__MACOSX/chest_xray/._train", ".hidden/x.png")
    found = scan(tmp_path)
    assert found.root == tmp_path / wrapping
    assert len(found.entries) == 4


def test_a_copy_next_to_the_split_folders_is_ignored(tmp_path: Path) -> None:
    touch(tmp_path, *both("train"), *both("test"), *both("chest_xray/train"))
    found = scan(tmp_path)
    assert found.root == tmp_path
    assert len(found.entries) == 4
    assert found.not_used == (("chest_xray", 2, "next to the train folder, not in it"),)
    assert not found.ignored
    assert "chest_xray (2 images)" in found.warnings[0]


def test_order_is_natural(tmp_path: Path) -> None:
    touch(tmp_path, "10/a.png", "2/b10.png", "2/b9.png", "2/B1.png", "1/z.png")
    found = scan(tmp_path)
    assert found.classes == ("1", "2", "10")
    assert [e.file for e in found.entries] == [
        "1/z.png",
        "2/B1.png",
        "2/b9.png",
        "2/b10.png",
        "10/a.png",
    ]


@given(st.lists(st.text(), max_size=8))
def test_natural_order_distinguishes_all_names(names: list[str]) -> None:
    assert len({natural(name) for name in names}) == len(set(names))
    assert sorted(names, key=natural) == sorted(names[::2] + names[1::2], key=natural)


def test_files_that_are_no_images_are_ignored_with_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "a/notes.txt", "a/Thumbs.db", "b/.x.png", "loose.png")
    found = scan(tmp_path)
    assert [e.file for e in found.entries] == ["a/1.png", "b/1.png"]
    assert not found.excluded
    reasons = {each.file: each.reason for each in found.ignored}
    assert set(reasons) == {"a/notes.txt", "a/Thumbs.db", "b/.x.png"}
    assert "no image suffix" in reasons["a/notes.txt"]
    assert "hidden" in reasons["b/.x.png"]
    assert found.not_used == ((".", 1, "not in a class folder"),)


def test_links_are_excluded_and_never_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a/link.png").symlink_to(tmp_path / "a/1.png")
    (tmp_path / "a/self.png").symlink_to(tmp_path / "a/self.png")
    (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/notes").symlink_to(tmp_path / "nowhere")
    found = scan(tmp_path)
    assert [e.file for e in found.entries] == ["a/1.png", "b/1.png"]
    assert [tuple(each) for each in found.excluded] == [
        (f"a/{name}", "symbolic link, not followed: use --follow-links")
        for name in ("link.png", "self.png")
    ]
    assert [each.file for each in found.ignored] == ["a/loop", "a/notes"]
    assert "2 symbolic links" in found.warnings[0]


def test_pipes_are_excluded(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "b/pipe.png")
    assert [tuple(e) for e in scan(tmp_path).excluded] == [("b/pipe.png", "not a regular file")]


@pytest.mark.parametrize(
    ("name", "printed"),
    [(b"caf\xe9.png", "caf\\xe9.png"), (b"a\rb\x1b.png", "a\\x0db\\x1b.png")],
)
def test_names_that_cannot_be_printed_are_excluded(
    tmp_path: Path, name: bytes, printed: str
) -> None:
    touch(tmp_path, "a/1.png", "b/ü 漢.png")
    try:
        os.close(os.open(os.fsencode(tmp_path / "a") + b"/" + name, os.O_CREAT | os.O_WRONLY))
    except OSError:
        pytest.skip("this file system rejects such names")
    found = scan(tmp_path)
    assert [e.file for e in found.entries] == ["a/1.png", "b/ü 漢.png"]
    assert [tuple(e) for e in found.excluded] == [
        (f"a/{printed}", "file name has control characters or is not valid UTF-8")
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "the folder is empty"),
        (["readme.txt"], "contains no class folders"),
        (["1.png", "2.png"], "images but no class folders.*--labels"),
        (["train/1.png", "test/a/1.png"], "train: contains images but no class folders"),
        (["a/1.png"], "only one class was found, 'a'"),
        (["train/a/1.png"], "only one class was found, 'a'"),
        (["a/1.png", "b/1.png", "c/notes.txt"], "no usable image in the class folder c"),
        ([*both("test")], "has test but no train folder"),
        ([*both("train"), *both("Training")], "'Training' and 'train' both mean the train split"),
        (
            [*both("train"), "test/NORMAL/1.png", "test/Pneumonia/1.png"],
            "different classes .only in train: PNEUMONIA; only in test: Pneumonia",
        ),
        (
            [*both("train"), *both("test"), "val/COVID/1.png"],
            "validation has a class that train does not have: COVID",
        ),
    ],
)
def test_folders_that_are_not_a_data_set(tmp_path: Path, files: list[str], message: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=message) as caught:
        scan(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_paths_that_are_not_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        scan(tmp_path / "missing")
    touch(tmp_path, "x.png")
    with pytest.raises(DataError, match="this is a file, not a folder"):
        scan(tmp_path / "x.png")


def test_linked_class_folders_are_explained(tmp_path: Path) -> None:
    touch(tmp_path / "real", *both("."))
    (tmp_path / "data").mkdir()
    for name in CLASSES:
        (tmp_path / "data" / name).symlink_to(tmp_path / "real" / name)
    with pytest.raises(DataError, match=r"Symbolic links are not followed \(NORMAL, PNEUMONIA\)"):
        scan(tmp_path / "data")


def test_class_folders_full_of_links_are_explained(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/keep.txt")
    (tmp_path / "b/1.png").symlink_to(tmp_path / "a/1.png")
    with pytest.raises(DataError, match=r"class folder b \(b/1.png: symbolic link, not followed"):
        scan(tmp_path)


def lock(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Deny the listing of folders of a name; permissions do not apply to root."""
    listing = os.scandir

    def denied(folder: Path) -> object:
        if Path(folder).name == name:
            raise PermissionError(13, "Permission denied")
        return listing(folder)

    monkeypatch.setattr(walk.os, "scandir", denied)


def test_a_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.png", "b/locked/1.png")
    lock(monkeypatch, "locked")
    with pytest.raises(
        DataError, match=r"b/locked: this folder cannot be read \(Permission denied"
    ):
        scan(tmp_path)


# Labels files are tested in test_labels.py


def labelled(root: Path, text: str, encoding: str = "utf-8") -> Scan:
    file = root.parent / f"{root.name}.csv"
    file.write_text(text, encoding=encoding)
    return scan(root, labels=file)


# Split folders in any spelling


def images(root: Path, *folders: str, n: int = 2) -> Path:
    return touch(root, *(f"{folder}/{i}.png" for folder in folders for i in range(n)))


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("training_set", "validation-set", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
        ("Train_data", "Valid data", "Test_data"),
        ("TrainImages", "ValImages", "TestImages"),
        ("trainset", "devset", "testset"),
        ("TRAIN", "DEV", "EVAL"),
        ("train", "valid", "holdout"),
        ("my train set", "my val set", "hold-out set"),
        ("imagesTr", "imagesVal", "imagesTs"),
        ("train2017", "val2017", "test2017"),
        ("1_training", "2_validation", "3_testing"),
        ("chest-train", "chest-val", "chest-test"),
        ("train (1)", "val (1)", "test (1)"),
        ("train split", "development", "held_out"),
        ("xray14Train", "xray14Val", "xray14Evaluation"),
    ],
)
def test_split_folders_in_further_spellings(
    tmp_path: Path, train: str, val: str, test: str
) -> None:
    touch(tmp_path, *both(train), *both(val), *both(test))
    found = scan(tmp_path)
    assert found.classes == CLASSES
    assert {file.split("/")[0]: split for file, split in splits(found).items()} == {
        train: "train",
        val: "val",
        test: "test",
    }
    assert (found.warnings, found.not_used) == ((), ())
    assert f"{test} is test" in found.notes[0]


def test_doubled_split_folders_are_descended(tmp_path: Path) -> None:
    touch(tmp_path, *both("training_set/training_set"), *both("test_set/test_set"))
    touch(tmp_path, "seg_pred/seg_pred/1.jpg", "seg_pred/seg_pred/2.jpg")
    found = scan(tmp_path)
    assert found.classes == CLASSES
    assert {*splits(found).values()} == {"train", "test"}
    assert found.not_used == (("seg_pred", 2, "images to predict: they have no labels"),)


def test_a_class_called_like_a_split_stays_a_class(tmp_path: Path) -> None:
    found = scan(images(tmp_path, "train", "bus", "car"))
    assert found.classes == ("bus", "car", "train")
    assert {*splits(found).values()} == {""}
    assert "train is taken for a class" in found.warnings[0]
    assert scan(images(tmp_path / "b", "valid", "invalid")).classes == ("invalid", "valid")


@pytest.mark.parametrize(
    "classes",
    [
        ("en", "te", "tr"),
        ("protest", "contest"),
        ("tested", "untested"),
        ("positive_test", "negative_test"),
        ("training_shoes", "boots"),
        ("0", "1", "2"),
        ("a", "b"),
        ("class1", "class2"),
        ("stage_1", "stage_2"),
        ("setosa", "versicolor"),
        ("partridge", "batfish"),
        ("type A", "type B"),
        ("developer", "valley"),
    ],
)
def test_real_class_names_are_no_splits(tmp_path: Path, classes: tuple[str, ...]) -> None:
    found = scan(images(tmp_path, *classes))
    assert set(found.classes) == set(classes)
    assert {entry.split for entry in found.entries} == {""}


@pytest.mark.parametrize(
    "folders",
    [
        ("fold1", "fold2"),
        ("Fold-1", "Fold-2", "Fold-3"),
        ("part1", "part2"),
        ("partA", "partB"),
        ("split_0", "split_1"),
        ("set_a", "set_b"),
        ("images_001", "images_002"),
        ("batch 1", "batch 2"),
        ("subset0", "subset1"),
        ("fold1/cats", "fold1/dogs", "fold2/cats", "fold2/dogs"),
        ("train/fold1/cats", "train/fold1/dogs", "train/fold2/cats", "train/fold2/dogs"),
        ("cats_train", "cats_test", "dogs_train", "dogs_test"),
        ("fold1/a", "fold1/b", "fold2/a", "fold2/b", "more"),
        ("fold1/train", "fold1/test", "fold2/train", "fold2/test"),
    ],
)
def test_names_like_splits_that_are_not_understood(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    images(tmp_path, *folders)
    with pytest.raises(DataError, match=r"look like splits.*Rename.*--labels FILE") as caught:
        scan(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train1/a", "train1/b", "train2/a", "train2/b"), "both mean the train split"),
        (("trainA", "trainB", "testA", "testB"), "both mean the test split"),
        (("train/a", "train/b", "test/a", "test/b", "eval/a", "eval/b"), "eval may mean validat"),
        (("train/a", "train/b", "eval/a", "holdout/a"), "eval, holdout may mean validation or"),
        (("Training/a", "Training/b", "PublicTest/a", "PrivateTest/a"), "both mean the test split"),
        (("test/a", "test/b", "val/a", "val/b"), "has test, val but no train folder"),
        (
            ("x/train/a", "x/train/b", "x/test/a", "x/test/b", "y/train/a", "y/train/b", "y/val/a"),
            "contain split folders of their own",
        ),
    ],
)
def test_splits_that_contradict_each_other(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    images(tmp_path, *folders)
    with pytest.raises(DataError, match=message):
        scan(tmp_path)


def test_splits_inside_the_class_folders(tmp_path: Path) -> None:
    inside = [f"{name}/{split}" for name in ("cats", "dogs") for split in ("Train", "val", "test")]
    found = scan(images(tmp_path, *inside))
    assert found.classes == ("cats", "dogs")
    assert {(e.file.split("/")[1], e.split) for e in found.entries} == {
        ("Train", "train"),
        ("val", "val"),
        ("test", "test"),
    }


def test_classes_that_contain_the_same_folders_are_doubted(tmp_path: Path) -> None:
    found = scan(images(tmp_path, "berlin/ill", "berlin/well", "rome/ill", "rome/well"))
    assert found.classes == ("berlin", "rome")
    assert "each of them contains ill, well" in found.warnings[0]


def test_labels_make_any_folder_names_usable(tmp_path: Path) -> None:
    images(tmp_path, "fold1", "fold2", n=1)
    found = labelled(tmp_path, "file,label\nfold1/0.png,a\nfold2/0.png,b\n")
    assert {(e.label, e.split) for e in found.entries} == {("a", ""), ("b", "")}
    images(tmp_path, "train1", "train2", n=1)
    table = "file,label{}\ntrain1/0.png,a{}\ntrain2/0.png,b{}\n"
    found = labelled(tmp_path, table.format(",split", ",train", ",train"))
    assert len(found.entries) == 2
    with pytest.raises(DataError, match="both mean the train split"):
        labelled(tmp_path, table.format("", "", ""))


# Images that are not used


def test_every_image_is_used_excluded_or_counted_as_not_used(tmp_path: Path) -> None:
    touch(tmp_path, *both("train"), *both("test"), "loose.png", "train/loose.png")
    images(tmp_path, "extra/deep/er", n=3)
    images(tmp_path, "predictions", n=4)
    images(tmp_path, ".old", n=5)
    touch(tmp_path, "extra/notes.txt", "docs/readme.txt")
    found = scan(tmp_path)
    assert {each.folder: each.images for each in found.not_used} == {
        ".": 1,
        ".old": 5,
        "extra": 3,
        "predictions": 4,
        "train": 1,
    }
    text = " ".join(found.warnings)
    for folder, n in ((".old", 5), ("extra", 3), ("predictions", 4)):
        assert f"{folder} ({n} images)" in text
    assert ("docs", "next to the train folder, not in it", 1) in found.ignored
    assert len(found.entries) == 4


def test_helper_folders_of_programs_hold_no_images(tmp_path: Path) -> None:
    images(tmp_path, "a", "b")
    helpers = ("@eaDir", ".thumbnails", "__pycache__", ".ipynb_checkpoints", ".AppleDouble")
    helpers += ("$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle", "@EADIR")
    images(tmp_path, *(f"a/{name}" for name in helpers))
    touch(tmp_path, "a/Thumbs.db", "a/desktop.ini", "a/._0.png")
    found = scan(tmp_path)
    assert len(found.entries) == 4
    assert (found.not_used, found.excluded) == ((), ())
    assert len(found.ignored) == len(helpers) + 3
    assert "programs made for their own use" in found.notes[0]


def test_of_very_many_files_that_are_no_images_some_are_only_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million text files would make an audit.json that is too large to be read again."""
    monkeypatch.setattr("lucency.dataset.walk._MOST_LISTED", 10)
    monkeypatch.setattr("lucency.dataset.walk._MOST_KINDS", 3)
    images(tmp_path, "a", "b")
    touch(tmp_path, *(f"a/{i:02d}.txt" for i in range(8)), *(f"b/{i:02d}.txt" for i in range(5)))
    touch(tmp_path, *(f"b/x.{kind}" for kind in ("c1", "c2", "c3", "c4")))
    found = scan(tmp_path)
    assert len(found.entries) == 4
    assert len([each for each in found.ignored if each.files == 1]) >= 10
    assert sum(each.files for each in found.ignored) == 17
    assert len(found.ignored) <= 10 + 3 + 1
    assert "17 files, no images (.txt: " in found.notes[0]


def test_images_to_predict_are_found_like_those_of_a_data_set(tmp_path: Path) -> None:
    images(tmp_path, "a", ".", "a/@eaDir", ".thumbnails", ".old", "__MACOSX")
    touch(tmp_path, "a/notes.txt", "a/._0.png", "damaged.png", "esc\x1b[2J.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "linked").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)
    found, sentences = images_below(tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in found]
    inside = [str(path.relative_to(tmp_path)) for path in sorted((tmp_path / "a").glob("[0-9]*"))]
    assert set(inside) < set(names)
    assert {"damaged.png", "esc\x1b[2J.png", "pipe.png"} < set(names)
    assert any(name.startswith("linked/") for name in names)
    assert not [name for name in names if "eaDir" in name or "thumb" in name or "/." in name]
    assert names == [str(path) for path in sorted(map(Path, names))]
    text = " ".join(sentences)
    assert ".old (2 images)" in text
    assert "__MACOSX (2 images)" in text
    assert "@eaDir" in text


def test_a_folder_to_predict_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path, "a", "b")
    lock(monkeypatch, "b")
    with pytest.raises(DataError, match="b: this folder cannot be read"):
        images_below(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize("follow", [False, True])
def test_a_folder_whose_path_is_too_long_is_an_error(tmp_path: Path, follow: bool) -> None:
    """It used to be left out: 5,000 folders in each other, and one image in the last."""
    images(tmp_path, "a", "b")
    folder = os.open(tmp_path / "a", os.O_RDONLY)
    made = []
    for _ in range(24):  # 24 x 200 characters; the system allows 4,096
        os.mkdir("n" * 200, dir_fd=folder)
        made.append(folder)
        folder = os.open("n" * 200, os.O_RDONLY, dir_fd=folder)
    os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    try:
        with pytest.raises(DataError, match=r"cannot be read .File name too long."):
            scan(tmp_path, follow_links=follow)
        with pytest.raises(DataError, match=r"cannot be read .File name too long."):
            images_below(tmp_path)
    finally:
        os.unlink("deep.png", dir_fd=folder)
        os.close(folder)
        for outer in reversed(made):
            os.rmdir("n" * 200, dir_fd=outer)
            os.close(outer)


# Files whose names do not reveal that they are images


PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 200
CONTENT = {
    "x.jpg_large": b"\xff\xd8\xff\xe0" + b"\0" * 200,
    "x.JPG?x=1": b"\xff\xd8\xff\xdb",
    "x.CR2": PNG,
    "no_suffix": PNG,
    "x.tmp": b"GIF89a" + b"\0" * 20,
    "x.txt": b"RIFF\0\0\0\0WEBPVP8 ",
    "x.bin": b"II*\0\x08\0\0\0",
    "x.": b"BM" + b"\0" * 12 + (40).to_bytes(4, "little") + b"\0" * 36,
    "x.1": b"P5\n# by\n4 4\n255\n",
    "x.dat": b"\0\0\0\x1cftypavif",
    "0a1b2c": b"\0\0\0\x0cjP  \r\n\x87\n",
}
NO_IMAGES = {
    "a.txt": b"PNG is a format",
    "b.csv": b"file,label\n",
    "Thumbs.db": b"\xd0\xcf\x11\xe0",
    "c.mp4": b"\0\0\0\x18ftypmp42",
    "d.wav": b"RIFF\0\0\0\0WAVEfmt ",
    "e.npy": b"\x93NUMPY\x01\0",
    "f": b"BMW and Mercedes, cars of Germany",
    "g.md": b"P1 is the first point",
    "h": b"",
}


def test_images_are_recognised_by_content(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    for name, content in (CONTENT | NO_IMAGES).items():
        (tmp_path / "a" / name).write_bytes(content)
    found = scan(tmp_path)
    files = {entry.file.removeprefix("a/") for entry in found.entries if entry.label == "a"}
    assert files == {"1.png", *CONTENT}
    assert {each.file.removeprefix("a/") for each in found.ignored} == {*NO_IMAGES}
    assert not found.excluded
    assert "8 files, no images" in found.notes[-1]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.CR2", b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
        ("x", b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
        ("x.NEF", b"MM\0*\0\0\0\x08", "camera raw"),
        ("x.raf", b"FUJIFILMCCD-RAW 0201", "camera raw"),
        ("x.nii.gz", b"\x1f\x8b\x08", "volume"),
        ("x.svg", b"<svg/>", "vector drawing"),
    ],
)
def test_images_that_are_never_readable_are_excluded(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / name).write_bytes(content)
    (excluded,) = scan(tmp_path).excluded
    assert excluded.file == f"a/{name}"
    assert reason in excluded.reason


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    os.mkfifo(tmp_path / "a/pipe")
    os.mkfifo(tmp_path / "a/pipe.tmp")
    assert scan(tmp_path).ignored == (
        ("a/pipe", "not a regular file", 1),
        ("a/pipe.tmp", "not a regular file", 1),
    )


# Symbolic links


def test_links_are_followed_on_request(tmp_path: Path) -> None:
    store, data = tmp_path / "store", tmp_path / "data"
    images(store, "cats", "dogs")
    (data / "train/dogs").mkdir(parents=True)
    (data / "test").mkdir()
    (data / "train/cats").symlink_to(store / "cats", target_is_directory=True)
    (data / "test/cats").symlink_to(store / "cats", target_is_directory=True)
    (data / "test/dogs").symlink_to("../train/dogs", target_is_directory=True)
    for name in ("0.png", "1.png"):
        (data / "train/dogs" / name).symlink_to(store / "dogs" / name)
    found = scan(data, follow_links=True)
    assert splits(found) == {
        f"{split}/{name}/{i}.png": split
        for split in ("train", "test")
        for name in ("cats", "dogs")
        for i in (0, 1)
    }
    assert (found.excluded, found.not_used, found.warnings) == ((), (), ())
    assert found.stamps["test/cats/0.png"] == found.stamps["train/cats/0.png"]


def test_without_following_linked_images_are_counted(tmp_path: Path) -> None:
    images(tmp_path / "store", "more", n=5)
    data = images(tmp_path / "data", "a", "b")
    (data / "a/more").symlink_to(tmp_path / "store/more", target_is_directory=True)
    found = scan(data)
    assert found.not_used == (("a/more", 5, "symbolic link, not followed: use --follow-links"),)
    assert "a/more (5 images)" in found.warnings[0]
    assert len(scan(data, follow_links=True).entries) == 9


def test_linked_loops_end(tmp_path: Path) -> None:
    images(tmp_path, "a", "b")
    (tmp_path / "a/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/self").symlink_to(".", target_is_directory=True)
    (tmp_path / "a/to_b").symlink_to("../b", target_is_directory=True)
    (tmp_path / "b/to_a").symlink_to("../a", target_is_directory=True)
    found = scan(tmp_path, follow_links=True)
    assert len(found.entries) == 8
    assert {each.reason for each in found.ignored} == {
        "symbolic link back to a folder that it lies in"
    }


def test_links_to_each_other_do_not_multiply_without_end(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(9)]
    images(tmp_path, *names, n=1)
    for name in names:
        for other in names:
            (tmp_path / name / f"to_{other}").symlink_to(f"../{other}", target_is_directory=True)
    assert len(scan(tmp_path, follow_links=True).entries) <= 100 * len(names)


@pytest.mark.parametrize(
    "target", ["/proc", "/proc/self", "/dev", "/sys", "/proc/self/root", "/dev/null", "/proc/1"]
)
def test_links_into_the_kernel_are_never_followed(tmp_path: Path, target: str) -> None:
    images(tmp_path, "a", "b")
    (tmp_path / "a/out.png").symlink_to(target)
    found = scan(tmp_path, follow_links=True)
    assert len(found.entries) == 4
    listed = {each.file: each.reason for each in (*found.excluded, *found.ignored)}
    assert "never followed" in listed["a/out.png"]


def test_a_link_to_everything_stays_out_of_the_kernel(tmp_path: Path) -> None:
    fake = images(tmp_path / "fake", "home", "proc/1")
    data = images(tmp_path / "data", "a", "b")
    (data / "a/all").symlink_to(fake, target_is_directory=True)
    kernel = links._KERNEL
    try:
        links._KERNEL = (str(fake / "proc"),)  # type: ignore[assignment]
        found = scan(data, follow_links=True)
    finally:
        links._KERNEL = kernel
    assert len(found.entries) == 6
    assert "never followed" in {e.file: e.reason for e in found.ignored}["a/all/proc"]


def test_links_that_lead_nowhere_are_explained(tmp_path: Path) -> None:
    images(tmp_path, "a", "b")
    (tmp_path / "a/x.png").symlink_to(".git/annex/objects/gone")
    (excluded,) = scan(tmp_path, follow_links=True).excluded
    assert "git annex get" in excluded.reason


def test_names_with_many_letters_are_parsed_at_once() -> None:
    for name in ("train" * 12 + "x", "set" * 20, "imgs" * 500, "T" * 4000, "aB" * 2000):
        assert parse(name) is not None
