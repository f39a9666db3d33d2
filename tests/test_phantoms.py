"""The synthetic data set: deterministic, learnable, and not by a shortcut."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from lucency.dataset.phantoms import CLASSES, FINDINGS, draw_dataset, draw_findings
from lucency.errors import ImageError, RunError
from lucency.imaging.image import full_size, is_colour, read_image

IMAGES = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = tmp_path_factory.mktemp("phantoms") / "radiographs"
    draw_dataset(drawn, seed=3, images=IMAGES)
    return drawn


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = tmp_path_factory.mktemp("phantoms") / "few"
    draw_dataset(drawn, seed=1, images=40)
    return drawn


def images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("patient*") if path.is_file())


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def readable(folder: Path) -> list[Path]:
    good = []
    for path in images(folder):
        try:
            read_image(path, (8, 8), colour=False)
        except ImageError:
            continue
        good.append(path)
    return good


def test_the_same_seed_gives_the_same_bytes(small: Path, folder: Path, tmp_path: Path) -> None:
    draw_dataset(tmp_path / "again", seed=1, images=40)
    assert digests(tmp_path / "again") == digests(small)
    shared = set(digests(small).values()) & set(digests(folder).values())
    assert len(shared) == 2  # files left behind by other programs


def test_splits_and_classes(folder: Path) -> None:
    counts = Counter(path.relative_to(folder).parts[:2] for path in images(folder))
    test = round(0.2 * IMAGES / 2)
    assert {label: counts["test", label] for label in CLASSES} == dict.fromkeys(CLASSES, test)
    assert {label: counts["val", label] for label in CLASSES} == dict.fromkeys(CLASSES, 8)
    assert sum(counts.values()) == IMAGES + 2


def test_patients_stay_in_one_split_and_class(folder: Path) -> None:
    places = defaultdict(set)
    for path in images(folder):
        places[path.name.split("_")[0]].add(path.parent)
    assert all(len(folders) == 1 for folders in places.values())
    assert max(Counter(path.name.split("_")[0] for path in images(folder)).values()) >= 3


def test_faults_are_as_documented(folder: Path) -> None:
    assert len(images(folder)) - len(readable(folder)) == 1 <= 0.01 * IMAGES
    same = defaultdict(list)
    for path in images(folder):
        same[path.read_bytes()].append(path.relative_to(folder).parts[:2])
    copies = sorted(places for places in same.values() if len(places) > 1)
    assert copies == [
        [("test", "NORMAL"), ("train", "NORMAL")],
        [("train", "NORMAL"), ("train", "NORMAL")],
    ]
    assert list((folder / "__MACOSX").rglob("._*"))
    assert list((folder / "train").rglob(".hidden*"))


def test_small_sets_have_no_unreadable_image(small: Path) -> None:
    assert len(readable(small)) == 42


def test_radiographs_vary_in_size_and_format_and_are_grey(folder: Path) -> None:
    files = readable(folder)
    sizes = np.array([full_size(path) for path in files])
    assert sizes.min() >= 300
    assert sizes.max() <= 700
    assert len({tuple(size) for size in sizes}) > IMAGES / 2
    assert {path.read_bytes()[:2] for path in files} == {b"\x89P", b"\xff\xd8"}
    assert not any(is_colour(path) for path in files[:10])


def auroc(labels: list[bool], score: np.ndarray) -> float:
    """Return the AUROC of a score, in whichever direction is better."""
    area = roc_auc_score(labels, score)
    return float(max(area, 1 - area))


@pytest.fixture(scope="module")
def facts(folder: Path) -> tuple[list[bool], dict[str, np.ndarray]]:
    """Return labels, and features that a network must not be able to rely on."""
    files = readable(folder)
    pixels = np.stack([read_image(path, (64, 64), colour=False) for path in files]).astype(float)
    sizes = np.array([full_size(path) for path in files])
    return [path.parent.name == CLASSES[1] for path in files], {
        "mean": pixels.mean((1, 2, 3)),
        "contrast": pixels.std((1, 2, 3)),
        "border": np.concatenate([pixels[:, :6], pixels[:, -6:]], 1).mean((1, 2, 3)),
        "height": sizes[:, 0],
        "aspect": sizes[:, 0] / sizes[:, 1],
        "bytes": np.array([path.stat().st_size for path in files]) / sizes.prod(1),
        "format": np.array([path.suffix == ".png" for path in files]),
        "number": np.array([int(path.name[7:].split("_")[0]) for path in files]),
    }


@pytest.mark.parametrize(
    "fact", ["mean", "contrast", "border", "height", "aspect", "bytes", "format", "number"]
)
def test_no_shortcut_separates_the_classes(
    facts: tuple[list[bool], dict[str, np.ndarray]], fact: str
) -> None:
    """With some 20 patients of a class, chance alone passes 0.75 in about one of 200 draws."""
    labels, values = facts
    assert auroc(labels, values[fact]) < 0.75


def test_the_lungs_separate_the_classes(folder: Path) -> None:
    """A small model on the lungs and their unevenness works on new patients."""
    files = readable(folder)
    labels = [path.parent.name == CLASSES[1] for path in files]
    patients = [path.name.split("_")[0] for path in files]
    lungs = np.stack([read_image(path, (48, 48), False)[8:36, 8:40, 0] for path in files])
    level = (lungs - lungs.mean((1, 2), keepdims=True)) / lungs.std((1, 2), keepdims=True)
    seen = np.concatenate([level, np.abs(level - level[:, :, ::-1])], 1).reshape(len(files), -1)
    trees = ExtraTreesClassifier(100, random_state=0)
    folds = StratifiedGroupKFold(4)
    judged = cross_val_predict(
        trees, seen, labels, groups=patients, cv=folds, method="predict_proba"
    )
    assert roc_auc_score(labels, judged[:, 1]) > 0.75


def test_contrasts_change_the_findings_alone(tmp_path: Path) -> None:
    faint = {**dict.fromkeys(FINDINGS, 1.0), "effusion": 0.1}
    draw_findings(tmp_path / "usual", seed=2, images=8)
    draw_findings(tmp_path / "faint", seed=2, images=8, contrasts=faint)
    usual, changed = digests(tmp_path / "usual"), digests(tmp_path / "faint")
    table = (tmp_path / "usual" / "labels.csv").read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(table[0].split(","), row.split(","), strict=True)) for row in table[1:]]
    with_effusion = {row["file"] for row in rows if row["effusion"] == "1"}
    assert 0 < len(with_effusion) < 8
    assert {file for file in usual if usual[file] != changed[file]} == with_effusion


def test_a_folder_in_use_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        draw_dataset(tmp_path, images=40)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(RunError, match="cannot be written"):
        draw_dataset(tmp_path / "mine.txt", images=40)
    with pytest.raises(ValueError, match="at least 40"):
        draw_dataset(tmp_path / "new", images=39)
    assert not (tmp_path / "new").exists()
