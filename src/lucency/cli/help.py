"""How the commands explain themselves: options in groups, and examples at the end.

A command's docstring ends with ``Example: lucency ...``, or with ``Examples:`` and a line for each.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from typer.core import TyperCommand

_EXAMPLES = re.compile(r"^Examples?:\s*", re.MULTILINE)
_AS_IT_IS = "\b\n"  # tells Click not to wrap the lines that follow

FIRST_STEPS = f"""{_AS_IT_IS}First steps:
  lucency demo                               all of it, on drawn images
  lucency check chest_xray                   look at the data only
  lucency train chest_xray --effort quick    train, test and report
  lucency predict chest_xray-quick-1 new.jpeg

{_AS_IT_IS}Each command says more: lucency train --help
Tab completes names of runs after: lucency --install-completion
"""


class Command(TyperCommand):
    """A command whose options are shown in the groups that they name (``rich_help_panel``)."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, then the options of each group, those of no group last."""
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


def parted(command: Any) -> tuple[str, str]:
    """Return what a command does and its examples, as Click shows both, from its docstring."""
    text, *examples = _EXAMPLES.split(inspect.cleandoc(command.__doc__), maxsplit=1)
    lines = [f"  {line.strip()}" for each in examples for line in each.splitlines() if line.strip()]
    return text.strip(), f"{_AS_IT_IS}Examples:\n" + "\n".join(lines)
