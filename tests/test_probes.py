"""Probes: planted shortcuts, shifts and outliers are found, and nothing else is."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_network import use_few_trees
from benchmarks.trust.probes import (
    OUTLIERS,
    PLANTS,
    Plant,
    false_alarms,
    plain,
    shuffled,
    write_classes,
)
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from lucency import Config, load_dataset
from lucency.dataset import Dataset
from lucency.metrics import UNDEFINED
from lucency.probes import probe, score
from lucency.probes.features import name_features
from lucency.probes.findings import Finding, make_findings
from lucency.probes.headers import NAMES, headers
from lucency.probes.outliers import Outliers, find_outliers
from lucency.probes.sample import Sample, draw_sample, probed
from lucency.probes.score import beyond_chance, cross_validated, single_features, transfer
from lucency.probes.shift import _probes
from lucency.probes.shortcuts import SHORTCUT_PROBES, Shortcut, shortcut

pytestmark = pytest.mark.usefixtures("all_trees")

IMAGES, SIDE = 200, 72
PATIENTS = [f"p{i // 2}" for i in range(IMAGES)]
PROBES = ["file", "aspect", "marks", "border", "tone", "centre removed", "thumbnail", "name"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads would only slow down so little work."""
    with threadpool_limits(1):
        yield


def drawing(seed: int, side: int = SIDE) -> Image.Image:
    """Draw a soft bright body on a cloudy background, with random exposure, contrast and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    across, down = random.uniform(0.42, 0.58, 2)
    body = np.exp(-((x - across) ** 2 + (y - down) ** 2) / random.uniform(0.04, 0.08))
    clouds = ndimage.gaussian_filter(random.normal(size=(side, side)), side / 16)
    grey = random.normal(100, 8) + random.uniform(60, 90) * body + 8 * clouds / clouds.std()
    grey += random.normal(0, random.uniform(2, 6), (side, side))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


DRAWINGS = [drawing(seed) for seed in range(IMAGES)]


def loaded(folder: Path, **config: object) -> Dataset:
    regex = "(patient[0-9]+)"
    return load_dataset(folder, Config(size=64, group_regex=regex, **config))  # type: ignore[arg-type]


def read_headers(files: Sequence[Path]) -> NDArray[np.float64]:
    return headers(files, [hashlib.sha256(file.read_bytes()).hexdigest() for file in files], 2)


def evaluated(sample: Sample, names: Sequence[str]) -> tuple[list[Shortcut], tuple[Finding, ...]]:
    """Run some of the probes on a sample, as ``probe`` runs all of them."""
    found = [shortcut(kind, sample, None, 0) for kind in SHORTCUT_PROBES if kind.name in names]
    name = Shortcut("name", UNDEFINED, None, False, ())
    return found, make_findings(found, name, None, Outliers(0, ()))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Return drawings with random labels of two classes."""
    folder = tmp_path_factory.mktemp("clean") / "data"
    data = loaded(write_classes(folder, DRAWINGS, PATIENTS, 0))
    return draw_sample([data.train, data.val], data.root, 0, 1)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_planted_shortcuts_are_flagged_by_the_right_probe(plant: Plant, tmp_path: Path) -> None:
    data = loaded(write_classes(tmp_path / "data", DRAWINGS, PATIENTS, 1, plant.save))
    in_file = plant.probes == ("file",)
    names = (*plant.probes, "border", "thumbnail") if in_file else plant.probes
    found, findings = evaluated(draw_sample([data.train, data.val], data.root, 0, 1), names)
    flagged = {each.probe for each in found if each.flagged}
    assert flagged & set(plant.probes)
    assert flagged == {each.probe for each in findings}
    assert any(plant.feature in each.text for each in findings if each.probe in plant.probes)
    if in_file:
        assert flagged == {"file"}  # the images are the same
        assert findings[0].level == "alarm"


def test_nothing_is_flagged_in_five_clean_shuffles(clean: Sample) -> None:
    # By chance one probe in 2,000 is flagged: 30 probes of other seeds fail 1.5 % of the time, less
    # as the AUROC must be 0.6 or 0.7 as well (python -m benchmarks probes counts).
    assert false_alarms(clean, range(5)) == []


