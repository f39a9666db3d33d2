"""Write ``docs/explained/`` from the pages that the program shows.

    python docs/make_explained.py

A test compares the files with the program, so they cannot fall behind.
"""

from __future__ import annotations

from pathlib import Path

from lucency.report import glossary

FOLDER = Path(__file__).with_name("explained")
_INTRODUCTION = """\
# Explained

<!-- Written by docs/make_explained.py from src/lucency/report/glossary; change the pages there. -->

What the figures of a report mean, with an example and where each misleads. One page is one minute.
The report itself holds the same pages behind its links.
"""


def pages() -> dict[str, str]:
    """Return the text of every file of the folder by its name."""
    links = "".join(f"- [{glossary.page(name).title}]({name}.md)\n" for name in glossary.names())
    files = {f"{name}.md": glossary.source(name) for name in glossary.names()}
    return {"README.md": f"{_INTRODUCTION}\n{links}"} | files


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
