"""A network that compiles in seconds and probes of few trees, to test everything around them.

``COMMAND`` with arguments is the command line ``lucency`` with such a network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import Any, cast

from lucency.backend import choose_backend

COMMAND = (sys.executable, "-P", __file__)
WIDTH, BLOCKS = 8, (1,)
# Keras imports these where they are installed, which takes seconds; Lucency works without them.
_EXTRAS = ("IPython", "matplotlib", "pandas")
# TensorFlow does so with JAX.
_EXTRAS_OF = {"tensorflow": (*_EXTRAS, "jax"), "jax": _EXTRAS}


def use_small_network() -> dict[str, object]:
    """Give every effort a small network from now on; return the efforts as they were."""
    from lucency.training.plan import LEVELS, Level

    levels = cast("dict[str, Level]", LEVELS)
    before = {**levels}
    for name, level in before.items():
        levels[name] = dataclasses.replace(level, width=WIDTH, blocks=BLOCKS)
    return {**before}


def use_few_trees() -> type:
    """Give the probes models of one tree from now on; return the models as they were.

    The sixty trees that they have take a third of a small run.
    """
    from lucency.probes import score

    before: Any = score._Trees

    class FewTrees(before):
        def __init__(self) -> None:
            from sklearn.tree import DecisionTreeClassifier

            self._edges = []
            self._trees = DecisionTreeClassifier(
                max_depth=3, min_samples_leaf=10, class_weight="balanced", random_state=0
            )

    score._Trees = FewTrees  # type: ignore[misc]
    return before


def use_small_report_images() -> None:
    """Write small images into run folders from now on: large ones take a sixth of a small run."""
    from lucency.pipeline import images

    images._SIDE = 56


class _NotInstalled:
    """Makes imports fail as those of absent packages do."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without_extras() -> None:
    """Make this process start as it would without packages that are only for development."""
    backend = os.environ["KERAS_BACKEND"] = choose_backend()
    sys.meta_path.insert(0, _NotInstalled(_EXTRAS_OF[backend]))


@contextlib.contextmanager
def small_network() -> Iterator[None]:
    """Give every effort a small network while the block runs."""
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
    use_few_trees()
    use_small_report_images()
    main()
