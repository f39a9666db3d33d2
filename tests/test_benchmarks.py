"""Benchmarks run on drawn images, and write what they measured with the circumstances."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import GROUPS, NAMES
from PIL import Image

from conftest import draw_image

ROOT = Path(__file__).parent.parent
CLASSES = {"NORMAL": "IM-{}-0001", "PNEUMONIA": "person{}_bacteria_7"}


def benchmark(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=os.environ | {"LUCENCY_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for k, (name, pattern) in enumerate(CLASSES.items()):
        target = folder / "chest_xray_native" / name
        target.mkdir(parents=True)
        for i in range(3):
            image = draw_image(np.random.default_rng([k, i]), bright=k == 1, side=500)
            image.save(target / f"{pattern.format(i + 1)}.jpeg")
    return folder


def test_decoding_is_measured(data: Path, tmp_path: Path) -> None:
    done = benchmark(data, "decode", "--quick", "--results", str(tmp_path))
    assert done.returncode == 0, done.stderr
    with (tmp_path / "decode.csv").open(newline="") as file:
        rows = {row["figure"]: row for row in csv.DictReader(file)}
    ours, theirs = rows["112 px: Lucency"], rows["112 px: plain Pillow"]
    speedup = rows["112 px: Lucency / Pillow"]
    assert float(speedup["median"]) == pytest.approx(
        float(ours["median"]) / float(theirs["median"]), rel=1e-3
    )
    assert speedup["target"] == ">= 1.6"
    assert float(rows["255 px: decoded in the second run"]["max"]) == 0
    for row in rows.values():
        assert row["figure"] in done.stdout
        assert (row["n"], row["repeats"]) == ("6", "1")
        assert float(row["min"]) <= float(row["median"]) <= float(row["max"])
        assert all(row[name] for name in ("unit", "commit", "date", "processor", "cores"))
        assert "pillow" in row["versions"]


def test_without_images_benchmarks_are_skipped(tmp_path: Path) -> None:
    groups = ("speed", "accuracy", "trust")
    done = benchmark(tmp_path, *groups, "--quick", "--results", str(tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("skipped: no radiographs in") == sum(
        len(GROUPS[each]) for each in groups
    )
    assert "LUCENCY_DATA" in done.stdout
    assert not (tmp_path / "results").exists()


def test_an_unknown_benchmark_is_rejected(tmp_path: Path) -> None:
    done = benchmark(tmp_path, "sped")
    assert done.returncode == 2
    assert all(name in done.stderr for name in NAMES)


def test_without_a_name_all_are_listed(tmp_path: Path) -> None:
    done = benchmark(tmp_path)
    assert done.returncode == 0
    assert [*re.findall(r"(?m)^    (\w+) ", done.stdout)] == [*NAMES]
    for group, benchmarks in GROUPS.items():
        modules = {path.stem for path in (ROOT / "benchmarks" / group).glob("*.py")}
        assert group == "service" or {*benchmarks} <= modules


def test_copies_differ_in_bytes_and_patient_only(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.sample_images import copy_images, images

    from lucency.dataset.groups import find_groups

    files = images(data / "chest_xray_native")
    copies = images(copy_images(files, tmp_path / "copies", 11))
    assert len({hashlib.sha256(file.read_bytes()).digest() for file in copies}) == 66
    groups = find_groups([f"{file.parent.name}/{file.name}" for file in copies])
    assert groups.source == "kermany"
    assert len(set(groups.keys)) == 66
    originals = {np.asarray(Image.open(file)).tobytes() for file in files}
    assert {np.asarray(Image.open(file)).tobytes() for file in copies} == originals


def test_figures_are_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.results import Figure, ratio

    ours, theirs = Figure("a", "1/s", [6, 8, 20], 5), Figure("b", "1/s", [3, 2, 4], 5)
    compared = ratio("a / b", ours, theirs, least=4)
    assert compared.spread == (2, 4, 5)  # the ratio of the medians is 8/3
    assert (compared.n, compared.target, compared.verdict) == (5, ">= 4", "met")
    assert Figure("c", "s", [0.2, 0.4, 0.5], 1, most=0.3).verdict == "MISSED"


@pytest.mark.parametrize("kind", ["png", "jpg", "dcm"])
def test_every_planted_word_is_in_the_image_and_would_be_found(tmp_path: Path, kind: str) -> None:
    from benchmarks.reliability.metadata import WORD, image
    from benchmarks.reliability.traces import words_in

    data = image(kind, 0, 0)
    (tmp_path / "plain").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("page.html", b"<img src=data:;base64," + base64.b64encode(data))
    (tmp_path / "wide").write_bytes(WORD.encode("utf-16-be"))
    (tmp_path / "nothing").write_bytes(b"XQZ MET" * 99)
    found = {path.name: words_in(path, (WORD, "absent")) for path in tmp_path.iterdir()}
    assert found == {"plain": {WORD}, "zip": {WORD}, "wide": {WORD}, "nothing": set()}
