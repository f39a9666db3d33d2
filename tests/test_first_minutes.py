"""docs/tutorials/first-ten-minutes.md against the program; its commands are tried in test_docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from test_docs import rows, section

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/tutorials/first-ten-minutes.md").read_text()
MESSAGES = [row[0].strip("`") for row in rows(section(TEXT, "Minute 10: what next"))]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_frequent_messages_are_those_of_the_program(message: str) -> None:
    files = (ROOT / "src/lucency").rglob("*.py")
    text = "".join(file.read_text() for file in files)
    assert message in re.sub(r'"\s*f?"', "", text)


def test_the_demo_is_as_documented() -> None:
    making = (ROOT / "src/lucency/cli/train.py").read_text()
    drawn = re.search(r"draws (\d+) stand-in chest radiographs", TEXT)
    assert drawn
    assert f"images={drawn[1]}" in making
    assert len(MESSAGES) == 4
