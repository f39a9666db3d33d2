"""Identity of a test set: the content of its images, not their names or folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable


def test_set_id(entries: Iterable[tuple[str, str]]) -> str:
    """Return the identity of a test set.

    Args:
        entries: The sha256 of the bytes and the class of each image, in any order.

    Returns:
        sha256 in hexadecimal, independent of names, folders and order of the files.
    """
    rows = sorted([content.lower(), label] for content, label in entries)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


test_set_id.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test
