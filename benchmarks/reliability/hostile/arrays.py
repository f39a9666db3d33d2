"""Hostile weights and OOD detectors: wrong headers, other formats, flipped bits."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from benchmarks.reliability.hostile.sample_run import Case, edit, seal

_FOUR = np.zeros(4, np.float32).tobytes()


def cases() -> Iterator[Case]:
    for what, data in _FILES.items():
        yield Case(f"weights.safetensors {what}", _sealed("weights.safetensors", data))
    for what in ("has a header of 2^63 bytes", "is a pickle that runs a command"):
        yield Case(
            f"ood_detector.safetensors {what}", _sealed("ood_detector.safetensors", _FILES[what])
        )
    yield Case("weights.safetensors is a zip bomb of NumPy", _sealed("weights.safetensors", _npz()))
    yield Case("weights.safetensors is a .keras archive with a Lambda layer",
               _sealed("weights.safetensors", _keras()))  # fmt: skip
    yield Case("weights.safetensors is 1.5 GB of zeros with a correct header", _huge)
    for name in (
        "weights.safetensors",
        "ood_detector.safetensors",
        "reference_images.safetensors",
        "model.onnx",
    ):
        yield Case(f"a bit of {name} has flipped", _flipped(name))
        yield Case(f"{name} ends early", _cut(name))
    for what, change in _DETECTORS.items():
        yield Case(f"an OOD detector {what}", _detector(change))
    yield Case("weights without an ONNX file, for a network that is declared large", _large)


def _header(entries: Any, body: bytes = b"", length: int | None = None) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def _entry(dtype: str = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


class _Shell:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo owned > /tmp/lucency-owned",)


_FILES = {
    "has a header of 2^63 bytes": _header({}, length=2**63),
    "has a header longer than the file": _header({}, length=10**6),
    "has a header that is nested deeply": _header(b"[" * 10**6),
    "has a header of two million values": _header(b"[" + b"0," * 2_000_000 + b"0]"),
    "declares a tensor 2^62 long": _header({"w": _entry(shape=[2**62])}, _FOUR),
    "declares a shape that overflows": _header({"w": _entry(shape=[2**32] * 3)}, _FOUR),
    "declares negative sides": _header({"w": _entry(shape=[-2, -2])}, _FOUR),
    "declares true as a side": _header({"w": _entry(shape=[True, 4])}, _FOUR),
    "declares a million sides": _header({"w": _entry(shape=[1] * 10**6)}, _FOUR),
    "has tensors that overlap": _header({"a": _entry(), "b": _entry()}, _FOUR),
    "has a hole": _header({"a": _entry(offsets=(16, 32))}, _FOUR * 2),
    "has a tail": _header({"a": _entry()}, _FOUR * 2),
    "points behind its end": _header({"a": _entry(offsets=(2**40, 2**40 + 16))}, _FOUR),
    "points before its start": _header({"a": _entry(offsets=(-16, 0))}, _FOUR),
    "has an unknown type": _header({"a": _entry("O")}, _FOUR),
    "names a tensor twice": _header(b'{"a":' + json.dumps(_entry()).encode() + b',"a":'
                                    + json.dumps(_entry()).encode() + b"}", _FOUR),
    "has a hundred thousand tensors": _header(
        {str(i): _entry(shape=[0], offsets=(0, 0)) for i in range(50_000)}),
    "is a pickle that runs a command": pickle.dumps(_Shell()),
    "is HDF5": b"\x89HDF\r\n\x1a\n" + bytes(2048),
}  # fmt: skip


def _npz() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(2**24))
    return file.getvalue()


def _keras() -> bytes:
    file, code = io.BytesIO(), {"class_name": "Lambda", "config": {"function": "__import__('os')"}}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps(code))
        archive.writestr("../../../canary/secret", "owned")
    return file.getvalue()


def _sealed(name: str, data: bytes) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, _: Path) -> None:
        (run / name).write_bytes(data)
        seal(run)

    return corrupt


def _huge(run: Path, _: Path) -> None:
    count = 375_000_000
    header = _header({"w": _entry(shape=[count], offsets=(0, 4 * count))})
    (run / "weights.safetensors").write_bytes(header)
    os.truncate(run / "weights.safetensors", len(header) + 4 * count)


def _flipped(name: str) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, _: Path) -> None:
        data = bytearray((run / name).read_bytes())
        data[len(data) * 2 // 3] ^= 4
        (run / name).write_bytes(data)

    return corrupt


def _cut(name: str) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, _: Path) -> None:
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[: len(data) - 7])
        seal(run)

    return corrupt


_DETECTORS: dict[str, Callable[[dict[str, Any]], object]] = {
    "with NaN limits": lambda g: g.update(limits=np.full(3, np.nan, np.float32)),
    "with limits below 0": lambda g: g.update(limits=np.full(3, -1, np.float32)),
    "without its means": lambda g: g.pop("features.means"),
    "with an extra array": lambda g: g.update(more=np.zeros(1, np.float32)),
    "for more features": lambda g: g.update({"features.means": np.zeros((1, 9), np.float32),
                                             "features.axes": np.ones((1, 9), np.float32)}),
    "of a million classes": lambda g: g.update({"features.means": np.zeros((10**6, 1), "f4")}),
    "of float64": lambda g: g.update(limits=np.ones(3)),
    "without variance": lambda g: g.update({"features.variances": np.zeros(1, np.float32)}),
}  # fmt: skip


def _detector(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], None]:
    def corrupt(run: Path, _: Path) -> None:
        arrays = load_file(run / "ood_detector.safetensors")
        change(arrays)
        save_file(arrays, run / "ood_detector.safetensors")
        seal(run)

    return corrupt


def _large(run: Path, _: Path) -> None:
    """Declare half a billion weights, within all bounds, and store four."""

    def declare(document: dict[str, Any]) -> None:
        document["architecture"]["parameters"] = {"width": 512, "blocks": [2, 2, 2, 4]}
        document["onnx"] = None

    edit(run / "classifier.json", declare)
