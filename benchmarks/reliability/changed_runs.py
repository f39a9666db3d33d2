"""Random changes of one value or one byte in the files of a run: how many does `verify` name?

The files take turns, images as one of them. In a JSON document one number, text, flag or null
changes, in a table one cell, elsewhere one byte. The file is restored afterwards.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.reliability.kills import draw
from benchmarks.small_network import small_network
from benchmarks.trial import Trial
from lucency.report import render
from lucency.verify import Verification, verify

_DIGITS = "0123456789"


def trials(folder: Path, quick: bool) -> list[Trial]:
    with small_network() if quick else contextlib.nullcontext():
        run = _trained(folder)
    return [trial(run, len(_slots(run)) if quick else 300)]


def trial(run: Path, times: int, seed: int = 0) -> Trial:
    """Change a run ``times`` times, and verify each."""
    rng = random.Random(seed)
    if not verify(run, render=render).passed:
        return Trial("the unchanged run is verified", 1, ["it is not"])
    slots = _slots(run)
    alone: collections.Counter[str] = collections.Counter()  # found by checksums.json alone
    edited, failures = 0, []
    for number in range(times):
        path = rng.choice(slots[number % len(slots)])
        whole = path.read_bytes()
        what, data = changed(path.suffix, whole, rng)
        path.write_bytes(data)
        done = verify(run, render=render)
        path.write_bytes(whole)
        name = path.relative_to(run).as_posix()
        if not _names(done, name):
            failures.append(f"{name}: {what}")
        edited += done.checks[0].passed and name != "report.html"
        if all(check.passed for check in done.checks[1:]):
            alone["images" if path.suffix == ".png" else name] += 1
        if number % 50 == 49:
            print(f"  {number + 1} of {times} changes", flush=True)
    notes = (
        f"in {len(slots)} files in turn; {edited} in documents that their authors may edit: named, "
        f"but no failure; {alone.total()} would not be found without checksums.json: "
        + ", ".join(f"{count} in {name}" for name, count in alone.most_common())
    )
    return Trial("a change of one value in a run is named by verify", times, failures, notes)


def _trained(folder: Path) -> Path:
    from lucency.config import Config
    from lucency.pipeline.train import run_training

    draw(folder / "radiographs", 40)
    config = Config(
        effort="quick",
        size=16,
        batch=8,
        epochs=2,
        folds=0,
        neighbours=4,
        cache=str(folder / "cache"),
    )
    return run_training(folder / "radiographs", config, run=str(folder / "run")).folder


def _slots(run: Path) -> list[list[Path]]:
    """Return the files of a run, and all its images as one slot."""
    images = sorted((run / "images").glob("*.png"))
    files = sorted(path for path in run.rglob("*") if path.is_file() and path not in images)
    return [*([path] for path in files), images]


def _names(done: Verification, name: str) -> bool:
    """Return whether a check failed, or passed and named the file as edited."""
    return not done.passed or any(name in check.detail for check in done.checks[:1])


def changed(suffix: str, data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return what was changed in a file, and its new content, which differs."""
    if suffix == ".json":
        return _changed_document(json.loads(data), rng)
    if suffix == ".csv":
        return _changed_table(data.decode(errors="surrogateescape"), rng)
    place, new = rng.randrange(len(data)), rng.randrange(1, 256)
    return f"byte {place:,}", data[:place] + bytes([data[place] ^ new]) + data[place + 1 :]


def _changed_document(document: Any, rng: random.Random) -> tuple[str, bytes]:
    place = rng.choice([*_leaves(document)])
    within = document
    for key in place[:-1]:
        within = within[key]
    old = within[place[-1]]
    within[place[-1]] = new = _other(old, rng)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    what = f"{'.'.join(map(str, place))} is {new!r} and was {old!r}"
    return what, text.encode(errors="surrogateescape")


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of each value that is no object or list."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(inner, (*place, key))
    else:
        yield place


def _other(value: Any, rng: random.Random) -> Any:
    """Return a similar value: another flag, a number that differs little, one other character."""
    if value is None or isinstance(value, bool):
        return 0 if value is None else not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1))
    if isinstance(value, float):
        return value * (1 + rng.choice((-1, 1)) * 10 ** rng.uniform(-9, 0)) or 1e-9
    return _other_text(value, rng)


def _other_text(text: str, rng: random.Random) -> str:
    if not text:
        return "x"
    place = rng.randrange(len(text))
    kinds = _DIGITS if text[place] in _DIGITS else "abcdefxyz"
    new = rng.choice([each for each in kinds if each != text[place]])
    return text[:place] + new + text[place + 1 :]


def _changed_table(text: str, rng: random.Random) -> tuple[str, bytes]:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    row = rng.randrange(len(rows))
    column = rng.randrange(len(rows[row]))
    old = rows[row][column]
    rows[row][column] = new = _other_text(old, rng)
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator="\r\n" if "\r\n" in text else "\n").writerows(rows)
    what = f"row {row}, column {column} is {new!r} and was {old!r}"
    return what, made.getvalue().encode(errors="surrogateescape")
