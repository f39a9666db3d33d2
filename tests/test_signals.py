"""Ctrl-C and SIGTERM, in separate processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import small_network

from lucency import signals
from lucency.signals import Interrupted, check, deferred, handle_signals

SETTINGS = ("epochs=500", "size=16", "batch=8", "folds=0")


def signalled(number: int, steps: list[str], *, hold: bool) -> None:
    """Run two steps and send a signal during the first."""
    with handle_signals(), deferred() if hold else contextlib.nullcontext():
        os.kill(os.getpid(), number)
        time.sleep(0.05)
        steps.append("first")
        check()
        steps.append("second")


@pytest.mark.parametrize(("hold", "done"), [(False, []), (True, ["first"])])
def test_a_signal_is_raised_at_once_or_at_the_next_check(hold: bool, done: list[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        steps: list[str] = []
        with pytest.raises(Interrupted) as caught:
            signalled(number, steps, hold=hold)
        assert steps == done
        assert caught.value.number == number
        check()  # raised once only


def stopped_twice(steps: list[str]) -> None:
    with handle_signals():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            steps.append("cleaned up")


def test_a_signal_that_comes_twice_at_once_does_not_interrupt_the_end() -> None:
    steps: list[str] = []
    with pytest.raises(Interrupted):
        stopped_twice(steps)
    assert steps == ["cleaned up"]


def test_the_previous_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in signals._SIGNALS]
    with handle_signals():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in signals._SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_no_library_swallows_it() -> None:
    assert not issubclass(Interrupted, Exception)


STUCK = """
import ctypes, time
from lucency.signals import deferred, handle_signals
with handle_signals(), deferred():
    print("ready", flush=True)
    # Compiled code that ignores signals and releases the GIL.
    libc, until = ctypes.CDLL(None), time.monotonic() + 60
    while libc.poll(None, 0, 60_000) and time.monotonic() < until:
        pass
"""


def test_the_second_signal_ends_a_program_stuck_in_compiled_code() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)  # as `timeout` does, to the process and to its group
    time.sleep(signals.REPEAT + 0.3)
    assert process.poll() is None, "the first signal is deferred, and at once again it is the same"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    process.communicate()


# -- the whole command -----------------------------------------------------------------------------


@pytest.fixture
def training(small_folder: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a training of several minutes on a small network, and wait for its first steps."""
    given = [word for setting in SETTINGS for word in ("--set", setting)]
    command = ["train", str(small_folder), "--effort", "quick", "--run", "x", *given]
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*small_network.COMMAND, *command], cwd=tmp_path, stderr=log, stdout=log
        )
    try:
        for _ in range(1200):
            if b"Epoch 2/" in (tmp_path / "log.txt").read_bytes() or process.poll() is not None:
                break
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_training_is_saved_and_exits_with_75(
    training: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    training.send_signal(number)
    assert training.wait(60) == 75
    log = (tmp_path / "log.txt").read_text()
    assert log.splitlines()[-1].startswith("Stopped. Kept in runs/x.unfinished")
    assert "Traceback" not in log
    assert list((tmp_path / "runs/x.unfinished/checkpoints").iterdir())


@pytest.mark.slow
def test_a_second_signal_exits_at_once(training: subprocess.Popen[bytes], tmp_path: Path) -> None:
    training.send_signal(signal.SIGTERM)
    training.send_signal(signal.SIGINT)
    assert training.wait(60) in (75, 128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert list((tmp_path / "runs/x.unfinished/checkpoints").glob("[0-9]*"))
