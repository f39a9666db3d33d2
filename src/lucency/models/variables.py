"""Names of the variables of a network that depend on nothing but the network.

Keras numbers layers and variables that have no name of their own through the whole process, so that
a network that is built twice has other names the second time.
"""

from __future__ import annotations

import re
from typing import Any

_NUMBERED = re.compile(r"((?:batch_|layer_|)normalization|conv2d|variable)(?:_\d+)?")


def variables_of(network: Any) -> dict[str, Any]:
    """Return the variables by name, without those that only count.

    The name is the ``path`` of the variable, with the numbers that Keras gives counted from the
    start of the network: the first layer is ``conv2d``, the second ``conv2d_1``.
    """
    numbered: dict[str, list[str]] = {}

    def own(part: str) -> str:
        found = _NUMBERED.fullmatch(part)
        if not found:
            return part
        others = numbered.setdefault(found[1], [])
        if part not in others:
            others.append(part)
        number = others.index(part)
        return f"{found[1]}_{number}" if number else found[1]

    return {
        "/".join(map(own, variable.path.split("/"))): variable
        for variable in network.weights
        if len(variable.shape)  # a Normalization counts what it has adapted to
    }
