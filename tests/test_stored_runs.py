"""Runs at an address: claimed by one command, published whole or not, read again from anywhere.

On the in-memory file system of fsspec, and where it is installed on a local S3 server.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import small_network

from conftest import Finished, Heard, call_lucency
from lucency.config import Config
from lucency.errors import LucencyError, RunError
from lucency.evaluation import read_predictions
from lucency.io import redacted
from lucency.run_folder import claim, objects, stored
from lucency.run_folder.objects import Objects, manifest_of, read_manifest
from lucency.run_folder.stored import local_copy
from lucency.run_folder.writer import RunWriter, open_run
from lucency.signals import Interrupted
from small_runs import write_images, write_predicted_run, write_run

fsspec = pytest.importorskip("fsspec", reason='no fsspec: pip install "lucency[remote]"')

DATA = Path("radiographs")
KEY = {"AWS_ACCESS_KEY_ID": "public", "AWS_SECRET_ACCESS_KEY": "topsecret"}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start an S3 server, and return its address."""
    pytest.importorskip("s3fs", reason='no s3fs: pip install "lucency[remote]"')
    reason = 'no S3 server: pip install "moto[s3]" flask-cors'
    moto = pytest.importorskip("moto.server", reason=reason)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the file system of an S3 server with one empty bucket."""
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = fsspec.filesystem("s3", use_listings_cache=False)
    if system.exists("bucket"):
        system.rm("bucket", recursive=True)
    system.mkdir("bucket")
    return system


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory", use_listings_cache=False)
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture(params=["memory", "s3"])
def address(request: pytest.FixtureRequest) -> str:
    """Return the address of a run that does not exist yet, on each kind of storage."""
    request.getfixturevalue(request.param)
    return f"{request.param}://bucket/runs/x"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUCENCY_CACHE", str(tmp_path / "cache"))
    return tmp_path


def on_machine(name: str) -> Config:
    """Return the configuration of a command on another machine: with a cache of its own."""
    return Config(cache=f"cache-{name}")


def system_of(address: str) -> Any:
    return fsspec.filesystem(address.partition(":")[0], use_listings_cache=False)


def tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def there(address: str) -> dict[str, bytes]:
    """Return the objects below an address."""
    system, start = system_of(address), address.partition("://")[2] + "/"
    found = system.find(start)
    return {path.lstrip("/").removeprefix(start): system.cat_file(path) for path in found}


FILES = {"report.html": b"<p>", "weights.safetensors": bytes(300_000), "images/0.png": b"png",
         "checksums.json": b"{}", "empty.txt": b""}  # fmt: skip


def fill(writer: RunWriter, files: dict[str, bytes] = FILES) -> None:
    for name, data in files.items():
        (writer.partial / name).parent.mkdir(exist_ok=True)
        (writer.partial / name).write_bytes(data)


def checkpoint(writer: RunWriter, number: int = 1, data: bytes = b"state") -> None:
    folder = writer.checkpoints / f"{number:06d}-epoch-{number}"
    folder.mkdir(parents=True)
    (folder / "network.safetensors").write_bytes(data)


def train(address: str, machine: str = "a", **files: bytes) -> Path:
    with open_run(DATA, on_machine(machine), address) as writer:
        checkpoint(writer, 9)
        fill(writer, FILES | files)
    return writer.target


def work(
    address: str,
    machine: str = "a",
    act: Callable[[RunWriter], None] = fill,
    resume: bool | None = None,
    **settings: Any,
) -> None:
    """Do something in an unfinished run."""
    config = dataclasses.replace(on_machine(machine), **settings)
    with open_run(DATA, config, address, resume) as writer:
        act(writer)


def interrupt(address: str, machine: str = "a", number: int = 1) -> None:
    def act(writer: RunWriter) -> None:
        checkpoint(writer, number)
        raise Interrupted(15)

    with pytest.raises(Interrupted):
        work(address, machine, act)


def refused(message: str, address: str, machine: str = "b", **given: Any) -> None:
    before = there(address), there(f"{address}.unfinished")
    with pytest.raises(LucencyError, match=message) as caught:
        work(address, machine, **given)
    assert "\n" not in str(caught.value)
    assert (there(address), there(f"{address}.unfinished")) == before


def test_a_run_is_published_whole_and_read_from_anywhere(address: str, here: Path) -> None:
    target = train(address)
    assert tree(target) == FILES
    manifest = json.loads(there(address).pop("manifest.json"))
    assert manifest == {
        "format": 1,
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in FILES.items()
        },
    }
    assert there(address).keys() == {*FILES, "manifest.json"}
    assert there(f"{address}.unfinished") == {}
    heard = Heard()
    found = local_copy(f"{address}/", heard)
    assert found.name == "x"
    assert found.is_relative_to(here / "cache")
    assert tree(found) == FILES


def test_a_run_is_downloaded_once_and_again_where_the_copy_has_changed(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(address)
    found = local_copy(address)
    with monkeypatch.context() as patch:
        patch.setattr(stored, "_download", lambda *_, **__: pytest.fail("downloaded"))
        assert local_copy(address) == found
    (found / "report.html").write_bytes(b"!")
    assert tree(local_copy(address)) == FILES
    system_of(address).rm(address.partition("://")[2], recursive=True)
    train(address, **{"report.html": b"of another run"})
    assert tree(local_copy(address))["report.html"] == b"of another run"


def test_the_command_that_made_it_need_not_download_it(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run(DATA, Config(), address) as writer:
        fill(writer)
    monkeypatch.setattr(stored, "_download", lambda *_, **__: pytest.fail("downloaded"))
    assert local_copy(address) == writer.target


def test_a_finished_run_is_never_overwritten(address: str) -> None:
    train(address)
    for resume in (None, True, False):
        refused("The run exists already: .*/runs/x. Give another name", address, resume=resume)


def test_files_that_are_no_run_are_left_alone(address: str) -> None:
    system_of(address).pipe_file(f"{address.partition('://')[2]}/notes.txt", b"mine")
    refused("holds files that are no run, as notes.txt", address)
    assert there(address) == {"notes.txt": b"mine"}


def test_a_second_command_is_refused(address: str) -> None:
    with open_run(DATA, on_machine("a"), address):
        refused(
            rf"Another command \(host .*, PID {os.getpid()}\) has been working on .*/runs/x since "
            r"\d{4}-\d\d-\d\d .* UTC; its last sign of life was at .* can resume it 10 minutes",
            address,
        )
        refused(rf"Another process \(PID {os.getpid()}\) is working on", address, "a")
        with pytest.raises(RunError, match=r"is not complete: a command \(host .*, PID \d+\)"):
            local_copy(address)


def test_of_two_commands_at_once_one_gets_the_claim(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "holder_of", lambda _: None)  # as both have seen it
    monkeypatch.setattr(claim.Claim, "give_sign", lambda *_, **__: None)
    place = Objects(f"{address}.unfinished", writing=True)
    won, lost = [], []

    def take() -> None:
        try:
            won.append(claim.Claim(place, address, "").token)
        except RunError as error:
            lost.append(error)

    threads = [threading.Thread(target=take) for _ in range(2)]
    for each in threads:
        each.start()
        if address.startswith("memory"):  # where nothing is atomic
            each.join()
    for each in threads:
        each.join()
    assert (len(won), len(lost)) == (1, 1)
    (name,) = there(f"{address}.unfinished")
    assert json.loads(there(f"{address}.unfinished")[name])["token"] == won[0]


def test_checkpoints_are_resumed_elsewhere(address: str) -> None:
    interrupt(address)
    assert there(address) == {}
    with open_run(DATA, on_machine("b"), address, resume=True) as writer:
        assert writer.resumed
        name = "checkpoints/000001-epoch-1/network.safetensors"
        assert tree(writer.partial)[name] == b"state"
        fill(writer)
    assert there(address).keys() == {*FILES, "manifest.json"}
    assert there(f"{address}.unfinished") == {}


def test_whoever_worked_last_is_ahead(address: str) -> None:
    interrupt(address, "a", 1)
    interrupt(address, "b", 2)
    shutil.rmtree("cache-b")

    def act(writer: RunWriter) -> None:
        assert sorted(x.name for x in writer.checkpoints.iterdir()) == [
            "000001-epoch-1", "000002-epoch-2",
        ]  # fmt: skip
        shutil.rmtree(writer.checkpoints / "000001-epoch-1")
        checkpoint(writer, 3, b"another")
        raise Interrupted(15)

    with pytest.raises(Interrupted):
        work(address, "a", act)
    manifest = read_manifest(there(f"{address}.unfinished")["checkpoints.json"], "")
    assert {name.split("/")[1] for name in manifest if "/" in name} == {
        "000002-epoch-2", "000003-epoch-3",
    }  # fmt: skip
    contents = {entry.sha256 for entry in manifest.values()}
    objects_there = {x for x in there(f"{address}.unfinished") if "." not in x}
    assert objects_there == contents


def test_an_interrupted_run_says_where_it_is(address: str) -> None:
    def act(writer: RunWriter) -> None:
        checkpoint(writer)
        raise Interrupted(15)

    with pytest.raises(Interrupted) as stopped:
        work(address, "a", act)
    assert stopped.value.kept == f"Kept in {address}.unfinished; the same command resumes it."


def test_other_settings_and_nothing_to_resume_are_refused(address: str) -> None:
    with pytest.raises(RunError, match=f"no checkpoint to resume from: {address}.unfinished"):
        work(address, resume=True)
    interrupt(address)
    with pytest.raises(RunError, match=f"{address}.unfinished is an unfinished run with other"):
        work(address, "b", epochs=7)

    def act(writer: RunWriter) -> None:
        assert not writer.resumed
        assert "checkpoints.json" not in there(f"{address}.unfinished")
        fill(writer)

    work(address, "b", act, resume=False, epochs=7)
    assert there(f"{address}.unfinished") == {}


def test_without_a_checkpoint_the_next_command_starts(address: str) -> None:
    with pytest.raises(ValueError, match="bad data"), open_run(DATA, on_machine("a"), address):
        raise ValueError("bad data")
    assert not any(name.startswith("checkpoints") for name in there(f"{address}.unfinished"))
    train(address, "b")
    assert there(f"{address}.unfinished") == {}


def test_checkpoints_are_published_while_training(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PUBLISH_SECONDS", 0.05)
    with open_run(DATA, Config(), address) as writer:
        for number in (1, 2):
            checkpoint(writer, number, bytes([number]))
            wanted = hashlib.sha256(bytes([number])).hexdigest()
            wait_for(lambda wanted=wanted: wanted in _published(address))
        shutil.rmtree(writer.checkpoints / "000001-epoch-1")
        wait_for(lambda: hashlib.sha256(b"\1").hexdigest() not in there(f"{address}.unfinished"))


def test_signs_and_checkpoints_until_the_very_end(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "SIGN_SECONDS", 0.001)
    monkeypatch.setattr(stored, "PUBLISH_SECONDS", 0.001)
    for i in range(5):
        train(f"{address}{i}")
        assert there(f"{address}{i}.unfinished") == {}
        assert there(f"{address}{i}").keys() == {*FILES, "manifest.json"}


def test_checkpoints_that_cannot_be_published_cost_a_warning(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    with open_run(DATA, Config(), address, progress=heard) as writer:
        checkpoint(writer)
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "write", fail_for("checkpoints.json", Objects.write))
            writer.save()
        fill(writer)
    assert heard.warnings == [
        "Checkpoints were not published. Training continues. There is no network."
    ]
    assert there(address).keys() == {*FILES, "manifest.json"}


def _published(address: str) -> set[str]:
    manifest = there(f"{address}.unfinished").get("checkpoints.json")
    return {each.sha256 for each in read_manifest(manifest, "").values()} if manifest else set()


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_a_command_that_was_taken_for_dead_publishes_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(writer: RunWriter) -> None:
        checkpoint(writer)
        writer.save()
        monkeypatch.setattr(claim, "STALE", -60.0)
        work(address, "b", lambda second: other(second, writer))
        fill(writer, {"report.html": b"of the first"})

    def other(writer: RunWriter, before: RunWriter) -> None:
        assert writer.resumed
        monkeypatch.setattr(claim, "STALE", 600.0)
        checkpoint(before, 2)
        published = there(f"{address}.unfinished")
        before.save()
        assert there(f"{address}.unfinished") == published
        fill(writer)

    with pytest.raises(RunError, match="Another command has taken over"):
        work(address, "a", first)
    assert there(address).keys() == {*FILES, "manifest.json"}
    assert there(address)["report.html"] == FILES["report.html"]


def test_a_command_that_has_lost_its_claim_stops(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "SIGN_SECONDS", 0.05)

    def act(_: RunWriter) -> None:
        monkeypatch.setattr(claim, "STALE", -60.0)
        take = (Objects(f"{address}.unfinished"), address, "")
        threading.Thread(target=claim.Claim, args=take, daemon=True).start()
        for _ in range(600):
            time.sleep(0.1)
        pytest.fail("it was not stopped")

    with pytest.raises(RunError, match="Another command has taken over"):
        work(address, "a", act)


def test_leftovers_of_a_killed_command_are_replaced(address: str) -> None:
    interrupt(address)
    path = address.partition("://")[2]
    system_of(address).pipe_file(f"{path}/report.html", b"of an attempt that was killed")
    train(address, "b")
    assert there(address)["report.html"] == FILES["report.html"]


def test_a_run_on_a_web_server(memory: Any, here: Path) -> None:
    pytest.importorskip("aiohttp", reason='no aiohttp: pip install "lucency[remote]"')
    train("memory://bucket/runs/x")
    for name, data in there("memory://bucket/runs/x").items():
        path = here / "web" / "x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    handler = functools.partial(Quiet, directory=str(here / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{serving.server_address[1]}"
        assert tree(local_copy(f"{address}/x")) == FILES
        with pytest.raises(RunError, match=f"There is no run at {address}/y"):
            local_copy(f"{address}/y")
        serving.shutdown()
    with pytest.raises(RunError, match=r"cannot be read \(ClientConnectorError"):
        local_copy(f"{address}/x")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def damaged(address: str, document: Any = None, data: bytes | None = None) -> None:
    path = address.partition("://")[2]
    data = json.dumps(document).encode() if data is None else data
    system_of(address).pipe_file(f"{path}/manifest.json", data)


SHA = "0" * 64


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../evil": {"size": 1, "sha256": SHA}}, r"lists a file of the name '../evil'"),
        ({"/etc/evil": {"size": 1, "sha256": SHA}}, "lists a file of the name"),
        ({"images/../../evil": {"size": 1, "sha256": SHA}}, "lists a file of the name"),
        ({"a\nb": {"size": 1, "sha256": SHA}}, "lists a file of the name"),
        ({".hidden": {"size": 1, "sha256": SHA}}, "lists a file of the name"),
        ({"plan.json": {"size": 2**40, "sha256": SHA}}, "lists plan.json with 1099511627776 bytes"),
        ({"plan.json": {"size": -1, "sha256": SHA}}, "lists plan.json with -1 bytes"),
        ({"plan.json": {"size": True, "sha256": SHA}}, "lists plan.json with True bytes"),
        ({"plan.json": {"size": 1, "sha256": "x"}}, "lists plan.json without a sha256"),
        ({"plan.json": {"size": 1}}, "sha256"),
        ({f"{i}": {"size": 2**31, "sha256": SHA} for i in range(5)}, "more than 10,000 files or"),
        ([], "no attribute"),
    ],
)
def test_manifests_that_cannot_be_trusted(
    memory: Any, here: Path, files: Any, message: str
) -> None:
    address = "memory://bucket/runs/x"
    damaged(address, {"format": 1, "files": files})
    unreadable(address, here, f"manifest.json is damaged .*{message}")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"format": 2, "files": {}}', "format 2; this version reads 1"),
        (b" " * (4 * 2**20 + 1), "has more than 4,194,304 bytes"),
    ],
)
def test_what_is_no_manifest(address: str, here: Path, data: bytes, message: str) -> None:
    damaged(address, data=data)
    unreadable(address, here, message)


def unreadable(address: str, here: Path, message: str) -> None:
    """Check that nothing is read, in one line, and that nothing is left."""
    with pytest.raises(RunError, match=message) as caught:
        local_copy(address)
    assert "\n" not in str(caught.value)
    assert address in str(caught.value)
    assert not {path.name for path in here.rglob("*") if path.is_file()} - {"lock"}


@pytest.mark.parametrize("data", [None, b"<q>", b"<p", b"<p>more"])
def test_files_that_differ_from_the_manifest(address: str, here: Path, data: bytes | None) -> None:
    shutil.rmtree(train(address).parents[2])
    system, path = system_of(address), f"{address.partition('://')[2]}/report.html"
    system.rm_file(path)
    if data is not None:
        system.pipe_file(path, data)
    if data == b"<p>more":  # the sha256 of the first bytes is right
        assert tree(local_copy(address)) == FILES
        return
    message = "no such bucket or file" if data is None else "report.html is not as manifest.json"
    unreadable(address, here, message)


def test_a_checkpoint_that_differs_from_the_manifest_is_not_used(address: str, here: Path) -> None:
    interrupt(address)
    name = hashlib.sha256(b"state").hexdigest()
    system_of(address).pipe_file(f"{address.partition('://')[2]}.unfinished/{name}", b"other")
    with pytest.raises(RunError, match=f"{name} is not as"):
        work(address, "b")
    work(address, "b", resume=False)
    assert there(address).keys() == {*FILES, "manifest.json"}


def test_a_full_disk_leaves_nothing(
    address: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(train(address).parents[2])
    usage = shutil.disk_usage(here)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    unreadable(address, here, "bytes, and 1,000 are free")


def test_what_cannot_be_published_stays(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that is gone when the run is complete costs no training."""
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "upload", fail_for("report.html", Objects.upload))
        with pytest.raises(RunError, match=r"no network.*The training so far is kept in"):
            train(address)
    assert "manifest.json" not in there(address)
    with open_run(DATA, on_machine("a"), address) as writer:
        assert writer.resumed
        fill(writer)
    assert there(address).keys() == {*FILES, "manifest.json"}


