"""Write the reference page of the commands from their ``--help``.

    python docs/make_commands.py

A test compares the page with the program.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer.main

from lucency.cli import app

FILE = Path(__file__).with_name("reference") / "commands.md"
_INTRODUCTION = """\
# Commands

<!-- Written by docs/make_commands.py from `--help`. Change the program, not this page. -->

`lucency COMMAND --help` prints the same text. Results go to standard output, progress and error
messages to standard error, so a pipe carries only results. [Run folder](run-folder.md) lists the
exit codes and the documents that `--json` prints. [Configuration](configuration.md) lists the keys
of `--set` and `--config`.
"""


def commands_page() -> str:
    """Return the page: the help of the program, then of each command in order."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("lucency", [], resilient_parsing=True, terminal_width=80)
    parts = [_INTRODUCTION, _section("lucency", group.get_help(context))]
    for name, command in group.commands.items():
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        parts.append(_section(f"lucency {name}", command.get_help(inner)))
    return "\n".join(parts)


def _section(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    FILE.write_text(commands_page(), encoding="utf-8")
