"""Files are read as untrusted input."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from lucency.io import arrays_of, parse_json, read_bytes, read_json, write_json


def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path) -> None:
    plain, link, pipe = tmp_path / "plain", tmp_path / "link", tmp_path / "pipe"
    plain.write_bytes(b"content")
    link.symlink_to(plain)
    os.mkfifo(pipe)
    assert read_bytes(plain, 7) == b"content"
    for path, message in ((link, "symbolic link"), (pipe, "regular"), (tmp_path, "regular")):
        with pytest.raises(OSError, match=message) as caught:
            read_bytes(path, 7)
        assert str(path) not in str(caught.value)
    with pytest.raises(OSError, match="7 bytes; at most 6"):
        read_bytes(plain, 6)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "nothing", 7)


def test_a_file_that_the_user_named_and_a_folder_may_be_links(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "plain").write_bytes(b"content")
    (tmp_path / "link").symlink_to(folder / "plain")
    (tmp_path / "linked").symlink_to(folder)
    assert read_bytes(tmp_path / "link", 7, follow=True) == b"content"
    assert read_bytes(tmp_path / "linked" / "plain", 7) == b"content"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 10**5, "nested too deeply"),
        ("NaN", "not finite"),
        ("[1e999]", "not finite"),
        ("9" * 5000, "digits"),
        ('{"a": {"b": 1, "b": 2}}', "named twice"),
        ("[" + "0," * 2_000_001 + "0]", "more than 2,000,000 values"),
        ("{", "property name"),
    ],
)
def test_ambiguous_and_unbounded_json_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text.encode())


def test_json_round_trips_with_names_that_are_not_utf_8(tmp_path: Path) -> None:
    document = {"name\udcff": [1, 2.5, None, True, "ä"]}
    write_json(tmp_path / "a.json", document)
    assert read_json(tmp_path / "a.json") == document


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(
            st.sampled_from(["f4", "f8", "i1", "u1", "i4", "i8", "?"]),
            st.lists(st.integers(0, 3), max_size=3),
        ),
        max_size=5,
    )
)
def test_arrays_are_read_like_the_safetensors_library(
    kinds: dict[str, tuple[str, list[int]]],
) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 2, shape).astype(kind) for name, (kind, shape) in kinds.items()}
    data = safetensors.numpy.save(arrays)
    found, theirs = arrays_of(data), safetensors.numpy.load(data)
    assert found.keys() == theirs.keys()
    for name, array in theirs.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(st.data())
def test_a_damaged_header_is_rejected_or_has_no_effect(data: st.DataObject) -> None:
    sound = safetensors.numpy.save(
        {"a": np.arange(4, dtype=np.float32), "b": np.ones((2, 1), "i8")}
    )
    place = data.draw(st.integers(0, int.from_bytes(sound[:8], "little") + 7))
    damaged = bytearray(sound)
    damaged[place] = data.draw(st.integers(0, 255))
    try:
        arrays = arrays_of(bytes(damaged))
    except ValueError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= len(sound)


def test_reading_a_small_file_needs_little_memory_whatever_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"content")
    tracemalloc.start()
    assert read_bytes(path, 2**40) == b"content"
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