def test_shuffling_keeps_patients_and_shares(clean: Sample) -> None:
    mixed = shuffled(clean, 3)
    assert not np.array_equal(mixed.labels, clean.labels)
    for patient in set(clean.groups):
        members = [i for i, group in enumerate(clean.groups) if group == patient]
        assert len(set(mixed.labels[members])) == 1
    assert mixed.labels.sum() == clean.labels.sum()


def test_cross_validation_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 200)
    features = random.normal(size=(200, 3)) + labels[:, None] * [1.0, 0.3, 0.0]
    groups = [str(i) for i in range(200)]
    scores = np.zeros(200)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, class_weight="balanced"))
    cluster = np.unique(groups, return_inverse=True)[1]
    for learn, ask in StratifiedGroupKFold(5, shuffle=True, random_state=7).split(
        features, labels, cluster
    ):
        scores[ask] = model.fit(features[learn], labels[learn]).predict_proba(features[ask])[:, 1]
    found = cross_validated(features, labels, groups, 7, trees=False)
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("trees", [False, True])
def test_recognising_patients_gives_no_advantage(trees: bool) -> None:
    # Features identify patients and labels are random: folds that split patients would score
    # near 1. The standard deviation of an AUROC of 40 patients by chance is 0.1 to 0.13.
    random = np.random.default_rng(1)
    cluster = np.repeat(np.arange(40), 8)
    labels = (random.permutation(40) % 2)[cluster]
    features = random.normal(size=(40, 6))[cluster] + random.normal(0, 0.01, (320, 6))
    found = cross_validated(features, labels, [str(i) for i in cluster], 0, trees=trees)
    assert found.value < 0.85


def test_a_model_of_one_sample_is_evaluated_on_another() -> None:
    random = np.random.default_rng(2)
    labels = np.arange(200) % 2
    learn, ask = (random.normal(size=(200, 1)) + labels[:, None] for _ in range(2))
    groups = [str(i) for i in range(200)]
    found = transfer((learn, labels), (ask, labels, groups), trees=False)
    assert found.value == pytest.approx(roc_auc_score(labels, ask[:, 0]))  # one rising feature
    # The relation is reversed on test: the AUROC is below 0.5 and is not flipped.
    wrong = transfer((learn, labels), (-ask, labels, groups), trees=False)
    assert wrong.value == pytest.approx(1 - found.value)


def test_single_features_count_in_either_direction() -> None:
    random = np.random.default_rng(3)
    labels = np.arange(90) % 3
    features = random.normal(size=(90, 2)) + labels[:, None] * [1.0, -1.0]
    found = single_features(features, labels)
    for column, auc in zip(features.T, found, strict=True):
        areas = [roc_auc_score(labels == k, column) for k in range(3)]
        assert auc == pytest.approx(max(max(auroc, 1 - auroc) for auroc in areas))


def test_too_few_patients_of_a_class_are_undefined(clean: Sample) -> None:
    some = np.concatenate([np.flatnonzero(clean.labels == k)[:n] for k, n in enumerate((4, 30))])
    few = dataclasses.replace(
        clean,
        labels=clean.labels[some],
        groups=tuple(str(i) for i in some),
        header=clean.header[some],
        images=clean.images[some],
    )
    found = shortcut(SHORTCUT_PROBES[0], few, None, 0)
    assert (found.flagged, found.auc.method) == (False, "undefined")
    assert found.to_json()["auc"]["value"] is None


def test_a_single_class_is_undefined(clean: Sample) -> None:
    alone = dataclasses.replace(clean, labels=np.zeros_like(clean.labels))
    found = cross_validated(alone.header, alone.labels, alone.groups, 0, trees=True)
    assert found.method == "undefined"


def test_chance_is_computed_from_the_number_of_patients() -> None:
    labels = np.repeat([0, 1], 50)
    groups = [str(i) for i in range(100)]
    limit = 0.5 + 3.29 * 1.4 * np.sqrt((50 + 50 + 1) / (12 * 50 * 50))
    assert limit == pytest.approx(0.7673, abs=1e-4)
    for more in (1, 5):  # more images of each patient add no information
        given = (np.repeat(labels, more), [group for group in groups for _ in range(more)])
        assert beyond_chance(limit + 1e-6, *given)
        assert not beyond_chance(limit - 1e-6, *given)
        assert not beyond_chance(float("nan"), *given)


