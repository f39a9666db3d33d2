"""Zip files and addresses: what is unpacked, what is rejected, and how it resumes."""

from __future__ import annotations

import functools
import http.server
import os
import re
import stat
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lucency.config import Config
from lucency.dataset import archive as archives
from lucency.dataset import load_dataset
from lucency.dataset.archive import unpack
from lucency.dataset.source import open_source
from lucency.errors import BackendError, DataError, RunError
from lucency.io import address_of, redacted
from lucency.progress import Progress, Task


class Recorder(Progress):
    """Keeps the warnings and the names of the tasks."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.tasks: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)

    def task(self, name: str, total: int, unit: str = "") -> Task:
        self.tasks.append(f"{name} {total} {unit}")
        return Task()


def packed(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def zipped(members: dict[str, bytes], tmp_path: Path) -> bytes:
    data = packed(tmp_path / "inner.tmp", members).read_bytes()
    (tmp_path / "inner.tmp").unlink()
    return data


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


SIMPLE = {"data/a/1.png": b"one", "data/b/ü.png": b"two", "data/labels.csv": b"file,label\n"}


@pytest.mark.parametrize(
    "kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_an_archive_becomes_a_folder_once(tmp_path: Path, kind: int) -> None:
    file = packed(tmp_path / "my data.zip", {**SIMPLE, "data/empty/": b""}, kind)
    recorder = Recorder()
    found = open_source(file, str(tmp_path / "cache"), recorder)
    assert found.name == "my-data"
    assert tree(found) == SIMPLE
    assert (found / "data/empty").is_dir()
    assert stat.S_IMODE(found.stat().st_mode) == 0o700
    assert open_source(str(file), str(tmp_path / "cache"), recorder) == found
    assert recorder.tasks == ["Unpacking 3 files"]
    # A program that cleans caches removed a file.
    (found / "data/a/1.png").unlink()
    assert tree(open_source(file, str(tmp_path / "cache"))) == SIMPLE
    # The archive has changed.
    other = open_source(packed(file, {"x/1.png": b"new"}), str(tmp_path / "cache"))
    assert (other.name, other == found, tree(other)) == ("my-data", False, {"x/1.png": b"new"})


def test_a_folder_is_left_alone(tmp_path: Path) -> None:
    assert open_source(tmp_path, str(tmp_path / "cache")) == tmp_path
    assert open_source(tmp_path / "none", str(tmp_path / "cache")) == tmp_path / "none"
    (tmp_path / "x.png").write_bytes(b"")
    assert open_source(tmp_path / "x.png", str(tmp_path / "cache")) == tmp_path / "x.png"
    assert not (tmp_path / "cache").exists()


def test_archives_in_archives(tmp_path: Path) -> None:
    inner = functools.partial(zipped, tmp_path=tmp_path)
    file = packed(
        tmp_path / "k.zip",
        {
            "train.zip": inner({"train/a/1.png": b"1", "__MACOSX/x": b""}),
            "sub/test.zip": inner({"1.png": b"2", "2.png": b"3", "deep.zip": inner({"x": b""})}),
            "labels.csv.zip": inner({"labels.csv": b"file"}),
            "both.zip": inner({"both/1.png": b"4"}),
            "both/0.png": b"5",
        },
    )
    recorder = Recorder()
    found = tree(open_source(file, str(tmp_path / "cache"), recorder))
    del found["sub/test/deep.zip"]
    assert found == {
        "train/a/1.png": b"1",
        "__MACOSX/x": b"",
        "sub/test/1.png": b"2",
        "sub/test/2.png": b"3",
        "labels.csv": b"file",
        "both/0.png": b"5",
        "both_2/both/1.png": b"4",
    }
    assert recorder.warnings == [
        f"{file}/sub/test.zip: zip files in it are not unpacked: deep.zip."
    ]


def with_info(path: Path, name: str, change: Callable[[zipfile.ZipInfo], None]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo(name)
        change(info)
        file.writestr(info, b"/etc/passwd")
        file.writestr("a/1.png", b"")
    return path


def linked(path: Path) -> Path:
    return with_info(
        path, "a/link.png", lambda x: setattr(x, "external_attr", (stat.S_IFLNK | 0o777) << 16)
    )


def test_links_are_not_unpacked_and_named_every_time(tmp_path: Path) -> None:
    file = linked(tmp_path / "x.zip")
    for _ in range(2):
        recorder = Recorder()
        assert tree(open_source(file, str(tmp_path / "cache"), recorder)) == {"a/1.png": b""}
        assert recorder.warnings == [f"{file}: links in it are not unpacked: a/link.png."]


def encrypted(path: Path) -> Path:
    data = bytearray(packed(path, {"a/1.png": b"x"}).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(mark) + at] |= 1
    path.write_bytes(data)
    return path


def changed(path: Path, old: bytes, new: bytes, members: dict[str, bytes]) -> Path:
    data = packed(path, members, zipfile.ZIP_STORED).read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def overlapping(path: Path) -> Path:
    """Let two members share the same bytes."""
    data = bytearray(packed(path, {"1.png": b"a" * 999, "2.png": b"a" * 999}, 0).read_bytes())
    second = data.rfind(b"PK\x01\x02")
    struct.pack_into("<L", data, second + 42, 0)
    path.write_bytes(data[: 40 + 999] + data[data.find(b"PK\x01\x02") :])
    return path


def raw(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def method(path: Path) -> Path:
    data = bytearray(packed(path, {"1.png": b"x"}).read_bytes())
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.find(mark) + at, 97)
    path.write_bytes(data)
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "up": (lambda p: packed(p, {"../evil.png": b""}), "leads out of the folder"),
    "up inside": (lambda p: packed(p, {"a/../../evil.png": b""}), "leads out of the folder"),
    "backslash": (lambda p: packed(p, {"..\\evil.png": b""}), "leads out of the folder"),
    "absolute": (lambda p: packed(p, {"/evil.png": b""}), "leads out of the folder"),
    "drive": (lambda p: packed(p, {"C:\\evil.png": b""}), "leads out of the folder"),
    "nul": (lambda p: changed(p, b"a#b.png", b"a\0b.png", {"a#b.png": b""}), "leads out"),
    "deep": (lambda p: packed(p, {"a/" * 5000 + "1.png": b""}), "more than 100 folders deep"),
    "long": (lambda p: packed(p, {"ü" * 200 + ".png": b""}), "a name of more than 255 bytes"),
    "twice": (
        lambda p: changed(p, b"2.png", b"1.png", {"1.png": b"x", "2.png": b"y"}),
        "1.png twice with different content",
    ),
    "file and folder": (lambda p: packed(p, {"a": b"", "a/1.png": b""}), "a file and a folder"),
    "encrypted": (encrypted, "a/1.png is encrypted"),
    "overlap": (overlapping, "overlap"),
    "content": (lambda p: changed(p, b"good", b"evil", {"1.png": b"good"}), "1.png cannot be unp"),
    "cut": (lambda p: raw(p, packed(p, SIMPLE).read_bytes()[:-40]), "complete"),
    "no zip": (lambda p: raw(p, b"hello"), "this is no zip file"),
    "html": (lambda p: raw(p, b"<html>"), "Download it again"),
    "method": (method, "cannot be unpacked"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_unsafe_archives(tmp_path: Path, how: str) -> None:
    make, message = HOSTILE[how]
    (tmp_path / "in").mkdir()
    file = make(tmp_path / "in" / "x.zip")
    with pytest.raises(DataError, match=message) as caught:
        open_source(file, str(tmp_path / "cache" / "deep"))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    left = {path.name for path in tmp_path.rglob("*") if path.suffix == ".png"}
    assert not left, "something was unpacked"
    assert not Path("/evil.png").exists()


def test_identical_duplicates_are_one_file(tmp_path: Path) -> None:
    file = changed(tmp_path / "x.zip", b"2.png", b"1.png", {"1.png": b"x", "2.png": b"x"})
    assert tree(open_source(file, str(tmp_path / "cache"))) == {"1.png": b"x"}


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MOST_FILES", 2, "3 files; at most 2 files"),
        ("MOST_BYTES", 10, "bytes; at most 10 bytes"),
        ("_MOST_DIRECTORY", 100, "at most"),
        ("_RATIO_FROM", 1000, "as in a zip bomb"),
    ],
)
def test_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    file = packed(tmp_path / "x.zip", {"a/1.png": b"\0" * 10**6, "a/2.png": b"", "b/1.png": b""})
    unpack(file, tmp_path / "fine" / "x")
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(DataError, match=message):
        unpack(file, tmp_path / "not" / "x")
    assert not (tmp_path / "not" / "x" / "a").exists()


def test_limits_hold_over_inner_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = zipped({f"{i}.png": b"\0" * 1000 for i in range(10)}, tmp_path)
    file = packed(tmp_path / "x.zip", {f"{i}.zip": inner for i in range(10)})
    assert len(tree(open_source(file, str(tmp_path / "cache")))) == 100
    for limit, value in (("MOST_NESTED", 9), ("MOST_FILES", 50), ("MOST_BYTES", 50_000)):
        with monkeypatch.context() as patch:
            patch.setattr(archives, limit, value)
            with pytest.raises(DataError, match="at most"):
                open_source(file, str(tmp_path / limit))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(tmp_path / "x.zip", SIMPLE)
    with monkeypatch.context() as patch:
        patch.setattr(archives.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
        with pytest.raises(RunError, match="10 are free for"):
            open_source(file, str(tmp_path / "cache"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archives.shutil, "copyfileobj", full)
        with pytest.raises(RunError, match="No space left"):
            open_source(file, str(tmp_path / "cache"))
    assert tree(open_source(file, str(tmp_path / "cache"))) == SIMPLE


def test_unpacking_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = zipped({"t/1.png": b"i"}, tmp_path)
    members = {**{f"a/{i}.png": bytes([i] * 9) for i in range(9)}, "t.zip": inner}
    file = packed(tmp_path / "x.zip", members)
    copy, copied = archives.shutil.copyfileobj, []

    def stopped(source: Any, target: Any, size: int) -> None:
        copied.append(source.name)
        if len(copied) == 5:
            target.write(b"part")
            raise KeyboardInterrupt
        copy(source, target, size)

    monkeypatch.setattr(archives.shutil, "copyfileobj", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_source(file, str(tmp_path / "cache"))
    expected = {name: data for name, data in members.items() if name != "t.zip"}
    assert tree(open_source(file, str(tmp_path / "cache"))) == expected | {"t/1.png": b"i"}
    assert copied.count("a/3.png") == 1
    assert copied.count("a/4.png") == 2


def test_names_of_macos_without_the_flag_of_utf8(tmp_path: Path) -> None:
    file = changed(tmp_path / "x.zip", b"a##.png", "aü.png".encode(), {"a##.png": b"x"})
    assert tree(open_source(file, str(tmp_path / "cache"))) == {"aü.png": b"x"}


@pytest.mark.parametrize("suffix", ["tar.gz", "7z", "rar"])
def test_other_archives(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(b"x")
    with pytest.raises(DataError, match="only zip files are unpacked"):
        open_source(tmp_path / f"x.{suffix}")


# A data set in an archive


def images(count: int) -> dict[str, bytes]:
    """Return images of noise in the folder ``images``, and a table of their labels."""
    import io

    rng = np.random.default_rng(0)
    members, rows = {}, ["image_id,dx"]
    for i in range(count):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (24, 24), np.uint8)).save(file, "PNG")
        members[f"set/images/{i}.png"] = file.getvalue()
        rows.append(f"{i},{'ab'[i % 2]}")
    return {**members, "set/table.csv": "\n".join(rows).encode()}


def test_a_data_set_in_an_archive_with_its_table(tmp_path: Path) -> None:
    file = packed(tmp_path / "set.zip", images(40))
    config = Config(labels="set/table.csv", cache=str(tmp_path / "cache"), workers=1)
    data = load_dataset(file, config, size=(16, 16), colour=False)
    assert data.audit.to_json()["found"] == 40
    assert data.classes == ("a", "b")


# Addresses


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file, with or without ranges, length and version."""

    data, ranges, etag, length, cut, status = b"", True, '"1"', True, 0, 200
    requests: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, body: bool) -> None:
        kind = type(self)
        if kind.status != 200 or self.path.partition("?")[0] != "/some/data.zip":
            self.send_error(kind.status if kind.status != 200 else 404)
            return
        data, code = kind.data, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and kind.ranges:
            start, end = int(asked[1]), int(asked[2] or len(data) - 1)
            code, data = 206, data[start : end + 1]
        kind.requests.append(f"{self.command} {self.headers.get('Range', '')}".strip())
        self.send_response(code)
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(kind.data)}")
        if kind.length:
            self.send_header("Content-Length", str(len(data)))
        if kind.etag:
            self.send_header("ETag", kind.etag)
        self.end_headers()
        if body:
            self.wfile.write(data[: kind.cut] if kind.cut and code == 200 else data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    pytest.importorskip("aiohttp")
    kind = type("OneServer", (Server,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.02,))
        thread.start()
        kind.address = f"http://127.0.0.1:{serving.server_address[1]}/some/data.zip"  # type: ignore[attr-defined]
        yield kind
        serving.shutdown()
        thread.join()


def archive_bytes(tmp_path: Path, size: int = 3_000_000) -> bytes:
    noise = np.random.default_rng(0).bytes(size)
    return packed(tmp_path / "served.zip", {**SIMPLE, "data/a/big.png": noise}).read_bytes()


@pytest.mark.parametrize("length", [True, False])
def test_an_archive_at_an_address(tmp_path: Path, server: Any, length: bool) -> None:
    server.data, server.length = archive_bytes(tmp_path), length
    recorder = Recorder()
    found = open_source(server.address, str(tmp_path / "cache"), recorder)
    assert found.name == "data"
    assert tree(found).keys() == {*SIMPLE, "data/a/big.png"}
    assert recorder.tasks[0] == f"Downloading {3 if length else 0} MiB"
    # As a path, as the command line passes it; the version is the same.
    assert open_source(Path(server.address), str(tmp_path / "cache")) == found
    assert sum(each.startswith("GET") for each in server.requests) == 1 or not length
    server.etag = '"2"'
    assert open_source(server.address, str(tmp_path / "cache")) != found
    assert not [*(tmp_path / "cache").rglob("download.zip")]


def test_a_download_resumes(tmp_path: Path, server: Any) -> None:
    server.data, server.cut = archive_bytes(tmp_path), 2_000_000
    with pytest.raises(DataError, match="run again to resume"):
        open_source(server.address, str(tmp_path / "cache"))
    server.cut = 0
    assert len(tree(open_source(server.address, str(tmp_path / "cache")))) == 4
    assert [x for x in server.requests if x.startswith("GET bytes=")] != []


def test_a_download_starts_over_without_ranges(tmp_path: Path, server: Any) -> None:
    server.data, server.cut, server.ranges = archive_bytes(tmp_path), 2_000_000, False
    with pytest.raises(DataError, match="run again to resume"):
        open_source(server.address, str(tmp_path / "cache"))
    server.cut = 0
    assert len(tree(open_source(server.address, str(tmp_path / "cache")))) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": 404}, "nothing at this address"),
        ({"status": 403}, "the download failed .* 403"),
        ({"status": 500}, "the download failed .* 500"),
        ({"data": b"<html>log in</html>"}, "this is no zip file"),
    ],
)
def test_addresses_that_give_nothing(
    tmp_path: Path, server: Any, change: dict[str, Any], message: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    address = server.address.replace("//", "//user:secret@") + "?signature=secret"
    with pytest.raises(DataError, match=message) as caught:
        open_source(address, str(tmp_path / "cache"))
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert redacted(address) == server.address


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/x.zip: the download failed"):
        open_source("http://127.0.0.1:9/x.zip", str(tmp_path / "cache"))


def test_a_download_is_limited(
    tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lucency.dataset import remote

    server.data = archive_bytes(tmp_path)
    monkeypatch.setattr(remote, "MOST_BYTES", 1_000_000)
    with pytest.raises(DataError, match="at most 1,000,000 are downloaded"):
        open_source(server.address, str(tmp_path / "cache"))
    server.length = False  # so that only the transfer shows it
    with pytest.raises(DataError, match="more than 1,000,000 bytes arrived"):
        open_source(server.address, str(tmp_path / "cache"))


@pytest.fixture
def bucket() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_a_folder_at_an_address(tmp_path: Path, bucket: Any) -> None:
    for name, data in SIMPLE.items():
        bucket.pipe(f"/bucket/{name}", data)
    recorder = Recorder()
    found = open_source(Path("memory://bucket/data/"), str(tmp_path / "cache"), recorder)
    assert tree(found) == {name.removeprefix("data/"): data for name, data in SIMPLE.items()}
    assert recorder.tasks == ["Downloading 3 files"]
    assert open_source("memory://bucket/data", str(tmp_path / "cache")) == found


def test_a_file_at_an_address_of_a_bucket(tmp_path: Path, bucket: Any) -> None:
    bucket.pipe("/bucket/x.zip", packed(tmp_path / "x.zip", SIMPLE).read_bytes())
    assert tree(open_source("memory://bucket/x.zip", str(tmp_path / "cache"))) == SIMPLE
    with pytest.raises(DataError, match="nothing at this address"):
        open_source("memory://bucket/y.zip", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ["/bucket/data/../../evil.png", "/bucket/data/" + "x" * 300])
def test_unsafe_names_in_a_bucket(
    tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bucket.pipe("/bucket/data/1.png", b"")
    listing = {name: {"name": name, "size": 0, "type": "file"}}
    monkeypatch.setattr(type(bucket), "find", lambda *_, **__: listing)
    with pytest.raises(DataError, match=r"leads out|more than 255 bytes"):
        open_source("memory://bucket/data", str(tmp_path / "cache"))


@pytest.mark.parametrize("address", ["ftp://host/x.zip", "file:///etc", "simplecache::s3://b/x"])
def test_other_addresses(tmp_path: Path, address: str) -> None:
    if address_of(address):
        with pytest.raises(DataError, match="https://, s3:// or gs://"):
            open_source(address, str(tmp_path / "cache"))
    else:
        assert open_source(address) == Path(address)


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(BackendError, match=r'pip install "lucency\[remote\]"'):
        open_source("https://example.org/x.zip", str(tmp_path / "cache"))


def test_nothing_is_imported_for_a_folder() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from lucency.dataset.source import open_source; open_source('.');"
        "sys.exit(bool({'fsspec', 'aiohttp', 'lucency.dataset.remote'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=os.sep, check=False).returncode == 0
