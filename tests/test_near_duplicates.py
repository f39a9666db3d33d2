"""Near duplicates: all are found, and nothing else is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lucency.cluster import Threads
from lucency.config import Config
from lucency.dataset import load_dataset, near_duplicates
from lucency.dataset.cache import PixelCache, SourceFile, decode
from lucency.dataset.candidates import Candidates, candidates
from lucency.dataset.descriptors import GRID, Small, normalised, shrunk
from lucency.dataset.entry import Entry
from lucency.dataset.near_duplicates import NearDuplicate, _significant, find_near_duplicates
from lucency.dataset.nearest import nearest
from lucency.dataset.phantoms import draw_dataset
from lucency.dataset.registration import SIDE, blur, similarity
from lucency.errors import BackendError
from lucency.imaging.decoder.pool import DecoderPool
from test_leaks import scene

Change = Callable[[Image.Image], Image.Image]


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def cropped(image: Image.Image, share: float, left: float = 0.5, top: float = 0.5) -> Image.Image:
    width, height = image.size
    x, y = left * share * width, top * share * height
    box = (round(x), round(y), round(x + (1 - share) * width), round(y + (1 - share) * height))
    return image.crop(box)


CHANGES: dict[str, tuple[str, Change]] = {
    "png": ("re-encoded", lambda p: p.convert("RGB")),
    "jpeg 30": ("re-encoded", lambda p: jpeg(p, 30)),
    "a quarter": ("resized", lambda p: p.resize((p.width // 4, p.height // 4))),
    "twice": ("resized", lambda p: p.resize((2 * p.width, 2 * p.height))),
    "squashed": ("resized", lambda p: p.resize((p.width, p.height // 2))),
    "mirrored": ("mirrored", lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "crop left": ("cropped", lambda p: cropped(p, 0.03, 0, 0.5)),
    "crop corner": ("cropped", lambda p: cropped(p, 0.03, 1, 1)),
    "bright": ("re-encoded", lambda p: ImageEnhance.Brightness(p).enhance(1.15)),
    "contrast": ("re-encoded", lambda p: ImageEnhance.Contrast(p).enhance(0.8)),
    "mirrored crop": (
        "mirrored",
        lambda p: jpeg(cropped(p, 0.03, 0, 1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), 60),
    ),
}


def stored(
    images: list[Image.Image], folder: Path, side: int = 64, *, colour: bool = False
) -> PixelCache:
    folder.mkdir()
    for i, image in enumerate(images):
        image.save(folder / f"{i}.png")
    files = [folder / f"{i}.png" for i in range(len(images))]
    listed, cache = [SourceFile(file, file.name) for file in files], folder / "cache"
    with DecoderPool(1) as pool:
        return decode(listed, size=(side, side), colour=colour, folder=cache, pool=pool)


def entries(store: PixelCache, splits: list[str] | None = None) -> list[Entry]:
    known = splits or [""] * len(store)
    return [
        Entry(str(row), "a", split, str(row), sha256, row)
        for row, (split, sha256) in enumerate(zip(known, store.sha256, strict=True))
    ]


def rows(copies: tuple[NearDuplicate, ...]) -> list[tuple[int, int]]:
    return [(copy.first.row, copy.second.row) for copy in copies]


def large(seed: int) -> Image.Image:
    return scene(seed).resize((256, 240), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("side", [64, 112])
def test_modified_copies_are_found_with_their_kind(tmp_path: Path, change: str, side: int) -> None:
    kind, how = CHANGES[change]
    originals = [large(seed) for seed in range(12)]
    store = stored([*originals, *map(how, originals[:6])], tmp_path / "p", side)
    copies = find_near_duplicates(store, entries(store))
    assert rows(copies) == [(row, 12 + row) for row in range(6)]
    assert {copy.kind for copy in copies} == {kind}
    assert all(0.96 <= copy.similarity <= 1 for copy in copies)


def test_different_images_of_one_body_part_are_no_duplicates(tmp_path: Path) -> None:
    # All share nine tenths of their brightness; the rest differs.
    common = np.asarray(large(0), np.float32)
    images = [
        Image.fromarray((0.7 * common + 0.3 * np.asarray(large(seed))).astype(np.uint8))
        for seed in range(1, 80)
    ]
    store = stored(images, tmp_path / "p")
    assert find_near_duplicates(store, entries(store)) == ()


def test_crops_are_accepted_only_where_chance_cannot_explain_them() -> None:
    one = Entry("1", "a", sha256="1", row=1)

    def pair(similarity: float, crooked: float) -> tuple[NearDuplicate, float]:
        return NearDuplicate(one, one, "cropped", similarity), crooked

    crops = [pair(0.96 + k / 10_000, 0.0) for k in range(200)]
    assert len(_significant(crops)) == 200
    # Matches that cannot be crops, more similar than the lower hundred: 1 and 3 are within 2 %.
    assert len(_significant([*crops, pair(0.96995, 0.05)])) == 200
    fits = [pair(0.96995, 0.05)] * 3
    assert len(_significant([*crops, *fits])) == 200
    assert len(_significant([*crops, *fits * 2])) == 100
    assert _significant([pair(0.97, 0.0), pair(0.98, 0.05)]) == []
    assert len(_significant([pair(0.985, -1.0), pair(0.975, -1.0), pair(0.99, 0.05)])) == 1


def test_phantoms_of_different_patients_are_no_duplicates(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "radiographs", images=90)
    config = Config(cache=str(tmp_path / "cache"), on_leak="drop", workers=1)
    audit = load_dataset(tmp_path / "radiographs", config, size=(64, 64)).audit
    assert [pair.kind for pair in audit.leaks.pairs] == ["identical"]
    patients = [(a.first.split("_")[0], a.second.split("_")[0]) for a in audit.near_duplicates]
    assert all(first == second for first, second in patients)


def test_colour_and_coarse_images(tmp_path: Path) -> None:
    bands = [
        Image.merge("RGB", (large(3 * i), large(3 * i + 1), large(3 * i + 2))) for i in range(6)
    ]
    again = [image.resize((100, 100)) for image in bands[:2]]
    store = stored([*bands, *again], tmp_path / "colour", colour=True)
    assert rows(find_near_duplicates(store, entries(store))) == [(0, 6), (1, 7)]
    coarse = stored([*bands, *again], tmp_path / "coarse", 16)
    assert set(rows(find_near_duplicates(coarse, entries(coarse)))) >= {(0, 6), (1, 7)}


def test_flat_and_few_images_have_no_duplicates(tmp_path: Path) -> None:
    flat = [Image.new("L", (80 + i, 80), 10 * i) for i in range(5)]
    store = stored(flat, tmp_path / "flat")
    assert find_near_duplicates(store, entries(store)) == ()
    assert find_near_duplicates(store, entries(store)[:1]) == ()
    assert find_near_duplicates(store, []) == ()


def test_equal_bytes_are_compared_once_per_split(tmp_path: Path) -> None:
    images = [large(1), large(1), large(1).resize((90, 90)), large(2), large(1)]
    store = stored(images, tmp_path / "p")
    every = entries(store, ["train", "train", "test", "train", "val"])
    assert rows(find_near_duplicates(store, every)) == [(0, 2), (2, 4)]
    assert rows(find_near_duplicates(store, every[::-1])) == [(1, 2), (2, 4)]


def test_partners_are_searched_in_every_split(tmp_path: Path) -> None:
    # Thirty copies in train must not displace the one in test.
    images = [large(1).resize((64 + i, 64)) for i in range(31)] + [
        large(seed) for seed in range(5, 9)
    ]
    store = stored(images, tmp_path / "p")
    splits = ["train"] * 30 + ["test"] + ["train"] * 4
    copies = find_near_duplicates(store, entries(store, splits))
    assert {(row, 30) for row in range(30)} <= set(rows(copies))
    assert len(copies) <= 35 * 8 * 2
    joined: set[int] = {0}
    for _ in range(30):
        joined |= {b for pair in rows(copies) for a, b in (pair, pair[::-1]) if a in joined}
    assert joined == set(range(31))


def test_similarity_of_a_known_shift() -> None:
    big = np.asarray(scene(4).resize((160, 160), Image.Resampling.BICUBIC), np.float32)
    first, second = big[None, 32:96, 32:96].copy(), big[None, 32:96, 35:99].copy()
    alike, places = similarity(first, second, np.zeros((1, 4), np.float32))
    # Three pixels of 64 to the right, where half a side is 1.
    np.testing.assert_allclose(places[0], [0, 3 / 32, 0, 0], atol=0.004)
    assert alike[0] > 0.99
    darker, _ = similarity(first, 0.5 * second + 40, np.zeros((1, 4), np.float32))
    assert darker[0] == pytest.approx(alike[0], abs=1e-3)
    flat, _ = similarity(first, np.full_like(first, 7), np.zeros((1, 4), np.float32))
    assert abs(flat[0]) < 0.01


def test_blur_is_that_of_scipy() -> None:
    from scipy.ndimage import gaussian_filter

    image = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    matrix = blur(SIDE, 3.0)
    wanted = gaussian_filter(image, 3.0, mode="reflect")
    np.testing.assert_allclose(matrix @ image @ matrix.T, wanted, atol=1e-5)


def drawn(n: int) -> Small:
    """Return small images, of which 600 to 649 are mirrored copies of 0 to 49."""
    random = np.random.default_rng(5)
    grids = random.normal(128, 30, (n, GRID, GRID))
    grids[600:650] = grids[:50][:, :, ::-1] + 5 * random.normal(size=(50, GRID, GRID))
    small = grids.clip(0, 255).astype(np.uint8)
    return Small(small, small)


def pairs(blocks: list[Candidates]) -> set[tuple[int, int]]:
    columns = ((each.first.tolist(), each.second.tolist()) for each in blocks)
    return {pair for first, second in columns for pair in zip(first, second, strict=True)}


def test_candidates_are_those_of_an_exhaustive_search() -> None:
    n = 700  # more than one block of rows
    small, splits = drawn(n), np.repeat([0, 1], [400, 300])
    blocks = [*candidates(small, np.arange(n), splits, Threads(1))]
    found = pairs(blocks)
    whole = normalised(small.whole)
    common = whole.sum(0) / (n + 100)
    common = (common + common[:, ::-1]) / 2
    flat = (whole - common).reshape(n, -1)
    turned = (whole[:, :, ::-1] - common).reshape(n, -1)
    plain, mirrored = (np.corrcoef(flat, each)[:n, n:] for each in (flat, turned))
    alike = np.maximum(plain, mirrored)
    np.fill_diagonal(alike, 0)
    assert found == {(int(a), int(b)) for a, b in zip(*np.nonzero(alike > 0.84), strict=True)}
    assert len(found) >= 90
    assert {int(view) % 2 for each in blocks for view in each.view} == {1}
    same = [*candidates(small, np.arange(n) % 600, splits, Threads(1))]
    assert not any(len(each.first) for each in same)


@pytest.mark.parametrize("threads", [2, 7])
def test_threads_change_neither_the_pairs_nor_their_order(threads: int) -> None:
    n = 2000
    given = drawn(n), np.arange(n), np.repeat([0, 1], [n - 300, 300])
    one, several = ([*candidates(*given, Threads(k))] for k in (1, threads))
    assert len(one) == 4
    for a, b in zip(one, several, strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_threads_work_in_order_and_not_far_ahead() -> None:
    begun: list[int] = []

    def items() -> Iterator[list[int]]:
        for i in range(50):
            begun.append(i)
            yield [i]

    results = Threads(3).run(sum, items())
    assert next(results) == 0
    assert len(begun) <= 2 * 3
    assert [*results] == [*range(1, 50)]
    with pytest.raises(ZeroDivisionError):
        [*Threads(2).run(lambda item, by: item[0] / by, [[1], [2]], 0)]


def test_small_images_are_invariant_to_brightness_and_contrast(tmp_path: Path) -> None:
    dim = [ImageEnhance.Brightness(large(seed)).enhance(0.5) for seed in range(3)]
    store = stored([*map(large, range(3)), *dim, Image.new("L", (64, 64), 9)], tmp_path / "p")
    whole, inner = map(normalised, shrunk(store, range(7)))
    np.testing.assert_allclose(whole[3:6], whole[:3], atol=0.12)
    assert not whole[6].any()
    assert not inner[6].any()
    assert np.abs(whole[:3] - inner[:3]).max() > 0.05


def test_an_index_finds_the_same_near_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason='no FAISS: pip install "lucency[search]"')
    originals = [large(seed) for seed in range(40)]
    copies = [how(image) for image in originals[:8] for _, how in CHANGES.values()]
    store = stored([*originals, *copies], tmp_path / "p")
    every = entries(store, ["train"] * len(originals) + ["test"] * len(copies))
    exact = find_near_duplicates(store, every)
    assert len(exact) > 8 * len(CHANGES)
    monkeypatch.setattr(near_duplicates, "MOST_COMPARED", 100)
    assert find_near_duplicates(store, every, Config(workers=1)) == exact
    assert find_near_duplicates(store, every, Config(workers=2)) == exact


def test_an_index_finds_the_candidates_of_all_pairs() -> None:
    pytest.importorskip("faiss", reason='no FAISS: pip install "lucency[search]"')
    n = 6000  # 93 groups, of which each image is compared with 32
    small, contents, splits = drawn(n), np.arange(n), np.repeat([0, 1], [620, n - 620])
    contents[610] = contents[10]
    exact = pairs([*candidates(small, contents, splits, Threads(1))])
    found = [*nearest(small, contents, splits, 1)]
    assert {(600 + k, k) for k in range(50)} - pairs(found) == {(610, 10)}
    assert len(pairs(found) ^ exact) <= 2
    assert all((each.similarity > 0.84).all() for each in found)
    again = [*nearest(small, contents, splits, 2)]
    for a, b in zip(found, again, strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))


def test_an_index_of_a_split_may_have_one_image(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss", reason='no FAISS: pip install "lucency[search]"')
    small, splits = drawn(700), np.repeat([0, 1, 2], [600, 1, 99])
    found = pairs([*nearest(small, np.arange(700), splits, 1)])
    assert found == pairs([*candidates(small, np.arange(700), splits, Threads(1))])
    assert (600, 0) in found
    assert capfd.readouterr() == ("", "")


def test_many_images_without_an_index_end_in_one_line_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_dataset(tmp_path / "radiographs", images=40)
    monkeypatch.setattr(near_duplicates, "MOST_COMPARED", 10)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    config = Config(cache=str(tmp_path / "cache"), workers=1)
    with pytest.raises(BackendError, match=r"more than 10 needs FAISS: pip .*lucency\[search\]"):
        load_dataset(tmp_path / "radiographs", config, size=(64, 64))
    assert not (tmp_path / "cache").exists()


@pytest.mark.real
def test_duplicates_of_radiographs_are_found_and_nothing_else(
    radiographs: Path, tmp_path: Path
) -> None:
    files = sorted((radiographs / "chest_xray" / "test").glob("*/*.jpeg"))
    once = {hashlib.sha256(file.read_bytes()).digest(): file for file in files}
    originals = [Image.open(file).convert("L") for file in [*once.values()][::5]]
    random = np.random.default_rng(0)
    changed = [
        jpeg(cropped(image, 0.03, *random.random(2)).resize((120, 130)), 50) for image in originals
    ]
    store = stored([*originals, *changed], tmp_path / "p")
    found = rows(find_near_duplicates(store, entries(store)))
    n = len(originals)
    # 99.5 % of 519 such copies were found; of 64, three lost ones would be chance once in 2,000.
    assert len(found) >= n - 2
    assert set(found) <= {(row, n + row) for row in range(n)}
