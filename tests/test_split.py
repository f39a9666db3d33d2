"""Splitting by patient, and the split file."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucency.dataset.entry import Entry
from lucency.dataset.split import (
    Assignment,
    assign_splits,
    check_splits,
    shared_groups,
    split_warnings,
)
from lucency.dataset.split_file import EXCLUDED, apply_split, write_entries
from lucency.errors import ConfigError, DataError


def entry(file: str, label: str, split: str = "", group: str = "", sha256: str = "") -> Entry:
    return Entry(file, label, split, group or file, sha256 or f"hash of {file}")


def series(label: str, n: int, split: str = "", images: int = 1, first: int = 0) -> list[Entry]:
    """Return n images, ``images`` of each patient."""
    return [
        entry(f"{split}/{label}/{i}", label, split, f"{label}-{i // images}")
        for i in range(first, first + n)
    ]


def assigned_splits(
    entries: list[Entry], seed: int = 0, val: float = 0.15, test: float = 0.15
) -> Assignment:
    classes = sorted({entry.label for entry in entries})
    return assign_splits(entries, classes=classes, seed=seed, val_fraction=val, test_fraction=test)


def counts(assigned: Assignment) -> Counter[tuple[str, str]]:
    return Counter((entry.split, entry.label) for entry in assigned.entries)


def splits(assigned: Assignment) -> dict[str, str]:
    return {entry.file: entry.split for entry in assigned.entries}


def test_single_images_are_split_exactly() -> None:
    assigned = assigned_splits(series("a", 200) + series("b", 1000))
    assert counts(assigned) == {
        ("train", "a"): 140,
        ("val", "a"): 30,
        ("test", "a"): 30,
        ("train", "b"): 700,
        ("val", "b"): 150,
        ("test", "b"): 150,
    }
    assert "840 train, 180 validation, 180 test (seed 0)" in assigned.notes[0]


people = st.lists(
    st.tuples(st.sampled_from(["a", "b", "ab"]), st.integers(1, 12)), min_size=6, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(people, st.integers(0, 1000), st.randoms(use_true_random=False))
def test_groups_are_never_split_in_any_order(
    owners: list[tuple[str, int]], seed: int, shuffler: random.Random
) -> None:
    owners += [("a", 1)] * 3 + [("b", 1)] * 3
    entries = [
        entry(f"{who}-{k}", labels[k % len(labels)], group=f"patient{who}")
        for who, (labels, n) in enumerate(owners)
        for k in range(n)
    ]
    assigned = assigned_splits(entries, seed)
    assert shared_groups(assigned.entries) == []
    check_splits(assigned.entries, ["a", "b"])
    assert [each.file for each in assigned.entries] == [each.file for each in entries]
    shuffled = entries.copy()
    shuffler.shuffle(shuffled)
    assert splits(assigned_splits(shuffled, seed)) == splits(assigned)


def test_fractions_hold_where_patients_have_many_images() -> None:
    draw = np.random.default_rng(3)
    entries = [
        entry(f"{label}{who}-{k}", label, group=f"{label}{who}")
        for label, n in (("a", 150), ("b", 400))
        for who in range(n)
        for k in range(min(30, int(draw.exponential(3.3)) + 1))
    ]
    total = Counter(each.label for each in entries)
    for seed in range(5):
        got = counts(assigned_splits(entries, seed))
        for label in "ab":
            for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
                assert got[split, label] / total[label] == pytest.approx(share, abs=0.01)


def test_the_seed_determines_the_split() -> None:
    entries = series("a", 100) + series("b", 100)
    assert splits(assigned_splits(entries, 1)) == splits(assigned_splits(entries, 1))
    assert splits(assigned_splits(entries, 1)) != splits(assigned_splits(entries, 2))


def test_one_more_image_reassigns_few_others() -> None:
    before = splits(assigned_splits(series("a", 300) + series("b", 300)))
    after = splits(assigned_splits(series("a", 301) + series("b", 300)))
    assert sum(after[file] != split for file, split in before.items()) <= 3


def test_test_is_kept_and_missing_validation_is_split_off_from_train() -> None:
    train = series("a", 400, "train", 4) + series("b", 400, "train")
    test = series("a", 50, "test", first=1000) + series("b", 50, "test", first=1000)
    assigned = assigned_splits(train + test)
    got = counts(assigned)
    assert (got["test", "a"], got["test", "b"]) == (50, 50)
    assert (got["val", "a"], got["val", "b"]) == (60, 60)
    assert all(e.split == "test" for e in assigned.entries if e.file.startswith("test/"))
    assert shared_groups(assigned.entries) == []
    assert "The folder has no validation split." in assigned.notes[1]


def test_kaggles_16_validation_images_are_too_few() -> None:
    train = series("N", 1341, "train") + series("P", 3875, "train")
    val = series("N", 8, "val", first=9000) + series("P", 8, "val", first=9000)
    test = series("N", 234, "test", first=5000) + series("P", 390, "test", first=5000)
    assigned = assigned_splits(train + val + test)
    assert counts(assigned)["val", "N"] == round(0.15 * 1349)
    # Exact interval of 4 of 8, by hand from the beta distribution: 0.157 to 0.843.
    assert "16 images, 8 of class 'N'" in assigned.notes[1]
    assert "from 16% to 84%" in assigned.notes[1]


def test_a_sufficient_validation_split_is_kept() -> None:
    entries = series("a", 300, "train") + series("b", 300, "train")
    entries += series("a", 50, "val", first=300) + series("b", 60, "val", first=300)
    assigned = assigned_splits(entries)
    assert splits(assigned) == {e.file: e.split for e in entries}
    assert "kept as given: 110" in assigned.notes[0]


def test_a_small_validation_split_is_kept_where_a_new_one_is_no_larger() -> None:
    entries = series("a", 40, "train") + series("b", 40, "train")
    entries += series("a", 10, "val", first=40) + series("b", 10, "val", first=40)
    assigned = assigned_splits(entries)
    assert splits(assigned) == {e.file: e.split for e in entries}
    warned = split_warnings(assigned.entries, ["a", "b"])
    assert "validation split has only 10 images of class 'a'" in warned[0]
    assert "no test split" in warned[1]


def test_patients_in_train_and_validation_are_split_again() -> None:
    entries = series("a", 300, "train", 2) + series("b", 300, "train", 2)
    entries += series("a", 61, "val", 2, first=299) + series("b", 60, "val", 2, first=300)
    assert shared_groups(entries) == ["a-149"]
    assigned = assigned_splits(entries)
    assert shared_groups(assigned.entries) == []
    assert "share 1 patient (a-149)" in assigned.warnings[0]
    assert "share 1 patient (a-149)" in assigned.notes[0]


def test_validation_is_at_most_about_2000_images_unless_a_class_is_rare() -> None:
    common = assigned_splits(series("a", 8_000) + series("b", 8_000))
    assert (counts(common)["val", "a"], counts(common)["val", "b"]) == (1000, 1000)
    rare = assigned_splits(series("a", 29_000) + series("b", 1_000))
    assert (counts(rare)["val", "a"], counts(rare)["val", "b"]) == (2900, 100)


def test_every_class_is_in_every_split_at_the_minimum_size() -> None:
    assigned = assigned_splits(series("a", 3) + series("b", 100))
    assert [counts(assigned)[split, "a"] for split in ("train", "val", "test")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (series("a", 1) + series("b", 9), "'a' has 1 usable image of 1 patient"),
        (series("a", 8, images=4) + series("b", 9), "'a' has 8 usable images of 2 patients"),
        (
            series("a", 5, "train", 5) + series("b", 9, "train") + series("a", 9, "test", first=9),
            "'a' has 5 usable images of 1 patient to split into train, val; .* 2 patients",
        ),
        (series("a", 9, "test") + series("b", 9, "train"), "'a' has 0 usable images"),
    ],
)
def test_classes_that_are_too_small(entries: list[Entry], message: str) -> None:
    with pytest.raises(DataError, match=message):
        assigned_splits(entries)


def test_splits_without_a_class_and_fractions_without_train() -> None:
    entries = series("a", 5, "train") + series("a", 5, "val") + series("b", 5, "train")
    with pytest.raises(DataError, match="'b' has no image in the val split"):
        check_splits(entries, ["a", "b"])
    with pytest.raises(ConfigError, match=r"Received: 0.5 \+ 0.5"):
        assigned_splits(series("a", 9) + series("b", 9), val=0.5, test=0.5)


# The split file


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])), unique=True))
@settings(max_examples=50, deadline=None)
def test_split_file_round_trip(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("split") / "split.csv"
    entries = [entry(f"{n}.png", n or "c", "train", f'g,"{n}') for n in names]
    write_entries(entries, path)
    bare = [each._replace(split="", group="") for each in entries]
    assert apply_split(path, bare) == tuple(entries)


def test_split_file_is_sorted_and_readable(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    write_entries(
        [entry("a/10.png", "a", "val", "p", "h1"), entry("a/2.png", "a", EXCLUDED, "q", "h2")], path
    )
    assert path.read_text().splitlines() == [
        "file,class,group,split,sha256",
        "a/2.png,a,q,excluded,h2",
        "a/10.png,a,p,val,h1",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda now: now[1:], "1 images are not in the folder or cannot be read: a/0"),
        (lambda now: [*now, entry("a/9", "a")], "1 images of the folder are not in the split"),
        (lambda now: [now[0]._replace(sha256="other"), *now[1:]], "have changed since.*: a/0"),
        (lambda now: [now[0]._replace(label="b"), *now[1:]], "have another class.*: a/0"),
    ],
)
def test_a_split_file_of_another_folder(tmp_path: Path, change: object, message: str) -> None:
    now = [entry(f"a/{i}", "a", "train") for i in range(3)]
    write_entries(now, tmp_path / "split.csv")
    with pytest.raises(DataError, match=message):
        apply_split(tmp_path / "split.csv", change(now))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class\n", "column 'group' is missing"),
        ("file,class,group,split,sha256\na,b,c,trian,d\n", "the split of 'a' is 'trian'"),
        ("file,class,group,split,sha256\na,b,c\n", "line 2 does not fit the header"),
        ("file,class,group,split,sha256\n" + "a,b,c,val,d\n" * 2, "listed more than once: a"),
    ],
)
def test_invalid_split_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        apply_split(tmp_path / "split.csv", [])
    with pytest.raises(DataError, match="cannot be read"):
        apply_split(tmp_path / "missing.csv", [])
