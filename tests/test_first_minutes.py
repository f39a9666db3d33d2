"""docs/tutorials/first-ten-minutes.md against the program; its commands are tried in test_docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from lucency.cli import demo
from lucency.config import Config
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


@pytest.mark.parametrize(
    ("start", "epochs", "compared"),
    [(None, 60, False), ("scratch", None, False), ("auto", None, True)],
)
def test_the_demo_compares_starts_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str | None, epochs: int | None,
    *, compared: bool,
) -> None:  # fmt: skip
    from lucency.pipeline.start import why_decided

    (tmp_path / "radiographs").mkdir()
    made: list[Config] = []
    module = sys.modules["lucency.cli.train"]
    monkeypatch.setattr(module, "_train", lambda _folder, config, *_, **__: made.append(config))
    monkeypatch.setattr("lucency.pipeline.start.is_installed", lambda _name: True)
    demo(tmp_path, start)
    assert made[0].epochs == epochs
    assert (why_decided(made[0]) == "") == compared
