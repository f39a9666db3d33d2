"""Write the tables of files in ``docs/reference/run-folder.md`` from ``lucency.run_folder.files``.

    python docs/make_run_folder.py

A test compares the page with the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lucency.run_folder.files import AT_ADDRESS, FILES, UNFINISHED, RunFile, Table

PAGE = Path(__file__).with_name("reference") / "run-folder.md"
TABLES = {"files": FILES, "unfinished": UNFINISHED, "at address": AT_ADDRESS}


def written(page: str) -> str:
    """Return the page with its tables, between ``<!-- NAME -->`` marks, as the code has them."""
    for name, files in TABLES.items():
        table = f"<!-- {name} -->\n\n{_table(files)}\n<!-- /{name} -->"
        page = re.sub(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _: table, page, flags=re.S)  # noqa: B023
    return page


def _table(files: Iterable[RunFile]) -> str:
    rows = (f"| `{file}` | {file.what}{_columns(file)} |\n" for file in files)
    return "| file | content |\n|---|---|\n" + "".join(rows)


def _columns(file: RunFile) -> str:
    if not isinstance(file, Table):
        return ""
    return f" Columns: `{','.join(file.columns)}`."


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
