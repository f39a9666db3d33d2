"""The licences of all packages that Lucency installs are permissive, and listed in the docs."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAKER = runpy.run_path(str(ROOT / "docs" / "make_licences.py"))
PERMISSIVE = {
    *("Apache-2.0", "MIT", "MIT-0", "MIT-CMU", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC"),
    *("PSF-2.0", "Zlib", "CC0-1.0", "AFL-2.1"),
    "MPL-2.0",  # of files: it asks nothing of programs that use them unchanged
}


def is_permissive(expression: str) -> bool:
    return all(
        any(choice in PERMISSIVE for choice in part.split(" OR "))
        for part in expression.split(" AND ")
    )


@pytest.fixture(scope="module")
def licences() -> dict[str, str]:
    found: dict[str, str] = MAKER["licences"]()
    return found


def test_every_runtime_dependency_has_a_permissive_licence(licences: dict[str, str]) -> None:
    assert {"keras", "numpy", "pillow", "pydicom", "starlette", "tensorflow-cpu"} <= set(licences)
    assert {name: text for name, text in licences.items() if not is_permissive(text)} == {}


def test_the_page_lists_every_licence(licences: dict[str, str]) -> None:
    page = MAKER["PAGE"].read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (\S+) \| (.+?) \|$", page, re.MULTILINE))
    assert {name: listed.get(name) for name in licences} == licences, "run docs/make_licences.py"


@pytest.mark.parametrize("text", ["AGPL-3.0", "MIT AND GPL-3.0-only", "CC-BY-NC-4.0", "unknown"])
def test_other_licences_are_not_permissive(text: str) -> None:
    assert not is_permissive(text)
    assert is_permissive("Apache-2.0 OR GPL-2.0")
