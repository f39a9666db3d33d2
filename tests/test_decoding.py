"""Decoding in sandboxed processes: results are right, and a crash does no other harm."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from benchmarks.file_structure import saved
from benchmarks.reliability.faulty_decoder import FAILURES
from benchmarks.reliability.faulty_decoder import command as bad_command

from conftest import draw_folder
from lucency.dataset.cache import SourceFile, decode
from lucency.errors import DataError, ImageError, RunError, TransientError
from lucency.imaging import source
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request, decode_again
from lucency.imaging.decoder.process import child_command
from lucency.imaging.decoder.protocol import (
    Outcome,
    ProtocolError,
    Response,
    pack_response,
    read_response,
    reason_of,
    reason_payload,
)
from lucency.imaging.image import encode_png, read_image
from lucency.imaging.source import load, stamp_of
from lucency.serve.inference.decoding import Decoders

SIZE = (12, 16)
LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    path.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (20, 30, 1), np.uint8)))
    return path


def request_for(path: Path, **facts: object) -> Request:
    return Request(str(path), SIZE, colour=False)._replace(**facts)  # type: ignore[arg-type]


def children(parent: int | str = "self") -> set[int]:
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number matters


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check that no new process, pipe or thread remains after the block."""
    before = children(), len(descriptors()), threading.active_count()
    yield
    assert (children(), len(descriptors()), threading.active_count()) == before


def gone(pids: set[int], seconds: float = 10) -> bool:
    """Wait until processes have ended, or are zombies of another process."""
    end = time.monotonic() + seconds

    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    while any(map(runs, pids)):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


# --- results


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("size", [SIZE, None])
def test_pixels_are_those_of_the_same_process(
    file: Path, size: tuple[int, int] | None, colour: bool
) -> None:
    expected = read_image(file, size or (20, 30), colour)
    with DecoderPool(1) as pool:
        for source in (str(file), file.read_bytes()):
            decoded = pool.submit(Request(source, size, colour)).result()
            assert np.array_equal(decoded.or_error(), expected)
            assert (decoded.size, decoded.reason, decoded.transient) == ((20, 30), "", False)


def test_results_come_in_order_with_a_bounded_number_ahead(tmp_path: Path) -> None:
    """Otherwise waiting pixels would fill the memory."""
    images = [np.full((8, 8, 1), value, np.uint8) for value in range(100)]
    begun = 0

    def requests() -> Iterator[Request]:
        nonlocal begun
        for image in images:
            begun += 1
            yield Request(encode_png(image), (8, 8), colour=False)

    with DecoderPool(2) as pool:
        for done, decoded in enumerate(pool.map(requests())):
            assert begun - done <= 2 * 4 + 2
            assert decoded.or_error()[0, 0, 0] == done


