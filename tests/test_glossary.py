"""Glossary: rendered safely, short, and equal in the program and in the docs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from lucency.errors import ConfigError
from lucency.report import glossary

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "src" / "lucency" / "report" / "glossary"


def make_glossary() -> ModuleType:
    """Load the program that writes docs/glossary."""
    path = ROOT / "docs/make_glossary.py"
    spec = importlib.util.spec_from_file_location("make_glossary", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_are_the_files_beside_the_module() -> None:
    assert sorted(glossary.names()) == sorted(path.stem for path in SHIPPED.glob("*.md"))
    assert len(set(glossary.names())) == len(glossary.names())


@pytest.mark.parametrize("name", glossary.names())
def test_a_page_is_short_and_states_where_it_misleads(name: str) -> None:
    first, _, text = glossary.source(name).partition("\n")
    assert first.startswith("# ")
    assert 80 <= len(text.split()) <= 215
    assert re.search(r"\*\*Where (it|they) misleads?\.\*\*", text)
    assert re.search(r"\d", text), "an example needs a number"


@pytest.mark.parametrize("name", glossary.names())
def test_a_page_renders_to_balanced_plain_html(name: str) -> None:
    page = glossary.page(name)
    tags = re.findall(r"<(/?)([a-z0-9]+)[^>]*>", page.html)
    allowed = {"p", "strong", "em", "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert {tag for _, tag in tags} <= allowed
    for tag in {tag for _, tag in tags}:
        assert tags.count(("", tag)) == tags.count(("/", tag))
    assert page.title
    assert "#" not in page.title
    assert "<" not in page.title
    assert "**" not in page.html, "emphasis that Markdown did not parse"


def test_html_and_scripts_in_a_page_are_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = "# T\n\n<script>alert(1)</script>\n\na <b onclick=x>b</b> [c](javascript:alert(1))\n"
    monkeypatch.setattr(glossary, "source", lambda _: wild)
    glossary.page.cache_clear()
    html = glossary.page("baseline").html
    glossary.page.cache_clear()
    assert "<script" not in html
    assert "<b " not in html
    assert "href" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("name", ["aurok", "../errors", "", "baseline.md"])
def test_an_unknown_page_is_one_line(name: str) -> None:
    with pytest.raises(ConfigError, match="The glossary has no page") as raised:
        glossary.page(name)
    assert "\n" not in str(raised.value)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'calibration'"):
        glossary.page("calibraton")


def test_the_docs_hold_the_same_pages() -> None:
    folder = ROOT / "docs/glossary"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert found == make_glossary().pages(), "run: python docs/make_glossary.py"


def test_the_baseline_page_explains_62_percent() -> None:
    text = glossary.source("baseline")
    assert "390 / 624 = 62.5 %" in text
    assert round(390 / 624, 3) == 0.625
