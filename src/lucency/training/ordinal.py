"""Last layers for grades: the adjacent-categories logit model.

The log odds of each grade against the one below it are one score of the image plus a constant of
the two grades (Agresti 2010, "Analysis of Ordinal Categorical Data", section 4.1). As logits of a
softmax they are ``scale[k] * score + bias[k]`` with equally spaced scales, so the classifier is an
ordinary one whose kernel is constrained; temperature and bias of the calibration stay in the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

_STEPS = 2000  # of the optimiser, at most


def scales(grades: int) -> Floats:
    """Return by how much each grade's logit grows with the score, (grades,); their mean is 0."""
    return np.asarray(np.arange(grades) - (grades - 1) / 2, np.float64)


class OneScore:
    """Keras constraint of a kernel (d, grades): the nearest one in which one score decides."""

    def __call__(self, kernel: Any) -> Any:
        """Return the kernel projected."""
        from lucency.models import keras

        of = keras.ops.convert_to_tensor(scales(kernel.shape[-1]), dtype=kernel.dtype)
        score = keras.ops.matmul(kernel, of) / keras.ops.sum(of * of)
        return score[:, None] * of


def ordinal_heads(
    x: Floats,
    labels: NDArray[np.int64],
    weights: Floats,
    strengths: Sequence[float],
    grades: int,
) -> Iterator[tuple[Floats, Floats]]:
    """Fit the model with an L2 penalty on the kernel, as a logistic regression has it.

    Args:
        x: (n, d).
        labels: (n,) grades, from 0.
        weights: (n,) weight of each row.
        strengths: Inverse of the penalty, as ``C`` of scikit-learn; each fit starts from the one
            before.
        grades: Number of grades, also of those without a row.

    Yields:
        For each strength, the kernel (d, grades) and the bias (grades,).
    """
    from scipy import optimize

    d, of, targets = x.shape[1], scales(grades), np.eye(grades)[labels]
    found = np.zeros(d + grades)

    def loss(values: Floats, strength: float) -> tuple[float, Floats]:
        kernel, bias = values[:d], values[d:]
        logs = special.log_softmax(np.outer(x @ kernel, of) + bias, axis=1)
        error = weights[:, None] * (np.exp(logs) - targets)
        penalty = of @ of / strength * kernel
        value = -(weights[:, None] * targets * logs).sum() + penalty @ kernel / 2
        return value, np.concatenate([x.T @ (error @ of) + penalty, error.sum(axis=0)])

    for strength in strengths:
        found = optimize.minimize(
            loss, found, args=(strength,), jac=True, method="L-BFGS-B",
            options={"maxiter": _STEPS},
        ).x  # fmt: skip
        yield np.outer(found[:d], of), found[d:] - found[d:].mean()