def test_transient_reasons_are_distinguished(file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(file.read_bytes()[:-20])
    with DecoderPool(2) as pool:
        bad, missing = pool.map([request_for(damaged), request_for(tmp_path / "missing.png")])
    assert not bad.transient
    assert missing.transient
    with pytest.raises(ImageError, match="ends early"):
        bad.or_error()
    with pytest.raises(TransientError, match="No such file"):
        missing.or_error()


@pytest.mark.parametrize("name", ["photo.nef", "photo.CR2", "photo.dng"])
def test_the_preview_in_a_camera_raw_file_is_not_taken_for_the_image(
    tmp_path: Path, name: str
) -> None:
    raw, tiff = tmp_path / name, tmp_path / "scan.tif"
    tiff.write_bytes(saved(np.arange(400, dtype=np.uint8).reshape(20, 20), "TIFF"))
    raw.write_bytes(tiff.read_bytes())
    with DecoderPool(1) as pool:
        refused, read = pool.map([request_for(raw), request_for(tiff)])
    assert refused.reason.startswith("a camera raw file; expected a developed image")
    assert read.pixels is not None


def test_fifty_megapixels_fit_into_the_memory_of_a_decoder() -> None:
    image = np.zeros((7071, 7071), np.uint8)
    with DecoderPool(1) as pool:
        data = saved(image, "JPEG", progressive=True)
        decoded = pool.submit(Request(data, (8, 8), colour=True)).result()
    assert decoded.reason == ""


# --- failures of decoders


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failing_decoder_costs_one_image(file: Path, tmp_path: Path, failure: str) -> None:
    bad = tmp_path / f"{failure}.png"
    bad.write_bytes(file.read_bytes())
    with (
        nothing_left(),
        DecoderPool(2, deadline=2, command=bad_command(2)) as pool,
    ):
        answers = [*pool.map(map(request_for, [file, bad, file, file, bad, file]))]
    assert [bool(each.reason) for each in answers] == [False, True, False, False, True, False]
    for each in (answers[1], answers[4]):
        assert FAILURES[failure] in each.reason
        assert each.transient
        assert each.fatal == (failure != "memory")
        assert each.pixels is None
    # The process survives a failed allocation.
    assert (pool.lost == 0) == (failure == "memory")


def wait_until_ready(pool: DecoderPool) -> None:
    """Wait for the greeting of the only process, before the first request."""
    (child,) = pool._children
    assert select.select([child._responses], [], [], 60)[0]


def kill_while_decoding(pool: DecoderPool, file: Path, number: int) -> Decoded:
    """Send the only process an image, kill it with a signal, and return the result."""
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    waiting = pool.submit(request_for(file))
    time.sleep(0.1)
    os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    return waiting.result(10)


@LINUX
def test_a_decoder_killed_from_outside_is_replaced(file: Path) -> None:
    with nothing_left(), DecoderPool(1) as pool:
        pool.start(1)
        wait_until_ready(pool)
        for number in (signal.SIGSEGV, signal.SIGKILL):
            (pid,) = children()
            first = kill_while_decoding(pool, file, number)
            # The first process had decoded nothing else, so the image must be the cause. Later an
            # earlier image may be the cause, so a new process decodes it again.
            if number == signal.SIGSEGV:
                assert first.reason == "its decoder crashed (signal 11)"
                assert first.fatal
            else:
                assert first.reason == ""
            assert pool.submit(request_for(file)).result(10).reason == ""
            assert gone({pid})
    assert pool.lost == 2


@LINUX
def test_a_killed_decoder_is_not_attributed_to_its_image(file: Path) -> None:
    with nothing_left(), DecoderPool(1) as pool:
        pool.start(1)
        wait_until_ready(pool)
        answer = kill_while_decoding(pool, file, signal.SIGKILL)
    assert answer.reason.startswith("its decoder crashed (signal 9; perhaps the machine ran out")
    assert answer.transient
    assert not answer.fatal


@LINUX
def test_a_decoder_that_hangs_is_killed_at_the_deadline(file: Path) -> None:
    with nothing_left(), DecoderPool(1, deadline=2) as pool:
        assert pool.submit(request_for(file)).result(10).reason == ""
        (pid,) = children()
        os.kill(pid, signal.SIGSTOP)
        start = time.monotonic()
        assert pool.submit(request_for(file)).result(30).reason == "took longer than 2 s to decode"
        assert 1.5 < time.monotonic() - start < 30  # what `result` waits
        assert pool.submit(request_for(file)).result(10).reason == ""
        assert gone({pid})


@pytest.mark.skipif(sys.platform == "darwin", reason="no limits on memory there")
def test_an_image_that_needs_too_much_memory_is_reported(file: Path) -> None:
    bomb = saved(np.zeros((7000, 7000), np.uint8))
    script = 'ulimit -v 220000; exec "$@"'
    command = ["sh", "-c", script, "sh", *child_command(30)]
    with DecoderPool(1, command=command) as pool:
        first = pool.submit(Request(bomb, SIZE, colour=True)).result()
        assert first.reason == "not enough memory to decode it"
        assert first.transient
        assert pool.submit(request_for(file)).result().reason == ""
    assert pool.lost == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/no/such/program"], "No such file"),
        ([sys.executable, "-c", "import no_such_module"], "No module named 'no_such_module'"),
        ([sys.executable, "-c", "print('hello, how are you?')"], "does not respond like a decoder"),
        ([sys.executable, "-c", ""], "ended at once"),
    ],
)
def test_a_decoder_that_cannot_start_is_a_run_error(
    file: Path, command: list[str], expected: str
) -> None:
    with nothing_left(), DecoderPool(2, command=command) as pool:
        with pytest.raises(RunError, match="cannot be started") as caught:
            next(pool.map([request_for(file)] * 20))
        assert expected in str(caught.value)


