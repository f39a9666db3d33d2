"""A linear head on the features of a frozen network, and the strength of its penalty.

The head is a logistic regression with an L2 penalty ("linear probe": Kornblith et al. 2019, "Do
Better ImageNet Models Transfer Better?"). It learns from several views of each image, as it is and
augmented, which together count as one image.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lucency import metrics
from lucency.calibration import scaling
from lucency.training.ordinal import ordinal_heads

Floats = NDArray[np.float64]

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # inverse of the penalty, as C of scikit-learn
# Of several labels, which share one: a strength for each, chosen on as few images, was worse.
_LABEL_STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 0.3, 1.0)
_USUAL = 1e-2  # where there are too few images to choose


@contextlib.contextmanager
def _single_thread() -> Iterator[None]:
    """Keep BLAS to one thread: others gain little here, and lose much beside other processes."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield


class Head(NamedTuple):
    """A linear layer.

    Attributes:
        kernel: (d, units); one unit for two classes.
        bias: (units,).
    """

    kernel: Floats
    bias: Floats

    def logits(self, features: NDArray[Any]) -> Floats:
        """Return the logits (..., units) of features (..., d)."""
        return np.asarray(features @ self.kernel + self.bias, np.float64)


class Examples(NamedTuple):
    """What a head learns from.

    Attributes:
        features: (views, n, d) float32.
        labels: (n,) int64 class indices.
        weights: (classes,) weight of each class in the loss.
        ordinal: Whether the classes are grades, with an order.
        targets: (n, labels) ``Split.targets``, where an image may have several labels.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    ordinal: bool = False
    targets: NDArray[np.float32] | None = None

    @property
    def strengths(self) -> tuple[float, ...]:
        """Strengths that one is chosen from."""
        return _STRENGTHS if self.targets is None else _LABEL_STRENGTHS

    @property
    def units(self) -> int:
        """Number of logits."""
        if self.targets is not None:
            return int(self.targets.shape[1])
        return 1 if len(self.weights) == 2 else len(self.weights)

    def is_whole(self, kept: NDArray[np.bool_]) -> bool:
        """Tell whether some images have every class, or every label and its absence."""
        if self.targets is None:
            return len(np.unique(self.labels[kept])) == len(self.weights)
        some = self.targets[kept]
        return bool(((some == 1).any(axis=0) & (some == 0).any(axis=0)).all())

    def where(self, kept: NDArray[np.bool_]) -> Examples:
        """Return those of some images."""
        targets = None if self.targets is None else self.targets[kept]
        return self._replace(
            features=self.features[:, kept], labels=self.labels[kept], targets=targets
        )


def mean_head(heads: Sequence[Head]) -> Head:
    """Return the head whose logits are the mean of those of several."""
    kernels, biases = zip(*heads, strict=True)
    return Head(np.mean(kernels, axis=0), np.mean(biases, axis=0))


@_single_thread()
def fit_head(examples: Examples, groups: Sequence[str], seed: int) -> Head:
    """Train a head, with the penalty that is best in five-fold cross-validation by group.

    Args:
        examples: What to learn from.
        groups: n patients.
        seed: Of the folds.
    """
    space = _Space.of(examples.features)
    patients = np.unique(np.asarray(groups), return_inverse=True)[1]
    folds = metrics.group_folds(examples.labels, patients, len(examples.weights), seed)
    if folds is None:
        return _heads(space, examples, (_USUAL,))[0]
    losses = [_losses(space, examples, folds != k, folds == k) for k in range(metrics.FOLDS)]
    best = examples.strengths[int(np.sum(losses, axis=0).argmin())]
    return _heads(space, examples, (best,))[0]


@_single_thread()
def cross_fit(examples: Examples, held_out: NDArray[np.int64]) -> tuple[list[Head], Floats]:
    """Train a head without each fold, and apply it to the images of the fold.

    The penalty is chosen without the fold too: on the next one, by heads trained without both.

    Args:
        examples: What to learn from.
        held_out: (n,) fold of each image, from 0.

    Returns:
        The heads, and the logits (views, n, units) of each image by the head that has not seen it.
    """
    space, count = _Space.of(examples.features), int(held_out.max()) + 1
    heads = []
    logits = np.zeros((*examples.features.shape[:2], examples.units))
    for k in range(count):
        next_one = held_out == (k + 1) % count
        inner = (held_out != k) & ~next_one
        strength = _USUAL
        if examples.is_whole(inner):
            losses = _losses(space, examples, inner, next_one)
            strength = examples.strengths[int(losses.argmin())]
        head = _heads(space, examples.where(held_out != k), (strength,))[0]
        logits[:, held_out == k] = head.logits(examples.features[:, held_out == k])
        heads.append(head)
    return heads, logits


class _Space(NamedTuple):
    """Scaled features in as few coordinates as there are images.

    Each feature is divided by the root of its variance plus the mean variance of all, so that one
    that hardly varies in training is not blown up to the size of the others. The rotation changes
    nothing in a penalised regression, and makes it fast where there are fewer images than features.
    """

    mean: Floats
    axes: Floats  # (d, coordinates)

    @classmethod
    def of(cls, features: NDArray[np.float32]) -> _Space:
        flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
        mean, variance = flat.mean(axis=0), flat.var(axis=0)
        scale = 1 / np.sqrt(variance + variance.mean() + 1e-12)
        if len(flat) >= flat.shape[1]:
            return cls(mean, np.diag(scale))
        _, sizes, axes = np.linalg.svd((flat - mean) * scale, full_matrices=False)
        return cls(mean, scale[:, None] * axes[sizes > 1e-8 * sizes[0]].T)

    def coordinates(self, features: NDArray[np.float32]) -> Floats:
        """Return those of all views (views, n, d), one view after the other."""
        flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
        return np.asarray((flat - self.mean) @ self.axes)

    def head(self, kernel: Floats, bias: Floats) -> Head:
        """Return the head on features of one on coordinates."""
        kernel = self.axes @ kernel
        return Head(kernel, np.asarray(bias - self.mean @ kernel))


def _losses(
    space: _Space, examples: Examples, rest: NDArray[np.bool_], held: NDArray[np.bool_]
) -> Floats:
    """Return the weighted log loss of held-out images, the mean of all views, for each strength."""
    views, labels, weights, _, targets = examples.where(held)
    heads = _heads(space, examples.where(rest), examples.strengths)
    if targets is not None:
        return np.array([
            np.mean([metrics.label_losses(targets, special.expit(head.logits(x))) for x in views])
            for head in heads
        ])  # fmt: skip
    w = weights[labels]
    return np.array([
        np.mean([
            metrics.log_loss(labels, scaling.probabilities(head.logits(view)), w) for view in views
        ])
        for head in heads
    ])  # fmt: skip


def _heads(space: _Space, examples: Examples, strengths: Sequence[float]) -> list[Head]:
    """Train a head for each strength, from the weakest on, each from the one before."""
    from sklearn.linear_model import LogisticRegression

    x, y = space.coordinates(examples.features), np.tile(examples.labels, len(examples.features))
    w = examples.weights[y] / len(examples.features)
    if examples.targets is not None:
        targets = np.tile(examples.targets, (len(examples.features), 1))
        return _label_heads(space, x, targets, len(examples.features), strengths)
    if examples.ordinal:
        fitted = ordinal_heads(x, y, w, strengths, len(examples.weights))
        return [space.head(*each) for each in fitted]
    model = LogisticRegression(max_iter=1000, warm_start=True)
    heads = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a weak penalty may not converge; its loss then shows it
        for strength in strengths:
            model.set_params(C=strength).fit(x, y, sample_weight=w)
            heads.append(space.head(model.coef_.T.copy(), model.intercept_.copy()))
    return heads


def _label_heads(
    space: _Space, x: Floats, targets: NDArray[np.float32], views: int, strengths: Sequence[float]
) -> list[Head]:
    """Train a regression for each label on the images where it is known, for each strength.

    A target of 0.5 is both values, each with half of the weight.
    """
    from sklearn.linear_model import LogisticRegression

    columns: list[list[Head]] = [[] for _ in strengths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for truth in targets.T:
            present, absent = np.flatnonzero(truth > 0), np.flatnonzero((truth >= 0) & (truth < 1))
            rows = np.concatenate([present, absent])
            y = np.repeat([True, False], [len(present), len(absent)])
            w = np.where(y, truth[rows], 1 - truth[rows]) / views
            if y.all() or not y.any():  # in folds of a rare label
                odds = np.log((w[y].sum() + 1) / (w[~y].sum() + 1))
                constant = Head(np.zeros((x.shape[1], 1)), np.array([odds]))
                for column in columns:
                    column.append(space.head(*constant))
                continue
            model = LogisticRegression(max_iter=1000, warm_start=True)
            for strength, column in zip(strengths, columns, strict=True):
                model.set_params(C=strength).fit(x[rows], y, sample_weight=w)
                column.append(space.head(model.coef_.T.copy(), model.intercept_.copy()))
    return [
        Head(np.concatenate([h.kernel for h in of], axis=1), np.concatenate([h.bias for h in of]))
        for of in columns
    ]
