"""The weights of a network that averages several, as ``lucency.models.default`` names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[Any]]

HEAD = "logits/"  # of the names of the last layer's weights
_MEMBER = "member"


def join(networks: Sequence[Weights]) -> dict[str, NDArray[Any]]:
    """Return the weights of one network whose logits are the mean of those of several.

    Its features are theirs side by side, divided by their number; so the kernel of its last layer
    is made of theirs, and the bias is their mean.

    Args:
        networks: The weights of each by the name of their variable, all of one architecture; with
            a last layer or all without one.
    """
    weights: dict[str, NDArray[Any]] = {}
    for k, network in enumerate(networks):
        for name, array in network.items():
            if not name.startswith(HEAD):
                weights[f"{_MEMBER}{k + 1}_{name}"] = array
    if f"{HEAD}kernel" in networks[0]:
        kernels, biases = (
            [network[f"{HEAD}{name}"] for network in networks] for name in ("kernel", "bias")
        )
        weights[f"{HEAD}kernel"] = np.concatenate(kernels)
        weights[f"{HEAD}bias"] = np.asarray(np.mean(biases, axis=0, dtype=np.float64), np.float32)
    return weights


def split(weights: Weights, *, head: bool = True) -> list[Weights]:
    """Return the weights of each network of an ensemble; the one itself if it is none.

    The inverse of ``join``, except that each network gets the mean of the biases. Without the last
    layer (``head``), the weights may also be those of an ensemble with a pretrained network.

    Raises:
        ValueError: There is no last layer, or it does not belong to so many networks.
    """
    members: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in weights.items():
        member, _, own = name.partition("_") if name.startswith(_MEMBER) else ("", "", name)
        if not name.startswith(HEAD):
            members.setdefault(member, {})[own] = array
    if not members or f"{HEAD}kernel" not in weights or f"{HEAD}bias" not in weights:
        raise ValueError(f"it has no {HEAD}kernel and {HEAD}bias")
    if not head and len(members) > 1:
        members.pop("", None)  # the pretrained network
    networks = [members[name] for name in sorted(members, key=lambda name: (len(name), name))]
    if not head:
        return [*networks]
    for network, kernel in zip(
        networks, np.split(weights[f"{HEAD}kernel"], len(networks)), strict=True
    ):
        network |= {f"{HEAD}kernel": kernel, f"{HEAD}bias": weights[f"{HEAD}bias"]}
    return [*networks]


def members_of(names: Sequence[str]) -> int:
    """Return how many networks the variables of these names belong to."""
    return max(1, len({name.partition("_")[0] for name in names if name.startswith(_MEMBER)}))