def fail_for(name: str, whole: Any) -> Any:
    def upload(self: Objects, wanted: str, *given: Any, **more: Any) -> None:
        if wanted == name:
            raise RunError("There is no network.")
        whole(self, wanted, *given, **more)

    return upload


def test_an_answer_that_was_lost_is_no_other_command(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is repeated, and refused as its own first attempt has arrived."""
    whole = type(memory).pipe_file

    def twice(self: Any, *given: Any, **more: Any) -> None:
        whole(self, *given, **more)
        whole(self, *given, **more)

    monkeypatch.setattr(type(memory), "pipe_file", twice)
    train("memory://bucket/runs/x")
    assert "manifest.json" in there("memory://bucket/runs/x")


def test_storage_that_ignores_the_condition_is_refused(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(memory).pipe_file
    monkeypatch.setattr(type(memory), "pipe_file", lambda s, p, v, **_: whole(s, p, v))
    refused("asked not to", "memory://bucket/runs/x")
    assert memory.store == {}


@pytest.mark.parametrize("scheme", ["https", "az"])
def test_storage_without_a_condition_is_refused(scheme: str) -> None:
    with pytest.raises(RunError, match=f"cannot be written to {scheme}://.*Give s3://, gs://"):
        work(f"{scheme}://bucket/runs/x")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://bucket", "expected the address of a run folder"),
        ("s3://bucket/", "expected the address of a run folder"),
        ("s3://bucket/.x", "expected the address of a run folder"),
        ("s3://bucket/..", "expected the address of a run folder"),
        ("s3://key:topsecret@bucket/runs/x", "has no password"),
        ("s3://bucket/runs/x?signature=topsecret", "has no password"),
        ("s3://bucket/runs/x#topsecret", "has no password"),
        ("ftp://host/x", "s3://.* gs://|s3:// or gs://"),
    ],
)
def test_addresses_that_name_no_run(address: str, message: str) -> None:
    for use in (local_copy, work):
        with pytest.raises(LucencyError, match=message) as caught:
            use(address)
        assert "topsecret" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_options_are_recorded_without_secrets() -> None:
    address = "s3://key:topsecret@bucket/runs/x?signature=topsecret"
    assert redacted(f"--run={address}") == "--run=s3://bucket/runs/x"
    assert redacted(address) == "s3://bucket/runs/x"
    assert redacted("--set=folds=0") == "--set=folds=0"


@pytest.mark.parametrize("name", ["fsspec", "s3fs"])
def test_the_extra_is_named(name: str) -> None:
    code = (
        f"import sys; sys.modules['{name}'] = None; from lucency.cli import main;"
        "sys.argv[1:] = ['predict', 's3://bucket/runs/x', 'x.png']; main()"
    )
    Path("x.png").touch()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lucency: s3://bucket/runs/x: an address needs a library that is")
    assert name in done.stderr
    assert done.stderr.endswith('Install it: pip install "lucency[remote]"\n')


def test_no_bucket(s3: Any) -> None:
    with pytest.raises(RunError, match=r"s3://elsewhere/x.*there is no such bucket"):
        work("s3://elsewhere/x")
    with pytest.raises(RunError, match="There is no run at s3://elsewhere/x"):
        local_copy("s3://elsewhere/x")


def test_no_permission(s3: Any, s3_server: str) -> None:
    from urllib.request import Request, urlopen

    def check_access(after: bytes) -> None:
        text = {"Content-Type": "text/plain"}
        request = Request(f"{s3_server}/moto-api/reset-auth", after, text, method="POST")  # noqa: S310
        urlopen(request).close()  # noqa: S310

    check_access(b"0")
    try:
        for use in (local_copy, work):
            with pytest.raises(RunError, match=r"403.*your credentials") as caught:
                use("s3://bucket/runs/x")
            assert "\n" not in str(caught.value)
            assert not {*KEY.values()} & {*str(caught.value).split()}
    finally:
        check_access(b"inf")


def test_no_connection(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "file_system", unconnected)
    with pytest.raises(RunError, match=r"cannot be read \(EndpointConnectionError\)"):
        local_copy("s3://bucket/runs/x")


def unconnected(address: str, **options: Any) -> Any:
    given = {
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    system = fsspec.filesystem("s3", skip_instance_cache=True, **options, **given)
    system.retries = 1
    return system


WRITER = """
import sys
from pathlib import Path
from lucency.config import Config
from lucency.run_folder.writer import open_run
with open_run(Path("radiographs"), Config(cache=sys.argv[2]), sys.argv[1]) as writer:
    (writer.checkpoints / "000001-epoch-1").mkdir(parents=True, exist_ok=True)
    (writer.checkpoints / "000001-epoch-1" / "network.safetensors").write_bytes(b"state")
    writer.save()
    for i in range(20):
        (writer.partial / f"{i}.txt").write_bytes(bytes(100_000))
    print("publishing", flush=True)
print("done", flush=True)
"""


def start_writer(address: str, machine: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, address, f"cache-{machine}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("sent", [7, 20, 21])
def test_killed_while_publishing(s3: Any, sent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every moment there is no run or the whole run; the same command resumes at once."""
    address = "s3://bucket/runs/x"
    with start_writer(address, "a") as process:
        wait_for(lambda: len(s3.find("bucket/runs/x")) >= sent)
        process.kill()
    state = [*there(address)]
    if "manifest.json" not in state:
        assert state
        with pytest.raises(RunError, match="is not complete"):
            local_copy(address)
        refused("Another command", address, "b")
        with start_writer(address, "a") as again:
            assert again.communicate()[0].split() == ["publishing", "done"]
    assert len(tree(local_copy(address))) == 20


def test_killed_and_resumed_elsewhere(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "s3://bucket/runs/x"
    with start_writer(address, "a") as process:
        wait_for(lambda: s3.find("bucket/runs/x"))
        process.kill()
    assert "manifest.json" not in there(address)
    refused("can resume it 10 minutes after", address, "b")
    monkeypatch.setattr(claim, "STALE", -60.0)
    with open_run(DATA, on_machine("b"), address) as writer:
        assert writer.resumed
        fill(writer)
    assert tree(local_copy(address)) == FILES


@pytest.fixture
def published(address: str, here: Path) -> str:
    """Return the address of a run that was made without training."""
    run = write_run(here / "made" / "x", here / "data", write_images(here / "data"))
    with open_run(DATA, Config(), address) as writer:
        shutil.copytree(run, writer.partial, dirs_exist_ok=True)
    shutil.rmtree(here / "cache")
    return address


def well(done: Finished) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_read_a_run_at_an_address(published: str, here: Path) -> None:
    before = there(published)
    image = here / "data" / "test" / "NORMAL" / "0.png"
    local = str(here / "made" / "x")
    for arguments in (["predict", "RUN", image, "--csv"], ["evaluate", "RUN", "--json"],
                      ["verify", "RUN"]):  # fmt: skip
        ends = [
            call_lucency(*(run if each == "RUN" else each for each in arguments))
            for run in (local, published)
        ]
        assert ends[0].returncode == ends[1].returncode
        copy = str(local_copy(published))
        assert ends[0].stdout == ends[1].stdout.replace(copy, local) != ""
    well(call_lucency("explain", published, image, "--method", "occlusion"))
    assert (here / "explained" / "x-1").is_dir()
    found = read_predictions(here / "made" / "x" / "predictions.csv")[-1]
    contents = [hashlib.sha256((here / "data" / x).read_bytes()).hexdigest() for x in found.files]
    (here / "made" / "y").mkdir()
    other = write_predicted_run(here / "made" / "y", found, contents, recipe="article")
    assert "On 12 test images" in well(call_lucency("compare", published, other))
    assert there(published) == before


def test_a_run_at_an_address_is_not_redrawn(published: str) -> None:
    done = call_lucency("verify", published, "--redraw")
    assert done.returncode == 2
    assert done.stderr == (
        "lucency: --redraw writes report.html, and a run at an address is never changed. Copy it "
        "to a folder first.\n"
    )


def test_a_missing_run_is_one_line(address: str) -> None:
    done = call_lucency("predict", address, __file__)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lucency: There is no run at {address}, or it may not be read")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_training_is_resumed_elsewhere_to_the_same_bytes(
    s3: Any, small_folder: Path, here: Path
) -> None:
    """A command is killed, and another one with another cache resumes its run."""
    options = ["--effort", "quick", "--start", "scratch", "--folds", "0", "--set", "epochs=12",
               "--set", "checkpoint_seconds=0", "--set", "size=32"]  # fmt: skip
    command = [*small_network.COMMAND, "train", str(small_folder), *options]
    run(*command, "--run", "whole/x")
    address = "s3://bucket/runs/x"
    with subprocess.Popen([*command, "--run", address, "--cache", "cache-a"]) as first:
        wait_for(lambda: [*Path("cache-a").glob("runs/*/x.unfinished/checkpoints/0*")], 300)
        first.send_signal(signal.SIGTERM)
        assert first.wait() == 75
    assert there(address) == {}
    done = run(*command, "--run", address, "--cache", "cache-b", "--resume")
    assert f"Resuming the unfinished run {address}.unfinished" in done.stderr
    assert f"lucency predict {address} IMAGE" in done.stdout
    whole, found = tree(here / "whole" / "x"), tree(local_copy(address))
    assert whole.keys() == found.keys()
    differing = {name for name, data in whole.items() if found[name] != data}
    # Times, and whether it was resumed, are in these.
    assert differing <= {"plan.json", "model_card.md", "report.html", "checksums.json",
                         "checklist.json", "test_evaluations.json"}  # fmt: skip
    plan = json.loads(found["plan.json"])
    assert plan["training"]["resumed"]
    assert address in plan["command"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_a_manifest_comes_back() -> None:
    files = {"plan.json": objects.Entry(3, SHA), "images/1.png": objects.Entry(0, SHA)}
    assert read_manifest(manifest_of(files), "") == files