# --- responses of a compromised decoder


def reader(data: bytes) -> Callable[[int], bytes]:
    rest = memoryview(data)

    def read(count: int) -> bytes:
        nonlocal rest
        assert count <= 3 * 8192 * 6144  # never reads more than an image can have
        found, rest = rest[:count], rest[count:]
        if len(found) < count:
            raise EOFError
        return bytes(found)

    return read


def test_responses_round_trip() -> None:
    request = Request("x", (2, 3), colour=True)
    for answer in (
        Response(Outcome.PIXELS, "ab" * 32, (50, 60), bytes(range(18))),
        Response(Outcome.REJECTED, "", (0, 0), b"damaged"),
    ):
        assert read_response(reader(pack_response(answer) + answer.payload), request) == answer


@pytest.mark.parametrize(
    "facts",
    [
        {"outcome": 3},
        {"size": (7095, 7095)},
        {"size": (2**32 - 1, 2**32 - 1)},
        {"size": (0, 5)},
        {"size": (0, 0)},
        {"sha256": ""},
        {"payload": bytes(17)},
        {"payload": bytes(19)},
        {"outcome": Outcome.REJECTED, "payload": b""},
        {"outcome": Outcome.REJECTED, "payload": b"x" * 1001},
    ],
)
def test_invalid_responses_are_rejected(facts: dict[str, object]) -> None:
    good = Response(Outcome.PIXELS, "ab" * 32, (50, 60), bytes(18))
    bad = good._replace(**facts)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        read_response(reader(pack_response(bad) + bad.payload), Request("x", (2, 3), colour=True))


def test_random_bytes_are_rejected() -> None:
    draw = random.Random(1)  # noqa: S311 - not for secrets
    for _ in range(3000):
        kind = draw.choice((b"\0", b"\1", b"\2", draw.randbytes(1)))
        head = (
            kind
            + draw.randbytes(33)
            + struct.pack(">III", *(draw.choice((0, 1, 18, 10**5, 2**32 - 1)) for _ in range(3)))
        )
        with pytest.raises((ProtocolError, EOFError)):
            read_response(reader(head), Request("x", (2, 3), colour=True))


def test_a_reason_is_one_line_whatever_is_sent() -> None:
    for said in (b"a\nb\x1b[31m\r", b"\xff\xfe\0", "a\u2028\u202e\x85b".encode()):
        line = reason_of(Response(Outcome.REJECTED, "", (0, 0), said))
        assert line.isprintable()
    assert reason_payload("ä\n" * 2000).decode().count("ä") > 300
    assert len(reason_payload("ä" * 2000)) <= 1000


# --- no process or file remains


@LINUX
@pytest.mark.parametrize("how", ["finished", "closed", "error", "interrupt", "unused"])
def test_no_process_or_pipe_remains(file: Path, how: str) -> None:
    wanted = {"error": ZeroDivisionError, "interrupt": KeyboardInterrupt}.get(how)
    with nothing_left():
        try:
            with DecoderPool(2) as pool:
                answers = pool.map([request_for(file)] * 30)
                if how != "unused":
                    next(answers)
                if how == "finished":
                    assert len([*answers]) == 29
                if wanted:
                    raise wanted
        except (ZeroDivisionError, KeyboardInterrupt) as error:
            assert wanted is type(error)  # noqa: PT017 - both are expected in turn


@LINUX
def test_closing_does_not_wait_for_an_image() -> None:
    """An image that never finishes does not keep an interrupted program from ending."""
    with nothing_left():
        pool = DecoderPool(1, command=bad_command(30))
        waiting = pool.submit(Request("/no/hang.png", SIZE, colour=False))
        time.sleep(0.5)
        start = time.monotonic()
        pool.close()
        assert time.monotonic() - start < 25  # the image would take 30
        assert waiting.done()


