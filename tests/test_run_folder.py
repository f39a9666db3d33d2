"""The run folder while it is made: names, lock, resuming, and what is left after an error."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lucency.config import Config
from lucency.errors import ConfigError, DataError, LeakError, RunError
from lucency.run_folder.files import FILES, FORMAT, PLAN, SPLIT, UNFINISHED
from lucency.run_folder.writer import RunWriter, open_run
from lucency.signals import Interrupted

DEFAULT = Config()
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checkpoint(writer: RunWriter) -> None:
    (writer.checkpoints / "000001-epoch-1").mkdir(parents=True, exist_ok=True)


def work(error: BaseException | None = None, *, trained: bool = True, run: str = "",
         config: Config = DEFAULT, resume: bool | None = None) -> RunWriter:  # fmt: skip
    """Claim a run, write some of it, and end well or with an error."""
    with open_run(Path("radiographs"), config, run, resume) as writer:
        if trained:
            checkpoint(writer)
        (writer.partial / "split.csv").write_text("of this attempt")
        (writer.partial / "test_evaluations.json").write_text("{}")
        if error:
            raise error
    return writer


def leave_unfinished(run: str = "", config: Config = DEFAULT) -> Path:
    """Write a checkpoint and be interrupted."""
    with pytest.raises(Interrupted):
        work(Interrupted(15), run=run, config=config)
    (partial,) = Path("runs").glob(f"{run or 'radiographs'}*.unfinished")
    return partial


def refused(
    message: str, config: Config = DEFAULT, run: str = "", resume: bool | None = None
) -> None:
    with pytest.raises(RunError, match=message) as caught:
        work(config=config, run=run, resume=resume)
    assert "\n" not in str(caught.value)


def names(folder: Path = Path("runs")) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_in_use_is_refused() -> None:
    Path("runs/x").mkdir(parents=True)
    refused("exists already: runs/x", run="x")
    assert names() == ["x"]


def test_automatic_names_count_up() -> None:
    folder = Path("my radiographs!")

    def name(run: str = "", config: Config = DEFAULT) -> str:
        with open_run(folder, config, run) as writer:
            assert writer.partial.name == f"{writer.target.name}.unfinished"
        return str(writer.target)

    assert name() == "runs/my-radiographs-standard-1"
    assert name() == "runs/my-radiographs-standard-2"
    assert name(config=Config(recipe="article")) == "runs/my-radiographs-article-1"
    assert name("x") == "runs/x"
    assert name("./y") == "y"


def test_a_finished_run_holds_nothing_of_its_making() -> None:
    with open_run(Path("radiographs"), Config(), "x") as writer:
        checkpoint(writer)
        (writer.partial / "report.html").write_text("done")
        assert not writer.resumed
    assert names() == ["x"]
    assert names(Path("runs/x")) == ["report.html"]


def test_the_same_command_resumes_its_own_run() -> None:
    partial = leave_unfinished()
    with open_run(
        Path("radiographs"), Config(workers=7, cache="/else", checkpoint_seconds=1.0)
    ) as writer:
        assert writer.partial == partial
        assert writer.resumed
        assert names(partial) == ["checkpoints", "lock", "run.json", "test_evaluations.json"]
    assert names() == ["radiographs-standard-1"]


def test_another_command_takes_another_name() -> None:
    partial = leave_unfinished()
    for config, folder in ((Config(epochs=7), "radiographs"), (Config(), "elsewhere/radiographs")):
        with open_run(Path(folder), config) as writer:
            assert not writer.resumed
            assert writer.partial != partial
    assert names() == [
        "radiographs-standard-1.unfinished",
        "radiographs-standard-2",
        "radiographs-standard-3",
    ]


def test_another_configuration_is_refused_with_the_difference_named() -> None:
    leave_unfinished(run="x")
    message = r"epochs is None there and 7 here, flip is None there and True here"
    refused(message, Config(epochs=7, flip=True), "x")
    refused(message, Config(epochs=7, flip=True), "x", resume=True)
    leave_unfinished()
    refused("unfinished run with other settings: seed is 0", Config(seed=1), resume=True)
    assert names() == ["radiographs-standard-1.unfinished", "x.unfinished"]


def test_data_that_moved_are_compared_by_content_later() -> None:
    leave_unfinished(run="x")
    with open_run(Path("moved"), Config(), "x") as writer:
        assert writer.resumed


def test_a_damaged_description_is_refused_not_overwritten() -> None:
    partial = leave_unfinished(run="x")
    for text in ("", "[]", '{"folder": 1}', "[" * 100_000):
        (partial / "run.json").write_text(text)
        refused("other settings", run="x")
    assert (partial / "checkpoints").is_dir()


def test_resume_requires_a_run_and_no_resume_starts_over() -> None:
    refused("no checkpoint to resume from: runs/radiographs-standard-1.unfinished", resume=True)
    assert names() == []
    partial = leave_unfinished()
    with open_run(Path("radiographs"), Config(), resume=True) as writer:
        assert writer.resumed
        Path("runs/radiographs-standard-1.unfinished/checkpoints/000001-epoch-1/x").write_text("x")
        (writer.partial / "y").mkdir()
    leave_unfinished(run="z")
    with open_run(Path("radiographs"), Config(epochs=9), "z", resume=False) as writer:
        assert not writer.resumed
        assert names(writer.partial) == ["lock", "run.json"]
    assert not partial.exists()


ERRORS = (
    ConfigError("x"),
    DataError("x"),
    Interrupted(2),
    KeyboardInterrupt(),
    OSError(28, "full"),
)


@pytest.mark.parametrize("error", ERRORS)
def test_without_a_checkpoint_nothing_is_left(error: BaseException) -> None:
    with pytest.raises((type(error), RunError)):
        work(error, trained=False)
    assert names() == []


@pytest.mark.parametrize("error", [LeakError("It leaks.", None), OSError(28, "No space left")])
def test_with_a_checkpoint_errors_say_where_it_is(error: Exception) -> None:
    with pytest.raises((LeakError, RunError)) as caught:
        work(error)
    assert str(caught.value).endswith("is kept in runs/radiographs-standard-1.unfinished.")
    assert "\n" not in str(caught.value)
    assert names() == ["radiographs-standard-1.unfinished"]
    with pytest.raises(Interrupted) as stopped:
        work(Interrupted(15))
    assert "the same command resumes it" in stopped.value.kept


HOLDER = """
import sys, time
from pathlib import Path
from lucency.config import Config
from lucency.run_folder.files import FILES, FORMAT, PLAN, SPLIT, UNFINISHED
from lucency.run_folder.writer import open_run
with open_run(Path("radiographs"), Config(), sys.argv[1]) as writer:
    (writer.partial / "here").touch()
    time.sleep(60)
