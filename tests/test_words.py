"""The words of the field: what has a word there is called by it, in code, pages and messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from lucency.cli import app

ROOT = Path(__file__).parent.parent
SUFFIXES = (".py", ".html", ".js", ".css", ".md")

# Patterns of whole words in any case, and what to write instead. Names such as ``film_paths`` and
# ``filmPaths`` count as several words, and a space matches a line break too.
IMAGE = {
    "pictures?": "image",
    "films?": "image, or radiograph where only chest data is meant",
}
WORDS = IMAGE | {
    "set aside": "excluded",
    "(?:un)?varied": "augmented, not augmented",
    "setbacks?": "divergence",
    "golden": "reference images",
    "judge[ds]?|judging": "evaluate, predict, predictions",
    "answerers?": "worker",
    "turned away|turns? away": "rejected",
    "shares at": "class_prior",
    "(?:go|goes|going|gone) on (?:with|from)": "resume",
    "anew": "again, start over",
    "look(?:s|ed)? at (?:the )?test": "test-set evaluation, evaluated",
    "strangers?": "untrusted, foreign",
    "victims?": "sample run",
    "squash(?:e[ds]|ing)?": "resized without keeping the aspect ratio",
    "postures?": "orientation",
    "upended": "upside down",
    "leak gates?": "leak check",
    "hears?|heard": "called on, callback",
    "told": "message, progress, predicted",
    "standalone": "self-contained",
    "unlike the training": "out of distribution",
    "of which nobody|nobody misses|puts? to work|what becomes of": "a plain sentence",
}
# Names that others gave.
FOREIGN = re.compile("standalone_mode|--standalone")
GAP = r"\s+(?:[#*/]+\s+)?"  # between two words, also where a comment goes on in the next line


def offences(text: str, words: Mapping[str, str] = WORDS) -> Iterator[str]:
    """Yield each forbidden word of a text with its line and its replacement."""
    names = re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]", " ", FOREIGN.sub("", text))
    for pattern, replacement in words.items():
        whole = rf"(?<![a-z])(?:{pattern.replace(' ', GAP)})(?![a-z])"
        for found in re.finditer(whole, names, re.IGNORECASE):
            line = names.count("\n", 0, found.start()) + 1
            yield f"line {line}: {' '.join(found[0].split())!r}; write: {replacement}"


def files() -> Iterator[Path]:
    """Yield the source files, pages and documents."""
    yield from (ROOT / name for name in ("README.md", "CONTRIBUTING.md"))
    yield from sorted((ROOT / "notebooks").glob("*.ipynb"))
    for folder in ("src", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and "vendor" not in path.parts:
                yield path


def text_of(path: Path) -> str:
    """Return the text of a file; of a notebook, that of its cells without their outputs."""
    text = path.read_text(encoding="utf-8")
    if path.name == "names.py":  # what users call their folders
        text = text.replace('"picture",', "")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


@pytest.mark.parametrize("path", [*files()], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_the_words_of_the_field(path: Path) -> None:
    assert [*offences(text_of(path))] == []


@pytest.mark.parametrize("name", ["CHANGELOG.md", "experiments/LOG.md"])
def test_history_says_image(name: str) -> None:
    assert [*offences((ROOT / name).read_text(encoding="utf-8"), IMAGE)] == []


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "docs"])
def test_file_names_use_the_words_of_the_field(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*")):
        if not {"vendor", "__pycache__"} & {*path.parts}:
            assert [*offences(path.stem)] == [], path


def test_the_help_uses_the_words_of_the_field() -> None:
    group: Any = typer.main.get_command(app)
    context = group.make_context("lucency", [], resilient_parsing=True)
    assert [*offences(group.get_help(context))] == []
    for name, command in group.commands.items():
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        assert [*offences(command.get_help(inner))] == [], name


@pytest.mark.parametrize(
    "text",
    [
        "A film.",
        "film_paths",
        "filmPaths",
        "PICTURES",
        "  # images set\n  # aside",
        "is told",
        "Anew",
    ],
)
def test_a_forbidden_word_is_found(text: str) -> None:
    (found,) = offences(f"one line\n{text}")
    assert found.startswith("line 2: ")


@pytest.mark.parametrize("text", ["filmed", "untold", "judicious", "standalone_mode=False"])
def test_words_that_contain_a_forbidden_one_are_not(text: str) -> None:
    assert [*offences(text)] == []
