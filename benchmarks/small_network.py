"""A network that compiles in seconds, to test everything around it.

``COMMAND`` with arguments is the command line ``lucency`` with such a network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import cast

COMMAND = (sys.executable, "-P", __file__)
WIDTH, BLOCKS = 8, (1, 1)
# Keras imports these where they are installed, which takes seconds; Lucency works without them.
_EXTRAS = ("IPython", "matplotlib", "pandas")


def use_small_network() -> dict[str, object]:
    """Give every effort a small network from now on; return the efforts as they were."""
    from lucency.training.plan import LEVELS, Level

    levels = cast("dict[str, Level]", LEVELS)
    before = {**levels}
    for name, level in before.items():
        levels[name] = dataclasses.replace(level, width=WIDTH, blocks=BLOCKS)
    return {**before}


class _NotInstalled:
    """Makes imports fail as those of absent packages do."""

    def find_spec(self, name: str, *_: object) -> None:
        if name in _EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without_extras() -> None:
    """Make this process start as it would without packages that are only for development."""
    sys.meta_path.insert(0, _NotInstalled())


@contextlib.contextmanager
def small_network() -> Iterator[None]:
    """Give every effort a small network, with all kinds of layers that the default one has."""
    from lucency.training.plan import LEVELS

    before = use_small_network()
    try:
        yield
    finally:
        cast("dict[str, object]", LEVELS).update(before)


if __name__ == "__main__":
    from lucency.cli import main

    without_extras()
    use_small_network()
    main()
