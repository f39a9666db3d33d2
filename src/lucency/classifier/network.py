"""A Keras network rebuilt from its description, with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from lucency.classifier.spec import Spec
from lucency.errors import ClassifierError


def rebuilt(spec: Spec, weights: Mapping[str, NDArray[Any]]) -> Any:
    """Build the network in float32 and assign the weights by name.

    Raises:
        ClassifierError: The weights do not fit the architecture. If their number is wrong, nothing
            is built.
    """
    count = sum(array.size for array in weights.values())
    if count != spec.weight_count:
        raise ClassifierError(
            f"The weights do not fit the architecture {spec.architecture!r}: {count:,} numbers, "
            f"expected {spec.weight_count:,}. Restore both files from the training run."
        )
    from lucency.models import build, fix_normalization, keras, variables_of

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        shape = (*spec.size, spec.network_channels)
        network = build(spec.architecture, len(spec.classes), shape, spec.parameters)
    finally:
        keras.config.set_dtype_policy(policy)
    _assign(network.name, variables_of(network), weights)
    fix_normalization(network)
    return network


def _assign(
    network: str, variables: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
) -> None:
    wrong = sorted(
        name
        for name in variables.keys() | weights.keys()
        if name not in variables
        or name not in weights
        or tuple(variables[name].shape) != weights[name].shape
        or str(variables[name].dtype) != str(weights[name].dtype)
    )
    if wrong:
        raise ClassifierError(
            f"The weights do not fit the architecture {network!r}: {wrong[0]} "
            f"({len(wrong)} of {len(variables)} differ). Restore both files from the training run."
        )
    for name, variable in variables.items():
        variable.assign(weights[name])
