"""Files are written atomically."""

from __future__ import annotations

import csv
import errno
import io
import os
import tempfile
from pathlib import Path

import pytest

from lucency.errors import RunError
from lucency.io import (
    built_folder,
    csv_lines,
    from_text,
    home,
    missing_home,
    write_bytes,
    write_text,
)


def fail_with(monkeypatch: pytest.MonkeyPatch, module: object, name: str, code: int) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, name, fail)


def test_text_round_trip_keeps_line_ends_and_undecodable_names(tmp_path: Path) -> None:
    path = tmp_path / "näme.txt"
    text = "ä\r\nb\n" + os.fsdecode(b"caf\xe9")
    write_text(path, text)
    assert path.read_bytes() == b"\xc3\xa4\r\nb\ncaf\xe9"
    assert path.read_bytes().decode(errors="surrogateescape") == text


def test_an_older_file_is_replaced_and_no_other_file_remains(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    before = os.umask(0o027)
    try:
        write_text(path, "a")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("module", "name"), [(os, "fsync"), (Path, "replace")])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str, code: int
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    fail_with(monkeypatch, module, name, code)
    with pytest.raises(RunError, match="disk is full") as caught:
        write_text(path, "new")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file_and_passes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        write_text(tmp_path / "absent" / "a.txt", "a")


def test_a_folder_in_the_way_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(RunError, match="Cannot write"):
        write_text(tmp_path / "a", "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_is_written_atomically(tmp_path: Path) -> None:
    target = tmp_path / "above" / "made"
    with built_folder(target) as draft:
        (draft / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    with pytest.raises(UnicodeEncodeError), built_folder(target, replace=True) as draft:
        (draft / "b").write_text("half of it \udcff")
    assert [path.name for path in target.iterdir()] == ["a"]
    with built_folder(target, replace=True) as draft:
        (draft / "c").write_text("3")
    assert [path.name for path in target.iterdir()] == ["c"]
    assert [path.name for path in target.parent.iterdir()] == ["made"]


def test_a_folder_that_is_in_use_stays(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a").write_text("1")
    with pytest.raises(RunError, match="made"), built_folder(tmp_path / "made") as draft:
        (draft / "b").write_text("2")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "a"]


def test_without_a_home_there_is_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    assert missing_home() == ""
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = home()
    assert folder == tmp_path / f"lucency-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert home() == folder, "again"
    line = missing_home()
    assert str(folder) in line
    assert "LUCENCY_CACHE" in line
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(RunError, match="belongs to another user"):
        home()
    folder.unlink()
    folder.write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        home()


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "=cmd|'/c calc'!A1", "-")


@pytest.mark.parametrize("cell", [*FORMULAS, *(f"'{each}" for each in FORMULAS)])
def test_no_cell_is_a_formula_and_each_is_read_as_it_was(cell: str) -> None:
    (line,) = csv_lines([[cell, "b"]])
    ((written, other),) = csv.reader(io.StringIO(line, newline=""))
    assert written == f"'{cell}"
    assert (from_text(written), other) == (cell, "b")


@pytest.mark.parametrize("cell", ["a=1", "'a'", "'", "", " =1", "1-2", "caf\u00e9", "dark/=1.png"])
def test_other_cells_are_written_as_they_are(cell: str) -> None:
    (line,) = csv_lines([[cell]])
    ((written,),) = csv.reader(io.StringIO(line, newline=""))
    assert written == cell == from_text(cell)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_in_cells_are_read_as_they_were(end: str) -> None:
    rows = [["a\rb", "c"], ["d\ne", "f"], ["g\r\nh", "\r"], ["i", "j"]]
    text = "".join(csv_lines(rows, end))
    read = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert [[*map(from_text, row)] for row in read] == rows
    assert text.endswith(f"i,j{end}")


def test_numbers_are_no_formulas() -> None:
    assert [*csv_lines([[-1.5, 2, None, "-1.5"]])] == ["-1.5,2,,'-1.5\n"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o700), (0o022, 0o755), (0o002, 0o775)])
def test_a_folder_has_the_permissions_that_the_user_gives(
    tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        with built_folder(tmp_path / "made") as draft:
            assert draft.parent.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "made").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)
