"""Labels files: encodings, columns, how a row names a file, and what is rejected."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest

from lucency.dataset.columns import Columns
from lucency.dataset.scan import Scan, scan
from lucency.errors import DataError

RECOGNISED = Columns()
FOUR = ("x/1.png", "x/2.png", "y/3.png", "y/4.png")


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"")
    return root


def written(root: Path, text: str | bytes) -> Path:
    file = root.parent / f"{root.name}.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def labelled(root: Path, text: str | bytes, columns: Columns = RECOGNISED) -> Scan:
    return scan(root, labels=written(root, text), columns=columns)


def rejected(root: Path, text: str | bytes, columns: Columns = RECOGNISED) -> str:
    with pytest.raises(DataError) as caught:
        labelled(root, text, columns)
    message = str(caught.value)
    assert "\n" not in message
    assert str(written(root, text)) in message
    return message


def table(names: Sequence[str], header: str = "file,label") -> str:
    """Return a table that gives the names the classes a and b in turn."""
    return "\n".join([header, *(f"{name},{'ab'[i % 2]}" for i, name in enumerate(names))])


def labels(found: Scan) -> dict[str, str]:
    return {entry.file: entry.label for entry in found.entries}


IN_TURN = dict(zip(FOUR, "abab", strict=True))


def both(prefix: str) -> list[str]:
    return [f"{prefix}/{name}/{name.lower()}.png" for name in ("NORMAL", "PNEUMONIA")]


# Plain tables


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
    assert found.not_used == (("train/PNEUMONIA", 1, f"not in {tmp_path.name}.csv"),)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_from_any_spreadsheet(tmp_path: Path, mark: str, encoding: str) -> None:
    touch(tmp_path, "x/1.png", "y/2.png")
    rows = [("File", "LABEL", "split"), ("x\\1.png", "a", "Training"), ("2.png", "b", "test")]
    rows += [("1.png", "a", "train"), ("", "", "")]
    with pytest.raises(DataError, match="different classes"):
        labelled(tmp_path, "\r\n".join(mark.join(row) for row in rows).encode(encoding))
    rows[2] = ("2.png", "b", "train")
    found = labelled(tmp_path, "\r\n".join(mark.join(row) for row in rows).encode(encoding))
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
        ("file,label,split\nx/1.png,a,train\ny/2.png,b,\n", "blank in 1 of 2 rows .line 3."),
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


# The text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_any_program_that_writes_tables(
    tmp_path: Path, encoding: str, end: str, separator: str
) -> None:
    touch(tmp_path, "x/é 1.png", "x/2.png")
    rows = [("File ", "LABEL"), ("x\\é 1.png", '" ü, b;c"'), ('"2.png"', "a"), ("", "")]
    text = end.join(separator.join(row) for row in rows)
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    found = labelled(tmp_path, mark + text.encode(encoding))
    assert labels(found) == {"x/2.png": "a", "x/é 1.png": "ü, b;c"}
    assert found.notes == ()


def test_the_separator_line_of_excel(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    assert labels(labelled(tmp_path, "sep=;\r\n" + table(FOUR).replace(",", ";"))) == IN_TURN


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("file,label\nx/1.png,café\n".encode("latin-1"), "not UTF-8 text: byte 0xe9 in line 2"),
        ("file,label\nx/1.png,a\n".encode("utf-16-le"), "NUL characters.*save it as CSV UTF-8"),
        (b"\xff\xfef\0i\0l", "not UTF-16 text"),
        (b"PK\x03\x04....", "Excel workbook"),
        (b"file,label\nx/1.png," + b"a" * 200_000, "line 2: this is not valid CSV"),
        (b"file,label\nx/1.png,cat,dog\n", "line 2: the row has 3 cells.*'dog' has no column"),
        (b"", "column 'file' is missing.*an empty file"),
    ],
)
def test_text_that_is_no_table(tmp_path: Path, data: bytes, message: str) -> None:
    touch(tmp_path, "x/1.png")
    assert re.search(message, rejected(tmp_path, data))


def test_rows_may_be_shorter_or_end_in_empty_cells(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    text = "label,file,group,,\na,x/1.png,,,,,\nb,x/2.png\na,y/3.png,p\nb,y/4.png\n,,,\n"
    assert labels(labelled(tmp_path, text)) == IN_TURN
    assert "line 7: the file or the label is empty" in rejected(tmp_path, text + "a\n")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    touch(tmp_path / "data", *FOUR)
    os.mkfifo(tmp_path / "l.csv")
    with pytest.raises(DataError, match=r"l.csv: .*it is not a regular file"):
        scan(tmp_path / "data", labels=tmp_path / "l.csv")


# The columns


@pytest.mark.parametrize(
    ("header", "row", "roles"),
    [
        ("image_id,dx", "{stem},{label}", "file from 'image_id', label from 'dx'"),
        (
            "lesion_id,image_id,dx,dx_type,age",
            "HAM_{i},{stem},{label},histo,80.0",
            "file from 'image_id', label from 'dx', group from 'lesion_id'",
        ),
        ("id,breed", "{stem},{label}", "file from 'id', label from 'breed'"),
        ("filename,class", "{name},{label}", "file from 'filename', label from 'class'"),
        (
            "Image Index,Finding Labels,Follow-up #,Patient ID",
            "{name},{label},0,{i}",
            "file from 'Image Index', label from 'Finding Labels', group from 'Patient ID'",
        ),
        ("id_code,diagnosis", "{stem},{label}", "file from 'id_code', label from 'diagnosis'"),
        (
            "class id,filepaths,labels,data set",
            "7,{name},{label},train",
            "file from 'filepaths', label from 'labels', split from 'data set'",
        ),
        (
            "isic_id,patient_id,lesion_id,target",
            "{stem},{i},{i},{label}",
            "file from 'isic_id', label from 'target', group from 'patient_id'",
        ),
        ("IMAGE_NAME,Grade", "{stem},{label}", "file from 'IMAGE_NAME', label from 'Grade'"),
        # The plain names win, and an index is ignored.
        (",file,label,class,id", "{i},{name},{label},9,{i}", ""),
        ("id,filename,label", "{i},{name},{label}", "file from 'filename', label from 'label'"),
    ],
)
def test_columns_of_well_known_data_sets(tmp_path: Path, header: str, row: str, roles: str) -> None:
    touch(tmp_path, *FOUR)
    rows = [
        row.format(i=i, name=file[2:], stem=file[2:-4], label="ab"[i % 2])
        for i, file in enumerate(FOUR)
    ]
    found = labelled(tmp_path, "\n".join([header, *rows]))
    assert labels(found) == IN_TURN
    assert found.notes == ((f"{tmp_path.name}.csv: {roles}.",) if roles else ())
    assert all(bool(entry.group) == ("group" in roles) for entry in found.entries)
    assert all(entry.split == ("train" if "split" in roles else "") for entry in found.entries)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("filename,path,label", "the file could be in the column 'filename' or 'path'"),
        ("file,diagnosis,target", "the label could be in the column 'diagnosis' or 'target'"),
        ("file,Class Name,category", '--label-column "Class Name"'),
        ("file,label,label", "the columns 2 and 3 are both named 'label'"),
        ("file,Label,LABEL", "the columns 2 and 3 are both named 'Label'"),
        ("path,path,label", "the columns 1 and 2 are both named 'path'"),
        ("name,label,note", "the column 'file' is missing.*--file-column NAME"),
        ("file,lable,note", "the column 'label' is missing.*Did you mean 'lable'"),
        ("x/1.png,a,1", "first line looks like a row"),
    ],
)
def test_columns_that_are_not_clear(tmp_path: Path, header: str, message: str) -> None:
    touch(tmp_path, *FOUR)
    assert re.search(message, rejected(tmp_path, header + "\nx/1.png,a,b\nx/2.png,b,a\n"))


def test_columns_are_named_by_the_user(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    text = "file,label,name,Kind,who,use\n" + "".join(
        f"none,no,{file},{'ab'[i % 2]},{i},train\n" for i, file in enumerate(FOUR)
    )
    given = Columns("name", "kind", "who", "use")
    found = labelled(tmp_path, text, given)
    assert labels(found) == IN_TURN
    assert [(e.group, e.split) for e in found.entries] == [(str(i), "train") for i in range(4)]
    message = rejected(tmp_path, text, given._replace(label="kint"))
    assert "no column 'kint', which --label-column names" in message
    assert "Did you mean" in message
    text = text.replace("train", "fold 1")
    assert "Received: 'fold 1'" in rejected(tmp_path, text, given)


def test_a_column_can_be_switched_off(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    text = "file,label,patient,split\n" + "".join(
        f"{file},{'ab'[i % 2]},p,{'test' if i else ''}\n" for i, file in enumerate(FOUR)
    )
    found = labelled(tmp_path, text, Columns(group="none", split="none"))
    assert {(e.group, e.split) for e in found.entries} == {("", "")}


def test_a_numbered_fold_is_no_split(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    rows = [f"{file},{'ab'[i % 2]},{i}" for i, file in enumerate(FOUR)]
    found = labelled(tmp_path, "\n".join(["file,label,fold", *rows]))
    assert {e.split for e in found.entries} == {""}
    assert found.notes[0].endswith("Not a split: 'fold' (values other than train, val, test).")


@pytest.mark.parametrize(
    ("rows", "messages"),
    [
        (["0.0,1.0,0.0", "1.0,0.0,0.0", "0.0,0.0,1.0"], ["['MEL', 'NV', 'BCC']", "idxmax"]),
        (["0,1,0", "1,0,0", "0,0,0"], ["1 rows have no 1 and need a label too"]),
        (["0,1,1", "1,0,0", "0,0,1"], ["several 1 (line 2)", "--label-column MEL"]),
        (["1.0,,-1.0", ",1.0,1.0", "0.0,,"], ["several 1 (line 3)", "--task multilabel"]),
    ],
)
def test_classes_in_columns_of_zeros_and_ones(
    tmp_path: Path, rows: list[str], messages: list[str]
) -> None:
    touch(tmp_path, *FOUR)
    text = "\n".join(["image,MEL,NV,BCC", *(f"{i + 1},{row}" for i, row in enumerate(rows))])
    message = rejected(tmp_path, text)
    assert all(each in message for each in messages), message


# The labels


@pytest.mark.parametrize(
    ("written_labels", "lines"),
    [
        (["a|b", "a", "b", "c"], "line 2"),
        (["Effusion|Mass", "Effusion|Nodule", "No Finding", "x"], "2 of 4 rows.*line 2"),
        (["a", "b", "c", "b;c"], "1 of 4 rows.*line 5"),
        (["scab,rust", "rust,complex", "complex,scab", "x"], "3 of 4 rows"),
        (["['a', 'b']", "['a']", "['b']", "['c']"], "line 2"),
        (["cat, dog", "cat", "dog", "bird"], "line 2"),
    ],
)
def test_several_labels_in_one_cell(tmp_path: Path, written_labels: list[str], lines: str) -> None:
    touch(tmp_path, *FOUR)
    rows = [f'{file},"{label}"' for file, label in zip(FOUR, written_labels, strict=True)]
    message = rejected(tmp_path, "\n".join(["file,label", *rows]))
    assert re.search(f"{lines}.*one label per image", message), message


@pytest.mark.parametrize(
    "written_labels",
    [
        ["A;B", "A;B", "C", "C"],
        ["Carcinoma, basal cell", "Carcinoma, squamous cell", "Nevus", "Nevus"],
        ["benign | sure", "x", "x", "x"],
        ["0,5", "1,5", "0", "1"],
        ["0.0", "1.0", "0.0", "1.0"],
        ["0", "1", "0", "1"],
        ["None", "None", "tumour", "tumour"],
    ],
)
def test_labels_that_are_classes(tmp_path: Path, written_labels: list[str]) -> None:
    touch(tmp_path, *FOUR)
    rows = [f'{file},"{label}"' for file, label in zip(FOUR, written_labels, strict=True)]
    found = labelled(tmp_path, "\n".join(["file,label", *rows]))
    assert [e.label for e in found.entries] == written_labels
    assert not found.warnings


def test_one_number_in_two_spellings_is_one_class(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    rows = [f"{file},{label}" for file, label in zip(FOUR, ("0", "1.0", "0.0", "1"), strict=True)]
    assert labelled(tmp_path, "\n".join(["file,label", *rows])).classes == ("0", "1")


def test_labels_in_two_unicode_forms_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    forms = [unicodedata.normalize(form, "ä") for form in ("NFC", "NFD")]
    rows = [f"{file},{label}" for file, label in zip(FOUR, [*forms, "b", "b"], strict=True)]
    assert labelled(tmp_path, "\n".join(["file,label", *rows])).classes == ("b", "ä")


def test_labels_that_differ_only_in_case_are_doubted(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    rows = [f"{file},{x}" for file, x in zip(FOUR, ("cat", "Cat", "dog", "dog"), strict=True)]
    (line,) = labelled(tmp_path, "\n".join(["file,label", *rows])).warnings
    assert "'Cat', 'cat' differ only in case" in line


@pytest.mark.parametrize("label", ["NaN", "nan", "NA", "null", "<NA>", "#N/A"])
def test_missing_labels_are_no_class(tmp_path: Path, label: str) -> None:
    touch(tmp_path, *FOUR)
    rows = [f"{file},{x}" for file, x in zip(FOUR, ("a", label, "b", label), strict=True)]
    message = rejected(tmp_path, "\n".join(["file,label", *rows]))
    assert "line 3: the label is missing" in message
    assert "in 2 of 4 rows (lines 3, 5)" in message


def test_a_column_of_measurements_is_no_label(tmp_path: Path) -> None:
    files = [f"{i}.png" for i in range(30)]
    touch(tmp_path, *files)
    text = "\n".join(["file,label", *(f"{file},{i / 7:.3f}" for i, file in enumerate(files))])
    assert "30 different labels in 30 rows" in rejected(tmp_path, text)


@pytest.mark.parametrize(
    ("again", "message"),
    [
        ("x\\1.png,b,p,train", "line 6: x/1.png was already listed in line 2 with another label"),
        ("1.png,a,q,train", "with another group .'p', now 'q'"),
        ("1,a,p,test", "with another split .'train', now 'test'"),
        ("x/1.png,b,p,train\nx/2.png,a,p,train", "2 files are listed with different values"),
    ],
)
def test_rows_that_contradict_each_other(tmp_path: Path, again: str, message: str) -> None:
    touch(tmp_path, *FOUR)
    rows = [f"{file},{'ab'[i % 2]},p,train" for i, file in enumerate(FOUR)]
    text = "\n".join(["file,label,group,split", *rows])
    assert labels(labelled(tmp_path, f"{text}\n{rows[0]}")) == IN_TURN
    assert re.search(message, rejected(tmp_path, f"{text}\n{again}"))


def test_a_split_column_that_is_partly_blank(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    rows = [f"{file},{'ab'[i % 2]},{'train' if i < 2 else ''}" for i, file in enumerate(FOUR)]
    message = rejected(tmp_path, "\n".join(["file,label,split", *rows]))
    assert "blank in 2 of 4 rows (lines 4, 5)" in message
    assert "--split-column none" in message


def test_folders_fill_in_a_split_column(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{split}/{i}.png" for split in ("train", "test") for i in range(2)))
    names = ("train/0.png,a,val", "train/1.png,b,val", "test/0.png,a,", "test/1.png,b,")
    text = "\n".join(["file,label,split", *names, ""])
    with pytest.raises(DataError):
        labelled(tmp_path, text)  # no image is left to train on
    touch(tmp_path, "train/2.png", "train/3.png")
    found = labelled(tmp_path, text + "train/2.png,a,\ntrain/3.png,b,\n")
    assert [e.split for e in found.entries] == ["test"] * 2 + ["val"] * 2 + ["train"] * 2


# The files


def spelled(root: Path, file: str) -> dict[str, str]:
    real = Path(os.path.realpath(root))
    return {
        "absolute": f"{root}/{file}",
        "resolved": f"{real}/{file}",
        "detours": f"{root}/y/..//./{file}",
        "backslashes": f"{root}/{file}".replace("/", "\\"),
        "dot": f"./{file}",
        "address": f"file://{root}/{file}".replace(" ", "%20"),
        "encoded": file.replace(" ", "%20"),
        "stem": file.rpartition(".")[0],
        "case": file.upper(),
        "decomposed": unicodedata.normalize("NFD", file),
        "own name": f"{root.name}/{file}",
        "another machine": f"/kaggle/input/{root.name}/{file}",
        "another disk": f"D:\\data\\{file}".replace("/", "\\"),
    }


@pytest.mark.parametrize("how", spelled(Path("any"), "x"))
@pytest.mark.parametrize("linked", [False, True])
def test_files_are_found_however_they_are_written(tmp_path: Path, how: str, linked: bool) -> None:
    files = ("x/ä 1.png", "x/2.5.png", "y/1.2.840.dcm", "y/4.JPG")
    root = touch(tmp_path / "real" / "data", *files)
    if linked:
        (tmp_path / "link").symlink_to(tmp_path / "real")
        root = tmp_path / "link" / "data"
    text = table([spelled(root, file)[how] for file in files])
    assert labels(labelled(root, text)) == dict(zip(files, "abab", strict=True))


def test_a_link_is_taken_for_what_it_leads_to(tmp_path: Path) -> None:
    root = touch(tmp_path / "real", *FOUR)
    (tmp_path / "link").symlink_to(root)
    text = table([f"{tmp_path}/link/{file}" for file in FOUR])
    assert labels(labelled(root, text)) == IN_TURN


def test_paths_relative_to_the_table_and_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = touch(tmp_path / "data" / "images", *FOUR)
    (tmp_path / "tables").mkdir()
    file = tmp_path / "tables" / "l.csv"
    file.write_text(table([f"../data/images/{each}" for each in FOUR]))
    assert labels(scan(root, labels=file)) == IN_TURN
    file.write_text(table([f"some/data/images/{each}" for each in FOUR]))
    (tmp_path / "some").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert labels(scan(root, labels=file)) == IN_TURN


def test_the_home_folder_is_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    root = touch(tmp_path / "data", *FOUR)
    assert labels(labelled(root, table([f"~/data/{file}" for file in FOUR]))) == IN_TURN


def test_several_folders_under_one(tmp_path: Path) -> None:
    files = ("images_part_1/ISIC_1.jpg", "images_part_1/ISIC_2.jpg", "images_part_2/ISIC_3.jpg")
    touch(tmp_path, *files)
    text = table(["ISIC_1", "ISIC_2", "ISIC_3"], "image_id,dx")
    assert labels(labelled(tmp_path, text)) == dict(zip(files, "aba", strict=True))


def test_what_was_removed_from_the_paths_is_said(tmp_path: Path) -> None:
    touch(tmp_path, *FOUR)
    found = labelled(tmp_path, table([f"/home/else/{file}" for file in FOUR]))
    assert found.notes == (
        f"{tmp_path.name}.csv: '/home/else' at the beginning of 4 paths is read as {tmp_path}.",
    )


@pytest.mark.parametrize(
    ("files", "names", "message"),
    [
        # The other folder has files of the same names: nothing says that it is this one.
        (["1.png", "2.png"], ["/home/else/train/1.png", "/home/else/train/2.png"], "2 listed"),
        (["1.png", "2.png"], ["train/1.png", "train/2.png"], "2 listed files are not in"),
        (["1.png", "2.png"], ["1.png", "3.png"], "1 listed file is not in.*3.png"),
        (["a/1.png", "b/1.png"], ["1.png"], "1.png is the name of 2 files .* .a/1.png, b/1.png"),
        (["a/1.png", "a/1.jpg"], ["a/1"], "a/1 is the name of 2 files"),
        (["a/I.png", "a/i.png"], ["a/I.PNG"], "is the name of 2 files"),
        (["a/1.png", "a/.2.png"], ["a/1.png", "a/.2.png"], "in .*, but not read as images: a/.2"),
    ],
)
def test_names_that_are_not_clear(
    tmp_path: Path, files: list[str], names: list[str], message: str
) -> None:
    root = touch(tmp_path / "test", *files)
    assert re.search(message, rejected(root, table(names)))


def test_files_outside_the_folder_are_not_said_to_be_missing(tmp_path: Path) -> None:
    root = touch(tmp_path / "test", "1.png", "2.png")
    touch(tmp_path / "train", "1.png", "2.png")
    message = rejected(root, table([f"{tmp_path}/train/{i}.png" for i in (1, 2)]))
    assert f"2 listed files are outside {root}" in message
    assert "Give the folder that contains all of them" in message


@pytest.mark.parametrize("label", ["\x1b[31m", "a\x9b1m", "a" * 1001])
def test_labels_that_no_classifier_can_hold(tmp_path: Path, label: str) -> None:
    """A run with such a class was trained, and could not be loaded."""
    touch(tmp_path, *FOUR)
    text = f"file,label\nx/1.png,a\nx/2.png,{label}\ny/3.png,a\ny/4.png,{label}"
    message = rejected(tmp_path, text)
    assert "line 3: the label has control characters" in message
    assert "\x1b" not in message
