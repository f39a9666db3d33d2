"""Every value of evaluation.json computed again from predictions.csv."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucency.evaluation import again, read_evaluation
from lucency.verify.finding import Differs

LARGEST = 1e-9  # difference of a figure that is computed again from the same numbers


def figures(run: Path) -> str:
    """Compare evaluation.json, value by value, with what the other files of the run give.

    Raises:
        Differs: A value is further off than ``LARGEST``, or in one of the two only.
        LucencyError: A file is missing or damaged.
    """
    stated, computed = read_evaluation(run / "evaluation.json"), again(run)
    # As it would be read from a file: tuples are lists, and so on.
    pairs = list(_walk("", stated, json.loads(json.dumps(computed))))
    worst = max(pairs, key=lambda pair: pair[1])
    beyond = sum(difference > LARGEST for _, difference in pairs)
    if beyond:
        size = "another value" if math.isinf(worst[1]) else f"differs by {worst[1]:.3g}"
        raise Differs(
            f"{beyond:,} of {len(pairs):,} values of evaluation.json do not follow from "
            f"predictions.csv; the worst: {worst[0]}, {size}."
        )
    return f"{len(pairs):,} values computed again; the largest difference is {worst[1]:.1e}"


def _walk(name: str, stated: Any, computed: Any) -> Iterator[tuple[str, float]]:
    """Yield the path of each value in two JSON documents, and how far apart the two are."""
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
        yield name, _distance(stated, computed)


def _distance(stated: Any, computed: Any) -> float:
    numbers = [x for x in (stated, computed) if isinstance(x, int | float)]
    if len(numbers) == 2 and not any(isinstance(x, bool) for x in numbers):
        apart = abs(float(stated) - float(computed))
        return apart if math.isfinite(apart) else math.inf
    return 0.0 if type(stated) is type(computed) and stated == computed else math.inf
