"""The commands on a terminal, on a plain or narrow terminal, and in a pipe."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

from lucency.cli.console import Bars
from lucency.evaluation import read_predictions
from small_runs import write_images, write_predicted_run, write_run

SCRIPT = "import sys; sys.argv[0] = 'lucency'; from lucency.cli import main; main()"
# Several command lines, one after another in one process, each followed by its exit code.
SEVERAL = """
import json, os, sys
from benchmarks.small_network import use_few_trees
from lucency.cli import main
use_few_trees()
for encoding, *arguments in json.loads(sys.argv[1]):
    sys.stdout.reconfigure(encoding=encoding)
    sys.stderr.reconfigure(encoding=encoding, errors="backslashreplace")
    sys.argv = ["lucency", *arguments]
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    os.write(1, b"\\n--code %d--\\n" % code)
    os.write(2, b"\\n--code %d--\\n" % code)
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d)(?:;\d+)*m")


class Finished(NamedTuple):
    """What a command line wrote, and its exit code."""

    stdout: str
    stderr: str
    returncode: int


def environment(**given: str) -> dict[str, str]:
    without = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "CI")
    own = {key: value for key, value in os.environ.items() if key not in without}
    return {**own, "TERM": "xterm-256color", **given}


def piped(*arguments: object, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        capture_output=True, text=True, check=False, env=environment(**given),
    )  # fmt: skip


