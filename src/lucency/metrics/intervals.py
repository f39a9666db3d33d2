"""How sure a figure is: exact, DeLong's and bootstrap intervals of 95 %."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lucency.metrics.arrays import BoolArray, FloatArray, IntArray
from lucency.metrics.scores import auroc

_TAIL = 0.025  # left out at each end
_CELLS = 2**18  # replicates x images held at once: 2 MiB an array, whatever n is


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval and how the interval was found; nan is "unknown"."""

    value: float
    low: float
    high: float
    method: str

    def to_json(self) -> dict[str, float | str | None]:
        """Return the four fields for strict JSON, nan as null."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        known = {name: float(x) if math.isfinite(x) else None for name, x in figures.items()}
        return {**known, "method": self.method}


def clopper_pearson(successes: float, n: float) -> tuple[float, float]:
    """Return the exact 95 % interval of a proportion (Clopper & Pearson 1934).

    Args:
        successes: In 0..n; need not be whole when n is an effective number.
        n: Independent trials; 0 gives (0, 1).

    Returns:
        The lower and the upper end.
    """
    failures = n - successes
    low = float(special.betaincinv(successes, failures + 1, _TAIL)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - _TAIL)) if failures > 0 else 1.0
    return low, high


def delong(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Estimate the AUROC with DeLong's interval, for patients with any number of images.

    The structural components come from midranks (Sun & Xu 2014) and their variance from sums over
    each group (Obuchowski 1997), which for groups of one is DeLong's own (1988). Where that
    variance cannot be had (one group of a class) or is 0 (perfect separation, all scores equal),
    a normal interval would be a point. It is then Clopper and Pearson's for the k pairs of one
    positive and one negative that can be formed with every group used once, of which the AUROC is
    the chance to be ranked right: wide, and for perfect separation exact whatever the scores.

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.
        groups: (n,) whose image it is; each image its own when left out.

    Returns:
        The AUROC; all nan when positives or negatives are absent.
    """
    positive, values = np.asarray(labels, bool), np.asarray(scores, np.float64)
    owners = np.arange(len(positive)) if groups is None else np.asarray(groups)
    _, owner = np.unique(owners, return_inverse=True)
    if positive.all() or not positive.any():
        return Estimate(math.nan, math.nan, math.nan, "undefined")
    area = float(auroc(positive, values))
    single = owner.max() + 1 == len(positive)
    method = "DeLong" if single else "DeLong, clustered by patient"
    variance = _clustered_variance(positive, _components(positive, values) - area, owner)
    if variance > 0:
        reach = float(special.ndtri(1 - _TAIL)) * math.sqrt(variance)
        return Estimate(area, max(0.0, area - reach), min(1.0, area + reach), method)
    pairs = _independent_pairs(positive, owner)
    return Estimate(
        area, *clopper_pearson(area * pairs, pairs), f"exact, {pairs} independent pairs"
    )


def _midranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1, equal values sharing their mean rank."""
    _, level, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[level])


def _components(positive: BoolArray, scores: FloatArray) -> FloatArray:
    """Return for each image the share of the other class that it is ranked right against, (n,)."""
    overall = _midranks(scores)
    share = np.empty(len(scores))
    for members in (positive, ~positive):
        share[members] = (overall[members] - _midranks(scores[members])) / (~members).sum()
    return np.where(positive, share, 1 - share)


def _clustered_variance(positive: BoolArray, centred: FloatArray, owner: IntArray) -> float:
    """Return the AUROC's variance from its centred components; nan with too few groups."""
    sums, factors, sizes = [], [], []
    for members in (positive, ~positive):
        held = len(np.unique(owner[members]))
        if held < 2:
            return math.nan
        sums.append(np.bincount(owner, centred * members, minlength=owner.max() + 1))
        factors.append(held / (held - 1))
        sizes.append(int(members.sum()))
    (above, below), (m, n), groups = sums, sizes, len(sums[0])
    own = factors[0] * (above**2).sum() / m**2 + factors[1] * (below**2).sum() / n**2
    return float(own + 2 * groups / (groups - 1) * (above * below).sum() / (m * n))


def _independent_pairs(positive: BoolArray, owner: IntArray) -> int:
    """Return how many positive-negative pairs can be drawn with every group used once."""
    with_positive, with_negative = np.unique(owner[positive]), np.unique(owner[~positive])
    groups = int(owner.max()) + 1
    return min(len(with_positive), len(with_negative), groups // 2)


def bootstrap_weights(
    groups: ArrayLike, replicates: int = 2000, seed: int = 0, width: int = 1
) -> Iterator[FloatArray]:
    """Draw groups with replacement and say how often each image then counts.

    Args:
        groups: (n,) whose image it is; all images of a group are drawn together.
        replicates: How many times to draw as many groups as there are.
        seed: The same seed gives the same weights.
        width: Most numbers that the caller derives from one replicate, when more than n.

    Yields:
        (some replicates, n) float64 whole numbers, a few at a time so that memory stays bounded.
    """
    _, owner = np.unique(np.asarray(groups), return_inverse=True)
    count = int(owner.max()) + 1
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // max(len(owner), width))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        drawn = generator.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, owner].astype(np.float64)


def percentiles(replicates: NDArray[np.floating[Any]]) -> tuple[FloatArray, FloatArray]:
    """Return the ends between which the middle 95 % of (replicates, ...) lie, each (...).

    Replicates in which the figure is undefined are left out; with fewer than half of them left
    the ends are nan.
    """
    defined = np.isfinite(replicates).reshape(len(replicates), -1).all(1)
    if 2 * defined.sum() < len(replicates):
        nothing = np.full(replicates.shape[1:], np.nan)
        return nothing, nothing
    low, high = np.quantile(replicates[defined].astype(np.float64), [_TAIL, 1 - _TAIL], axis=0)
    return low, high