def test_chance_of_three_classes_is_that_of_their_mean() -> None:
    labels = np.repeat([0, 1, 2], [20, 30, 50])
    sizes = [(20, 80), (30, 70), (50, 50)]
    error = np.mean([np.sqrt((m + n + 1) / (12 * m * n)) for m, n in sizes])
    groups = [str(i) for i in range(100)]
    limit = 0.5 + 3.29 * 1.4 * error
    assert beyond_chance(limit + 1e-6, labels, groups)
    assert not beyond_chance(limit - 1e-6, labels, groups)


def test_a_rare_class_is_represented_in_the_sample(
    moved: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros_like(moved.train.labels)
    labels[:6] = 1
    monkeypatch.setattr("lucency.probes.sample._MOST", 20)
    found = draw_sample([dataclasses.replace(moved.train, labels=labels)], moved.root, 0, 1)
    assert np.bincount(found.labels).tolist() == [14, 6]


def test_headers_match_the_parameters_of_the_writer(tmp_path: Path) -> None:
    image = DRAWINGS[0].resize((40, 20))
    image.save(tmp_path / "a.jpg", quality=70, comment=b"x" * 50, progressive=True)
    image.convert("RGB").save(tmp_path / "b.jpg", quality=95, subsampling="4:2:0")
    image.save(tmp_path / "c.png")
    names = ("a.jpg", "b.jpg", "c.png")
    rows = read_headers([tmp_path / name for name in names])
    a, b, c = (dict(zip(NAMES, row, strict=True)) for row in rows)
    for row, name in zip((a, b, c), names, strict=True):
        size = (tmp_path / name).stat().st_size
        assert np.exp(row["file size"]) == pytest.approx(size)
        assert np.exp(row["bytes per pixel"]) == pytest.approx(size / 800)
        assert np.exp([row["width"], row["height"], row["aspect ratio"]]) == pytest.approx(
            [40, 20, 2]
        )
    with Image.open(tmp_path / "a.jpg") as reopened:
        tables: dict[int, Sequence[int]] = reopened.quantization  # type: ignore[attr-defined]
    assert np.expm1(a["JPEG quantisation"]) == pytest.approx(np.mean(tables[0]))
    assert np.expm1(a["metadata"]) == pytest.approx(50 + 4)  # marker and length of the comment
    assert [row["progressive"] for row in (a, b, c)] == [1, 0, 0]
    assert [row["colour channels"] for row in (a, b, c)] == [1, 3, 1]
    assert [row["chroma subsampling"] for row in (a, b, c)] == [1, 2, 0]
    assert [row["format"] for row in (a, b, c)] == [0, 0, 1]
    assert a["JPEG quantisation"] > b["JPEG quantisation"] > c["JPEG quantisation"] == 0


def test_names_are_read_without_the_class_folder_and_its_words() -> None:
    files = ["train/ill/ill_radiograph12.png", "train/well/scan_3.png"] * 3
    values, names = name_features(files, ("ill", "well"))
    assert sorted(names) == sorted(
        ["the word 'radiograph'", "the word 'scan'", "number of digits", "length of the name"]
    )
    first = dict(zip(names, values[0], strict=True))
    assert first == {
        "the word 'radiograph'": 1, "the word 'scan'": 0,
        "number of digits": 2, "length of the name": 16,
    }  # fmt: skip


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return three classes with a brighter test split of other prevalences, and words in names."""
    folder = tmp_path_factory.mktemp("moved")
    counts = {"train": (60, 60, 40), "test": (20, 50, 20)}
    seed = 0
    for part, numbers in counts.items():
        for k, count in enumerate(numbers):
            (folder / part / f"class{k}").mkdir(parents=True)
            for _ in range(count):
                pixels = np.asarray(drawing(seed), np.int16) + (20 if part == "test" else 0)
                name = f"patient{seed:04d}_{'abc'[k] * 3}.png"
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(folder / part / f"class{k}" / name)
                seed += 1
    return loaded(folder)


def test_shift_is_measured_and_reported(moved: Dataset) -> None:
    found = probe(moved, workers=1)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(written) == {"probes", "shift", "outliers", "findings"}
    assert [each["probe"] for each in written["probes"]] == PROBES
    assert all(each["test"]["value"] is not None for each in written["probes"])
    # All three classes have the same distribution and only the test split is shifted.
    assert [each["probe"] for each in written["probes"] if each["flagged"]] == []
    shift = written["shift"]
    tone = shift["tone"]["difference"]
    assert tone["low"] < 20 < tone["high"]
    assert shift["tone"]["test"] - shift["tone"]["train"] == pytest.approx(tone["value"])
    auc = {each["probe"]: each["auc"]["value"] for each in shift["probes"]}
    assert auc["tone"] > 0.85
    assert abs(auc["thumbnail"] - 0.5) < 0.2
    for each in shift["probes"]:
        assert each["flagged"] == each["probe"].startswith("tone"), each
    share = next(each for each in shift["prevalence"] if each["class"] == "class1")
    assert (share["train"], share["test"]) == (
        pytest.approx((moved.train.labels == 1).mean()),
        pytest.approx(50 / 90),
    )
    assert share["difference"]["low"] < share["test"] - share["train"] < share["difference"]["high"]
    said = " ".join(each["text"] for each in written["findings"] if each["probe"] == "shift")
    for word in ("tone", "class1", "grey levels"):
        assert word in said
    levels = [("alarm", "warning", "note").index(each["level"]) for each in written["findings"]]
    assert levels == sorted(levels)
    (note,) = [each for each in written["findings"] if each["probe"] == "name"]
    assert note["level"] == "note"
    assert "never sees" in note["text"]


def test_no_shift_is_reported_for_random_splits(clean: Sample) -> None:
    # A third of the patients is test, three times; of seven probes each, one in 2,000 is flagged
    # by chance.
    patients, cluster = np.unique(clean.groups, return_inverse=True)
    for seed in range(3):
        coin = (np.random.default_rng(seed).permutation(len(patients)) % 3 == 0)[cluster]
        parts = [
            dataclasses.replace(
                clean,
                files=tuple(np.array(clean.files)[of].tolist()),
                labels=clean.labels[of],
                groups=tuple(np.array(clean.groups)[of].tolist()),
                header=clean.header[of],
                images=clean.images[of],
            )
            for of in (~coin, coin)
        ]
        found = _probes(("heads", "tails"), *parts, seed)
        assert [name for name, _, flagged in found if flagged] == []


def test_labels_of_test_choose_nothing(moved: Dataset) -> None:
    assert moved.test is not None
    other = dataclasses.replace(moved.test, labels=moved.test.labels[::-1].copy())
    learn = draw_sample([moved.train, moved.val], moved.root, 0, 1)
    kind = next(kind for kind in SHORTCUT_PROBES if kind.name == "border")
    one, two = (
        shortcut(kind, learn, draw_sample([part], moved.root, 0, 1), 0)
        for part in (moved.test, other)
    )
    assert (one.auc, one.flagged, one.features) == (two.auc, two.flagged, two.features)
    assert one.test != two.test


def test_a_sample_contains_whole_patients(moved: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = tuple(f"g{i // 4}" for i in range(len(moved.train)))
    part = dataclasses.replace(moved.train, groups=groups)
    monkeypatch.setattr("lucency.probes.sample._MOST", 50)
    found = draw_sample([part], moved.root, 0, 1)
    assert 40 <= len(found.files) <= 50
    for group in set(found.groups):
        assert found.groups.count(group) == groups.count(group)
    assert found.files == draw_sample([part], moved.root, 0, 1).files
    assert found.files != draw_sample([part], moved.root, 1, 1).files


SURE = {
    "black": "dark",
    "white": "bright",
    "inverted": "inverted",
    "three times as wide": "aspect ratio",
    "tiny": "smaller",
    "noise": "unlike",
}


def test_large_splits_are_sampled_by_patient_and_class(
    moved: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "_Trees", score._Trees)  # brought back at the end
    use_few_trees()  # it is about the images, not about what is found in them
    assert probed(moved, 0) is moved
    whole = probe(moved, seed=3).to_json()
    monkeypatch.setattr("lucency.probes.sample.MOST_PROBED", len(moved.train))
    assert probe(moved, seed=3).to_json() == whole  # no split is larger
    assert not any(each["probe"] == "sample" for each in whole["findings"])

    most = len(moved.train) // 2
    monkeypatch.setattr("lucency.probes.sample.MOST_PROBED", most)
    some, again, other = probed(moved, 3), probed(moved, 3), probed(moved, 4)
    assert most - 4 <= len(some.train) <= most
    drawn = {*some.train.groups}
    assert [group in drawn for group in moved.train.groups].count(True) == len(some.train)
    assert some.train.files == again.train.files != other.train.files
    shares = [split.labels.mean() for split in (some.train, moved.train)]
    assert shares[0] == pytest.approx(shares[1], abs=0.06)
    n = sum(len(split) for split in (moved.train, moved.val, moved.test) if split)
    used = sum(len(split) for split in (some.train, some.val, some.test) if split)
    found = probe(moved, seed=3)
    assert f"a sample of {used:,} of {n:,} images" in found.findings[-1].text
    listed = {file for file, *_ in found.outliers.images}
    assert listed <= {*some.train.files, *some.val.files, *(some.test.files if some.test else ())}


def test_outliers_are_listed_and_no_others(tmp_path: Path) -> None:
    images = [*DRAWINGS]
    for i, name in enumerate(SURE):
        images[i] = Image.fromarray(OUTLIERS[name](np.asarray(DRAWINGS[i])))
    coloured = np.stack([np.asarray(DRAWINGS[-1])] * 3, axis=2)
    coloured[..., 2] //= 3
    images[-1] = Image.fromarray(coloured)
    folder = write_classes(tmp_path / "data", images, [str(i) for i in range(IMAGES)], 0, plain)
    found = find_outliers(loaded(folder, on_leak="ignore"), 1)
    reasons = {int(Path(file).stem.split("_")[1]): reason for file, reason, _ in found.images}
    words = dict(enumerate(SURE.values())) | {IMAGES - 1: "colour"}
    assert reasons.keys() == words.keys()
    assert all(words[i] in reasons[i] for i in words), reasons
    assert found.n == len(words)


def test_at_most_fifty_outliers_are_listed_but_all_are_counted(tmp_path: Path) -> None:
    images = [x.resize((20, 20)) if i < 60 else x for i, x in enumerate(DRAWINGS)]
    folder = write_classes(tmp_path / "data", images, [str(i) for i in range(IMAGES)], 0, plain)
    found = find_outliers(loaded(folder), 1)
    assert found.n == 60
    assert len(found.images) == 50
    assert all("smaller" in reason and value == 20 / 64 for _, reason, value in found.images)


@pytest.mark.real
def test_the_encoder_of_the_native_radiographs_is_found(radiographs: Path) -> None:
    data = load_dataset(radiographs / "chest_xray_native", Config(effort="quick"))
    found = probe(data)
    assert found.findings[0].level == "alarm"
    assert found.findings[0].probe == "file"
    assert "JPEG quantisation" in found.findings[0].text
    assert found.shortcuts[0].auc.value > 0.99
    assert found.outliers.n <= 1  # 0.5 % of 200


def test_a_comment_does_not_hide_the_header(tmp_path: Path) -> None:
    """Metadata never reaches another parser, damaged or not."""
    plainly, file = io.BytesIO(), tmp_path / "x.jpg"
    DRAWINGS[0].save(plainly, "JPEG")
    damaged = b"\xff\xe1\x00\x10Exif\0\0II*\0\xff\xff\xff\xff"
    file.write_bytes(plainly.getvalue()[:2] + damaged + plainly.getvalue()[2:])
    (row,) = read_headers([file])
    assert np.expm1(row[NAMES.index("metadata")]) == pytest.approx(len(damaged))
