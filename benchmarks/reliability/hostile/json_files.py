"""Hostile JSON and CSV files: bombs, invalid numbers, and impossible networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.reliability.hostile.sample_run import REDRAW, Case, edit
from lucency.run_folder.files import FORMAT

_LAMBDA = {
    "class_name": "Lambda", "module": "keras.layers",
    "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAA"}}},
}  # fmt: skip


def cases() -> Iterator[Case]:
    yield from (Case(f"classifier.json {what}", _text(text)) for what, text in _TEXTS.items())
    yield from (Case(f"classifier.json says {what}", _edited(f)) for what, f in _EDITS.items())
    for what, keys in _PARAMETERS.items():
        yield Case(f"an architecture with {what}", _edited(_architecture(**keys)))
    for name, command in (("evaluation.json", REDRAW), ("plan.json", REDRAW)):
        for what in ("is nested deeply", "holds two million lists", "holds a huge number"):
            yield Case(f"{name} {what}", _text(_TEXTS[what], name), command)
    yield Case("evaluation.json contains NaN", _text(b'{"format": NaN}', "evaluation.json"),
               REDRAW)  # fmt: skip
    yield Case("predictions.csv has a huge cell", _text(b'"' + b"a" * 2**20, "predictions.csv"),
               "evaluate")  # fmt: skip
    cells = b"split,file,group,label,decision,ood_score,p_NORMAL,p_PNEUMONIA\n" + b"," * 10_100_000
    yield Case("predictions.csv has ten million cells", _text(cells, "predictions.csv"),
               "evaluate")  # fmt: skip


_TEXTS = {
    "is nested deeply": b"[" * 200_000,
    "nests objects deeply": b'{"a":' * 200_000,
    "holds two million lists": b"[" + b"[]," * 1_390_000 + b"[]]",
    "holds a huge number": b'{"format": ' + b"9" * 1_000_000 + b"}",
    "holds an infinite number": b'{"format": 1e999999}',
    "is a list": b"[1, 2, 3]",
    "is a pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
    "is UTF-16": '{"format": 2}'.encode("utf-16"),
    "is not closed": b'{"format": 2, "classes": ["a"',
    "names a key twice": b'{"format": 2, "format": 1, "classes": ["a", "b"]}',
}


def _set(**keys: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update(keys)


def _into(key: str, **keys: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document[key].update(keys)


_EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "an old format": _set(format=FORMAT - 1),
    "a future format": _set(format=FORMAT + 1),
    "a format of 10^30": _set(format=10**30),
    "no format": lambda document: document.pop("format"),
    "a format that is true": _set(format=True),
    "a temperature of NaN": _set(temperature=float("nan")),
    "an infinite temperature": _set(temperature=float("inf")),
    "a threshold of 2": _into("operating_point", threshold=2),
    "images of 10^9 pixels a side": _into("input", height=10**9),
    "images of -1 pixels": _into("input", width=-1),
    "images of half a channel": _into("input", channels=0.5),
    "a million classes": _set(classes=[str(i) for i in range(100_000)]),
    "classes that are objects": _set(classes=[{}, []]),
    "a class name with terminal control codes": _set(classes=["a\x1b]0;owned\x07", "b"]),
    "a class name with a lone surrogate": _set(classes=["\ud800", "b"], positive=None),
    "a class name of a megabyte": _set(classes=["a" * 2**20, "b"], positive=None),
    "prediction sets of another shape": _set(conformal={"score": "1 - probability",
        "thresholds": [{"alpha": 0.1, "kind": "marginal", "scores": [0.5], "patients": [1]}]}),
    "prediction sets that are text": _set(conformal="all"),
    "a million prediction sets": _set(conformal={"score": "1 - probability",
                                                 "thresholds": [{}] * 100_000}),
    "weights in another folder": _into("weights", file="../canary/secret"),
    "weights at an absolute path": _into("weights", file="/etc/passwd"),
    "an ONNX file in another folder": _into("onnx", file="../canary/secret"),
    "a checksum that is a list": _into("weights", sha256=[1]),
    "that the weights are a number": _set(weights=1),
    "that the OOD detector is a list": _set(ood_detector=[1]),
    "versions that are a list": _set(versions=[1]),
    "a negative class prior": _set(class_prior=[-1, 2]),
}  # fmt: skip
_PARAMETERS: dict[str, dict[str, Any]] = {
    "width 10^9": {"parameters": {"width": 10**9}},
    "a million blocks": {"parameters": {"blocks": [1] * 1_000_000}},
    "10^6 blocks in a stage": {"parameters": {"blocks": [10**6]}},
    "a negative width": {"parameters": {"width": -1}},
    "a width that is true": {"parameters": {"width": True}},
    "dropout 1": {"parameters": {"dropout": 1.0}},
    "a name of Python": {"name": "os.system"},
    "a name of Keras": {"name": "keras.saving.load_model"},
    "weights from a file": {"name": "pretrained", "parameters": {"weights": "/canary/w.h5"}},
    "weights from the network": {"name": "pretrained", "parameters": {"weights": "imagenet"}},
    "an unknown backbone": {"name": "pretrained", "parameters": {"backbone": "../../canary"}},
    "a backbone that is a method": {"name": "pretrained", "parameters": {"backbone": "__dict__"}},
    "a Lambda layer": {"name": "default", "parameters": {"width": _LAMBDA}},
    "Keras' own description": {"name": "default", "parameters": {"config": _LAMBDA}},
    "too many weights for its file": {"name": "default", "parameters": {"width": 1}},
}


def _architecture(**keys: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["architecture"].update(keys)


def _edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], None]:
    return lambda run, _: edit(run / "classifier.json", change)


def _text(text: bytes, name: str = "classifier.json") -> Callable[[Path, Path], object]:
    return lambda run, _: (run / name).write_bytes(text)
