"""Search files for words, also inside what is packed, compressed or encoded."""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_MOST = 2**24  # bytes of one compressed stream
_DEPTH = 3


def words_in(path: Path, words: Sequence[str]) -> set[str]:
    """Return which words the content or the name of a file holds.

    Words are searched for in ASCII and UTF-16, in zip members, zlib and gzip streams and base64,
    up to three of them inside each other.
    """
    found = {word for word in words if word in path.name}
    forms = {
        form: word for word in words for form in (word.encode(), word.encode("utf-16-le")[:-1])
    }  # without its last byte, UTF-16 of one order of bytes contains that of the other
    for data in _contents(path.read_bytes(), _DEPTH):
        found |= {word for form, word in forms.items() if form in data}
    return found


def _contents(data: bytes, depth: int) -> Iterator[bytes]:
    yield data
    if depth:
        for inner in _inner(data):
            yield from _contents(inner, depth - 1)


def _inner(data: bytes) -> Iterator[bytes]:
    """Return what a file contains in packed form."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from map(packed.read, packed.namelist())
    for match in _ZLIB.finditer(data):
        stream = zlib.decompressobj(47)  # zlib or gzip
        try:
            yield stream.decompress(memoryview(data)[match.start() :], _MOST)
        except zlib.error:
            continue
    for match in _BASE64.finditer(data):
        try:
            yield base64.b64decode(match[0][: len(match[0]) // 4 * 4])
        except binascii.Error:
            continue
