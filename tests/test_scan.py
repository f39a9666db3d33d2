"""The scan of a folder: splits, classes, faults and labels files. No file here is an image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucency.dataset import walk
from lucency.dataset.entry import natural
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
    assert [each.file for each in found.ignored] == ["chest_xray"]


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
    reasons = dict(found.ignored)
    assert set(reasons) == {"a/notes.txt", "a/Thumbs.db", "b/.x.png", "loose.png"}
    assert "no image suffix" in reasons["a/notes.txt"]
    assert "hidden" in reasons["b/.x.png"]
    assert reasons["loose.png"] == "not in a class folder"


def test_links_are_excluded_and_never_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a/link.png").symlink_to(tmp_path / "a/1.png")
    (tmp_path / "a/self.png").symlink_to(tmp_path / "a/self.png")
    (tmp_path / "a/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a/notes").symlink_to(tmp_path / "nowhere")
    found = scan(tmp_path)
    assert [e.file for e in found.entries] == ["a/1.png", "b/1.png"]
    assert [tuple(each) for each in found.excluded] == [
        (f"a/{name}", "symbolic link, not followed") for name in ("link.png", "loop", "self.png")
    ]
    assert [each.file for each in found.ignored] == ["a/notes"]


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


def test_a_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/1.png", "b/locked/1.png")
    listing = os.scandir

    # The tests may run as root, to whom permissions do not apply.
    def denied(folder: Path) -> object:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return listing(folder)

    monkeypatch.setattr(walk.os, "scandir", denied)
    with pytest.raises(
        DataError, match=r"b/locked: this folder cannot be read \(Permission denied"
    ):
        scan(tmp_path)


# Labels files


def labelled(root: Path, text: str, encoding: str = "utf-8") -> Scan:
    file = root.parent / f"{root.name}.csv"
    file.write_text(text, encoding=encoding)
    return scan(root, labels=file)


def test_labels_give_the_classes_and_folders_the_splits(tmp_path: Path) -> None:
    touch(tmp_path, *both("train"), *both("test"), "train/PNEUMONIA/extra.png")
    found = labelled(
        tmp_path,
        "file,label,group\n"
        "train/NORMAL/normal.png,NORMAL,p1\n"
        "train/PNEUMONIA/pneumonia.png,virus,p2\n"
        "test/NORMAL/normal.png,NORMAL,p3\n"
        "test/PNEUMONIA/pneumonia.png,virus,p4\n",
    )
    assert found.classes == ("NORMAL", "virus")
    assert [(e.label, e.split, e.group) for e in found.entries] == [
        ("NORMAL", "test", "p3"),
        ("virus", "test", "p4"),
        ("NORMAL", "train", "p1"),
        ("virus", "train", "p2"),
    ]
    assert [each.file for each in found.ignored] == ["train/PNEUMONIA/extra.png"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_from_any_spreadsheet(tmp_path: Path, mark: str, encoding: str) -> None:
    touch(tmp_path, "x/1.png", "y/2.png")
    rows = [("File", "LABEL", "split"), ("x\\1.png", "a", "Training"), ("2.png", "b", "test")]
    rows += [("1.png", "a", "train"), ("", "", "")]
    with pytest.raises(DataError, match="different classes"):
        labelled(tmp_path, "\r\n".join(mark.join(row) for row in rows), encoding)
    rows[2] = ("2.png", "b", "train")
    found = labelled(tmp_path, "\r\n".join(mark.join(row) for row in rows), encoding)
    assert [(e.file, e.label, e.split) for e in found.entries] == [
        ("x/1.png", "a", "train"),
        ("y/2.png", "b", "train"),
    ]


def test_labels_relative_to_the_given_folder_of_a_nested_data_set(tmp_path: Path) -> None:
    touch(tmp_path, *both("wrap/train"))
    found = labelled(
        tmp_path,
        "file,label\nwrap/train/NORMAL/normal.png,a\ntrain/PNEUMONIA/pneumonia.png,b\n",
    )
    assert [(e.file, e.label) for e in found.entries] == [
        ("train/NORMAL/normal.png", "a"),
        ("train/PNEUMONIA/pneumonia.png", "b"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 'file' is missing.*an empty file"),
        ("file,lable\nx/1.png,a\n", "column 'label' is missing.*Did you mean 'lable'"),
        ("file,label\nx/1.png,a\nx/9.png,b\nx/8.png,b\n", "2 listed files are not .*x/9.png, x/8"),
        ("file,label\nx/1.png,a\nx/1.png,b\n", "line 3: x/1.png was already listed"),
        ("file,label\nx/1.png,\n", "line 2: the file or the label is empty"),
        ("file,label\nsame.png,a\n", "same.png is the name of 2 files"),
        ("file,label,split\nx/1.png,a,tran\n", "Received: 'tran'. Did you mean 'train'"),
        ("file,label,split\nx/1.png,a,train\ny/2.png,b,\n", "1 do not: y/2.png"),
        ("file,label\nx/1.png,a\ny/2.png,a\n", "only one class"),
    ],
)
def test_labels_that_do_not_match(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "x/1.png", "y/2.png", "x/same.png", "y/same.png")
    with pytest.raises(DataError, match=message) as caught:
        labelled(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_labels_that_cannot_be_read(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.png")
    with pytest.raises(DataError, match=r"gone.csv: .*cannot be read \(No such file"):
        scan(tmp_path, labels=tmp_path / "gone.csv")
    with pytest.raises(DataError, match="it is not UTF-8 text"):
        labelled(tmp_path, "file,label\ncafé.png,a\n", "latin-1")