"""


@pytest.mark.parametrize("run", ["", "x"])
def test_a_second_process_is_refused_at_once_and_a_dead_one_holds_nothing(run: str) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLDER, run])
    partial = Path("runs") / f"{run or 'radiographs-standard-1'}.unfinished"
    try:
        for _ in range(500):
            if (partial / "here").exists():
                break
            time.sleep(0.02)
        refused(f"Another process \\(PID {first.pid}\\) is working on", run=run)
        refused("Another process", run=run, resume=False)
        assert (partial / "here").exists()
    finally:
        first.kill()
        first.wait()
    with open_run(Path("radiographs"), Config(), run):
        pass


@pytest.mark.slow
def test_the_command_refuses_at_once(here: Path) -> None:
    (here / "radiographs").mkdir()
    script = "from lucency.cli import main; main()"
    command = [sys.executable, "-c", script, "train", "radiographs"]
    with open_run(Path("radiographs"), Config()):
        before = os.times()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        after = os.times()
    assert done.returncode == 2
    assert done.stderr.startswith(f"lucency: Another process (PID {os.getpid()}) is")
    assert len(done.stderr.splitlines()) == 1
    processor = sum(after[2:4]) - sum(before[2:4])  # of the command, whatever else the machine does
    assert processor < 10  # 0.2 to 0.9 s


def test_the_description_is_of_the_command() -> None:
    partial = leave_unfinished(run="x", config=Config(seed=3))
    document = json.loads((partial / "run.json").read_text())
    assert document["config"] == json.loads(json.dumps(dataclasses.asdict(Config(seed=3))))
    assert document["folder"] == str(Path("radiographs").resolve())


def test_the_documentation_lists_every_file() -> None:
    maker = runpy.run_path(str(ROOT / "docs" / "make_run_folder.py"))
    page = (ROOT / "docs" / "reference" / "run-folder.md").read_text()
    assert page == maker["written"](page), "run docs/make_run_folder.py"
    assert all(f"`{file}`" in page for file in (*FILES, *UNFINISHED))


def test_no_other_module_spells_the_name_of_a_file() -> None:
    names = {file.name for file in FILES} - {"images/index.json"}
    for path in (ROOT / "src" / "lucency").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in names:
                # An export is a folder of its own, with files of these names; completion of the
                # shell has to answer before anything is loaded.
                exempt = {"run_folder", "export", "completion.py"}
                assert exempt & {*path.parts}, f"{path}: {node.value}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1}', "has format 1; this version of Lucency reads format 2. Train again"),
        ('{"format": 3}', "has format 3; this version of Lucency reads format 2. Update Lucency"),
        ('{"format": true}', "has format True"),
        ("{}", "has format None"),
        ('{"format": "1\\n\\u001b[31m"}', r"has format '1\n\x1b[31m'"),
        ("[]", "expected a JSON object"),
        ("{", "Cannot read"),
    ],
)
def test_another_format_is_refused_in_one_line(here: Path, text: str, message: str) -> None:
    (here / PLAN).write_text(text)
    with pytest.raises(RunError, match=re.escape(message)) as caught:
        PLAN.read(here)
    assert str(here / "plan.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_documents_and_tables_come_back(here: Path) -> None:
    assert PLAN.read_if_there(here) is None
    PLAN.write(here, {"seed": 3})
    assert PLAN.read_if_there(here) == {"format": FORMAT, "seed": 3}
    rows = [
        ("a,b\n.png", "ill", "p1", "train", "00"),
        ("\udcff.png", "well", "p2", "val", "11"),
        ("=1+1/a.png", "-", "'@p\r3", "test", "22"),
    ]
    SPLIT.write(here / SPLIT, rows)
    assert [tuple(row.values()) for row in SPLIT.rows(here / SPLIT)] == rows
    (here / SPLIT).write_text("file,class\na,b\n")
    with pytest.raises(ValueError, match="the column 'group' is missing"):
        next(SPLIT.rows(here / SPLIT))
