"""Several folders as one data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from conftest import draw_folder
from lucency.cli import main
from lucency.config import Config
from lucency.dataset import load_dataset, load_labelled
from lucency.dataset.several import joined, open_sources
from lucency.errors import ConfigError, DataError, LeakError


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Return two folders with the same classes and other images, and one with a class more."""
    made = [draw_folder(tmp_path / name, 16) for name in ("a", "b")]
    for file in made[1].rglob("*.png"):
        file.rename(file.with_name("second_" + file.name.replace("patient", "person")))
    return made


def config(tmp_path: Path, **settings: object) -> Config:
    return Config.load(None, cache=str(tmp_path / "cache"), size=16, workers=1, **settings)


def split_up(folder: Path) -> Path:
    """Move the images of every class into train and test folders."""
    for label in [each for each in folder.iterdir() if each.is_dir()]:
        for i, file in enumerate(sorted(label.iterdir())):
            new = folder / ("test" if i % 4 < 2 else "train") / label.name / file.name
            new.parent.mkdir(parents=True, exist_ok=True)
            file.rename(new)
        label.rmdir()
    return folder


def test_folders_are_one_data_set(folders: list[Path], tmp_path: Path) -> None:
    for file in folders[1].rglob("*.png"):  # other images than in the first
        with Image.open(file) as image:
            image.rotate(90).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(file)
    data = load_dataset(folders, config(tmp_path, on_leak="ignore"))
    assert data.classes == ("dark", "light")
    files = [entry.file for entry in data.entries]
    assert {file.partition("/")[0] for file in files} == {"a", "b"}
    assert len(files) == 64
    assert all((data.root / file).is_file() for file in files)
    assert data.root.name == "a-b"
    assert data.audit.notes[0] == "Folders: a (32 images), b (32 images)."
    again = load_dataset([*reversed(folders)], config(tmp_path, on_leak="ignore"))
    assert again.fingerprint == data.fingerprint
    assert again.root == data.root


def test_one_folder_is_as_before(folders: list[Path], tmp_path: Path) -> None:
    assert open_sources(folders[:1]) == folders[0]
    one, plain = (load_dataset(x, config(tmp_path)) for x in ([folders[0]], folders[0]))
    assert one.fingerprint == plain.fingerprint
    assert one.root == plain.root == folders[0]
    assert not joined(folders[0])


def test_a_copy_in_the_test_split_of_another_folder_is_a_leak(
    folders: list[Path], tmp_path: Path
) -> None:
    for folder in folders:
        split_up(folder)
    test = next((folders[0] / "test" / "dark").iterdir())
    shutil.copy(test, folders[1] / "train" / "dark" / "copy.png")
    with pytest.raises(LeakError) as caught:
        load_dataset(folders, config(tmp_path))
    pairs = caught.value.dataset.audit.leaks.pairs
    assert any("b/train/dark/copy.png" in str(pair) and "a/test/" in str(pair) for pair in pairs)


def test_classes_that_a_folder_lacks_are_named(folders: list[Path], tmp_path: Path) -> None:
    shutil.rmtree(folders[1] / "light")
    data = load_dataset(folders, config(tmp_path))
    assert any("b has no images of light" in line for line in data.audit.warnings)
    (folders[0] / "dark").rename(tmp_path / "kept")  # then no folder has both
    assert load_dataset(folders, config(tmp_path)).classes == ("dark", "light")
    shutil.rmtree(folders[0] / "light")
    (tmp_path / "kept").rename(folders[0] / "dark")
    with pytest.raises(DataError, match="only one class"):
        load_dataset(folders, config(tmp_path))


def test_everything_that_is_not_used_keeps_its_folder(folders: list[Path], tmp_path: Path) -> None:
    (folders[1] / "dark" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folders[0] / "dark" / "note.txt").write_text("x")
    shutil.copytree(folders[0] / "dark", folders[0] / "predict")
    data = load_dataset(folders, config(tmp_path, max_unreadable=0.1))
    audit = data.audit.to_json()
    assert [each["file"] for each in audit["excluded"]].count("b/dark/broken.png") == 1
    assert [each["folder"] for each in audit["not_used"]] == ["a/predict"]
    assert audit["found"] == audit["used"] + len(audit["excluded"]) + 16


def test_what_does_not_fit_together_is_one_line(folders: list[Path], tmp_path: Path) -> None:
    wrong = {
        "given twice": [folders[0], folders[0]],
        "contains": [folders[0], folders[0] / "dark"],
        "no such folder": [folders[0], tmp_path / "none"],
        "no class folders": [folders[0], folders[1] / "dark"],
    }
    for words, given in wrong.items():
        with pytest.raises(DataError, match=words) as caught:
            load_dataset(given, config(tmp_path))
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="--labels belongs to one"):
        load_dataset(folders, config(tmp_path, labels="x.csv"))
    split_up(folders[0])
    with pytest.raises(DataError, match="a has train and test folders, but b has none"):
        load_dataset(folders, config(tmp_path))
    given = [folders[0] / "train", folders[0] / "test"]
    with pytest.raises(DataError, match="name of a split"):
        load_dataset(given, config(tmp_path))


def test_equal_names_are_told_apart(tmp_path: Path) -> None:
    given = [draw_folder(tmp_path / name / "images", 4) for name in ("a", "b")]
    given.append(draw_folder(tmp_path / "c" / "others", 4))
    opened = open_sources(given, str(tmp_path / "cache"))
    assert joined(opened) == {
        "a/images": given[0], "b/images": given[1], "c/others": given[2]
    }  # fmt: skip


def test_images_of_several_folders_are_evaluated(folders: list[Path], tmp_path: Path) -> None:
    split = load_labelled(folders, ("dark", "light"), config(tmp_path), size=(16, 16), colour=False)
    assert len(split) == 64


def test_the_command_takes_several(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    command = ["lucency", "check", *map(str, folders), "--cache", str(tmp_path / "c"), "-q"]
    monkeypatch.setattr("sys.argv", [*command, "--set", "workers=1"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code in {None, 0}
    assert (tmp_path / "checks" / "a-b" / "check.html").is_file()
    assert "64 images found" in capsys.readouterr().out
