"""Write ``docs/glossary/`` from the pages that reports show.

    python docs/make_glossary.py

A test compares the files with the program.
"""

from __future__ import annotations

from pathlib import Path

from lucency.report import glossary

FOLDER = Path(__file__).with_name("glossary")
_INTRODUCTION = """\
# Glossary

<!-- Written by docs/make_glossary.py from src/lucency/report/glossary; edit the pages there. -->

The concepts behind the metrics of a report, each on a page of one minute: what it is, an example,
and where it misleads. Reports contain the same pages behind their links.
"""


def pages() -> dict[str, str]:
    """Return the text of every file of the folder by its name."""
    links = "".join(f"- [{glossary.page(name).title}]({name}.md)\n" for name in glossary.names())
    files = {f"{name}.md": glossary.source(name) for name in glossary.names()}
    return {"README.md": f"{_INTRODUCTION}\n{links}"} | files


def main() -> None:
    """Write the folder again."""
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    main()
