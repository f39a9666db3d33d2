"""The command line: help, results, and one clear line for every invalid input."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from benchmarks import small_network
from PIL import Image

from conftest import ONE_THREAD, call_lucency, draw_folder
from lucency.cli.console import Lines

ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-c", "from lucency.cli import main; main()")


def own_process(
    program: Sequence[str], *arguments: object, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program as users do, on as many threads as there are processors."""
    own = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
    return subprocess.run(
        [*program, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False,
        env=own | {"COLUMNS": "100"},
    )  # fmt: skip


def train_small(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    settings = ("--effort", "quick", "--set", "size=32", "--set", "epochs=2", "--folds", "0")
    return own_process(small_network.COMMAND, "train", *arguments, *settings, cwd=cwd)


@pytest.fixture(scope="module")
def trained(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder above ``runs/tiny``, trained from the command line."""
    folder = tmp_path_factory.mktemp("cli")
    done = train_small(small_folder, "--run", "tiny", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "output.txt").write_text(done.stdout)
    (folder / "log.txt").write_text(done.stderr)
    return folder


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option: str) -> None:
    script = (
        f"import sys; sys.argv = ['lucency', {option!r}]\n"
        "from lucency.cli import main\n"
        "try: main()\n"
        "finally:\n"
        "    heavy = {'keras', 'tensorflow', 'scipy', 'onnxruntime', 'PIL', 'numpy'}\n"
        "    assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if option == "--version":
        lines = done.stdout.splitlines()
        assert lines[0] == f"lucency {version('lucency')}"
        assert f"keras {version('keras')}" in lines
    else:
        for command in ("check", "train", "predict", "evaluate", "compare", "verify", "demo"):
            assert command in done.stdout


@pytest.mark.slow
def test_training_ends_with_figures_and_next_steps(trained: Path) -> None:
    output = (trained / "output.txt").read_text()
    for words in ("AUROC", "95 % interval", "Baseline: always", "report.html", "lucency predict"):
        assert words in output
    log = (trained / "log.txt").read_text()
    assert "Epoch 2/2" in log
    assert "oneDNN" not in log
    assert "\x1b" not in output + log
    plan = json.loads((trained / "runs/tiny/plan.json").read_text())
    assert plan["command"].startswith("lucency train ")


@pytest.mark.slow
def test_predict_prints_a_table_csv_or_json(
    trained: Path, small_folder: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "böse, datei.png"
    bad.write_bytes(b"nothing like an image")
    good = sorted((small_folder / "light").iterdir())[:2]
    table = call_lucency("predict", "tiny", *good, bad, cwd=trained)
    assert table.returncode == 0
    assert str(good[0].name) in (table.stdout + table.stderr).replace("\n", "")
    assert "Unreadable" in table.stderr
    rows = list(csv.DictReader(io.StringIO(
        call_lucency("predict", "tiny", *good, bad, "--csv", cwd=trained).stdout
    )))  # fmt: skip
    assert [row["file"] for row in rows] == [*map(str, good), str(bad)]
    assert rows[2]["decision"] == ""
    assert rows[2]["p_light"] == ""
    assert rows[2]["reason"]
    assert all(bool(row["decision"]) != bool(row["reason"]) for row in rows)
    document = json.loads(
        call_lucency("predict", "tiny", small_folder, "--json", cwd=trained).stdout
    )
    assert len(document) == 80
    assert float(rows[0]["p_light"]) == pytest.approx(
        next(row for row in document if row["file"] == str(good[0]))["probabilities"]["light"]
    )
    alone = call_lucency("predict", "tiny", bad, cwd=trained)
    assert alone.returncode == 2


@pytest.mark.slow
def test_evaluate_the_test_split_and_another_folder(trained: Path, tmp_path: Path) -> None:
    own = json.loads(call_lucency("evaluate", "tiny", "--json", cwd=trained).stdout)
    recorded = json.loads((trained / "runs/tiny/evaluation.json").read_text())["test"]
    assert own["metrics"] == recorded["metrics"]
    other = draw_folder(tmp_path / "other", 12)
    measured = json.loads(call_lucency("evaluate", "tiny", other, "--json", cwd=trained).stdout)
    assert measured["n"] == 24
    assert measured["groups"] == 12
    foreign = draw_folder(tmp_path / "foreign", 4, ("dark", "green"))
    failed = call_lucency("evaluate", "tiny", foreign, cwd=trained)
    assert failed.returncode == 2
    assert "does not know the class 'green'" in failed.stderr


@pytest.mark.slow
def test_verify_redraws_the_report_from_the_files(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(trained / "runs/tiny", copy)
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    done = call_lucency("verify", copy, "--redraw")
    assert done.returncode == 0
    assert str(copy / "report.html") in done.stdout
    assert (copy / "report.html").read_bytes() == before


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(
    trained: Path, small_folder: Path, tmp_path: Path
) -> None:
    done = train_small(small_folder, "--run", tmp_path / "again", "--quiet", "--json")
    assert json.loads(done.stdout)["test"]["n"] > 0
    assert done.stderr == ""
    for name in ("weights.safetensors", "predictions.csv", "split.csv", "evaluation.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (trained / "runs/tiny" / name).read_bytes(), name


# -- invalid input: one clear line, exit code 2, no partial files ---------------------------------


def error_of(tmp_path: Path, *arguments: object) -> str:
    before = sorted(tmp_path.rglob("*"))
    done = call_lucency(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("lucency: ")
    assert "Traceback" not in done.stderr
    runs = [p for p in sorted(tmp_path.rglob("*")) if p not in before and p.name != "runs"]
    assert runs == []
    return lines[-1]


def test_a_check_and_an_error_need_no_backend(tmp_path: Path) -> None:
    """One process runs all command lines, and says after each what it has imported."""
    draw_folder(tmp_path / "three", 20, ("a", "b", "c"))
    script = (
        "import json, sys\n"
        f"sys.path.append({str(ROOT)!r})\n"
        "from benchmarks.small_network import use_few_trees\n"
        "from lucency.cli import main\n"
        "use_few_trees()\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['lucency', *arguments]\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n"
        "        loaded = {'keras', 'tensorflow', 'jax'} & set(sys.modules)\n"
        "        print('ended', end.code, *loaded)\n"
    )
    lines = ["train none", "train three --prevalence 0.1", "check three"]
    given = json.dumps([line.split() for line in lines])
    done = own_process((sys.executable, "-c", script), given, cwd=tmp_path)
    ended = [line for line in done.stdout.splitlines() if line.startswith("ended")]
    assert ended == ["ended 2", "ended 2", "ended 0"], done.stderr


def test_no_such_folder(tmp_path: Path) -> None:
    assert "none" in error_of(tmp_path, "train", "none")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in error_of(tmp_path, "train", "empty")


def test_one_class_only(tmp_path: Path) -> None:
    draw_folder(tmp_path / "one", 4, ("only",))
    assert "only" in error_of(tmp_path, "train", "one")


def test_a_class_with_one_image(tmp_path: Path) -> None:
    draw_folder(tmp_path / "few", 8)
    for path in sorted((tmp_path / "few" / "dark").iterdir())[1:]:
        path.unlink()
    assert "'dark'" in error_of(tmp_path, "train", "few")


def test_no_readable_image(tmp_path: Path) -> None:
    draw_folder(tmp_path / "bad", 4)
    for path in (tmp_path / "bad").rglob("*.png"):
        path.write_bytes(b"")
    assert "readable" in error_of(tmp_path, "train", "bad")


def test_too_many_unreadable_images(tmp_path: Path) -> None:
    draw_folder(tmp_path / "some", 20)
    (tmp_path / "some" / "dark" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "--max-unreadable" in error_of(tmp_path, "train", "some")


def test_misspelled_commands_options_and_values(tmp_path: Path) -> None:
    draw_folder(tmp_path / "d", 4)
    assert "'train'" in error_of(tmp_path, "trian", "d")
    assert "--effort" in error_of(tmp_path, "train", "d", "--efort", "quick")
    assert "Did you mean 'quick'" in error_of(tmp_path, "train", "d", "--effort", "quik")
    assert "Did you mean 'epochs'" in error_of(tmp_path, "train", "d", "--set", "epoch=1")
    assert "No such file" in error_of(tmp_path, "train", "d", "--config", "none.toml").replace(
        "cannot be read", "No such file"
    )


def test_options_that_do_not_fit_the_data(tmp_path: Path) -> None:
    draw_folder(tmp_path / "three", 20, ("a", "b", "c"))
    assert "needs a positive class" in error_of(tmp_path, "train", "three", "--prevalence", "0.1")
    assert "needs two classes" in error_of(
        tmp_path, "train", "three", "--operating-point", "youden"
    )
    (tmp_path / "s.csv").write_text("file,age\nx.png,3\n")
    assert "have no row" in error_of(tmp_path, "train", "three", "--subgroups", "s.csv")
    for share in ("0", "1", "1.5", "-0.1"):
        assert "prevalence" in error_of(tmp_path, "train", "three", "--prevalence", share)


def test_a_run_name_in_use(tmp_path: Path) -> None:
    draw_folder(tmp_path / "d", 4)
    (tmp_path / "runs" / "x").mkdir(parents=True)
    line = error_of(tmp_path, "train", "d", "--run", "x")
    assert "exists already: runs/x" in line
    assert "another name" in line


def test_a_split_file_that_does_not_match(tmp_path: Path) -> None:
    draw_folder(tmp_path / "d", 6)
    (tmp_path / "s.csv").write_text("file,class,group,split,sha256\nx/y.png,dark,g,train,00\n")
    assert "s.csv" in error_of(tmp_path, "train", "d", "--split-file", "s.csv")


def test_no_such_run_or_image(tmp_path: Path) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "p.png")
    assert "No run folder: none" in error_of(tmp_path, "predict", "none", "p.png")
    (tmp_path / "notrun").mkdir()
    assert "No classifier here" in error_of(tmp_path, "predict", "notrun", "p.png")
    assert "notrun" in error_of(tmp_path, "verify", "notrun", "--redraw")


def test_a_full_disk(tmp_path: Path) -> None:
    """Where mounting is allowed, a file system of 64 kB stands in for the full disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        draw_folder(tmp_path / "d", 40)
        done = own_process(PROGRAM, "train", tmp_path / "d", "--cache", disk / "c", cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "disk is full" in done.stderr.splitlines()[-1].lower()
        assert [p for p in disk.rglob("*") if p.is_file()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_lines_show_figures_and_rate(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines().task("Reading", 3, "files") as task:
        task.advance(3, loss=0.25)
    line = capsys.readouterr().err
    assert line.startswith("Reading: 3 of 3 files, loss 0.250, ")
    assert " files/s, done in " in line
    assert line.count("\n") == 1


def test_the_command_line_leaves_blas_one_thread_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    call_lucency("--version")
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    call_lucency("--version")
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
