"""Subgroups: read from a table or from file names, and measured on their own."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from lucency.errors import DataError
from lucency.evaluation.attributes import from_names, read_subgroups
from lucency.evaluation.subgroups import subgroups

FILES = ["test/a/1.png", "test/a/2.png", "test/b/1.png"]


def write(folder: Path, text: str) -> Path:
    """Write a table and return its path."""
    path = folder / "people.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_by_path_folder_or_name(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufefffile;sex;age;label\nchest/test/a/1.png;f;0-4;x\n2.png;;5-9;x\n"
        ".\\test\\b\\1.png;m;0-4;y\nelsewhere/9.png;m;0-4;y\n",
    )
    assert read_subgroups(path, FILES) == {
        "sex": ["f", "unknown", "m"],
        "age": ["0-4", "5-9", "0-4"],
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("file,sex\ntest/a/1.png,f\n", "2 of 3 images have no row: test/a/2.png, test/b/1.png"),
        ("file,sex\n1.png,f\n", "1.png is the name of 2 files"),
        ("file,sex\ntest/a/1.png,f\ntest/a/1.png,m\n", "line 3: test/a/1.png is listed twice"),
        ("path,sex\ntest/a/1.png,f\n", "expected the column 'file'"),
        ("file,label\ntest/a/1.png,f\n", "at least one attribute"),
        ("", "an empty file"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError) as raised:
        read_subgroups(write(tmp_path, text), FILES)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unreadable_table_and_one_of_single_ages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_subgroups(tmp_path / "missing.csv", FILES)
    path = tmp_path / "latin.csv"
    path.write_bytes(b"file,sex\na.png,m\xe4nnlich\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_subgroups(path, FILES)
    files = [f"{i}.png" for i in range(13)]
    ages = "file,age\n" + "".join(f"{i}.png,{i}\n" for i in range(13))
    with pytest.raises(DataError, match="13 different values; expected at most 12"):
        read_subgroups(write(tmp_path, ages), files)


def kermany(normal: int, second: int, bacteria: int, virus: int) -> tuple[list[str], list[str]]:
    """Return file names as in Kermany et al. and their classes."""
    files = [
        *(f"test/N/IM-{i:04}-0001.jpeg" for i in range(normal)),
        *(f"test/N/NORMAL2-IM-{i:04}-0001.jpeg" for i in range(second)),
        *(f"test/P/person{i}_bacteria_{2 * i}.jpeg" for i in range(bacteria)),
        *(f"test/P/person{i}_virus_{3 * i}.jpeg" for i in range(virus)),
    ]
    return files, ["N"] * (normal + second) + ["P"] * (bacteria + virus)


def test_names_divide_by_words_that_divide_a_class() -> None:
    files, labels = kermany(30, 40, 60, 25)
    found = from_names(files, labels)["file name"]
    assert Counter(found) == {"IM": 30, "NORMAL2": 40, "bacteria": 60, "virus": 25}
    assert from_names(files, np.array([label == "P" for label in labels])) == {"file name": found}


def test_words_of_few_images_and_of_a_whole_class_do_not_count() -> None:
    few = from_names(*kermany(30, 5, 60, 25))["file name"]
    assert Counter(few) == {"IM": 30, "": 5, "bacteria": 60, "virus": 25}
    assert from_names(*kermany(30, 0, 60, 0)) == {}
    assert from_names(["a/1.png", "a/2.png", "b/3.png"], ["a", "a", "b"]) == {}
    same = [f"{k}/image_{i}.png" for k in "ab" for i in range(30)]
    assert from_names(same, [file[0] for file in same]) == {}


@pytest.mark.real
def test_the_real_file_names(radiographs: Path) -> None:
    test = radiographs / "chest_xray/test"
    files = sorted(path.relative_to(test).as_posix() for path in test.glob("*/*.jpeg"))
    found = from_names(files, [file.partition("/")[0] for file in files])["file name"]
    times = Counter(found)
    assert set(times) == {"IM", "NORMAL2", "bacteria", "virus"}
    assert (times["bacteria"], times["virus"]) == (126, 75)


LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
P = np.array([0.1, 0.6, 0.2, 0.3, 0.9, 0.4, 0.7, 0.8])
BOTH = np.stack([1 - P, P], axis=1)
DECISIONS = (P >= 0.5).astype(np.int64)


def test_a_subgroup_by_hand() -> None:
    values = ["x", "x", "y", "", "x", "x", "x", ""]
    x, y = subgroups(
        {"kind": values}, LABELS, DECISIONS, BOTH, groups=None, classes=["-", "+"], positive=1
    )
    assert (x["attribute"], x["value"], x["n"], x["groups"]) == ("kind", "x", 5, None)
    assert x["counts"] == {"-": 2, "+": 3}
    inside = np.array([0, 1, 4, 5, 6])
    for name, hits, n in (("accuracy", 3, 5), ("sensitivity", 2, 3), ("specificity", 1, 2)):
        exact = binomtest(hits, n).proportion_ci()
        found = x["metrics"][name]
        assert (found.value, found.low, found.high) == pytest.approx((hits / n, *exact))
        assert found.method == "Clopper-Pearson"
    area = roc_auc_score(LABELS[inside], P[inside])
    assert x["metrics"]["auroc"].value == pytest.approx(area)
    assert x["auroc_against"] == "subgroup"
    assert (y["n"], y["counts"], y["auroc_against"]) == (1, {"-": 1, "+": 0}, "all others")
    assert math.isnan(y["metrics"]["sensitivity"].value)
    assert y["metrics"]["auroc"].value == 1.0, "0.2 lies below all positives of the split"


def test_a_subgroup_of_one_class_is_ranked_against_all_of_the_other() -> None:
    values = ["", "", "", "", "virus", "virus", "", ""]
    (virus,) = subgroups(
        {"kind": values}, LABELS, DECISIONS, BOTH, groups=None, classes=["-", "+"], positive=1
    )
    against = np.array([0, 1, 2, 3, 4, 5])
    assert virus["metrics"]["auroc"].value == pytest.approx(7 / 8)
    assert roc_auc_score(LABELS[against], P[against]) == pytest.approx(7 / 8)
    assert virus["auroc_against"] == "all others"


def test_everything_is_the_same_as_without_groups_where_each_has_one_image() -> None:
    values = {"kind": ["x"] * 8}
    alone = subgroups(values, LABELS, DECISIONS, BOTH, groups=None, classes=["-", "+"], positive=1)
    named = subgroups(
        values, LABELS, DECISIONS, BOTH, groups=list("abcdefgh"), classes=["-", "+"], positive=1
    )
    assert named[0]["groups"] == 8
    assert alone[0]["metrics"] == named[0]["metrics"]


def test_three_classes_have_an_accuracy_alone() -> None:
    thirds = np.full((8, 3), 1 / 3)
    (found,) = subgroups(
        {"k": ["x"] * 8}, LABELS, LABELS, thirds, groups=None, classes=list("abc"), positive=None
    )
    assert found["metrics"]["accuracy"].value == 1
    assert all(
        found["metrics"][name].method == "undefined"
        for name in ("auroc", "sensitivity", "specificity")
    )


def test_values_that_do_not_fit_the_images_are_refused() -> None:
    with pytest.raises(DataError, match="for each of 8 images"):
        subgroups(
            {"k": ["x"] * 2}, LABELS, DECISIONS, BOTH, groups=None, classes=["-", "+"], positive=1
        )


def accuracy_interval(right: np.ndarray, cluster: np.ndarray) -> tuple[float, float]:
    """Return the interval of the accuracy of one subgroup that is all of the split."""
    labels = np.arange(len(right)) % 2
    decisions = np.where(right, labels, 1 - labels)
    (found,) = subgroups(
        {"k": ["x"] * len(right)},
        labels,
        decisions,
        np.full((len(right), 2), 0.5),
        groups=[str(each) for each in cluster],
        classes=["-", "+"],
        positive=1,
    )
    return found["metrics"]["accuracy"].low, found["metrics"]["accuracy"].high


def test_copies_of_each_image_widen_nothing_and_narrow_nothing() -> None:
    right = np.arange(40) % 5 != 0
    once = binomtest(int(right.sum()), 40).proportion_ci()
    low, high = accuracy_interval(np.repeat(right, 5), np.repeat(np.arange(40), 5))
    # Not equal: 200 images of 40 patients count as about 40 images, 39 from n / (n - 1)
    # and fewer for the t quantile of 39 degrees of freedom.
    assert low == pytest.approx(once.low, abs=0.01)
    assert high == pytest.approx(once.high, abs=0.01)


def test_intervals_of_clustered_shares_cover() -> None:
    random = np.random.default_rng(0)
    covered, rounds, true = 0, 400, 0.8
    for _ in range(rounds):
        sizes = random.integers(1, 6, 40)
        # Patients differ: a beta distribution of mean 0.8 with an intraclass correlation of 0.2.
        chance = random.beta(3.2, 0.8, 40)
        cluster = np.repeat(np.arange(40), sizes)
        right = random.random(len(cluster)) < chance[cluster]
        low, high = accuracy_interval(right, cluster)
        covered += low <= true <= high
    # At a true coverage of 95 % fewer than 92 % of 400 come about by chance in 0.4 % of seeds.
    assert covered / rounds >= 0.92


@pytest.mark.real
def test_a_table_of_the_real_test_part(radiographs: Path, tmp_path: Path) -> None:
    test = radiographs / "chest_xray/test"
    files = sorted(path.relative_to(test.parent).as_posix() for path in test.glob("*/*.jpeg"))
    path = tmp_path / "kinds.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "kind"])
        rows.writerows([name.rpartition("/")[2], "virus" * ("virus" in name)] for name in files)
    found = read_subgroups(path, files)["kind"]
    assert Counter(found) == {"unknown": len(files) - 75, "virus": 75}