def several(*commands: tuple[object, ...], encodings: Sequence[str] = ("utf-8",)) -> list[Finished]:
    """Run command lines in one process, all of them with the streams in each encoding."""
    encoded = [(encoding, *map(str, each)) for encoding in encodings for each in commands]
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(encoded)], capture_output=True, check=True,
        env=environment(),
    )  # fmt: skip
    outputs, errors = (
        re.split(rb"\n--code (\d+)--\n", each) for each in (done.stdout, done.stderr)
    )
    assert outputs[1::2] == errors[1::2]
    assert (len(encoded), outputs[-1], errors[-1]) == (len(outputs) // 2, b"", b"")
    written = zip(encoded, outputs[:-1:2], errors[:-1:2], outputs[1::2], strict=True)
    return [
        Finished(out.decode(encoding), err.decode(encoding), int(code))
        for (encoding, *_), out, err, code in written
    ]


def on_terminal(*arguments: object, columns: int = 100, **given: str) -> str:
    """Return everything that is written to a terminal of this width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    shown: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.append(data)
        except OSError:  # the other end was closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    subprocess.run(command, stdin=theirs, stdout=theirs, stderr=theirs, check=False,
                   env=environment(**given))  # fmt: skip
    os.close(theirs)
    reader.join(30)
    os.close(ours)
    return b"".join(shown).decode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder beside its images, one of which has a long name."""
    folder = tmp_path_factory.mktemp("console")
    data = folder / "data"
    run = write_run(folder / "run", data, write_images(data))
    long = data / f"{'a very long name of a radiograph ' * 4}.png"
    long.write_bytes((data / "test" / "PNEUMONIA" / "1.png").read_bytes())
    return run


def test_a_pipe_gets_unbroken_lines_without_colour(run: Path) -> None:
    done = piped("predict", run, run.parent / "data")
    assert not ESCAPE.search(done.stdout + done.stderr)
    (row,) = [line for line in done.stdout.splitlines() if "very long" in line]
    assert len(row) > 140
    assert row.split()[-1].endswith("%")
    checked = piped("evaluate", run, run.parent / "data")
    assert checked.stderr.startswith("Reading images: ")
    assert not ESCAPE.search(checked.stdout + checked.stderr)


def test_environment_variables_control_colour(run: Path) -> None:
    forced = piped("verify", run, FORCE_COLOR="1")
    assert COLOUR.search(forced.stdout)
    assert max(map(len, ESCAPE.sub("", forced.stdout).splitlines())) > 80
    assert COLOUR.search(on_terminal("verify", run))
    assert not COLOUR.search(on_terminal("verify", run, NO_COLOR="1"))
    assert not COLOUR.search(piped("verify", run, FORCE_COLOR="1", NO_COLOR="1").stdout)
    assert COLOUR.search(on_terminal("verify", run, NO_COLOR=""))  # empty does not count


def test_a_plain_terminal_gets_lines_instead_of_bars(run: Path) -> None:
    data = run.parent / "data"
    plain = on_terminal("evaluate", run, data, TERM="dumb")
    assert not ESCAPE.search(plain)
    assert "Predicting test: 12 of 12 images" in plain
    assert "\x1b[?25l" in on_terminal("evaluate", run, data)  # a bar hides the cursor


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_a_bar_fits_on_one_line_at_every_width(columns: int) -> None:
    shown = io.StringIO()
    bars = Bars()
    bars.console = Console(file=shown, force_terminal=True, width=columns, highlight=False)
    with bars.task("Comparing ONNX with Keras", 5216, "images") as task:
        task.advance(100, accuracy=0.75, loss=0.5)
    text = ESCAPE.sub("", shown.getvalue()).replace("\r", "\n")
    lines = [line for line in text.splitlines() if line.strip()]
    assert all(line.startswith("Comparing") for line in lines)
    assert "100/5216" in lines[-1]
    assert max(map(len, lines)) <= columns
    assert ("loss 0.500" in lines[-1]) == (columns >= 80)


def test_standard_output_holds_only_the_json_document(run: Path) -> None:
    data = run.parent / "data"
    (run.parent / "broken.png").write_bytes(b"")
    found = read_predictions(run / "predictions.csv")[-1]
    contents = [f"{i:064}" for i in range(len(found.files))]
    both = [run.parent / name for name in ("one", "two")]
    for other in both:
        other.mkdir()
        write_predicted_run(other, found, contents)
    commands = (
        ("predict", run, data, run.parent / "broken.png", "--json"),
        ("evaluate", run, data, "--json"),
        ("verify", run, "--json"),
        ("compare", *both, "--json"),
        ("verify", run, "--redraw", "--json"),
    )
    for arguments, done in zip(commands, several(*commands), strict=True):
        assert json.loads(done.stdout), (arguments, done.stderr)
    shown = on_terminal("evaluate", run, data, "--json", TERM="dumb")
    document = shown[shown.index("{") :]
    assert json.loads(document)["n"] == 12


def test_quiet_prints_only_the_result(run: Path) -> None:
    data = run.parent / "data"
    for done in several(("evaluate", run, data, "--quiet"), ("verify", run, "--quiet")):
        assert done.stderr == ""
        assert done.stdout
    assert "\x1b[?25l" not in on_terminal("evaluate", run, run.parent / "data", "--quiet")


def test_an_error_is_one_line_on_standard_error_with_json_too(run: Path) -> None:
    done = piped("predict", run, "nowhere.png", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_no_sign_is_an_error_in_any_encoding(run: Path) -> None:
    encodings = ("cp1252", "ascii", "iso-8859-1", "cp437", "utf-8")
    data = run.parent / "data"
    wild = data / "test" / "caf\u00e9 \u2212 \u65e5\u672c \U0001f600.png"
    wild.write_bytes(next((data / "test").rglob("*.png")).read_bytes())
    try:
        commands = (
            ("check", data / "test", "--out", run.parent / "check"),
            ("evaluate", run, data),
            ("predict", run, wild),
            ("predict", run, wild, "--csv"),
            ("predict", run, wild, "--json"),
        )
        done = several(*commands, encodings=encodings)
        for each in done:
            assert "Traceback" not in each.stderr, each.stderr
            assert each.returncode in (0, 2, 3), each.stderr
        for each in done[4::5]:
            assert json.loads(each.stdout)[0]["file"] == str(wild)
    finally:
        wild.unlink()


HOSTILE = (
    *("line\nbreak.png", "over\rwrite.png", "title\x1b]0;owned\x07.png", "csi\x9b31m.png"),
    *("bidi\u202egnp.exe.png", "isolate\u2066.png", "zero\u200bwidth.png", "mark\ufeff.png"),
    *("bytes\udcff\udcfe.png", "line\u2028separator.png", "tag\U000e0041.png", "tab\t.png"),
    *("=cmd.png", "@sum.png", 'comma, quote".png', "[bold]markup[red].png"),
)
# What no line may hold: it moves the cursor, adds a line, or shows signs in another order.
EXECUTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u202a-\u202e\u2066-\u2069\ufeff]")


@pytest.fixture(scope="module")
def hostile(run: Path) -> Path:
    """Return a folder of images whose names a terminal or a spreadsheet would execute."""
    folder = run.parent / "hostile"
    folder.mkdir()
    image = (run.parent / "data" / "test" / "PNEUMONIA" / "1.png").read_bytes()
    for name in HOSTILE:
        (folder / name).write_bytes(image)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("options", [(), ("--csv",), ("--json",)])
def test_names_are_not_executed_by_a_terminal(
    run: Path, hostile: Path, options: tuple[str, ...]
) -> None:
    shown = on_terminal("predict", run, hostile, "--quiet", *options, columns=400)
    plain = ESCAPE.sub("", shown).replace("\r\n", "\n")
    assert not EXECUTED.findall(plain)
    assert "owned" in plain
    if not options:
        assert len([line for line in plain.splitlines() if str(hostile) in line]) == len(HOSTILE)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_programs_that_read_the_output_get_the_names_exactly(run: Path, hostile: Path) -> None:
    known = {str(hostile / name) for name in HOSTILE}
    command = [sys.executable, "-c", SCRIPT, "predict", str(run)]
    for environ in (environment(LC_ALL="C"), environment(LC_ALL="C.UTF-8")):
        done = subprocess.run(
            [*command, str(hostile), "--json"], capture_output=True, check=False, env=environ
        )
        assert {row["file"] for row in json.loads(done.stdout.decode())} == known
    names = [f"./{name}" for name in HOSTILE if "\udcff" not in name] + ["=cmd.png"]
    done = subprocess.run(
        [*command, *names, "--csv"], capture_output=True, check=False, env=environment(),
        cwd=hostile,
    )  # fmt: skip
    text = done.stdout.decode("utf-8", "surrogateescape")
    rows = [*csv.reader(io.StringIO(text, newline=""), strict=True)]
    assert {row[0] for row in rows[1:]} == {str(Path(name)) for name in names} - {
        "=cmd.png", "@sum.png"
    } | {"'=cmd.png", "'@sum.png"}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_in_messages_and_pages_are_not_executed(run: Path, hostile: Path) -> None:
    done = piped("explain", run, hostile, "--out", run.parent / "pages")
    assert not EXECUTED.findall(done.stdout + done.stderr)
    for page in (run.parent / "pages").rglob("*.html"):
        assert not EXECUTED.findall(page.read_text(encoding="utf-8"))
    missing = piped("predict", run, hostile / "no \n\x1b[2J\x9b\u202e.png")
    assert missing.stderr.count("\n") == 1
    assert not EXECUTED.findall(missing.stderr)