PARENT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background process
from lucency.imaging.decoder.pool import DecoderPool, Request
pool = DecoderPool(2)
pool.start(2)
print(pool.submit(Request(sys.argv[1], (8, 8), False)).result().reason, flush=True)
time.sleep(60)
"""


@LINUX
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_decoders_end_with_their_parent(file: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"\n"
        pids = children(parent.pid)
        assert len(pids) == 2
        os.killpg(parent.pid, number)
        parent.wait(20)
        assert gone(pids)


STOPPED = """
import sys
from lucency.imaging.decoder.pool import DecoderPool, Request
with DecoderPool(1, deadline=0.8) as pool:
    for decoded in pool.map(Request(sys.argv[1], (2000, 2000), False) for _ in range(100)):
        print(decoded.reason, flush=True)
"""


@LINUX
def test_a_stopped_program_continues(file: Path) -> None:
    """The time during which it was stopped does not count for the image."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(file)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"\n"
        os.kill(parent.pid, signal.SIGSTOP)
        time.sleep(2.5)
        os.kill(parent.pid, signal.SIGCONT)
        assert parent.stdout.read() == b"\n" * 99
    assert parent.returncode == 0


@LINUX
def test_a_decoder_may_wait_long_for_its_first_image(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucency.imaging.decoder.process._START", 1.0)
    with DecoderPool(1, deadline=1.0) as pool:
        pool.start(1)
        time.sleep(2.5)
        assert pool.submit(request_for(file)).result().reason == ""
    assert pool.lost == 0


@LINUX
def test_ctrl_c_ends_a_command_cleanly(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "data", 40)
    slow = saved(np.zeros((6000, 6000), np.uint8))  # half a second
    for i in range(30):
        (folder / "dark" / f"z{i}.png").write_bytes(slow)
    script = "from lucency.cli import main; main()"
    places = ("--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "check"))
    with subprocess.Popen(
        [sys.executable, "-c", script, "check", str(folder), *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as parent:
        end = time.monotonic() + 30
        while not (pids := children(parent.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.3)
        os.killpg(parent.pid, signal.SIGINT)
        start = time.monotonic()
        _, said = parent.communicate(timeout=30)
    assert time.monotonic() - start < 30
    assert parent.returncode == 130
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 1
    assert pids
    assert gone(pids)
    assert not [*tmp_path.glob("cache/*")]


def test_modules_in_the_working_folder_are_not_imported(file: Path, tmp_path: Path) -> None:
    """Files next to the images are never executed."""
    for name in ("PIL.py", "lucency.py", "hashlib.py", "sitecustomize.py", "usercustomize.py"):
        (tmp_path / name).write_text("raise SystemExit('run by mistake')")
    script = PARENT.replace("time.sleep(60)", "pool.close()")
    folders = os.pathsep.join(str(Path(each).resolve()) for each in sys.path if each)
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, str(file)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": folders},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("\n", "", 0)


def test_a_decoder_imports_only_what_it_needs() -> None:
    """Its start delays the classification of a single image."""
    script = "from lucency.imaging.decoder import child; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "PIL.Image" in loaded
    assert not {"numpy", "concurrent.futures", "lucency.imaging.decoder.pool"} & set(loaded)


def test_a_preloaded_decoder_has_nothing_left_to_import() -> None:
    """A service on a slow machine would pass its deadline with the first DICOM file."""
    script = (
        "import importlib, pathlib, sys\n"
        "from lucency.imaging.decoder.child import _PRELOADED\n"
        "from lucency.errors import ImageError\n"
        "from lucency.imaging.image import SourceImage\n"
        "[importlib.import_module(each) for each in _PRELOADED]\n"
        "before, read = {*sys.modules}, 0\n"
        "for file in sorted(pathlib.Path(sys.argv[1]).glob('*.dcm')):\n"
        "    try:\n"
        "        read += bool(SourceImage(file.read_bytes()).decode((16, 16), True))\n"
        "    except ImageError:\n"
        "        continue\n"
        "print(read, *({*sys.modules} - before))"
    )
    samples = Path(pydicom.__file__).parent / "data" / "test_files"
    command = [sys.executable, "-c", script, str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    read, *late = done.stdout.split()
    assert int(read) > 20
    assert not [name for name in late if not name.startswith("PIL.")]


@LINUX
def test_a_service_preloads_its_decoders() -> None:
    decoders = Decoders(1, 5.0, lambda _: None)
    try:
        decoders.start()
        png = encode_png(np.full((*SIZE, 1), 9, np.uint8))
        assert asyncio.run(decoders.decode(Request(png, SIZE, colour=False))).pixels is not None
        (child,) = decoders.processes
        assert "numpy" in Path(f"/proc/{child}/maps").read_text()  # which PNG does not need
    finally:
        decoders.close()


# --- files that change


def test_a_file_that_changes_while_it_is_read_is_noticed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = source._read_up_to

    def grow() -> None:
        with file.open("ab") as more:
            more.write(b"x")

    changes = [grow, lambda: os.truncate(file, 10), lambda: os.utime(file, ns=(1, 1))]

    def changing(descriptor: int, most: int) -> bytes:
        data = read(descriptor, most)
        changes.pop()()
        return data

    monkeypatch.setattr(source, "_read_up_to", changing)
    while changes:
        with pytest.raises(TransientError, match="changed while it was being read"):
            load(file)


def test_a_file_that_grows_forever_is_not_read_forever(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "read", lambda _, most: b"x" * min(most, 10))
    with pytest.raises(TransientError, match="changed while"):
        load(file)


def test_rejecting_a_folder_leaves_no_descriptor_open(tmp_path: Path) -> None:
    before = descriptors() if Path("/proc/self/fd").exists() else set()
    for _ in range(5):
        with pytest.raises(ImageError, match="not a regular file"):
            load(tmp_path)
    assert len(descriptors()) == len(before)


@pytest.mark.parametrize("reason", ["vanished", "changed", "crash"])
def test_transient_reasons_are_not_cached(file: Path, tmp_path: Path, reason: str) -> None:
    """Otherwise the cache would repeat them until the file is modified."""
    data, cache = file.read_bytes(), tmp_path / "cache"
    bad = tmp_path / "segfault.png"
    bad.write_bytes(data)
    listed = [SourceFile(path, path.name, stamp_of(path.stat())) for path in (file, bad)]
    if reason == "vanished":
        bad.unlink()
    elif reason == "changed":
        os.utime(bad, ns=(1, 1))
    command = bad_command(30) if reason == "crash" else None
    with DecoderPool(1, command=command) as pool:
        cached = decode(listed, size=SIZE, colour=False, folder=cache, pool=pool)
    assert reason in cached.reasons[1]
    assert np.array_equal(cached.read([0])[0], read_image(file, SIZE, colour=False))
    assert not cached.read([1]).any()
    assert [*cache.iterdir()] == []
    if reason == "crash":
        with DecoderPool(1) as pool:
            again = decode(listed, size=SIZE, colour=False, folder=cache, pool=pool)
        assert again.reasons == {}
        assert len([*cache.iterdir()]) == 1


def test_decode_again_rejects_changed_files(file: Path, tmp_path: Path) -> None:
    sha256 = "0" * 64
    with DecoderPool(1) as pool:
        decoded: Decoded = pool.submit(request_for(file)).result()
        assert next(decode_again(pool, [(file, decoded.sha256)], None, True)).shape == (20, 30, 3)
        with pytest.raises(DataError, match="changed since") as caught:
            next(decode_again(pool, [(file, sha256)], SIZE, colour=False))
        assert str(file) in str(caught.value)
        file.write_bytes(b"no image")
        with pytest.raises(DataError, match="changed since"):
            next(decode_again(pool, [(file, decoded.sha256)], SIZE, colour=False))
        file.unlink()
        with pytest.raises(DataError, match="No such file"):
            next(decode_again(pool, [(file, decoded.sha256)], SIZE, colour=False))
