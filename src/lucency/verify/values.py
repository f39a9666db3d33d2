"""Check of every value of evaluation.json by computing it again from predictions.csv."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucency.evaluation import read_evaluation, recompute_evaluation
from lucency.run_folder.files import EVALUATION
from lucency.verify.mismatch import Mismatch

LARGEST = 1e-9  # difference of a figure computed again from the same numbers


def figures(run: Path) -> str:
    """Compare evaluation.json, value by value, with the figures computed from the other files.

    Raises:
        Mismatch: A value differs by more than ``LARGEST``, or is in one of the two only.
        LucencyError: A file is missing or damaged.
    """
    stated, computed = read_evaluation(run / EVALUATION), recompute_evaluation(run)
    # As read from a file, where tuples are lists.
    pairs = list(_walk("", stated, json.loads(json.dumps(computed))))
    worst = max(pairs, key=lambda pair: pair[1])
    beyond = sum(difference > LARGEST for _, difference in pairs)
    if beyond:
        size = "different values" if math.isinf(worst[1]) else f"differs by {worst[1]:.3g}"
        raise Mismatch(
            f"{beyond:,} of {len(pairs):,} values of evaluation.json do not follow from "
            f"predictions.csv; the worst: {worst[0]}, {size}."
        )
    return f"{len(pairs):,} values computed again; the largest difference is {worst[1]:.1e}"


def _walk(name: str, stated: Any, computed: Any) -> Iterator[tuple[str, float]]:
    """Yield the path of each value in two JSON documents, and the difference."""
    if isinstance(stated, dict) and isinstance(computed, dict):
        for key in sorted(stated.keys() | computed.keys()):
            here = f"{name}.{key}" if name else key
            if key in stated and key in computed:
                yield from _walk(here, stated[key], computed[key])
            else:
                yield f"{here} (in one of the two only)", math.inf
    elif isinstance(stated, list) and isinstance(computed, list):
        if len(stated) != len(computed):
            yield f"{name} ({len(stated)} entries, expected {len(computed)})", math.inf
        for i, pair in enumerate(zip(stated, computed, strict=False)):
            yield from _walk(f"{name}[{i}]", *pair)
    else:
        yield name, _difference(stated, computed)


def _difference(stated: Any, computed: Any) -> float:
    numbers = [x for x in (stated, computed) if isinstance(x, int | float)]
    if len(numbers) == 2 and not any(isinstance(x, bool) for x in numbers):
        difference = abs(float(stated) - float(computed))
        return difference if math.isfinite(difference) else math.inf
    return 0.0 if type(stated) is type(computed) and stated == computed else math.inf
