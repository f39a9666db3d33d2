"""Help texts: options in groups, and examples at the end.

A command's docstring ends with ``Example: lucency ...``, or with ``Examples:`` and a line for each.
Typer groups options too, but only with Rich: in boxes, and 0.3 s later.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from typer.core import TyperCommand

_EXAMPLES = re.compile(r"^Examples?:\s*", re.MULTILINE)
_VERBATIM = "\b\n"  # Click does not wrap the lines that follow

FIRST_STEPS = f"""{_VERBATIM}First steps:
  lucency demo                               try everything on drawn images
  lucency check chest_xray                   check the data without training
  lucency train chest_xray --effort quick    train, evaluate and report
  lucency predict chest_xray-quick-1 new.jpeg

{_VERBATIM}Help on one command: lucency train --help
Shell completion of run names: lucency --install-completion
"""


class Command(TyperCommand):
    """A command that shows its options in the groups they name (``rich_help_panel``)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the options of each group, and last those without a group."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        rest: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                groups["Arguments"].append(record)
            elif panel := getattr(param, "rich_help_panel", None):
                groups.setdefault(panel, []).append(record)
            else:
                rest.append(record)
        for title, rows in {**groups, "Options": rest}.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def split_docstring(command: Any) -> tuple[str, str]:
    """Return a command's description and its examples, both formatted for Click."""
    text, *examples = _EXAMPLES.split(inspect.cleandoc(command.__doc__), maxsplit=1)
    lines = [f"  {line.strip()}" for each in examples for line in each.splitlines() if line.strip()]
    return text.strip(), f"{_VERBATIM}Examples:\n" + "\n".join(lines)
