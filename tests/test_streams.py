"""Standard output and standard error that are closed, full, broken or non-blocking."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lucency.cli.shortage import shortage_of

SCRIPT = "import sys; sys.argv[0] = 'lucency'; from lucency.cli import main; main()"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of Bash in which "lucency" stands for our command."""
    command = f'lucency() {{ "{sys.executable}" -c "{SCRIPT}" "$@"; }}; {line}'
    given = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=given
    )


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1 "])
def test_a_result_that_cannot_be_printed_is_one_line(
    redirection: str, reason: str, unbuffered: str
) -> None:
    done = shell(f"{unbuffered}lucency --version {redirection}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"standard output cannot be written ({reason})" in done.stderr


def test_a_reader_that_has_ended_is_no_error_to_read_about() -> None:
    done = shell("lucency --version | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_messages_that_cannot_be_printed_are_lost_and_the_work_is_done(redirection: str) -> None:
    done = shell(f"lucency --version {redirection}")
    assert done.returncode == 0
    assert done.stdout.startswith("lucency ")
    # An error that cannot be printed still has its exit code.
    assert shell(f"lucency predict missing missing.png {redirection}").returncode == 2


def test_progress_goes_on_when_its_reader_has_ended() -> None:
    script = (
        "from lucency.cli.console import print_message, standard_streams\n"
        "with standard_streams():\n"
        "    for i in range(20_000): print_message('x' * 100)\n"
        "    print('done')\n"
    )
    command = f"'{sys.executable}' -c \"$SCRIPT\" 2> >(head -1 > /dev/null)"
    done = subprocess.run(
        ["bash", "-c", command],
        capture_output=True, text=True, check=False, env={**os.environ, "SCRIPT": script},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    script = (
        "import os\n"
        "from lucency.cli.console import standard_streams\n"
        "with standard_streams():\n"
        f"    file = open({str(tmp_path / 'kept')!r}, 'wb', buffering=0)\n"
        "    os.write(2, b'a message of a compiled library')\n"
        "    file.write(b'%d' % (file.fileno() > 2))\n"
    )
    command = f"'{sys.executable}' -c \"$SCRIPT\" <&- >&- 2>&-"
    subprocess.run(["bash", "-c", command], check=True, env={**os.environ, "SCRIPT": script})
    assert (tmp_path / "kept").read_bytes() == b"1"


def test_a_pipe_that_does_not_block_gets_everything() -> None:
    script = (
        "import os\n"
        "from lucency.cli.console import standard_streams\n"
        "os.set_blocking(1, False)\n"
        "with standard_streams():\n"
        "    for i in range(20_000): print('x' * 99)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert len(done.stdout) == 2_000_000


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "not enough memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "not enough memory"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(24, "Too many open files", "weights"), "ulimit -n"),
        (OSError(28, "No space left on device"), "disk is full"),
    ],
)
def test_a_shortage_is_one_line(error: Exception, says: str) -> None:
    assert says in shortage_of(error)
    wrapped = RuntimeError("while loading")
    wrapped.__cause__ = error
    assert says in shortage_of(wrapped)


def test_a_defect_is_not_taken_for_a_shortage() -> None:
    assert shortage_of(RuntimeError("a defect")) == ""
    assert shortage_of(FileNotFoundError(2, "No such file", "x")) == ""


@pytest.mark.parametrize(("mask", "mode"), [("000", "664"), ("002", "664"), ("077", "600")])
def test_nobody_else_may_change_what_we_write(tmp_path: Path, mask: str, mode: str) -> None:
    script = (
        "import sys; from pathlib import Path; import lucency.cli as c\n"
        f"c._exit_code = lambda: Path({str(tmp_path / 'made')!r}).write_text('x') and 0\n"
        "c.main()\n"
    )
    command = f"umask {mask}; '{sys.executable}' -c \"$SCRIPT\""
    subprocess.run(["bash", "-c", command], check=True, env={**os.environ, "SCRIPT": script})
    assert oct((tmp_path / "made").stat().st_mode)[-3:] == mode
